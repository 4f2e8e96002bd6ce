"""The engine as a user asks for it, with the rows that it kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.tool import ToolFailed, scratch
from pinchpoint import api, store
from pinchpoint.domain.load_report import LoadReport
from pinchpoint.domain.traffic import LoadRun
from pinchpoint.driving import LoadOptions


@dataclass(frozen=True, slots=True)
class Driven:
    """A run and its report."""

    run: LoadRun
    report: LoadReport

    @property
    def codes(self) -> tuple[str, ...]:
        """Why it does not count."""
        return tuple(reason.code for reason in self.report.reasons)


def driven(port: int, **asked: Any) -> Driven:  # noqa: ANN401  # the fields of LoadOptions
    """What `pinchpoint load` finds, asked with the fields of `LoadOptions`; ToolFailed where it raises."""
    with scratch() as folder:
        try:
            found = api.load(LoadOptions(f"http://127.0.0.1:{port}/", **asked), out=folder)
        except Exception as error:  # any defect of the tool is a result here
            raise ToolFailed(f"{type(error).__name__}: {error}"[:200]) from error
        assert found.folder is not None
        return Driven(store.load_traffic(found.folder), found.report)

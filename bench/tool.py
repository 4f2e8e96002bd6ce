"""The tool as the benches ask it: through its public face, in a run folder that is thrown away."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from pinchpoint import api
from pinchpoint.domain.verdict import Diagnosis


class ToolFailed(Exception):
    """The tool raised where it should have diagnosed; a violation, and no reason to end the bench."""


def diagnose(target: str, budget_s: float, *, settings: Mapping[str, str] | None = None, batch: int = 1) -> Diagnosis:
    """The diagnosis of a target; ToolFailed says what was raised instead."""
    with scratch() as folder:
        try:
            found = api.diagnose(target, budget_s=budget_s, out=folder, settings=settings, batch=batch).diagnosis
        except Exception as error:  # any defect of the tool is a result here
            raise ToolFailed(f"{type(error).__name__}: {error}"[:200]) from error
    assert found is not None
    return found


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for run folders and logs, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="pinchpoint-bench-") as folder:
        yield Path(folder)

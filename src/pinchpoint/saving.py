"""Run -> folder, come what may: what was measured is not given up for a full disk, and no empty folder is left behind."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pinchpoint import store
from pinchpoint.domain.run import Run
from pinchpoint.domain.traffic import LoadRun
from pinchpoint.errors import BadInput

R = TypeVar("R", Run, LoadRun)


@dataclass(frozen=True, slots=True)
class Kept(Generic[R]):
    """A run, where it is kept, and why that is not where it was meant to be."""

    run: R
    folder: Path | None
    trouble: BadInput | None = None

    def line(self, said: str | None) -> str | None:
        """What was `said` of the run, after the trouble with keeping it."""
        if self.trouble is None:
            return said
        where = f"The run is in {self.folder}." if self.folder else "The run is not kept."
        return " ".join(filter(None, (str(self.trouble), where, said)))


def saved(run: R, folder: Path, *, existed: bool) -> Kept[R]:
    """Save a run in `folder`, if need be among the temporary files; `existed` tells whether the folder above it did."""
    try:
        store.save(run, folder)
    except BaseException as error:
        remove(folder, existed=existed)
        if isinstance(error, BadInput):
            return Kept(run, _elsewhere(run), error)
        raise
    return Kept(run, folder)


def _elsewhere(run: Run | LoadRun) -> Path | None:
    """The run in a folder among the temporary files; None where they take it no more than the user's own folder."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="pinchpoint-run-"))
    except OSError:
        return None
    try:
        store.save(run, folder)
    except BadInput:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return folder


def remove(folder: Path, *, existed: bool) -> None:
    """A run folder without a run helps nobody, nor does a folder of runs that was made for it."""
    shutil.rmtree(folder, ignore_errors=True)
    if not existed:
        with contextlib.suppress(OSError):
            folder.parent.rmdir()

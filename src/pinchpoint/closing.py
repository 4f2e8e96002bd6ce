"""Run + Diagnosis -> whether what was asked is answered, and the line that says why it is not."""

from __future__ import annotations

from pinchpoint.domain.run import Run
from pinchpoint.domain.verdict import Diagnosis
from pinchpoint.service_ledger import SERVER


def answered(found: Diagnosis) -> bool:
    """Whether the latency is concluded; what several requests in flight leave open is said and takes nothing from it."""
    return found.valid and (found.observed is not None or found.verdicts["latency"].bound != "unknown")


def line_of(run: Run, found: Diagnosis | None) -> str | None:
    """One line about why the run ended early, does not count, or answers less than was asked; None where all is well."""
    uri = run.target.uri
    if run.ended != "complete":
        return f"{uri}: {run.ended} after {_measured(run)}; what was measured until then is shown and kept."
    if found is None or answered(found):
        return None
    if not found.valid:
        return f"{uri}: this run does not count: {'; '.join((*found.reasons, *run.notes))}."
    latency = found.verdicts["latency"]
    other = "run pinchpoint where the server runs" if latency.stages_from == SERVER else "mark its stages"
    return f"{uri}: inconclusive: {latency.sentence} Measure longer with --budget, or {other}."


def _measured(run: Run) -> str:
    if run.service is not None and run.service.stretches:
        return f"{run.service.watched_s:.0f} s"
    return f"{len(run.requests.index):,} request{'' if len(run.requests.index) == 1 else 's'}"

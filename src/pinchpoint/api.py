"""The library's face: `diagnose`, `record`, `machine`, and what the command line needs besides."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import msgspec

from pinchpoint import __version__, calibration, environment, inquire, limits, plugins, store
from pinchpoint.contracts import Plan
from pinchpoint.domain.run import Environment, Run
from pinchpoint.domain.target import TargetSpec
from pinchpoint.domain.verdict import Diagnosis
from pinchpoint.domain.workload import Workload
from pinchpoint.errors import BadInput
from pinchpoint.probes import cgroup
from pinchpoint.record import Conditions
from pinchpoint.record import record as record_run

RUNS = Path("pinchpoint-runs")
COMPLETE, INCONCLUSIVE, INTERRUPTED = 0, 3, 130


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a verb: the diagnosis (None of `record`), the run folder, the exit code, and a line for stderr."""

    diagnosis: Diagnosis | None
    folder: Path
    exit_code: int
    line: str | None


def diagnose(
    target: str,
    *,
    budget_s: float = 60.0,
    out: Path | None = None,
    input: str | None = None,  # noqa: A002  # the option's own name
    settings: Mapping[str, str] | None = None,
    python: str | None = None,
    seed: int = 0,
    timeout_s: float = 120.0,
    trust: bool = False,
    batch: int = 1,
    length: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Outcome:
    """Record a target and diagnose it, or diagnose a run folder alone.

    `budget_s` bounds the whole in seconds, the first calibration of this machine aside. Raises PinchpointError where
    there is nothing to diagnose; a run that ended early is diagnosed from what there is, with exit code 3 or 130.
    """
    if store.is_run(Path(target)):
        folder, run = Path(target), store.load(Path(target))
    else:
        spec = TargetSpec("", target, tuple((settings or {}).items()), python, input, trust)
        workload = _workload(budget_s, seed, timeout_s, batch, length)
        folder, run = _record(spec, workload, out or RUNS, progress or _silent)
    found = inquire.inquire(run, plugins.builtin(), limits.shipped())
    return Outcome(found, folder, _exit_code(run, found), _line(run))


def record(
    target: str,
    *,
    budget_s: float = 60.0,
    out: Path | None = None,
    input: str | None = None,  # noqa: A002  # the option's own name
    settings: Mapping[str, str] | None = None,
    python: str | None = None,
    seed: int = 0,
    timeout_s: float = 120.0,
    trust: bool = False,
    batch: int = 1,
    length: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Outcome:
    """Observe a target and write a run folder; `diagnose` it later, anywhere."""
    spec = TargetSpec("", target, tuple((settings or {}).items()), python, input, trust)
    folder, run = _record(spec, _workload(budget_s, seed, timeout_s, batch, length), out or RUNS, progress or _silent)
    ended = {"complete": COMPLETE, "interrupted": INTERRUPTED}.get(run.ended, INCONCLUSIVE)
    return Outcome(None, folder, ended, _line(run))


def machine(
    python: str | None = None, *, fresh: bool = False, progress: Callable[[str], None] | None = None
) -> Environment:
    """This machine's ceilings with the interpreter's runtime, and what cannot be observed here; about 15 s the first time."""
    here = _environment()
    most = max(1, int(here.effective_cpus))
    found = calibration.of_machine(python, here, sorted({1, most}), progress or _silent, fresh=fresh)
    return replace(here, ceilings=found)


def report(run: str, format: str = "terminal") -> str:  # noqa: A002  # the option's own name
    """A run folder's diagnosis again, as `terminal` or `json`."""
    reporters = {reporter.name: reporter for reporter in plugins.builtin().reporters}
    if format not in reporters:
        raise BadInput(
            what=f"no format is named {format!r}", where="--format", todo=f"Use one of {', '.join(reporters)}"
        )
    outcome = diagnose(run) if store.is_run(Path(run)) else _not_a_run(run)
    assert outcome.diagnosis is not None
    return reporters[format].render(outcome.diagnosis)


def schema() -> str:
    """The JSON Schema of a diagnosis."""
    return msgspec.json.format(msgspec.json.encode(msgspec.json.schema(Diagnosis)), indent=2).decode()


def explain(word: str) -> str:
    """What a cause, bound, state or metric is; BadInput lists near matches for anything else."""
    from pinchpoint.explain import explained

    return explained(word, plugins.builtin(), limits.shipped())


def _record(spec: TargetSpec, workload: Workload, out: Path, progress: Callable[[str], None]) -> tuple[Path, Run]:
    now = datetime.now().astimezone()
    kind = next((t for t in plugins.builtin().targets if t.recognises(spec.uri)), None)
    if kind is None:
        raise _unrecognised(spec.uri)
    named = TargetSpec(kind.kind, spec.uri, spec.settings, spec.python, spec.input, spec.trust)
    folder = store.new_folder(out, now)
    try:
        plan: Plan = kind.prepare(named, workload, folder)
        run = record_run(
            plan,
            workload,
            Conditions(
                folder.name,
                now.isoformat(timespec="seconds"),
                __version__,
                folder,
                _environment(),
                plugins.builtin().probes,
                progress,
            ),
        )
        for feed in folder.glob("*.npz"):
            feed.unlink()
        store.save(run, folder)
    except BaseException:
        _remove_if_empty(folder)
        raise
    return folder, run


def _remove_if_empty(folder: Path) -> None:
    """A run folder without a run helps nobody: remove what this run put there."""
    if store.is_run(folder):
        return
    for path in folder.iterdir():
        if path.is_file():
            path.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _environment() -> Environment:
    pid = os.getpid()
    return environment.read(cgroup.quota_cpus(pid), cgroup.memory_limit_bytes(pid))


def _workload(budget_s: float, seed: int, timeout_s: float, batch: int, length: int | None) -> Workload:
    if batch < 1 or (length is not None and length < 1):
        raise BadInput(
            what="a batch and a length are at least 1", where="--batch, --length", todo="Give a whole number"
        )
    chosen = Workload(budget_s=budget_s, seed=seed, timeout_s=timeout_s, batch=batch)
    return (
        chosen
        if length is None
        else Workload(budget_s=budget_s, seed=seed, timeout_s=timeout_s, batch=batch, length=length)
    )


def _exit_code(run: Run, found: Diagnosis) -> int:
    if run.ended == "interrupted":
        return INTERRUPTED
    answered = found.valid and all(v.bound != "unknown" for v in found.verdicts.values())
    return COMPLETE if answered else INCONCLUSIVE


def _line(run: Run) -> str | None:
    """One line about what went wrong with the target, where something did."""
    if run.ended == "complete":
        return None
    return f"{run.target.uri}: {run.ended} after {len(run.requests.index):,} requests; what was measured until then is kept"


def _unrecognised(uri: str) -> BadInput:
    path = Path(uri)
    if path.is_dir():
        return BadInput(
            what="a folder that is not a run", where=uri, todo="Name a model file, app.py:function, or a run folder"
        )
    return BadInput(
        what="no such file" if "/" in uri or "." in uri else "not a target that pinchpoint knows",
        where=uri,
        todo="Name a model.onnx, an app.py:function, or a run folder",
    )


def _not_a_run(run: str) -> Outcome:
    raise BadInput(what="not a run folder", where=run, todo="Name a folder that `pinchpoint diagnose` wrote")


def _silent(_: str) -> None:
    return None

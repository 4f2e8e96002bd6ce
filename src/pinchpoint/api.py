"""The library's face: `diagnose`, `record`, `machine`, and what the command line needs besides."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from pinchpoint import (
    __version__,
    calibration,
    environment,
    inquire,
    plugins,
    record_passive,
    record_service,
    store,
    text_generation,
)
from pinchpoint import limits as shipped_limits
from pinchpoint.asked import named, unrecognised, workload_of
from pinchpoint.closing import answered, line_of
from pinchpoint.contracts import Plan
from pinchpoint.domain.load_report import LoadReport
from pinchpoint.domain.run import Environment, Run
from pinchpoint.domain.target import TargetSpec
from pinchpoint.domain.traffic import LoadRun, Traffic
from pinchpoint.domain.verdict import Diagnosis
from pinchpoint.domain.workload import THREADS, Workload
from pinchpoint.driving import OF_TLS, LoadOptions, understood, with_settings
from pinchpoint.errors import AnalysisFailed, BadInput, TargetFailed, interrupts_heard, interrupts_held
from pinchpoint.limits import Limits
from pinchpoint.load import engine
from pinchpoint.load.sending import Sending
from pinchpoint.load_figures import load_report
from pinchpoint.otlp import Traces
from pinchpoint.overseeing import overseen
from pinchpoint.probes import cgroup
from pinchpoint.probes.backlog import BacklogProbe
from pinchpoint.probes.host import HostProbe
from pinchpoint.probes.pressure import PressureProbe
from pinchpoint.probes.tool import ToolProbe
from pinchpoint.process import Ended
from pinchpoint.record import Conditions
from pinchpoint.record import record as record_run
from pinchpoint.reporters.json_document import document
from pinchpoint.reporters.machine import render_machine
from pinchpoint.saving import Kept, remove, saved
from pinchpoint.self_description import Described, described
from pinchpoint.tracks import tracks

RUNS = Path("pinchpoint-runs")
PAGE = "report.html"
GLIMPSED_REQUESTS = 200_000  # more take too long to be looked at twice
COMPLETE, UNKEPT, INCONCLUSIVE, INTERRUPTED = 0, 2, 3, 130


class _Printer(Protocol):
    """What IPython hands to `_repr_pretty_`."""

    def text(self, text: str) -> None:
        """Print."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a verb: the diagnosis (None of `record`), the run folder (None if no disk would take it), the exit
    code, and a line for stderr about what went wrong.

    `print` shows the screen; a notebook shows the page, or Markdown where it shows no HTML.
    """

    diagnosis: Diagnosis | None
    folder: Path | None
    exit_code: int
    line: str | None

    def __str__(self) -> str:
        run = f"run {self.folder}" if self.folder else "a run that is not kept"
        shown = run if self.diagnosis is None else render(self.diagnosis)
        return "\n".join(filter(None, [shown, self.line]))

    def _repr_html_(self) -> str | None:
        """The page for a notebook: no script, and styles that hold inside of it; None where nothing was diagnosed."""
        return None if self.diagnosis is None else render(self.diagnosis, "notebook")

    def _repr_markdown_(self) -> str | None:
        """The report for what shows Markdown; None where nothing was diagnosed."""
        return None if self.diagnosis is None else render(self.diagnosis, "markdown")

    def _repr_pretty_(self, printer: _Printer, cycle: bool) -> None:  # noqa: ARG002  # as IPython calls it
        """The screen, at IPython's prompt."""
        printer.text(str(self))


def diagnose(
    target: str | Path | Callable[..., object],
    *,
    budget_s: float = 60.0,
    out: Path | str | None = None,
    input: str | None = None,  # noqa: A002  # the option's own name
    settings: Mapping[str, str] | None = None,
    python: str | None = None,
    seed: int = 0,
    timeout_s: float = 120.0,
    trust: bool = False,
    batch: int = 1,
    length: int | None = None,
    workers: str = THREADS,
    header: Sequence[str] = (),
    method: str | None = None,
    max_rate: str | None = None,
    frames: Mapping[str, str] | None = None,
    limits: Mapping[str, float] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Outcome:
    """Record a target and diagnose it, or diagnose a run folder alone.

    `target` is what one writes on the command line, or a function that can be imported by its name: another process does.
    For a URL, `header` ("Name: value"), `method` and `max_rate` ("50/s") are those of `load`, and `frames` says in which stage of
    the ledger your own libraries' frames belong, by the beginning of their paths (docs/servers.md).
    `budget_s` bounds the whole in seconds, the first calibration of this machine aside. `limits` are numbers to judge by in
    place of those that pinchpoint ships, by name (`pinchpoint explain limits`). Raises PinchpointError where
    there is nothing to diagnose; a run that ended early is diagnosed from what there is, with exit code 3 or 130.
    An interrupt ends the measuring; what was measured is saved and diagnosed all the same.
    """
    judged, target = _limits(limits), named(target)
    if store.is_run(Path(target)):
        run = store.load(Path(target))
        found = _inquired(Kept(run, Path(target)), judged)
        return Outcome(found, Path(target), COMPLETE if answered(found) else INCONCLUSIVE, line_of(run, found))
    spec = TargetSpec("", target, tuple((settings or {}).items()), python, input, trust)
    workload = workload_of(budget_s, seed, timeout_s, batch, length, workers)
    with interrupts_held() as interrupts:
        say = progress or _silent
        asked = _Asked(spec, tuple(header), method, max_rate, tuple((frames or {}).items()))
        kept = _record(asked, workload, Path(out or RUNS), say, partial(_first_verdict, say, judged))
        found = _inquired(kept, judged)
    return _outcome(kept, found, interrupted=interrupts.seen)


def record(
    target: str | Path | Callable[..., object] = "",
    *,
    pid: int | None = None,
    passive: bool = False,
    budget_s: float = 60.0,
    out: Path | str | None = None,
    input: str | None = None,  # noqa: A002  # the option's own name
    settings: Mapping[str, str] | None = None,
    python: str | None = None,
    seed: int = 0,
    timeout_s: float = 120.0,
    trust: bool = False,
    batch: int = 1,
    length: int | None = None,
    workers: str = THREADS,
    header: Sequence[str] = (),
    method: str | None = None,
    max_rate: str | None = None,
    frames: Mapping[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Outcome:
    """Observe a target and write a run folder; `diagnose` it later, anywhere.

    `passive` watches a server that runs, a URL or the process `pid` in place of a target, and sends nothing (docs/servers.md).
    """
    spec = TargetSpec("", named(target), tuple((settings or {}).items()), python, input, trust)
    workload = workload_of(budget_s, seed, timeout_s, batch, length, workers)
    with interrupts_held() as interrupts:
        asked = _Asked(spec, tuple(header), method, max_rate, tuple((frames or {}).items()), pid, passive)
        kept = _record(asked, workload, Path(out or RUNS), progress or _silent, _silent)
    if kept.folder is None and kept.trouble is not None:
        raise kept.trouble
    return _outcome(kept, None, interrupted=interrupts.seen)


@dataclass(frozen=True, slots=True)
class LoadOutcome:
    """What came of `load`: its report, the run folder (None if no disk would take it), the exit code, and a line for stderr.

    `print` shows the screen, a notebook the page.
    """

    report: LoadReport
    folder: Path | None
    exit_code: int
    line: str | None

    def __str__(self) -> str:
        return "\n".join(filter(None, [render_load(self.report), self.line]))

    def _repr_html_(self) -> str:
        return render_load(self.report, "notebook")

    def _repr_markdown_(self) -> str:
        return render_load(self.report, "markdown")

    def _repr_pretty_(self, printer: _Printer, cycle: bool) -> None:  # noqa: ARG002  # as IPython calls it
        printer.text(str(self))


def load(
    options: LoadOptions | str,
    *,
    out: Path | str | None = None,
    limits: Mapping[str, float] | None = None,
    progress: Callable[[str], None] | None = None,
) -> LoadOutcome:
    """Send requests to a server (a URL, one request in flight; or `LoadOptions`) and report what came of them.

    Raises PinchpointError where nothing could be measured; an interrupt ends the sending, and what was measured is saved and
    reported.
    """
    judged = _limits(limits)
    traffic, sending, _ = _meant(LoadOptions(options) if isinstance(options, str) else options)
    now, root = datetime.now().astimezone(), Path(out or RUNS)
    existed = os.path.isdir(root)
    with interrupts_held() as interrupts:
        folder = store.new_folder(root, now)
        try:
            with interrupts_heard():
                naming = engine.Naming(folder.name, now.isoformat(timespec="seconds"), __version__, _environment())
                with overseen(sending.address, (cgroup.CgroupProbe,), cgroup.quota_cpus) as watched:
                    run = engine.drive(traffic, sending, naming, progress or _silent)
                run = replace(run, served=watched.served, telemetry=watched.telemetry)
        except BaseException:
            remove(folder, existed=existed)
            raise
        kept = saved(run, folder, existed=existed)
        report = load_report(run, judged)
    return _load_outcome(kept, report, interrupted=interrupts.seen or run.ended == "interrupted")


def _load_outcome(kept: Kept[LoadRun], report: LoadReport, *, interrupted: bool) -> LoadOutcome:
    line = f"{report.target.uri}: {report.reasons[0].text}." if report.reasons else None
    if interrupted:
        done = sum(level.done for level in report.levels)
        line = (
            f"{report.target.uri}: interrupted after {done:,} requests; what was measured until then is shown and kept."
        )
        return LoadOutcome(report, kept.folder, INTERRUPTED, kept.line(line))
    if kept.folder is None:
        return LoadOutcome(report, None, UNKEPT, kept.line(line))
    return LoadOutcome(report, kept.folder, COMPLETE if report.valid else INCONCLUSIVE, kept.line(line))


def render_load(report: LoadReport, form: str = "terminal") -> str:
    """A report of `load` as terminal, terminal-colour, json, html, markdown or notebook; BadInput for another form."""
    forms = {reporter.name: reporter for reporter in plugins.builtin().load_reporters}
    if form not in forms:
        shown = ", ".join(sorted(forms))
        raise BadInput(what=f"a run of load has no format {form!r}", where="--format", todo=f"Use one of {shown}")
    return forms[form].render(report)


def machine(
    python: str | None = None, *, fresh: bool = False, progress: Callable[[str], None] | None = None
) -> Environment:
    """This machine's ceilings with the interpreter's runtime, and what cannot be observed here; about 15 s the first time."""
    here = _environment()
    most = max(1, int(here.effective_cpus))
    try:
        found, _ = calibration.of_machine(python, here, sorted({1, most}), progress or _silent, fresh=fresh)
    except Ended as ended:
        raise TargetFailed(
            what=f"its onnxruntime could not be measured: {ended}",
            where=python or sys.executable,
            todo="Try it again, or name another interpreter with --python",
        ) from None
    return replace(here, ceilings=found)


def render(diagnosis: Diagnosis, form: str = "terminal") -> str:
    """A diagnosis as `terminal`, `terminal-colour` or `json`, without a closing newline; BadInput for another form."""
    reporters = {reporter.name: reporter for reporter in plugins.builtin().reporters}
    if form not in reporters:
        raise BadInput(what=f"no format is named {form!r}", where="--format", todo=f"Use one of {', '.join(reporters)}")
    return reporters[form].render(diagnosis)


def render_environment(environment: Environment, form: str = "terminal") -> str:
    """What `machine` found, as `terminal` or `json`, without a closing newline."""
    return document(environment) if form == "json" else render_machine(environment)


def report(run: str, format: str = "terminal", limits: Mapping[str, float] | None = None) -> str:  # noqa: A002  # the option's own name
    """A run folder's diagnosis again, in a form that `render` knows, or as `perfetto` the run on a time line."""
    if _is_load(run):
        return render_load(_load_report(run, limits), format)
    kept = Kept(_loaded(run), Path(run))
    traces = {reporter.name: reporter for reporter in plugins.builtin().trace_reporters}
    if format in traces:
        return traces[format].render(tracks(kept.run))
    return render(_inquired(kept, _limits(limits)), format)


def write_page(
    run: str | Path, found: Diagnosis | LoadReport | None = None, limits: Mapping[str, float] | None = None
) -> Path:
    """Write what was found of a run as `report.html` into its folder, made again where it is not given.

    BadInput where it cannot be written, AnalysisFailed where it cannot be drawn; what was there before then stays.
    """
    folder = Path(run)
    if found is None:
        found = (
            _load_report(run, limits) if _is_load(run) else _inquired(Kept(_loaded(str(run)), folder), _limits(limits))
        )
    try:
        text = render_load(found, "html") if isinstance(found, LoadReport) else render(found, "html")
    except Exception as error:
        what = f"the page cannot be drawn: {type(error).__name__}: {error}"
        raise AnalysisFailed(what=what, where=str(folder), todo="The run is kept") from error
    store.write_beside(folder, PAGE, text)
    return folder / PAGE


def _is_load(run: str | Path) -> bool:
    return store.is_run(Path(run)) and store.is_traffic(Path(run))


def _load_report(run: str | Path, limits: Mapping[str, float] | None) -> LoadReport:
    return load_report(store.load_traffic(Path(run)), _limits(limits))


def _loaded(run: str) -> Run:
    if not store.is_run(Path(run)):
        raise BadInput(what="not a run folder", where=run, todo="Name a folder that `pinchpoint diagnose` wrote")
    return store.load(Path(run))


def schema(of: str = "diagnosis") -> str:
    """The JSON Schema of a `diagnosis`, or of what `load` tells."""
    kinds: dict[str, type] = {"diagnosis": Diagnosis, "load": LoadReport}
    if of not in kinds:
        raise BadInput(what=f"nothing is called {of!r}", where="schema", todo=f"Use one of {', '.join(kinds)}")
    return msgspec.json.format(msgspec.json.encode(msgspec.json.schema(kinds[of])), indent=2).decode()


def explain(word: str) -> str:
    """What a cause, bound, state or metric is; BadInput lists near matches for anything else."""
    from pinchpoint.explain import explained

    return explained(word, plugins.builtin(), shipped_limits.shipped())


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be recorded, and of a server how it is asked."""

    spec: TargetSpec
    header: tuple[str, ...]
    method: str | None
    max_rate: str | None
    frames: tuple[tuple[str, str], ...]
    pid: int | None = None
    passive: bool = False


def _record(
    asked: _Asked, workload: Workload, out: Path, progress: Callable[[str], None], glimpse: Callable[[Run], None]
) -> Kept[Run]:
    """Record and save; a failure before the first answer leaves no folder behind."""
    now, uri = datetime.now().astimezone(), asked.spec.uri
    watched = asked.passive or asked.pid is not None
    kind = None if watched else next((t for t in plugins.builtin().targets if t.recognises(uri)), None)
    if kind is None and not watched and "://" not in uri:
        raise unrecognised(uri)
    if kind is not None and (asked.header or asked.method or asked.max_rate):
        raise BadInput(
            what="only a server is asked with them", where="--header, --method, --max-rate", todo="Leave them out"
        )
    existed = os.path.isdir(out)
    folder = store.new_folder(out, now)
    naming = folder.name, now.isoformat(timespec="seconds"), __version__
    try:
        with interrupts_heard():
            if watched:
                run = _of_passive(asked, workload, naming, progress)
            elif kind is None:
                run = _of_service(asked, workload, naming, progress, glimpse)
            else:
                with store.writing(folder):
                    plan: Plan = kind.prepare(replace(asked.spec, kind=kind.kind), workload, folder)
                run = record_run(
                    plan,
                    workload,
                    Conditions(*naming, folder, _environment(), plugins.builtin().probes, progress, glimpse),
                )
    except BaseException:
        remove(folder, existed=existed)
        raise
    for feed in folder.glob("*.npz"):
        feed.unlink(missing_ok=True)
    return saved(run, folder, existed=existed)


def _of_service(
    asked: _Asked, workload: Workload, naming: tuple[str, str, str], progress: Callable[[str], None],
    glimpse: Callable[[Run], None],
) -> Run:  # fmt: skip
    """A run of a live server."""
    spec = asked.spec
    settings = dict(spec.settings)
    metrics, traces = settings.pop("metrics", ""), Traces.to(settings.pop("traces", ""))
    trusted = {name: settings.pop(name) for name in OF_TLS if name in settings}
    if settings:
        todo = "Leave it out; only metrics=URL, traces=FILE, ca=FILE and insecure=yes are for servers"
        raise BadInput(what="a server that runs is not changed", where="--set", todo=todo)
    options = LoadOptions(
        spec.uri, input=(spec.input,) if spec.input else (), header=(*asked.header, *traces.headers), method=asked.method,
        timeout_s=workload.timeout_s, seed=workload.seed, max_rate=asked.max_rate,
    )  # fmt: skip
    traffic, sending, known = _meant(with_settings(options, trusted))
    conditions = record_service.Conditions(
        *naming, _environment(), (cgroup.CgroupProbe, HostProbe, PressureProbe, ToolProbe), cgroup.quota_cpus, asked.frames,
        known.protocol, known.model, progress, glimpse, metrics, traces,
    )  # fmt: skip
    return record_service.record_service(traffic, sending, workload, conditions)


def _of_passive(
    asked: _Asked, workload: Workload, naming: tuple[str, str, str], progress: Callable[[str], None]
) -> Run:
    """A run of a server that nothing is sent to."""
    spec, probes = asked.spec, (cgroup.CgroupProbe, HostProbe, ToolProbe, BacklogProbe)
    sends = bool(spec.input or spec.settings or asked.header or asked.method or asked.max_rate)
    watched = record_passive.meant(spec.uri, asked.pid, passive=asked.passive, sends=sends)
    conditions = record_service.Conditions(
        *naming, _environment(), probes, cgroup.quota_cpus, asked.frames, progress=progress
    )
    return record_passive.record_passive(*watched, workload, conditions)


def _meant(options: LoadOptions) -> tuple[Traffic, Sending, Described]:
    """What is to be sent, and what the server itself told of it."""
    describe = text_generation.described if text_generation.is_generation(options.url) else described
    with tempfile.TemporaryDirectory(prefix="pinchpoint-") as made:
        known = describe(options, Path(made), options.seed)
        return *understood(known.options), known


def _first_verdict(progress: Callable[[str], None], judged: Limits, run: Run) -> None:
    """Say what makes one request slow as soon as that is known; what comes later does not change it."""
    if len(run.requests.index) <= GLIMPSED_REQUESTS:
        with contextlib.suppress(Exception):  # the diagnosis of the whole run will say what is wrong
            found = inquire.inquire(run, plugins.builtin(), judged)
            if found.valid:
                progress(f"first verdict: {found.verdicts['latency'].sentence}")


def _limits(own: Mapping[str, float] | None) -> Limits:
    """The shipped limits with the user's own; BadInput on a name that does not exist."""
    return shipped_limits.overridden(shipped_limits.shipped(), own or {})


def _inquired(kept: Kept[Run], judged: Limits) -> Diagnosis:
    """The diagnosis; a defect of ours in it is said together with where the run is."""
    try:
        return inquire.inquire(kept.run, plugins.builtin(), judged)
    except Exception as error:
        raise AnalysisFailed(
            what=f"the analysis failed with {type(error).__name__}: {error}",
            where=str(kept.folder or kept.run.target.uri),
            todo="The run is kept" if kept.folder else "",
        ) from error


def _environment() -> Environment:
    pid = os.getpid()
    return environment.read(cgroup.quota_cpus(pid), cgroup.memory_limit_bytes(pid))


def _outcome(kept: Kept[Run], found: Diagnosis | None, *, interrupted: bool) -> Outcome:
    """What came of a recording, and of the diagnosis if there was one."""
    line = line_of(kept.run, found)
    if interrupted and kept.run.ended == "complete":
        line = f"{kept.run.target.uri}: interrupted when everything was measured; nothing is lost."
    line = kept.line(line)
    if interrupted or kept.run.ended == "interrupted":
        return Outcome(found, kept.folder, INTERRUPTED, line)
    if kept.folder is None:
        return Outcome(found, None, UNKEPT, line)
    complete = kept.run.ended == "complete" and (found is None or answered(found))
    return Outcome(found, kept.folder, COMPLETE if complete else INCONCLUSIVE, line)


def _silent(_: object) -> None:
    return None

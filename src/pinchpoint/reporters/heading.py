"""The first lines of the screen: what was measured, on what, with which input."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.domain.run import Environment
from pinchpoint.domain.service import ServiceFacts, Wire
from pinchpoint.domain.target import Session, TargetFacts
from pinchpoint.domain.workload import Workload
from pinchpoint.reporters.layout import WIDTH, Line, clean, columns, line, shortened, wrapped
from pinchpoint.units import amount, duration, percent

_LONGEST_NAME = 48
_LONGEST_INPUT = 120
_ONE_AFTER_THE_OTHER = 100  # sessions: nobody keeps so many at once
_PROVIDER_SUFFIX = "ExecutionProvider"


def heading(
    target: TargetFacts, workload: Workload, environment: Environment, service: ServiceFacts | None = None
) -> list[Line]:
    """Two or more lines: the target and its size; where it ran and on what input."""
    name, size, machine, asked = facts(target, workload, environment, service)
    first = wrapped(f"{name}: {size}", indent=2)
    second = f"{machine} {asked}".rstrip()
    rest = [second] if columns(second) <= WIDTH else [machine, asked]
    return [line(first[0], "bold", name), *(line(text) for each in [*first[1:], *rest] for text in wrapped(each))]


def facts(
    target: TargetFacts, workload: Workload, environment: Environment, service: ServiceFacts | None = None
) -> tuple[str, str, str, str]:
    """The target's name, its size, the machine and runtime as a sentence, and what was asked as sentences."""
    if service is not None:
        name = shortened(clean(target.uri), _LONGEST_NAME)
        machine = ", ".join([_server(service), *_machine(target, environment)])
        return name, _software(service), f"{machine}.", _sent(target, service)
    machine = ", ".join([_device(target.sessions), *_machine(target, environment), *_runtime(target)])
    given = [f"Input: {shortened(clean(target.input_text), _LONGEST_INPUT)}."] if target.input_text else []
    batch = [f"Batch {workload.batch}."] if workload.batch > 1 else []
    chosen = [f"With {_settings(target)}."] if target.settings else []
    noted = [f"Note: {clean(note)}." for session in target.sessions for note in session.notes]
    if len(target.sessions) >= _ONE_AFTER_THE_OTHER:
        noted.insert(
            0,
            "Note: sessions are opened one after the other, as if in each request. Open one at the start and keep it.",
        )
    name = shortened(clean(target.uri), _LONGEST_NAME)
    return name, ", ".join(_size(target)), f"{machine}.", " ".join([*given, *batch, *chosen, *noted])


def _software(service: ServiceFacts) -> str:
    """What the server is, as far as it can be told: its framework, and the program that runs it."""
    names = [*service.frameworks[:1], *(each.name for each in service.served.processes[:1])]
    told = [clean(each) for each in dict.fromkeys(names)] or [clean(service.software)] * bool(service.software)
    return ", ".join(told) or "a server of unknown kind"


def _server(service: ServiceFacts) -> str:
    """Its processes and threads."""
    first = next(iter(service.served.processes), None)
    if first is None:
        return clean(f"its processes cannot be seen ({service.served.reason})")
    processes = f"{service.processes} process{'' if service.processes == 1 else 'es'}"
    threads = f", {service.threads} thread{'' if service.threads == 1 else 's'}" if service.threads else ""
    return f"{processes} (pid {first.pid}){threads}"


def _sent(target: TargetFacts, service: ServiceFacts) -> str:
    """What was asked, how much at once, and what that took of our own side; or that nothing was."""
    if service.request_bytes is None or service.answer_bytes is None:
        return "Load: its own; nothing was sent."
    what = f"{service.method} {shortened(clean(target.input_text), _LONGEST_INPUT)}".strip()
    size = f"{amount(service.request_bytes, 'B')}, answer {amount(service.answer_bytes, 'B')}"
    loads = f"{service.loads[0]} to {service.loads[-1]}" if len(service.loads) > 1 else "1"
    used = f"; the client used {percent(service.client_used)} of its ceiling" if service.client_used is not None else ""
    return f"{what}, {size}. Load: ours, {loads} in flight{used}{_away(service.wire)}."


def _away(wire: Wire | None) -> str:
    """How far the server is, and what of our own packets was lost, where it is beyond this machine."""
    if wire is None or not wire.far or wire.round_trip is None:
        return ""
    lost = f", {wire.sent_again} of {wire.segments} packets sent again" if wire.sent_again else ""
    return f"; the way there and back takes {duration(wire.round_trip.value)}{lost}"


def _size(target: TargetFacts) -> Iterator[str]:
    """Parameters, operators and work, as far as they are known."""
    if target.kind == "python":
        yield "Python callable"
    if target.kind == "torch":
        yield f"torch module{''.join(f' ({clean(each.form)})' for each in target.sessions[:1] if each.form)}"
    if target.parameters is not None:
        size = f" ({amount(target.parameter_bytes, 'B')})" if target.parameter_bytes is not None else ""
        yield f"{amount(target.parameters)} parameters{size}"
    if target.operators is not None:
        yield f"{target.operators:,} operator{'' if target.operators == 1 else 's'}"
    if target.flops_per_request is not None:
        yield f"{amount(target.flops_per_request, 'FLOP')} a request"
    if target.kind != "python" and target.parameters is None and target.operators is None:
        yield f"{clean(target.kind)} model"


def _device(sessions: tuple[Session, ...]) -> str:
    """Where the first session runs its operators."""
    provider = next((session.providers[0] for session in sessions if session.providers), "CPU")
    return clean(provider.removesuffix(_PROVIDER_SUFFIX)) or "CPU"


def _machine(target: TargetFacts, environment: Environment) -> Iterator[str]:
    """Threads against the CPUs there are, and what limits them."""
    cpus = f"{environment.affinity} CPU{'' if environment.affinity == 1 else 's'} usable"
    threads = {session.intra_op_threads for session in target.sessions if session.intra_op_threads > 0}
    if len(threads) == 1:
        count = threads.pop()
        yield f"{count} thread{'' if count == 1 else 's'} ({cpus})"
    elif threads:
        yield f"{min(threads)} to {max(threads)} threads ({cpus})"
    else:
        yield cpus
    if environment.quota_cpus is not None:
        yield f"CPU limit {environment.quota_cpus:g}"


def _runtime(target: TargetFacts) -> Iterator[str]:
    """The user's runtime, or the interpreter where no session was seen."""
    versions = sorted({f"{clean(session.runtime)} {clean(session.version)}" for session in target.sessions})
    if versions:
        yield "your " + " and ".join(versions)
        if len(target.sessions) > 1:
            yield f"{len(target.sessions):,} sessions"
    elif target.interpreter:
        yield f"your {shortened(clean(target.interpreter), _LONGEST_NAME)}"


def _settings(target: TargetFacts) -> str:
    """The user's `--set` pairs."""
    return ", ".join(f"{clean(key)}={shortened(clean(value), _LONGEST_NAME)}" for key, value in target.settings)

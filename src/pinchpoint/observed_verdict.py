"""Observed -> what is full under the load that there was, as findings and as the verdict on capacity.

No request was seen, and so no other question is answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pinchpoint import demands
from pinchpoint.capacity import IN_LINE, INNER_FIRST_OF_SERVER, OWN_CAUSE, QUEUE, QUOTA, UNEVEN
from pinchpoint.contracts import SignalSource, Tables
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.observed import Observed, Use
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import Environment, Run
from pinchpoint.domain.signal import Signal, Signals
from pinchpoint.domain.verdict import Measured, Verdict
from pinchpoint.domain.words import CAPACITY_HEADLINE, QUOTA_HEADLINE, RESOURCE_WORDS, STAGE_WORDS, UNEVEN_HEADLINE
from pinchpoint.limits import Limits
from pinchpoint.observed_use import WITH_OTHERS
from pinchpoint.units import percent

NO_REQUEST = "no request was observed"
WITHOUT_REQUESTS = frozenset(  # signals of counters that need none
    {"cgroup.throttled_periods_share", "cpu.foreign_share", "cpu.steal_share", "cpu.idle_share"}
)  # fmt: skip
UNWATCHED = "it could not be watched"
WHAT_TELLS = "pinchpoint diagnose URL sends some and measures them"
SEEN, UNSEEN = "seen", "unseen"
PERCENTILES = ("p50", "p90", "p99")


def measured() -> Measured:
    """Nothing of any request."""
    return Measured(dict.fromkeys(PERCENTILES), None, 0, 0, None, dict.fromkeys(PERCENTILES, NO_REQUEST))


def signals(tables: Tables, found: Observed, sources: Sequence[SignalSource]) -> Signals:
    """Every signal: those of resources from what was in use, those of counters from these, and all others unknown."""
    uses = _used(tables.run, found)
    return Signals({each.name: _signal(tables, uses, each) for each in sources})


def _signal(tables: Tables, uses: Mapping[str, Quantity | str], source: SignalSource) -> Signal:
    value = uses.get(source.name) or (source.measure(tables) if source.name in WITHOUT_REQUESTS else NO_REQUEST)
    if isinstance(value, str):
        return Signal(source.name, source.unit, source.mechanism, None, value)
    return Signal(source.name, source.unit, source.mechanism, value)


def _used(run: Run, found: Observed) -> dict[str, Quantity | str]:
    """How full the fullest resource of each kind is. Where stacks told which threads run a loop, none is one that is not busy: a
    loop that is never idle is not known otherwise.
    """
    cpu = _fullest(found, demands.CPU)
    idle = UNWATCHED if cpu is None else Quantity(1 - cpu.value, 1 - cpu.high, 1 - cpu.low, cpu.n).clipped(0.0, 1.0)
    told = run.service is not None and any(each.python for each in run.service.threads) and len(run.samples.t_ns)
    no_loop = exact(0.0, found.stretches) if told else UNWATCHED
    busy = _processes(found)
    return {
        "capacity.gil_utilization": _fullest(found, demands.GIL) or "no two threads of a process were seen to want it",
        "capacity.lock_utilization": _fullest(found, demands.LOCK) or "no lock of its own code was seen to be waited for",
        "capacity.loop_utilization": _fullest(found, demands.LOOP) or no_loop,
        "capacity.pool_utilization": _fullest(found, demands.POOLS[0]) or "how many workers there are is not known",
        "capacity.busiest_share": busy[-1] if busy else no_loop,
        "capacity.idlest_share": busy[0] if busy else no_loop,
        "capacity.idle_share": idle,
    }  # fmt: skip


def _processes(found: Observed) -> list[Quantity]:
    """How busy processes are of which one has far less to do than another, the idlest first."""
    return sorted((each.used for each in found.uses if kind_of(each) == demands.PROCESS), key=lambda used: used.value)


def _fullest(found: Observed, kind: str) -> Quantity | None:
    mine = (each.used for each in found.uses if kind_of(each) == kind)
    return max(mine, key=lambda used: used.value, default=None)


def kind_of(use: Use) -> str:
    """The kind of a resource, without what it is of."""
    return use.resource.split(" ")[0]


# --- the answers ---------------------------------------------------------------------------------------------------
def verdicts(run: Run, found: Observed, findings: Sequence[Finding], limits: Limits) -> dict[str, Verdict]:
    """One for each question."""
    stages_from = SEEN if found.cpu_time else UNSEEN
    unasked = f"not known: {NO_REQUEST}; {WHAT_TELLS}."
    return {
        "latency": _unknown(unasked, stages_from),
        "capacity": _capacity(run.environment, found, findings, limits, stages_from),
        "tail": _unknown(f"not known: {NO_REQUEST}.", stages_from),
        "startup": _unknown(f"not known: {run.starts_ended}.", stages_from),
    }


def _capacity(
    environment: Environment, found: Observed, findings: Sequence[Finding], limits: Limits, stages_from: str
) -> Verdict:
    """Of what is full the innermost, which explains the others. What was observed once is a hypothesis: no throughput was seen to
    stop growing.
    """
    full = [each for each in found.uses if each.used.low > limits.saturated.value]
    if not full:
        return _unknown(_nothing_full(found, limits), stages_from)
    binding = min(full, key=_order)
    kind = kind_of(binding)
    limited = environment.quota_cpus is not None and environment.quota_cpus < environment.affinity
    cause = (QUOTA if limited else None) if kind == demands.CPU else {**OWN_CAUSE, demands.PROCESS: UNEVEN}[kind]
    others = (f.code for f in findings if f.status == "present" and f.bound != "measurement" and f.code != cause)
    return Verdict(
        bound="cpu" if kind == demands.CPU else "wait",
        where=QUEUE if cause in IN_LINE else next((each.stage for each in found.cpu_time), None),
        cause=cause,
        kind="defect" if cause else None,
        proof="hypothesis",
        share=min(binding.used.value, 1.0),
        headroom=None,
        also=tuple(others),
        stages_from=stages_from,
        sentence=_full(binding, cause, found),
        gain=None,
    )


def _order(use: Use) -> tuple[int, bool, float]:
    kinds = (*INNER_FIRST_OF_SERVER, *demands.POOLS)
    return kinds.index(kind_of(use)), use.resource == WITH_OTHERS, -use.used.value


def _full(binding: Use, cause: str | None, found: Observed) -> str:
    """That a resource is full, and what takes most of the CPUs where these are."""
    if cause == QUOTA:
        return QUOTA_HEADLINE
    if cause == UNEVEN:
        idlest = min(
            (each for each in found.uses if kind_of(each) == demands.PROCESS), key=lambda each: each.used.value
        )
        name = binding.resource[0].upper() + binding.resource[1:]
        return UNEVEN_HEADLINE.format(name=name, other=idlest.resource, idle=1 - idlest.used.value)
    sentence = CAPACITY_HEADLINE[kind_of(binding)].format(name=binding.resource)
    if kind_of(binding) != demands.CPU:
        return sentence
    own = next((each.used.value for each in found.uses if each.resource == demands.CPU), 0.0)
    full = "THE CPUS ARE FULL" if binding.resource == demands.CPU else "THE CPUS ARE FULL with other programs"
    most = next(iter(found.cpu_time), None)
    if most is None:
        return f"{full}: this server has {percent(own)} of them."
    stage = STAGE_WORDS.get(most.stage, most.stage)
    line = f", {most.label}" if most.label else ""
    return (
        f"{full}: this server has {percent(own)} of them, most of it for {stage} ({percent(most.share.value)}{line})."
    )


def _nothing_full(found: Observed, limits: Limits) -> str:
    """What is the busiest, or may be full."""
    most = max(found.uses, key=lambda each: each.used.high, default=None)
    if most is None:
        return "NOTHING COULD BE WATCHED: whether anything is full is not known."
    name = RESOURCE_WORDS.get(kind_of(most), most.resource)
    used = f"{percent(most.used.value)} in use ({percent(most.used.low)} to {percent(most.used.high)})"
    if most.used.high > limits.saturated.value:
        return f"TOO CLOSE TO CALL: {name}, {used}; watch longer with --budget."
    return f"NOTHING IS FULL at the load that there was; busiest: {name}, {used}."


def _unknown(sentence: str, stages_from: str) -> Verdict:
    return Verdict("unknown", None, None, None, None, None, None, (), stages_from, sentence, None)


def unobserved(found: Observed) -> Iterator[tuple[str, str]]:
    """What such a run never shows."""
    yield "requests", f"{NO_REQUEST}: latency, tail and throughput are not known; {WHAT_TELLS}"
    kinds = {kind_of(each) for each in found.uses}
    if demands.POOLS[0] not in kinds:
        yield "workers", "how many requests are served at once at most is known only of processes that serve one each"
    if demands.LOCK not in kinds:
        yield "locks", "none of its own code was seen to be waited for in a few looks at all stacks"

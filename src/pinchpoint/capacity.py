"""Demands + Findings + Predictions -> the Verdict on capacity: which resource stops throughput from growing."""

from __future__ import annotations

from collections.abc import Sequence

from pinchpoint import demands
from pinchpoint.contracts import Tables
from pinchpoint.demands import NEARLY_FULL, kind_of
from pinchpoint.domain.change import Prediction
from pinchpoint.domain.demand import Demand, as_many
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.verdict import Gain, Verdict
from pinchpoint.domain.words import CAPACITY_HEADLINE, QUOTA_HEADLINE, RESOURCE_WORDS, UNEVEN_HEADLINE
from pinchpoint.limits import Limits
from pinchpoint.moments_of_service import spinning_at_rest
from pinchpoint.units import percent
from pinchpoint.verdict import cells, explains, rank

# A resource that is one cause's own; what fills the CPUs or the memory system is told by the ledger.
OWN_CAUSE = {demands.GIL: "W101", demands.LOCK: "W104", demands.LOOP: "W105", **dict.fromkeys(demands.POOLS, "W102")}
# Of several that are full, the first explains the others: whoever holds a lock may wait for the interpreter meanwhile, and a
# worker for the lock, so that those look full as well.
INNER_FIRST = (demands.CPU, demands.DISK, demands.GIL, demands.LOCK)
# Of a server a loop is full only where it computes or blocks by itself: what it holds up is held up by nothing else. What is
# full in one of several processes alike is none of it where another has nothing to do.
INNER_FIRST_OF_SERVER = (demands.CPU, demands.DISK, demands.PROCESS, demands.LOOP, demands.GIL, demands.LOCK)
WORK, QUEUE = ("cpu", "memory", "starved"), "queue"
DRIFT_SAID = 1.15
UNBATCHED, QUOTA, THROUGHPUT, TOO_FEW, UNEVEN = "C113", "C108", "throughput", "W102", "W106"
IN_LINE = (TOO_FEW, UNEVEN)  # whose requests wait before anybody works on them
NOT_TRIED = ("not asked for", "one request in flight was not")


def capacity_verdict(
    tables: Tables, findings: Sequence[Finding], predictions: Sequence[Prediction], limits: Limits
) -> Verdict | None:
    """What stops the target from serving more a second; None where several requests in flight were not measured."""
    full = tables.saturated
    if full is None:
        ended = tables.run.ladder_ended
        return None if ended.startswith(NOT_TRIED) else _unknown(tables, ended)
    binding = _full(tables, full.load, findings, limits) or _binding(tables, full.load, findings, limits)
    if binding is None or not _is_full(tables, binding, findings, limits):
        return _unknown(tables, _nothing_full(tables, binding, limits))
    own = UNEVEN if _idlest(tables, binding) else OWN_CAUSE.get(kind_of(binding))
    own = own or _disk_cause(binding, findings) or _quota(tables, binding)
    work = _work(tables, findings, predictions, limits)
    bound = {demands.DISK: "io", demands.CPU: "cpu"}.get(kind_of(binding), "wait")
    where = next((cell.stage for cell in cells(tables.typical) if cell.state in WORK), None)
    if own is not None:
        where = QUEUE if own in IN_LINE else where
        sure = all(finding.status == "present" for finding in findings if finding.code == own)
        others = list(dict.fromkeys(f.code for f, _ in work))
        return _verdict(tables, binding, own, "defect", bound, where, others, predictions, sure=sure)
    if not work:
        return _verdict(tables, binding, None, None, "cpu", where, [], predictions)
    finding, stage = work[0]
    others = list(dict.fromkeys(f.code for f, _ in work if f is not finding))
    return _verdict(tables, binding, finding.code, finding.kind, finding.bound, stage, others, predictions)


def _full(tables: Tables, load: int, findings: Sequence[Finding], limits: Limits) -> Demand | None:
    """What is full at this load, or else at the lowest higher one that serves as many a second: there more are in line for it."""
    for each in (load, *(rung.load for rung in as_many(tables.rungs) if rung.load > load)):
        found = _binding(tables, each, findings, limits)
        if found is not None and _is_full(tables, found, findings, limits):
            return found
    return None


def _is_full(tables: Tables, each: Demand, findings: Sequence[Finding], limits: Limits) -> bool:
    """Whether a resource is full. CPUs that a quota grants by periods are never used up to the last: they are where requests are
    stopped for it, and most of them is used.
    """
    used = each.utilization
    if used is None:
        return False
    stopped = _quota(tables, each) is not None and any(f.code == QUOTA and f.status == "present" for f in findings)
    return used.low > limits.saturated.value or (stopped and used.value > NEARLY_FULL)


def _binding(tables: Tables, load: int, findings: Sequence[Finding], limits: Limits) -> Demand | None:
    """The innermost of the resources that are full at this load, or else the busiest."""
    mine = [each for each in tables.demands if each.load == load and each.utilization is not None]
    full = [each for each in mine if _is_full(tables, each, findings, limits)]
    cpu, gil = (
        next((each.utilization for each in full if kind_of(each) == kind), None) for kind in (demands.CPU, demands.GIL)
    )
    # Idle threads that spin fill CPUs, and nobody waits for one.
    if cpu and gil and (gil.low > cpu.high or spinning_at_rest(tables.run)):
        full = [each for each in full if kind_of(each) != demands.CPU]
    for kind in INNER_FIRST if tables.run.service is None else INNER_FIRST_OF_SERVER:
        inner = [each for each in full if kind_of(each) == kind]
        if inner:
            return max(inner, key=_used)
    return max(full or mine, key=_used, default=None)


def _disk_cause(binding: Demand, findings: Sequence[Finding]) -> str | None:
    """Reads or writes, whichever holds requests up; None where the resource is no disk."""
    if kind_of(binding) != demands.DISK:
        return None
    present = {finding.code for finding in findings if finding.status == "present"}
    return "I106" if "I106" in present and "I101" not in present else "I101"


def _quota(tables: Tables, binding: Demand) -> str | None:
    """C108 where the CPUs of a server are full because its quota grants fewer than there are."""
    environment = tables.run.environment
    granted = environment.quota_cpus
    limited = tables.run.service is not None and granted is not None and granted < environment.affinity
    return QUOTA if limited and kind_of(binding) == demands.CPU else None


def _idlest(tables: Tables, binding: Demand) -> Demand | None:
    """Of the resources that serve what this one serves, the one with the least to do; None where they all have as much."""
    alike = demands.uneven(tables.run, tables.demands, binding.load)
    return alike[-1] if binding in alike[:-1] else None


def _used(demand: Demand) -> float:
    return demand.utilization.value if demand.utilization else 0.0


def _work(
    tables: Tables, findings: Sequence[Finding], predictions: Sequence[Prediction], limits: Limits
) -> list[tuple[Finding, str]]:
    """The findings that explain where CPU time goes, with their stage: what a batch would share first where that is worth it,
    then those of the largest cells.
    """
    unbatched = [f for f in findings if f.code == UNBATCHED and f.status == "present"]
    found = [(f, "model") for f in unbatched if rank(f, predictions, limits, THROUGHPUT)[0] == 0]
    for cell in cells(tables.typical):
        if cell.state in WORK:
            mine = [f for f in findings if f.status == "present" and explains(f, cell)]
            found += [(f, cell.stage) for f in sorted(mine, key=lambda f: rank(f, predictions, limits))]
    return found


def _verdict(
    tables: Tables, binding: Demand, cause: str | None, kind: str | None, bound: str, where: str | None,
    also: Sequence[str], predictions: Sequence[Prediction], *, sure: bool = True,
) -> Verdict:  # fmt: skip
    used = binding.utilization
    assert used is not None
    complete = tables.run.ladder_ended == "complete"
    headline = _headline(tables, binding, cause)
    return Verdict(
        bound=bound, where=where, cause=cause, kind=kind,
        proof="supported" if complete and cause and sure else "hypothesis",
        share=min(used.value, 1.0), headroom=max(0.0, 1.0 - used.value) if kind == "limit" else None,
        also=tuple(also), stages_from=tables.typical.stages_from,
        sentence=headline + _drift(binding) + _why_processes(tables),
        gain=_gain(predictions, cause),
    )  # fmt: skip


def _headline(tables: Tables, binding: Demand, cause: str | None) -> str:
    idlest = _idlest(tables, binding)
    if idlest is not None:
        name = binding.resource[0].upper() + binding.resource[1:]
        return UNEVEN_HEADLINE.format(name=name, other=idlest.resource, idle=1 - _used(idlest))
    return (
        QUOTA_HEADLINE if cause == QUOTA else CAPACITY_HEADLINE.get(kind_of(binding), "").format(name=binding.resource)
    )


def _why_processes(tables: Tables) -> str:
    failed = tables.run.threads_failed
    return f" Threads cannot serve it: {failed}." if failed else ""


def _drift(binding: Demand) -> str:
    """What company does to the demand, where that is worth saying."""
    drift = binding.drift
    if drift is None or 1 / DRIFT_SAID < drift.value < DRIFT_SAID:
        return ""
    return f" Each request takes {drift.value:.2g} times as much of it as one alone."


def _gain(predictions: Sequence[Prediction], cause: str | None) -> Gain | None:
    """The largest forecast of throughput for the cause."""
    mine = [p for p in predictions if p.change.statistic == THROUGHPUT and p.change.finding == cause]
    best = max(mine, key=lambda p: p.gain.value, default=None)
    if best is None:
        return None
    gain, change = best.gain, best.change
    return Gain(gain.value, gain.low, gain.high, change.words, change.kind, change.statistic, best.load)


def _nothing_full(tables: Tables, busiest: Demand | None, limits: Limits) -> str:
    ended = tables.run.ladder_ended
    if ended != "complete":
        return ended
    used = busiest.utilization if busiest else None
    name = RESOURCE_WORDS.get(kind_of(busiest), busiest.resource) if busiest else ""
    if used is not None and used.value > limits.saturated.value:
        return f"{name} at {percent(used.value)} may be full, or not (from {percent(max(used.low, 0.0))}); a longer run decides"
    seen = f"; the busiest is {name} at {percent(used.value)}" if used else ""
    admitted = _admitted(tables) if used is None or used.high < NEARLY_FULL else ""
    return f"throughput stops growing, and nothing that was watched is full{seen}{admitted}"


def _admitted(tables: Tables) -> str:
    """How many requests are served at a time, were each served as fast as alone (Little 1961, L = X R); nothing where that may be
    as many as are in flight.
    """
    full = tables.saturated
    assert full is not None
    rate, alone = full.throughput_per_s, tables.typical.latency
    low, high = rate.low * alone.low, rate.high * alone.high
    if high >= full.load:
        return ""
    where = "" if tables.run.service is None else " of the server's own, which nobody sees from outside"
    return (
        f". It serves as if {rate.value * alone.value:.2g} ({low:.2g}-{high:.2g}) requests were let in at a time, by a lock, a "
        f"semaphore or a pool{where}"
    )


def _unknown(tables: Tables, why: str) -> Verdict:
    return Verdict(
        "unknown",
        None,
        None,
        None,
        None,
        None,
        None,
        (),
        tables.typical.stages_from,
        f"Not known: {why}.{_why_processes(tables)}",
        None,
    )

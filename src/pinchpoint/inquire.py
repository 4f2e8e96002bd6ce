"""The loop: a run becomes tables, signals, findings, predictions and verdicts. Pure: the same run, the same diagnosis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pinchpoint import copies, observed_verdict, roofline, stats
from pinchpoint.capacity import capacity_verdict
from pinchpoint.contracts import Plugins, Tables
from pinchpoint.counted import queued
from pinchpoint.demands import demands, rungs
from pinchpoint.derive import derive
from pinchpoint.diagnose import diagnose
from pinchpoint.domain.demand import Rung, best, crowding
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.ledger import Ledger
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import Run
from pinchpoint.domain.service import Service, ServiceFacts
from pinchpoint.domain.verdict import Diagnosis, Measured, Verdict
from pinchpoint.domain.words import SIGNAL_WORDS
from pinchpoint.ledger import latency_ledger
from pinchpoint.limits import Limits
from pinchpoint.observed_use import observed
from pinchpoint.pictures import pictures
from pinchpoint.predict import predictions
from pinchpoint.readiness import besides_startup, startup_verdict
from pinchpoint.slow_requests import tail
from pinchpoint.stack_stages import frameworks
from pinchpoint.startup import startup
from pinchpoint.tail import tail_verdict
from pinchpoint.timeline import Steady, steady, typical_of
from pinchpoint.told_stages import lengths
from pinchpoint.verdict import latency_verdict

PERCENTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
FEWEST_AT_A_LENGTH = 4
INVALIDATING = {
    "V101": "the client was the limit",
    "V102": "not steady: latency drifted while it was measured",
    "V103": "instruments contradict each other",
    "V105": "too many requests failed",
}
DISTURBED, NEIGHBOUR, LAWS = "measurement.disturbed_share", "C109", "V103"
OTHERS, THEIR_TIME = "measurement.server_count_disagreement", "measurement.server_time_disagreement"


def inquire(run: Run, plugins: Plugins, limits: Limits) -> Diagnosis:
    """Diagnose a run."""
    if run.service is not None and run.service.stretches:
        return _of_what_was_watched(run, plugins, limits)
    climbed = rungs(run.ladder, run.ladder_crew)
    tables = Tables(run, {"latency": latency_ledger(run)}, demands(run), roofline.sessions(run), climbed, tail(run),
                    startup(run))  # fmt: skip
    signals = derive(tables, plugins.signals)
    findings = diagnose(signals, tables.typical, plugins.detectors, limits)
    foreseen = predictions(tables, findings, plugins.remedies)
    answer = latency_verdict(tables, findings, foreseen, signals, limits)
    verdicts = {"latency": answer, "tail": tail_verdict(tables, findings, foreseen, limits)}
    if (capacity := capacity_verdict(tables, besides_startup(findings), foreseen, limits)) is not None:
        verdicts["capacity"] = capacity
    if (ready := startup_verdict(tables, findings, foreseen, limits)) is not None:
        verdicts["startup"] = ready
    reasons = _reasons(run, findings, answer)
    return Diagnosis(
        run=run.id,
        valid=not reasons,
        reasons=reasons,
        target=run.target,
        workload=run.workload,
        environment=run.environment,
        measured=_measured(run, steady(run)),
        ledger=(*tables.typical.rows, *(tables.tail.ledger.rows if tables.tail and tables.tail.ledger else ())),
        demands=tables.demands,
        verdicts=verdicts,
        findings=findings,
        predictions=foreseen,
        unobservable=_unobservable(run),
        startup=run.startup,
        rungs=tables.rungs,
        pictures=pictures(tables),
        starts=tables.startup,
        copies=copies.summary(run),
        service=_service(run, climbed),
        crowding=crowding(climbed),
    )


def _of_what_was_watched(run: Run, plugins: Plugins, limits: Limits) -> Diagnosis:
    """Diagnose a run in which nothing was sent: what is full, and nothing of any request."""
    nothing = Ledger("latency", "typical", exact(0.0, 0), ())
    found = observed(run)
    signals = observed_verdict.signals(Tables(run, {"latency": nothing}), found, plugins.signals)
    findings = diagnose(signals, nothing, plugins.detectors, limits)
    unseen = (*run.environment.unobservable, *observed_verdict.unobserved(found))
    return Diagnosis(
        run=run.id,
        valid=run.ended == "complete",
        reasons=() if run.ended == "complete" else (f"ended early: {run.ended}",),
        target=run.target,
        workload=run.workload,
        environment=run.environment,
        measured=observed_verdict.measured(),
        ledger=(),
        demands=(),
        verdicts=observed_verdict.verdicts(run, found, findings, limits),
        findings=findings,
        predictions=(),
        unobservable=tuple(f"{what}: {why}" for what, why in unseen),
        service=_service(run, ()),
        observed=found,
    )


def _service(run: Run, climbed: Sequence[Rung]) -> ServiceFacts | None:
    """What is told of a live server."""
    found = run.service
    if found is None:
        return None
    used = [found.client_used, *(visit.client_used for visit in run.ladder)]
    return ServiceFacts(
        served=found.served, method=found.method, software=found.software, protocol=found.protocol,
        frameworks=frameworks(stack.frames for stack in found.stacks),
        processes=len({each.process for each in found.threads}) or len(found.served.processes), threads=len(found.threads),
        request_bytes=None if found.stretches else found.request_bytes,
        answer_bytes=None if found.stretches else found.answer_bytes,
        loads=() if found.stretches else tuple(sorted({1, *(visit.load for visit in run.ladder if visit.load)})),
        client_used=max((each for each in used if each is not None), default=None), round_trip=found.round_trip,
        peers=tuple(each.address for each in found.peers), stream=found.stream, units_per_s=_units(found, climbed),
        counted=found.counted, answered=found.answered, ours=len(run.requests.index), teller=found.teller,
        queued=queued(run.told, run.ladder), wire=found.wire, stages=lengths(run), stages_by=found.stages_by,
    )  # fmt: skip


def _units(service: Service, climbed: Sequence[Rung]) -> Quantity | None:
    """Tokens (or events) a second at the highest throughput, or of one in flight."""
    most = best(climbed)
    return most.throughput_per_s.scaled(service.stream.units) if most and service.stream else None


def _unobservable(run: Run) -> tuple[str, ...]:
    """What could not be seen, each with its reason."""
    unseen = list(run.environment.unobservable)
    if not run.ladder:
        unseen.append(("several requests in flight", run.ladder_ended))
    return tuple(f"{what}: {why}" for what, why in unseen)


def _reasons(run: Run, findings: Sequence[Finding], answer: Verdict) -> tuple[str, ...]:
    """Why the run does not count; empty where it does. A neighbour who takes the CPU is an answer, and disturbs every other."""
    reasons = []
    for finding in findings:
        against = {e.signal.name for e in finding.evidence} if finding.status == "present" else set()
        if DISTURBED in against and answer.cause != NEIGHBOUR:
            reasons.append("the machine is too noisy: requests wait for CPUs that other programs have")
        if OTHERS in against and run.service is not None:
            reasons.append(
                f"other clients load the server: it answered {run.service.answered:,} requests meanwhile, "
                f"{len(run.requests.index):,} of them ours; ask it while they do not, or ask a copy of it"
            )
            against -= {OTHERS, THEIR_TIME}
        if against - {DISTURBED} and finding.code in INVALIDATING:
            words = f": {', '.join(sorted(SIGNAL_WORDS[name] for name in against))}" if finding.code == LAWS else ""
            reasons.append(INVALIDATING[finding.code] + words)
    if run.ended != "complete":
        reasons.insert(0, f"ended early: {run.ended}")
    return tuple(reasons)


def _measured(run: Run, chosen: Steady) -> Measured:
    """Headline figures of the steady requests."""
    latency = run.requests.latency_s[chosen.main]
    found: dict[str, Quantity | None] = {}
    reasons: dict[str, str] = {}
    for name, q in PERCENTILES:
        found[name] = stats.quantile_interval(latency, q)
        if found[name] is None:
            reasons[name] = f"{len(latency)} requests, {stats.samples_needed(q)} are needed"
    typical = run.requests.latency_s[chosen.typical]
    found["typical"] = stats.mean_interval(typical) if len(typical) > 1 else None
    throughput = stats.throughput_interval(run.requests.end_ns[chosen.main] / 1e9) if len(latency) > 2 else None
    return Measured(
        found,
        throughput,
        len(run.requests.index),
        int(np.count_nonzero(~run.requests.ok)),
        _overhead(run, chosen),
        reasons,
        _by_length(run, found["typical"]),
    )


def _by_length(run: Run, first: Quantity | None) -> dict[int, Quantity]:
    """Typical latency at both lengths of a free dimension; empty where there is one length."""
    second = run.requests.latency_s[run.requests.ok & run.requests.second]
    if run.second_length is None or first is None or len(second) < FEWEST_AT_A_LENGTH:
        return {}
    typical = second[typical_of(second)]
    return {run.second_length[0]: first, run.second_length[1]: stats.mean_interval(typical)}


def _overhead(run: Run, chosen: Steady) -> Quantity | None:
    """Relative cost of recording: median latency with everything on over median with everything off, less one."""
    off = chosen.main & run.requests.control
    if min(np.count_nonzero(off), np.count_nonzero(chosen.main & ~off)) < stats.samples_needed(0.9):
        return None
    latency = run.requests.latency_s
    rng = np.random.default_rng(run.workload.seed)
    return stats.arm_difference_interval(latency[chosen.main], ~off[chosen.main], rng)

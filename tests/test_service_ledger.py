"""The ledger of a server whose requests are known by construction: what they spend, what they wait for, and where."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pinchpoint import limits
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import (
    CONTROL,
    DISK,
    FAULT,
    FUTEX,
    IPC,
    NETWORK,
    OBSERVED,
    OTHER,
    PARKED,
    RUNNING,
    SYNC,
    TIMER,
    TOLD,
    Ceiling,
    Requests,
    Samples,
    Spans,
    Telemetry,
    Visit,
)
from pinchpoint.domain.served import Served
from pinchpoint.domain.service import INTERPRETER, SPANS, Counted, Peer, ServerThread
from pinchpoint.inquire import inquire
from pinchpoint.ledger import account, latency_ledger
from pinchpoint.load.crew import ROW
from pinchpoint.moments_of_service import background, every, moments
from pinchpoint.plugins import builtin
from pinchpoint.predict import COLDER_S
from pinchpoint.service_ledger import account_service
from pinchpoint.service_requests import phases_of
from pinchpoint.slow_requests import tail
from pinchpoint.timeline import Steady
from pinchpoint.told_stages import lengths
from served_runs import (
    AT_HOME,
    BEGIN,
    DECODING,
    HANDLER,
    LOOP,
    NS,
    PID,
    RESIZING,
    SECOND,
    SLEEPING,
    THIRD,
    THREADS,
    WORKER,
    a_run,
    a_service,
    alone,
    climbed,
    no_table,
    spent,
    stacks,
)
from served_runs import moments as looked

MS = 1e-3
JSON = stacks([(DECODING, 300), (RESIZING, 100)], [(SLEEPING, 200)])
# Of 10 ms one is on the wire, 5 run (of which 1 for want of a CPU), 4 are slept.
STEPS = [(PARKED, 0.5), (RUNNING, 5), (TIMER, 4), (PARKED, 0.5)]
TYPICAL = {"cpu_s": 4 * MS, "starved_s": 1 * MS}
HELPER, BESIDE = 20, 21
OF_A_RUNTIME = ServerThread(HELPER, PID, "python", "work", python=False)


def cells(ledger):
    """Milliseconds of each cell that is more than 1 % of the latency."""
    found = {}
    for row in ledger.rows:
        key = (row.stage, row.state, row.site, row.label)
        found[key] = found.get(key, 0.0) + row.seconds.value / MS
    return {key: value for key, value in found.items() if abs(value) > ledger.latency.value / MS / 100}


def near(milliseconds, of=10):
    """Within 5 %, and a twohundredth of the latency."""
    return pytest.approx(milliseconds, rel=0.05, abs=0.005 * of)


def test_cells_are_what_was_spent_and_seen():
    """GIVEN 4 ms of CPU, three quarters in json and one in PIL, 1 ms starved, 4 ms slept at line 30 and 1 ms on the wire."""
    ledger = latency_ledger(alone(STEPS, **TYPICAL, **JSON))
    assert ledger.latency.value / MS == pytest.approx(10, rel=0.01)
    assert ledger.stages_from == "seen"
    assert cells(ledger) == {
        ("deserialize", "cpu", "", "app.py:10 handle()"): near(3),
        ("preprocess", "cpu", "", "app.py:20 thumbnail()"): near(1),
        ("framework", "starved", "", ""): near(1),
        ("framework", "wait", "timer", "app.py:30 again()"): near(4),
        ("network", "network", "wire", ""): near(1),
    }
    assert abs(ledger.seconds(state="unexplained")) < 0.02 * ledger.latency.value
    assert sum(row.seconds.value for row in ledger.rows) == pytest.approx(ledger.latency.value, rel=1e-3)
    assert all(row.seconds.low <= row.seconds.value <= row.seconds.high for row in ledger.rows)


@pytest.mark.parametrize(("site", "state", "name"), [
    (TIMER, "wait", "timer"), (FUTEX, "wait", "futex"), (IPC, "wait", "ipc"), (OTHER, "wait", "other"),
    (NETWORK, "network", "network"), (DISK, "disk", "disk"), (SYNC, "disk", "sync"), (FAULT, "disk", "fault"),
])  # fmt: skip
def test_what_a_thread_is_blocked_in_names_its_cell(site, state, name):
    steps = [(PARKED, 1), (RUNNING, 4), (site, 5)]
    ledger = latency_ledger(alone(steps, cpu_s=4 * MS, **JSON))
    assert ledger.seconds("framework", state, name) / MS == near(5)
    assert abs(ledger.seconds(state="unexplained")) < 0.02 * ledger.latency.value


def test_time_in_which_nobody_works_beyond_the_wire_is_a_wait():
    """GIVEN 4 ms in which all threads sit where they sit at rest, 1 ms of it on the wire."""
    ledger = latency_ledger(alone([(PARKED, 4), (RUNNING, 6)], cpu_s=6 * MS, **JSON))
    assert ledger.seconds("framework", "wait", "parked") / MS == near(3)
    assert ledger.seconds("network") / MS == near(1)


def test_threads_that_run_at_once_share_the_time():
    """GIVEN 8 ms of CPU by two threads at once THEN they are 4 ms of latency, and 4 ms beside it."""
    ledger = latency_ledger(alone([(PARKED, 1), (RUNNING, 4), (TIMER, 5)], cpu_s=8 * MS, also_running=True, **JSON))
    assert ledger.seconds(state="cpu") / MS == near(4)
    assert sum(row.overlapped_s for row in ledger.rows) / MS == near(4)
    assert abs(ledger.seconds(state="unexplained")) < 0.02 * ledger.latency.value


def test_threads_that_nobody_saw_share_the_time_too():
    """GIVEN 12 ms of CPU in 4 ms of 10 in which one thread was seen to run THEN they are 4 ms of latency."""
    ledger = latency_ledger(alone([(PARKED, 1), (RUNNING, 4), (TIMER, 5)], cpu_s=12 * MS, **JSON))
    assert ledger.seconds(state="cpu") / MS == near(4)
    assert abs(ledger.seconds(state="unexplained")) < 0.02 * ledger.latency.value


def test_what_programs_compute_that_a_request_starts_is_no_wait():
    """GIVEN 6 ms of CPU, 4 of it in programs that ended since, for which a thread waits 5 ms."""
    run = alone([(PARKED, 1), (RUNNING, 2), (IPC, 7)], cpu_s=6 * MS, **JSON)
    columns = dict(run.telemetry.columns)
    ended = ("process.ended_cpu_s", columns["process.cpu_s"] * 4 / 6)
    run = replace(run, telemetry=replace(run.telemetry, columns=(*run.telemetry.columns, ended)))
    found = cells(latency_ledger(run))
    assert found.pop(("framework", "cpu", "", "programs that it starts")) == near(4)
    assert sum(value for (_, state, *_), value in found.items() if state == "cpu") == near(2)
    assert sum(value for (_, _, site, _), value in found.items() if site == "ipc") == near(3)


def counting(run, **each_request):
    """The run with counters of its processes that rise by so much a request."""
    done = (
        dict(run.telemetry.columns)["process.cpu_s"] / max(dict(run.telemetry.columns)["process.cpu_s"][-1], 1e-9) * 400
    )
    columns = tuple((f"process.{name}", each * done) for name, each in each_request.items())
    return replace(run, telemetry=replace(run.telemetry, columns=(*run.telemetry.columns, *columns)))


@pytest.mark.parametrize(("faults", "system_s", "memory_ms"), [
    (2000, 3 * MS, 2.0),  # at 1 us each
    (9000, 3 * MS, 3.0),  # no more than was spent in the kernel
    (10, 3 * MS, 0.0),    # next to none is no cell of its own
])  # fmt: skip
def test_page_faults_are_memory_and_no_computing(faults, system_s, memory_ms):
    """GIVEN 4 ms of CPU in a request THEN what the kernel takes to get pages is a cell, of all stages alike."""
    run = counting(alone(STEPS, **TYPICAL, **JSON), minor_faults=faults, major_faults=0, system_s=system_s)
    fault = Ceiling("fault_s", Quantity(1e-6, 0.9e-6, 1.1e-6, 7), "s", "kernel", 1)
    ledger = latency_ledger(replace(run, environment=replace(run.environment, ceilings=(fault,))))
    assert ledger.seconds(state="memory", site="fault") / MS == near(memory_ms)
    assert ledger.seconds(state="cpu") / MS == near(4 - memory_ms)
    assert ledger.seconds("deserialize", "memory") == pytest.approx(
        3 * ledger.seconds("preprocess", "memory"), rel=0.05
    )
    assert abs(ledger.seconds(state="unexplained")) < 0.02 * ledger.latency.value


def test_page_faults_whose_cost_is_not_known_stay_in_the_cpu_time():
    run = counting(alone(STEPS, **TYPICAL, **JSON), minor_faults=2000, system_s=3 * MS)
    assert latency_ledger(run).seconds(state="memory") == 0


@pytest.mark.parametrize(("pressed", "status"), [(0.0, "present"), (0.5, "absent")])
def test_reads_from_disk_are_named_by_what_the_processes_count(pressed, status):
    """GIVEN half of the time in reads, and no page that came back THEN it is the disk; where pages come back and memory is
    short, it is that.
    """
    run = alone([(PARKED, 1), (RUNNING, 4), (DISK, 5)], cpu_s=4 * MS, **JSON)
    run = counting(run, major_faults=20 * pressed, minor_faults=0, system_s=0)
    seconds = (run.telemetry.t_ns - run.telemetry.t_ns[0]) / 1e9
    stalled = ("pressure.memory_some_s", pressed * seconds)
    run = replace(run, telemetry=replace(run.telemetry, columns=(*run.telemetry.columns, stalled)))
    found = inquire(run, builtin(), limits.shipped())
    assert next(each.status for each in found.findings if each.code == "I101") == status


def busy_at_rest(run, share):
    """The run with a thread of the background that runs in this share of the looks, as it did while nothing was asked."""
    t = np.unique(run.samples.t_ns)
    rest = BEGIN - 2 * NS + np.arange(200) * (NS // 100)
    at = np.concatenate([rest, t])
    runs = np.where(np.arange(len(at)) % 100 < 100 * share, RUNNING, PARKED)
    more = looked(at, {THIRD: runs})
    both = Samples(*(np.concatenate([getattr(more, n), getattr(run.samples, n)]) for n in Samples.__slots__))
    order = np.argsort(both.t_ns, kind="stable")
    idle = Visit(0, BEGIN - 2 * NS, BEGIN, 0, 0, 2 * share, 0.0, ())
    samples = Samples(*(getattr(both, n)[order] for n in Samples.__slots__))
    return replace(run, samples=samples, ladder=(idle,))


def test_a_thread_that_always_computes_does_not_work_on_requests():
    """GIVEN a thread that computes with and without requests, while these wait 5 ms for the interpreter THEN that is a wait."""
    run = alone([(PARKED, 1), (RUNNING, 4), (FUTEX, 5)], cpu_s=14 * MS, **JSON)
    waits = run.samples.site == FUTEX
    run = replace(run, samples=replace(run.samples, place=np.where(waits, INTERPRETER, run.samples.place)))
    ledger = latency_ledger(busy_at_rest(run, 1.0))
    assert ledger.seconds("framework", "wait", "gil") / MS == near(5)
    assert ledger.seconds(state="cpu") / MS == near(4)
    assert abs(ledger.seconds(state="unexplained")) < 0.05 * ledger.latency.value


def test_a_thread_that_computes_now_and_then_is_none_of_the_background():
    run = busy_at_rest(alone([(PARKED, 1), (RUNNING, 4), (FUTEX, 5)], cpu_s=4 * MS, **JSON), 0.2)
    assert background(run) == []


def test_cpu_that_is_spent_without_requests_is_not_theirs():
    """GIVEN a server that takes 0.2 CPUs at rest THEN 2 ms of the 6 ms that pass in a request of 10 ms are not its own."""
    idle = climbed((0, {})).ladder
    run = alone([(PARKED, 1), (RUNNING, 4), (TIMER, 5)], cpu_s=6 * MS, **JSON)
    run = replace(run, ladder=tuple(replace(each, cpu_s=0.2 * each.seconds) for each in idle))
    assert latency_ledger(run).seconds(state="cpu") / MS == near(4)


def test_slow_requests_have_cells_of_their_own():
    """GIVEN that every fourth request computes 4 ms more and sleeps 6 ms more THEN these are its cells, and not the others'."""
    more = [(PARKED, 0.5), (RUNNING, 8), (TIMER, 11), (PARKED, 0.5)]
    run = alone([(PARKED, 0.5), (RUNNING, 4), (TIMER, 5), (PARKED, 0.5)], slow=more, slow_every=4, cpu_s=5 * MS, **JSON)
    answered = np.ones(400, dtype=bool)
    slow = np.arange(400) % 4 == 3
    for chosen, latency, cpu, timer in ((slow, 20, 8, 11), (~slow, 10, 4, 5)):
        ledger = account(run, Steady(answered, chosen, 0), "slow", operators=False)
        assert ledger.latency.value / MS == pytest.approx(latency, rel=0.01)
        assert ledger.seconds(state="cpu") / MS == near(cpu, latency)
        assert ledger.seconds(state="wait") / MS == near(timer, latency)
        assert {row.requests for row in ledger.rows} == {"slow"}


@pytest.mark.parametrize(("queued_ms", "parked_ms", "timer_ms"), [
    (0, 2, 4),
    (1.5, 0.5, 4),  # first where nobody works on the request
    (3, 0, 3),
    (8, 0, 0),  # the server says more than was seen: the rest is negative
])  # fmt: skip
def test_what_the_server_counts_as_queued_is_taken_from_waits(queued_ms, parked_ms, timer_ms):
    """GIVEN 3 ms in which nobody works, 1 ms of it on the wire, and 4 ms of a timer."""
    steps = [(PARKED, 3), (RUNNING, 3), (TIMER, 4)]
    counted = (Counted("queue", 400, 400 * queued_ms * MS), Counted("compute", 400, 1.0))
    ledger = latency_ledger(alone(steps, cpu_s=3 * MS, counted=counted))
    assert ledger.seconds("queue", "wait", "queue") / MS == near(queued_ms)
    assert ledger.seconds("framework", "wait", "parked") / MS == near(parked_ms)
    assert ledger.seconds("framework", "wait", "timer") / MS == near(timer_ms)
    assert ledger.seconds(state="unexplained") / MS == pytest.approx(min(6 - queued_ms, 0), abs=0.3)


def test_the_server_s_own_row_has_the_interval_and_the_count_of_its_readings():
    queue = Counted("queue", 400, 0.8, Quantity(2 * MS, 1.9 * MS, 2.2 * MS, 400))
    ledger = latency_ledger(alone([(PARKED, 4), (RUNNING, 6)], cpu_s=6 * MS, counted=(queue,)))
    (row,) = [row for row in ledger.rows if row.stage == "queue"]
    assert (row.seconds, row.source) == (queue.mean, "the server's counters")


# --- what was not seen ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("change", [
    {"telemetry": Telemetry.nothing()},
    {"telemetry": Telemetry(BEGIN + np.arange(50) * 10**8, ())},
    {"samples": Samples(*no_table(5))},
])  # fmt: skip
def test_without_clocks_or_looks_all_but_the_wire_is_unexplained(change):
    ledger = latency_ledger(replace(alone(STEPS, **TYPICAL, **JSON), **change))
    assert ledger.seconds("network") / MS == near(1)
    assert ledger.seconds(state="unexplained") / MS == near(9)
    assert {row.state for row in ledger.rows} == {"network", "unexplained"}


def test_without_even_a_server_to_compare_with_all_is_unexplained():
    run = alone(STEPS, **TYPICAL, round_trip=None)
    ledger = latency_ledger(replace(run, telemetry=Telemetry.nothing()))
    assert [(row.state, row.share) for row in ledger.rows] == [("unexplained", pytest.approx(1))]


def test_a_server_that_tells_nothing_has_one_place_inside():
    """GIVEN a server that is no Python THEN its CPU time and its waits are known, and not whose they are."""
    ledger = latency_ledger(alone(STEPS, **TYPICAL))
    assert ledger.stages_from == "unseen"
    assert cells(ledger) == {
        ("framework", "cpu", "", "inside the server"): near(4),
        ("framework", "starved", "", ""): near(1),
        ("framework", "wait", "timer", ""): near(4),
        ("network", "network", "wire", ""): near(1),
    }


def streamed(run, first):
    """The same run with answers that come as streams, whose first event comes after this share of a request."""
    requests = run.requests
    first_ns = requests.start_ns + (first * (requests.end_ns - requests.start_ns)).astype(np.int64)
    rows = np.zeros(len(requests.index), ROW)
    for name, values in (
        ("due_ns", requests.start_ns),
        ("first_ns", first_ns),
        ("done_ns", requests.end_ns),
        ("events", 9),
    ):
        rows[name] = values
    return replace(run, spans=phases_of([(rows, OBSERVED)]), span_names=SPANS)


def test_what_is_computed_for_a_stream_is_told_apart_by_its_first_event():
    """GIVEN 2 ms of CPU before the first event and 4 ms after it, and a lock of 2 ms at the end THEN each is a phase's."""
    run = alone([(RUNNING, 6), (FUTEX, 2), (PARKED, 2)], cpu_s=6e-3, round_trip=exact(2e-3, 50))
    ledger = latency_ledger(streamed(run, 0.2))
    assert cells(ledger) == {
        ("model", "cpu", "", "prefill"): near(2),
        ("model", "cpu", "", "decode"): near(4),
        ("model", "wait", "futex", "decode"): near(2),
        ("network", "network", "wire", ""): near(2),
    }
    assert ledger.stages_from == "unseen"


def test_what_python_executes_goes_before_the_phases_of_a_stream():
    ledger = latency_ledger(streamed(alone(STEPS, **TYPICAL, **JSON), 0.2))
    assert ledger.seconds("deserialize", "cpu") / MS == near(3)
    assert ledger.seconds("model") == 0


def test_stages_that_cannot_be_seen_are_not_ruled_out():
    """GIVEN a server that computes most of the time, unseen THEN no stage is absent; with nearly no CPU time all are."""
    codes = ("C101", "C102", "C103", "C104", "M101")
    for cpu_s, status in ((4e-3, "unknown"), (5e-6, "absent")):
        run = alone([(RUNNING, 1e3 * cpu_s), (TIMER, 6)], cpu_s=cpu_s, round_trip=exact(1e-5, 50))
        found = {each.code: each.status for each in inquire(run, builtin(), limits.shipped()).findings}
        assert {found[code] for code in codes} == {status}, cpu_s


def beside_java(every, at_once, **service):
    """5 ms of each request on a CPU, of which a Java program has `every` moment but one of so many, or runs beside Python."""
    threads = (ServerThread(WORKER, PID, "python", python=True), ServerThread(SECOND, PID + 1, "java", python=False))
    made = {"threads": threads, **JSON, **service}
    run = alone([(RUNNING, 5), (TIMER, 5)], cpu_s=5 * MS, also_running=at_once, **made)
    samples = run.samples
    moved = (samples.thread == WORKER) & (samples.site == RUNNING) & (np.arange(len(samples.thread)) // 2 % every > 0)
    return replace(run, samples=replace(samples, thread=np.where(moved, SECOND, samples.thread)))


def test_what_a_program_without_python_computes_is_none_of_pythons_stages():
    """GIVEN 5 ms of latency on a CPU, 4 of them a Java program's THEN these are inside the server, and may be any stage's."""
    run = beside_java(5, at_once=False)
    ledger = latency_ledger(run)
    computed = {(stage, label): value for (stage, state, _, label), value in cells(ledger).items() if state == "cpu"}
    assert computed["framework", "inside the server"] == near(4)
    assert ledger.seconds("deserialize", "cpu") / MS == near(0.75)
    found = {each.code: each.status for each in inquire(run, builtin(), limits.shipped()).findings}
    assert (found["C102"], found["C103"], found["C104"]) == ("unknown",) * 3


def test_helpers_that_spin_meanwhile_are_no_part_of_python():
    """GIVEN the same, and a helper of Python's that spins for the other 5 ms THEN the Java program has 4 of those 5 still."""
    run = with_helper(beside_java(5, at_once=False), spins_at=TIMER)
    ledger = latency_ledger(replace(run, telemetry=spent(run.requests.start_ns, run.requests.end_ns, 10 * MS, 0.0)))
    assert ledger.seconds("deserialize", "cpu") / MS == near(0.75)
    assert sum(row.seconds.value for row in ledger.rows if row.label == "inside the server") / MS == near(4)


def with_helper(run, *, spins_at):
    """The run with a helper of Python's that runs whenever any thread of the server is at one of some sites."""
    samples = run.samples
    t = np.unique(samples.t_ns)
    spins = np.isin(t, samples.t_ns[np.isin(samples.site, spins_at)])
    more = looked(t, {HELPER: np.where(spins, RUNNING, PARKED)})
    both = Samples(*(np.concatenate([getattr(samples, n), getattr(more, n)]) for n in Samples.__slots__))
    order = np.argsort(both.t_ns, kind="stable")
    service = replace(run.service, threads=(*run.service.threads, OF_A_RUNTIME))
    return replace(run, samples=Samples(*(getattr(both, n)[order] for n in Samples.__slots__)), service=service)


def test_a_program_that_runs_beside_python_has_no_part_of_the_request():
    """GIVEN a compiler or a collector that runs whenever Python does THEN Python has all of the latency."""
    ledger = latency_ledger(beside_java(1, at_once=True))
    assert ledger.seconds("deserialize", "cpu") / MS == near(2.5 * 0.75)
    assert not [row for row in ledger.rows if row.label == "inside the server"]


def test_where_not_all_programs_with_python_are_known_python_has_all_of_it():
    looks = tuple(replace(look, processes=2) for look in JSON["looks"])
    ledger = latency_ledger(beside_java(5, at_once=False, looks=looks))
    assert ledger.seconds("deserialize", "cpu") / MS == near(5 * 0.75)


def test_a_few_stacks_tell_no_stages():
    ledger = latency_ledger(alone(STEPS, **TYPICAL, **stacks([(DECODING, 10)])))
    assert ledger.seconds("deserialize") == 0
    assert ledger.seconds("framework", "cpu") / MS == near(4)


def test_a_service_that_is_awaited_is_named_where_no_line_of_the_server_is():
    steps = [(PARKED, 1), (RUNNING, 4), (NETWORK, 5)]
    peers = (Peer("10.0.0.1:5432", 400, 1000), Peer("10.0.0.2:80", 1, 1000))
    named = {row.label for row in latency_ledger(alone(steps, cpu_s=4 * MS, peers=peers)).rows if row.site == "network"}
    assert named == {"10.0.0.1:5432"}
    seen = latency_ledger(alone(steps, cpu_s=4 * MS, peers=peers, **JSON))
    assert {row.label for row in seen.rows if row.site == "network"} == {"app.py:30 again()"}


def test_what_the_user_says_of_a_library_is_its_stage():
    of_mine = (*HANDLER, "site|mylib/tokens.py|3|encode")
    frames = (("mylib/tokens", "preprocess"),)
    ledger = latency_ledger(alone(STEPS, **TYPICAL, **stacks([(of_mine, 300)]), frames=frames))
    assert ledger.seconds("preprocess", "cpu") / MS == near(4)


def test_many_lines_are_shown_as_the_largest_and_their_rest():
    lines = [((*HANDLER, f"own|app.py|{number}|resize"), 10 * number) for number in range(1, 11)]
    ledger = latency_ledger(alone(STEPS, **TYPICAL, **stacks(lines)))
    labels = [row.label for row in ledger.rows if row.stage == "preprocess"]
    assert len(labels) == 7
    assert "" in labels
    assert ledger.seconds("preprocess", "cpu") / MS == near(4)


def test_where_threads_are_at_rest_is_no_place_of_a_request():
    """GIVEN an idle worker in each look, more often than the one that sleeps THEN nothing is said to wait there."""
    label = "concurrent/futures/thread.py _worker()"
    rows = latency_ledger(alone(STEPS, **TYPICAL, **JSON)).rows
    assert not any(label in row.label for row in rows)
    assert AT_HOME in {stack.frames for stack in JSON["stacks"]}


def test_one_answer_is_enough_for_a_ledger():
    run = alone(STEPS, requests=1, **TYPICAL)
    one = np.ones(1, dtype=bool)
    ledger = account_service(run, Steady(one, one, 0), "typical")
    assert ledger.latency.value / MS == pytest.approx(10, rel=0.02)


def test_requests_that_nobody_watched_are_left_out_of_the_looks():
    """GIVEN that each fourth request is the control arm, during which nobody looked THEN shares are of the others' moments."""
    run = alone(STEPS, **TYPICAL, **JSON)
    control = np.arange(400) % 4 == 3
    requests = replace(run.requests, flags=np.where(control, CONTROL, run.requests.flags))
    of = np.searchsorted(requests.start_ns, run.samples.t_ns, side="right") - 1
    kept = ~control[of]
    samples = Samples(*(getattr(run.samples, name)[kept] for name in Samples.__slots__))
    ledger = latency_ledger(replace(run, requests=requests, samples=samples))
    assert ledger.seconds("framework", "wait") / MS == near(4)
    assert ledger.seconds(state="cpu") / MS == near(4)


# --- moments -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("sites", "named", "running"), [
    ([PARKED, PARKED], PARKED, 0),
    ([PARKED, RUNNING], RUNNING, 1),
    ([RUNNING, RUNNING], RUNNING, 2),
    ([TIMER, RUNNING], RUNNING, 1),  # who runs names the moment, whoever waits
    ([FUTEX, TIMER], TIMER, 0),  # who waits for a lock waits for the one that sleeps
    ([FUTEX, NETWORK], NETWORK, 0),
    ([FUTEX, IPC], IPC, 0),
    ([FUTEX, PARKED], FUTEX, 0),
    ([TIMER, NETWORK], NETWORK, 0),
    ([NETWORK, SYNC], SYNC, 0),
    ([SYNC, DISK], DISK, 0),
    ([FAULT, DISK], FAULT, 0),
    ([OTHER, FUTEX], FUTEX, 0),
    ([OTHER, PARKED], OTHER, 0),
    ([FUTEX, TIMER, RUNNING, PARKED], RUNNING, 1),
])  # fmt: skip
@pytest.mark.parametrize("turned", [False, True])
def test_what_a_moment_shows(sites, named, running, turned):
    sites = sites[::-1] if turned else sites
    t = BEGIN + np.arange(3)
    found = every(a_run(looked(t, dict(enumerate(sites, 100)))))
    assert found.t_ns.tolist() == t.tolist()
    assert found.site.tolist() == [named] * 3
    assert found.running.tolist() == [running] * 3


@pytest.mark.parametrize(("columns", "named", "running", "spun"), [
    ({WORKER: TIMER}, TIMER, 0, 1),  # whatever it computes, the request sleeps
    ({WORKER: NETWORK}, NETWORK, 0, 1),
    ({WORKER: SYNC}, SYNC, 0, 1),
    ({WORKER: DISK}, DISK, 0, 1),
    ({WORKER: FAULT}, FAULT, 0, 1),
    ({0: NETWORK}, NETWORK, 0, 1),  # a coroutine awaits another service
    ({WORKER: FUTEX}, RUNNING, 1, 0),  # which waits for it
    ({WORKER: IPC}, RUNNING, 1, 0),
    ({WORKER: OTHER}, RUNNING, 1, 0),
    ({WORKER: RUNNING, SECOND: TIMER}, RUNNING, 2, 0),
    ({WORKER: TIMER, SECOND: FUTEX}, RUNNING, 1, 0),
    ({WORKER: PARKED}, RUNNING, 1, 0),  # a coroutine may await it
    ({BESIDE: TIMER}, TIMER, 0, 1),  # of another process
    ({BESIDE: FUTEX, WORKER: TIMER}, TIMER, 0, 1),
])  # fmt: skip
def test_helpers_that_spin_work_on_nothing(columns, named, running, spun):
    threads = (*THREADS, OF_A_RUNTIME, ServerThread(BESIDE, PID + 1, "python", "work", python=True))
    run = a_run(looked(BEGIN + np.arange(3), {HELPER: RUNNING, **columns}), service=a_service(threads=threads))
    found = every(run)
    assert (set(found.site), set(found.running), set(found.spun)) == ({named}, {running}, {spun})


@pytest.mark.parametrize("changes", [{"python": None}, {"python": True}, {"process": PID + 1}])
def test_who_is_no_helper_of_pythons_computes(changes):
    """GIVEN one of whom nobody knows, one of Python's, and a process without Python."""
    threads = (*THREADS, replace(OF_A_RUNTIME, **changes))
    run = a_run(looked(BEGIN + np.arange(3), {HELPER: RUNNING, WORKER: TIMER}), service=a_service(threads=threads))
    assert set(every(run).site) == {RUNNING}


@pytest.mark.parametrize(("looks", "named"), [(3, PARKED), (2, RUNNING)])
def test_a_helper_that_was_seen_to_spin_at_rest_does_so_on_the_way_too(looks, named):
    """GIVEN one that runs while all others are at rest THEN it spins if it did so without any request."""
    rest = BEGIN - NS + np.arange(50) * (NS // 100)
    t = np.concatenate([rest, BEGIN + np.arange(3)])
    runs = np.where((np.arange(len(t)) < looks) | (t >= BEGIN), RUNNING, PARKED)
    service = a_service(threads=(*THREADS, OF_A_RUNTIME))
    idle = Visit(0, BEGIN - NS, BEGIN, 0, 0, 0.0, 0.0, ())
    found = every(a_run(looked(t, {HELPER: runs, WORKER: PARKED}), service=service, ladder=(idle,)))
    assert set(found.site[found.t_ns >= BEGIN]) == {named}


def test_what_helpers_spin_is_neither_computing_nor_waiting_for_a_cpu():
    """GIVEN 4 ms of 10 ms that are slept while a helper spins, as it does while another thread computes THEN they are slept."""
    run = alone(STEPS, cpu_s=12 * MS, starved_s=2 * MS, **JSON)
    ledger = latency_ledger(with_helper(run, spins_at=(RUNNING, TIMER)))
    assert ledger.seconds("framework", "wait", "timer") / MS == near(4)
    # Of 14 ms of threads that ran, or would have, 4 were spun; the others two at a time.
    assert (ledger.seconds(state="cpu") + ledger.seconds(state="starved")) / MS == near(5)
    assert abs(ledger.seconds(state="unexplained")) < 0.05 * ledger.latency.value


def test_what_runs_at_once_is_told_of_the_requests_that_the_clocks_count():
    """GIVEN slow requests in which two threads compute, three of ten, THEN a typical one has its own part of the CPU time."""
    run = alone([(RUNNING, 10)], cpu_s=13 * MS, starved_s=0.0)
    t = run.samples.t_ns
    number = np.searchsorted(run.requests.end_ns, t, side="right")
    second = (number % 10 < 3) & (run.samples.thread == LOOP)
    at_once = replace(run, samples=replace(run.samples, site=np.where(second, RUNNING, run.samples.site)))
    chosen = Steady(np.ones(400, bool), np.arange(400) % 10 >= 3, 0)
    assert account_service(at_once, chosen, "typical").seconds("framework", "cpu") / MS == near(10)


def test_what_was_spent_before_the_server_was_warm_is_not_counted():
    """GIVEN 10 ms of CPU in each of the first 100 requests and 4 ms in the others THEN these have 4 ms."""
    run = alone([(RUNNING, 4), (PARKED, 6)], cpu_s=4 * MS)
    started = np.minimum(np.interp(run.telemetry.t_ns, run.requests.end_ns, np.arange(400)), 100)
    columns = (("process.cpu_s", run.telemetry.column("process.cpu_s") + 6 * MS * started), run.telemetry.columns[1])
    warm = np.arange(400) >= 100
    cold = replace(run, telemetry=replace(run.telemetry, columns=columns))
    assert account_service(cold, Steady(warm, warm, 100), "typical").seconds("framework", "cpu") / MS == near(4)


def test_each_moment_is_its_own():
    t = BEGIN + np.arange(4)
    found = every(a_run(looked(t, {WORKER: [RUNNING, TIMER, PARKED, FUTEX], LOOP: [PARKED, PARKED, PARKED, RUNNING]})))
    assert found.site.tolist() == [RUNNING, TIMER, PARKED, RUNNING]
    assert found.share(RUNNING).value == 0.5
    assert found.parallelism == 1.0


def test_how_many_run_at_once_while_any_does():
    t = BEGIN + np.arange(4)
    columns = {WORKER: [RUNNING, RUNNING, PARKED, TIMER], SECOND: [RUNNING, PARKED, PARKED, PARKED]}
    found = every(a_run(looked(t, columns)))
    assert found.parallelism == 1.5
    assert every(a_run(looked(t, {WORKER: PARKED}))).parallelism == 1.0


def test_moments_inside_of_chosen_requests():
    """GIVEN requests from 10 to 20 and from 20 to 30, the second chosen THEN its begin is inside and its end is not."""
    requests = Requests(np.arange(2), BEGIN + np.array([10, 20]), BEGIN + np.array([20, 30]), np.zeros(2, np.int64))
    t = BEGIN + np.array([5, 10, 19, 20, 29, 30, 35])
    run = a_run(looked(t, {WORKER: RUNNING}), requests)
    assert (moments(run, np.array([False, True])).t_ns - BEGIN).tolist() == [20, 29]
    assert (moments(run, np.array([True, True])).t_ns - BEGIN).tolist() == [10, 19, 20, 29]
    assert len(moments(run, np.array([False, False])).t_ns) == 0
    assert len(moments(a_run(Samples(*no_table(5)), requests), np.array([True, True])).t_ns) == 0


# --- verdicts ------------------------------------------------------------------------------------------------------
SENDING = [(PARKED, 0.5), (RUNNING, 9), (PARKED, 0.5)]


@pytest.mark.parametrize(("steps", "cpu_ms", "service", "cause", "bound"), [
    ([(PARKED, 1), (RUNNING, 2), (TIMER, 7)], 2, stacks([(DECODING, 60)], [(SLEEPING, 300)]), "W110", "wait"),
    (SENDING, 9, stacks([(DECODING, 400), (RESIZING, 20)]), "C104", "cpu"),
    (SENDING, 9, stacks([(DECODING, 20), (RESIZING, 400)]), "C102", "cpu"),
    ([(PARKED, 1), (RUNNING, 2), (NETWORK, 7)], 2, {"peers": (Peer("10.0.0.1:80", 700, 1000),)}, "I105", "io"),
])  # fmt: skip
def test_verdicts(steps, cpu_ms, service, cause, bound):
    found = inquire(alone(steps, cpu_s=cpu_ms * MS, **service), builtin(), limits.shipped())
    assert found.verdicts["latency"].cause == cause
    assert found.verdicts["latency"].bound == bound
    assert {each.code for each in found.findings if each.status == "present"} >= {cause}
    assert found.reasons == ()


CALLING = (*HANDLER, "std|urllib/request.py|216|urlopen")


@pytest.mark.parametrize(("busy_at", "left_ms"), [(CALLING, 1), (RESIZING, 3 - 7 / 20 * 1e3 * COLDER_S)])
def test_without_a_call_what_its_line_computes_is_gone_too(busy_at, left_ms):
    """GIVEN 7 ms of waiting and 2 ms of CPU, at the line that calls or elsewhere, and 1 ms on the wire, which stays."""
    peers = (Peer("10.0.0.1:80", 700, 1000),)
    made = stacks([(busy_at, 60)], [(CALLING, 300)])
    run = alone([(PARKED, 1), (RUNNING, 2), (NETWORK, 7)], cpu_s=2 * MS, peers=peers, **made)
    (bound,) = [p for p in inquire(run, builtin(), limits.shipped()).predictions if p.change.remedy == "avoid-call"]
    assert bound.after.value / MS == near(left_ms)


def test_the_wire_is_no_other_service():
    run = alone([(PARKED, 3), (RUNNING, 6), (PARKED, 1)], cpu_s=6 * MS, round_trip=exact(4 * MS, 50), **stacks())
    found = inquire(run, builtin(), limits.shipped())
    assert next(each.status for each in found.findings if each.code == "I105") == "absent"


def test_facts_of_the_server():
    service = stacks([(DECODING, 400)])
    found = inquire(alone(SENDING, cpu_s=9 * MS, **service), builtin(), limits.shipped()).service
    assert (found.software, found.method, found.frameworks) == ("uvicorn", "POST", ("FastAPI",))
    assert (found.processes, found.threads, found.loads) == (1, 5, (1,))
    assert found.client_used == pytest.approx(0.01)
    assert found.round_trip == a_service().round_trip
    assert found.peers == ()


def test_a_client_that_is_the_limit_invalidates():
    made = alone(SENDING, cpu_s=9 * MS, client_used=0.9, **stacks([(DECODING, 400)]))
    found = inquire(made, builtin(), limits.shipped())
    assert not found.valid
    assert any("client" in reason for reason in found.reasons)


def test_a_round_trip_as_long_as_the_latency_is_the_network():
    run = alone([(PARKED, 10)], cpu_s=0.0001, round_trip=exact(9.5 * MS, 50), **stacks())
    ledger = latency_ledger(run)
    assert ledger.seconds("network") / MS == near(9.5)
    assert abs(ledger.seconds(state="unexplained")) < 0.05 * ledger.latency.value


@pytest.mark.parametrize(("every_ms", "told"), [(5.0, False), (0.2, True)])
def test_too_few_moments_in_slow_requests_tell_nothing(every_ms, told):
    run = alone([(RUNNING, 4)], cpu_s=4 * MS, slow=[(RUNNING, 9)], slow_every=60, every_ms=every_ms, requests=600)
    found = tail(run)
    assert found is not None
    assert (found.ledger is not None) == told


def test_where_slow_requests_compute_is_not_told_of_all_requests():
    """GIVEN slow requests that compute longer, and stages that are known of all requests alike THEN these are not said of the slow."""
    run = alone(
        [(RUNNING, 4)], cpu_s=4 * MS, slow=[(RUNNING, 40)], slow_every=60, at_random=True, requests=2000,
        **stacks([(DECODING, 300), (RESIZING, 100)]),
    )  # fmt: skip
    found = inquire(run, builtin(), limits.shipped())
    assert {row.stage for row in found.ledger if row.question == "latency" and row.state == "cpu"} == {
        "deserialize",
        "preprocess",
    }
    verdict = found.verdicts["tail"]
    assert (verdict.bound, verdict.where, verdict.cause) == ("cpu", None, None)
    assert verdict.share > 0.8
    assert "compute longer in the server" in verdict.sentence
    assert "not told apart" in verdict.sentence


def test_slow_requests_of_a_server_that_come_back_are_a_jobs():
    """GIVEN one request in sixty that computes ten times as long THEN no interpreter tells of a collector, and their order does."""
    run = alone(
        [(RUNNING, 4)], cpu_s=4 * MS, slow=[(RUNNING, 40)], slow_every=60, requests=2000, **stacks([(DECODING, 300)])
    )
    found = inquire(run, builtin(), limits.shipped())
    verdict = found.verdicts["tail"]
    assert (verdict.cause, verdict.proof, verdict.gain) == ("W109", "supported", None)
    assert "every 60 requests" in verdict.sentence
    at_random = replace(run, requests=shuffled(run.requests))
    by_chance = inquire(at_random, builtin(), limits.shipped())
    assert next(each.status for each in by_chance.findings if each.code == "W109") == "unknown"


def shuffled(requests):
    """The same requests, their lengths in another order."""
    length = np.random.default_rng(4).permutation(requests.end_ns - requests.start_ns)
    ends = requests.start_ns[0] + np.cumsum(length)
    return replace(requests, start_ns=np.concatenate((requests.start_ns[:1], ends[:-1])), end_ns=ends)


# --- stages that the server tells ----------------------------------------------------------------------------------
def told(run, *stages):
    """The same run of which the server tells stages: (name, begin, length) as shares of a request."""
    begin = np.stack(
        [run.requests.start_ns + at * (run.requests.end_ns - run.requests.start_ns) for _, at, _ in stages]
    )
    length = np.stack([part * (run.requests.end_ns - run.requests.start_ns) for _, _, part in stages])
    count = len(run.requests.index)
    unread = np.full(begin.size, -1)
    spans = Spans(
        np.tile(np.arange(count), len(stages)), np.repeat(len(SPANS) + np.arange(len(stages)), count),
        np.full(begin.size, TOLD), unread,
        begin.ravel().astype(np.int64), (begin + length).ravel().astype(np.int64), *[unread] * 6,
    )  # fmt: skip
    return replace(run, spans=spans, span_names=(*SPANS, *(name for name, _, _ in stages)))


def unseen(run):
    """The same run of a server that nobody can look into."""
    blank = replace(run.service, threads=(), stacks=(), looks=(), served=Served((), reason="it is another machine"))
    return replace(run, samples=Samples(*no_table(5)), telemetry=Telemetry.nothing(), service=blank)


def test_stages_that_the_server_tells_go_before_what_was_seen():
    """GIVEN 5 ms that run and 4 ms of a timer, of which the server says 2 ms are `resize` and 5 its model THEN what runs and
    what is waited for are theirs as they lie in time, and what lies between them is request handling.
    """
    ledger = latency_ledger(told(alone(STEPS, **TYPICAL, **JSON), ("resize", 0.05, 0.2), ("model", 0.35, 0.5)))
    assert ledger.stages_from == "server"
    assert cells(ledger) == {
        ("preprocess", "cpu", "", "resize"): near(4 * 2 / 5),
        ("model", "cpu", "", ""): near(4 * 2 / 5),
        ("framework", "cpu", "", ""): near(4 * 1 / 5),
        ("framework", "starved", "", ""): near(1),
        ("model", "wait", "timer", ""): near(3),
        ("framework", "wait", "timer", ""): near(1),
        ("network", "network", "wire", ""): near(1),
    }
    assert abs(ledger.seconds(state="unexplained")) < 0.02 * ledger.latency.value


def test_a_stage_inside_another_owns_its_moments():
    run = told(alone(STEPS, **TYPICAL, **JSON), ("preprocess", 0.05, 0.9), ("parse", 0.15, 0.1), ("model", 0.55, 0.4))
    ledger = latency_ledger(run)
    assert ledger.seconds("preprocess", "cpu") / MS == near(4 * 4 / 5)
    assert ledger.seconds("deserialize", "cpu") / MS == near(4 * 1 / 5)
    assert ledger.seconds("model", "wait") / MS == near(4)


def test_a_wait_that_nobody_sees_is_in_the_stage_that_the_server_tells():
    """GIVEN 6 ms in which all threads sit where they sit at rest, of which 1 ms is on the wire and 4 are in a stage."""
    steps = [(PARKED, 0.5), (RUNNING, 4), (PARKED, 5.5)]
    ledger = latency_ledger(told(alone(steps, cpu_s=4e-3, **JSON), ("fetch features", 0.45, 0.4), ("model", 0.05, 0.4)))
    assert cells(ledger) == {
        ("model", "cpu", "", ""): near(4),
        ("preprocess", "wait", "parked", "fetch features"): near(4),
        ("framework", "wait", "parked", ""): pytest.approx(1, abs=0.15),
        ("network", "network", "wire", ""): near(1),
    }


@pytest.mark.parametrize(("name", "place"), [
    ("model", ("model", "")), ("MODEL", ("model", "MODEL")), ("db", ("framework", "db")), ("network", ("framework", "network")),
    ("work", ("postprocess", "work")), ("tokenizeText", ("preprocess", "tokenizeText")),
])  # fmt: skip
def test_where_a_name_belongs(name, place):
    """The user's own table goes before ours, and a server knows neither the network nor the client."""
    run = told(alone(STEPS, **TYPICAL, frames=(("work", "postprocess"),)), (name, 0.05, 0.5))
    assert {(row.stage, row.label) for row in latency_ledger(run).rows if row.state == "cpu"} >= {place}


def test_what_is_told_of_a_server_that_nobody_looks_into_is_told():
    """GIVEN 7.2 of 10 ms in preprocessing, 2 of them in a stage inside it, and 1 ms on the wire THEN the stages have rows whose
    state is not known, no cause is ruled out, and the verdict says which stage it is.
    """
    run = unseen(told(alone(STEPS, **TYPICAL), ("preprocess", 0.1, 0.72), ("model", 0.2, 0.2)))
    ledger = latency_ledger(run)
    rows = {(row.stage, row.state, row.source): row for row in ledger.rows}
    assert rows["preprocess", "unexplained", "Server-Timing"].seconds.value / MS == near(5.2)
    assert rows["model", "unexplained", "Server-Timing"].seconds.value / MS == near(2)
    assert rows["framework", "unexplained", "difference"].seconds.value / MS == near(1.8)
    assert [(each.name, each.count) for each in lengths(run)] == [("preprocess", 400), ("model", 400)]
    assert [each.each.value / MS for each in lengths(run)] == [near(7.2), near(2)]  # the inner one in the outer one too
    assert all(row.seconds.low <= row.seconds.value <= row.seconds.high for row in ledger.rows)
    found = inquire(run, builtin(), limits.shipped())
    verdict = found.verdicts["latency"]
    assert (verdict.bound, verdict.where, verdict.cause, verdict.stages_from) == (
        "unknown",
        "preprocess",
        None,
        "server",
    )
    assert verdict.share == pytest.approx(0.52, abs=0.01)
    status = {each.code: each.status for each in found.findings}
    assert {status[code] for code in ("C101", "C102", "C103", "C104", "M101")} == {"unknown"}


def test_where_slow_requests_take_longer_is_told_too():
    """GIVEN one request in thirty that takes 31 ms for 10, its stages as long as ever in share, at a server that is not seen."""
    run = alone(STEPS, slow=[(PARKED, 1), (RUNNING, 30)], slow_every=30, at_random=True, requests=2000, **TYPICAL)
    found = inquire(
        unseen(told(run, ("preprocess", 0.1, 0.72), ("model", 0.82, 0.15))), builtin(), limits.shipped()
    ).verdicts["tail"]
    assert (found.bound, found.where, found.stages_from) == ("unknown", "preprocess", "server")
    assert found.share == pytest.approx(0.72, abs=0.02)

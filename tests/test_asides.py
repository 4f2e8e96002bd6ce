"""Small arms beside the requests that count: what the child measures, and what is made of it."""

from __future__ import annotations

import mmap
import threading
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import served_runs
from pinchpoint.child import asides
from pinchpoint.contracts import Tables
from pinchpoint.domain.aside import Asides, Mark, Pause
from pinchpoint.domain.change import Change
from pinchpoint.domain.run import FUTEX, OBSERVED, Requests, Samples, Telemetry
from pinchpoint.growth import OWN, growth
from pinchpoint.ledger import latency_ledger
from pinchpoint.pauses import background_cpus, left_behind
from pinchpoint.predict import SPINNING, predict_cpu
from pinchpoint.signals.blocked import lock, own_lock
from pinchpoint.signals.growth import GROWTH_SIGNALS
from pinchpoint.signals.idle import idle_share, spinning_pools
from synthetic import Script, marked, run_of, session

COMMAND = {"count": 2, "gap_s": 0.02, "step_s": 0.01, "last_s": 0.06, "seconds": 5.0}


def burn(seconds):
    """Compute on this thread for so many CPU seconds."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_what_a_request_leaves_to_another_thread_is_seen_in_the_pause():
    def ask(_):
        threading.Thread(target=burn, args=(0.01,), daemon=True).start()

    found = asides.pauses(ask, COMMAND)
    assert [len(pause["steps"]) for pause in found][:-1] < [len(found[-1]["steps"])]
    assert sum(cpu for _, cpu in found[-1]["steps"]) > 0.004
    assert found[-1]["steps"][-1][1] < 0.005


def test_a_request_that_computes_itself_leaves_nothing():
    found = asides.pauses(lambda _: burn(0.005), COMMAND)
    for pause in found:
        assert pause["request_cpu_s"] >= 0.005
        assert sum(cpu for _, cpu in pause["steps"]) < 0.005


def test_a_slow_request_has_one_pause():
    assert len(asides.pauses(lambda _: time.sleep(0.02), COMMAND | {"seconds": 0.0})) == 1


def test_a_mark_says_where_the_process_is():
    before = asides.mark(3)
    kept = mmap.mmap(
        -1, 8 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    )  # of its own: an allocator may have pages left over
    kept.write(b"x" * len(kept))
    burn(0.01)
    after = asides.mark(5)
    assert (before["served"], after["served"]) == (3, 5)
    assert after["cpu_ns"] - before["cpu_ns"] >= 10_000_000
    assert after["anonymous_bytes"] - before["anonymous_bytes"] >= len(kept) - (1 << 20)
    assert 0 < after["loop_s"] < 0.1


def with_pauses(*after, busy=0.0, sessions=()):
    """A run with these CPU seconds after each request of 10 ms CPU, beside a thread that is busy all the time."""
    quiet = tuple((0.02, 0.02 * busy) for _ in range(6))
    pauses = tuple(Pause(0.005, 0.01, 0.005, ((0.02, cpu + 0.02 * busy),)) for cpu in after[:-1])
    last = Pause(0.005, 0.01, 0.005, ((0.02, after[-1] + 0.02 * busy), *quiet))
    run = run_of(Script([marked("preprocess", 2000, cpu=2000)], requests=40, sessions=sessions))
    return Tables(replace(run, aside=Asides(pauses=(*pauses, last))), {})


def test_spinning_is_told_from_a_job_of_the_programs_own():
    spinning, job, both = (
        with_pauses(*[0.03] * 5),
        with_pauses(*[0.0] * 5, busy=0.8),
        with_pauses(*[0.03] * 5, busy=0.2),
    )
    assert idle_share.measure(spinning).value == pytest.approx(0.75)
    assert idle_share.measure(job).value == pytest.approx(0.0)
    assert background_cpus(job.run) == pytest.approx(0.8)
    assert left_behind(both.run) == pytest.approx([0.03] * 5)


def test_too_few_pauses_say_why():
    tables = with_pauses(0.03, 0.03)
    assert "not measured" in idle_share.measure(tables)
    missing = replace(tables.run.aside, pauses=(), missing=(("pauses", "too little time"),))
    assert idle_share.measure(Tables(replace(tables.run, aside=missing), {})) == "too little time"


@pytest.mark.parametrize(
    ("threads", "spinning", "flag"), [(2, True, 1.0), (1, True, 0.0), (2, False, 0.0), (0, True, 1.0)]
)
def test_only_pools_of_several_threads_spin(threads, spinning, flag):
    sessions = (replace(session(threads), spinning=spinning),)
    assert spinning_pools.measure(with_pauses(0.0, 0.0, 0.0, sessions=sessions)).value == flag


def test_a_run_that_does_not_say_is_not_guessed():
    assert isinstance(spinning_pools.measure(with_pauses(0.0, 0.0, 0.0, sessions=(session(2),))), str)
    assert isinstance(spinning_pools.measure(with_pauses(0.0, 0.0, 0.0)), str)


def test_without_spinning_a_request_costs_what_it_costs_until_its_answer():
    change = Change("stop-spinning", "C110", "", "estimate", (), statistic="CPU a request", without=SPINNING)
    found = predict_cpu(with_pauses(*[0.03] * 5, busy=0.1), change)
    assert found.gain.value == pytest.approx(4.0)
    assert found.before.value == pytest.approx(0.04)
    assert predict_cpu(with_pauses(0.03), change) is None


def with_growth(bytes_of_stretch, *, served=100, start=50 << 20, memory=1 << 30):
    """A run whose stretches of requests grow memory by these bytes; what is loaded between them is ours."""
    stretches, now = [], start
    for number, grown in enumerate(bytes_of_stretch):
        t = number * 600_000_000
        begin = Mark(t, number * served, 0, now, 1e-3)
        stretches.append((begin, Mark(t + 500_000_000, (number + 1) * served, 0, now + grown, 1e-3)))
        now += grown + (5 << 20)
    run = run_of(Script([marked("preprocess", 2000, cpu=2000)], requests=40))
    environment = replace(run.environment, memory_limit_bytes=memory)
    return Tables(replace(run, aside=Asides(stretches=tuple(stretches)), environment=environment), {})


def of(tables):
    """The finding and its three signals."""
    from pinchpoint import limits
    from pinchpoint.derive import derive
    from pinchpoint.diagnose import diagnose
    from pinchpoint.domain.ledger import Ledger
    from pinchpoint.domain.quantity import exact
    from pinchpoint.plugins import builtin

    signals = derive(tables, GROWTH_SIGNALS)
    detector = next(d for d in builtin().detectors if d.code == "M105")
    (found,) = diagnose(signals, Ledger("latency", "typical", exact(1.0), ()), (detector,), limits.shipped())
    return found.status, *(signals[name].quantity for name in detector.needs)


LEAK = 33 * 1024 * 100


@pytest.mark.parametrize(("stretches", "status"), [
    ([LEAK] * 16, "present"),
    ([9 << 20] + [LEAK] * 15, "present"),                  # beside a warm-up
    ([0] * 16, "absent"),
    ([9 << 20, 4 << 20] + [0] * 14, "absent"),             # warm-up alone
    ([LEAK] * 9 + [0] * 7, "absent"),                      # a cache that is full
    ([0] * 5 + [1 << 20] + [0] * 10, "absent"),            # one allocator's step
    ([0] * 10 + [228 << 10] + [0] * 5, "absent"),          # a smaller one, late
    ([1 << 20, -(1 << 20)] * 8, "absent"),                 # up and down, as between full collections
    ([LEAK] * 4, "unknown"),                               # too short
])  # fmt: skip
def test_growth_is_a_leak_only_while_it_goes_on(stretches, status):
    assert of(with_growth(stretches))[0] == status


def test_a_leak_in_figures():
    _, kept, persistence, hours = of(with_growth([LEAK] * 16))
    assert kept.value == pytest.approx(33 * 1024)
    assert persistence.value == pytest.approx(1.0)
    left = (1 << 30) - (50 << 20) - 16 * LEAK - 15 * (5 << 20)
    assert hours.value == pytest.approx(left / (33 * 1024 * 200) / 3600, rel=0.01)


def server_with_growth(each_s, seconds=10.0):
    """A server that is asked 50 times a second, with its memory read five times a second; it grows by these bytes in each second."""
    ends = np.arange(1, int(seconds * 50) + 1) * 20_000_000
    table = Requests(np.arange(len(ends)), ends - 20_000_000, ends, np.full(len(ends), OBSERVED))
    t = np.arange(0, int(seconds * 1e9) + 1, 200_000_000)
    own = np.interp(t, np.arange(len(each_s) + 1) * 1e9, np.cumsum([50 << 20, *each_s]))
    environment = replace(served_runs.MACHINE, memory_limit_bytes=1 << 30)
    telemetry = Telemetry(t, ((OWN, own),))
    return Tables(served_runs.a_run(Samples(*served_runs.no_table(5)), table, telemetry, environment=environment), {})


@pytest.mark.parametrize(("each_s", "status"), [
    ([5 << 20] * 10, "present"),
    ([90 << 20] + [5 << 20] * 9, "present"),               # beside a warm-up
    ([900 << 10] * 10, "unknown"),                         # by 18 % in all: caches may be filling
    ([0] * 10, "absent"),
    ([5 << 20] * 5 + [0] * 5, "absent"),                   # a cache that is full
    ([8 << 10] * 10, "unknown"),                           # as much as the kernel's own count may be off by
])  # fmt: skip
def test_growth_of_a_server_is_a_leak_only_while_it_goes_on(each_s, status):
    assert of(server_with_growth(each_s))[0] == status


def test_a_leak_of_a_server_in_figures():
    _, kept, _, hours = of(server_with_growth([5 << 20] * 10))
    assert kept.value == pytest.approx((5 << 20) / 50, rel=0.03)
    assert hours.value == pytest.approx(((1 << 30) - (100 << 20)) / (5 << 20) / 3600, rel=0.05)
    nothing_read = server_with_growth([5 << 20] * 10)
    assert isinstance(growth(replace(nothing_read.run, telemetry=Telemetry.nothing())), str)


@pytest.mark.parametrize(("waited", "share"), [
    (0.9, pytest.approx(0.9, rel=0.01)),  # of the time, for locks of its own code
    (0.1, None),                          # of the eight tenths that are seen in a futex: the rest is for something else
    (None, None),                         # a run of an older version
])  # fmt: skip
def test_what_is_waited_for_is_a_lock_of_its_own_code_or_not_known(waited, share):
    run = run_of(Script([marked("preprocess", 5000, cpu=1000, site=FUTEX)]))
    moments = [(i * 500_000_000, -1.0 if waited is None else i * 0.5 * waited) for i in range(9)]
    marks = [Mark(t, i, 0, 1 << 20, 1e-3, so_far) for i, (t, so_far) in enumerate(moments)]
    run = replace(run, aside=replace(run.aside, stretches=tuple(pairwise(marks))))
    tables = Tables(run, {"latency": latency_ledger(run)})
    assert lock.measure(tables).value == pytest.approx(0.8, abs=0.05)
    found = own_lock.measure(tables)
    assert (None if isinstance(found, str) else found.value) == share

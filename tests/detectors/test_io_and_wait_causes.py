"""Truth tables of the causes for which a request stands still."""

from __future__ import annotations

import pytest
from healthy import found

from pinchpoint.detectors.batching_window import batching_window
from pinchpoint.detectors.disk_reads import disk_reads
from pinchpoint.detectors.downstream_call import downstream_call
from pinchpoint.detectors.event_loop_blocked import event_loop_blocked
from pinchpoint.detectors.garbage_collection import garbage_collection
from pinchpoint.detectors.gil_contention import gil_contention
from pinchpoint.detectors.lock_wait import lock_wait
from pinchpoint.detectors.network_bandwidth import network_bandwidth
from pinchpoint.detectors.network_round_trips import network_round_trips
from pinchpoint.detectors.new_shapes import new_shapes
from pinchpoint.detectors.slow_load import slow_load
from pinchpoint.detectors.synchronous_writes import synchronous_writes
from pinchpoint.detectors.timer_wait import timer_wait
from pinchpoint.detectors.too_few_workers import too_few_workers

SITES = {
    disk_reads: "request_read_share",
    downstream_call: "request_network_share",
    lock_wait: "request_lock_share",
    network_bandwidth: "request_transfer_share",
    network_round_trips: "request_round_trips_share",
    synchronous_writes: "request_sync_share",
    timer_wait: "request_timer_share",
}


@pytest.mark.parametrize(("own", "status"), [
    (0.60, "present"),           # the fault: a lock of its own code
    (None, "unknown"),           # the look-alike: a result, a queue, a lock inside a library
    ((0.05, 0.02), "unknown"),
])  # fmt: skip
def test_a_wait_that_may_be_for_a_lock(own, status):
    assert found(lock_wait, request_lock_share=0.60, request_own_lock_share=own).status == status
    assert (
        found(lock_wait, request_lock_share=0.60, request_own_lock_share=own, capacity_lock_utilization=0.99).status
        == "present"
    )


@pytest.mark.parametrize("detector", SITES, ids=lambda detector: detector.code)
@pytest.mark.parametrize(("share", "status"), [
    (0.60, "present"),            # the fault
    (0.00, "absent"),             # healthy
    (0.03, "absent"),             # not worth anyone's day
    ((0.05, 0.02), "unknown"),    # straddles the limit
    (None, "unknown"),            # threads could not be sampled
])  # fmt: skip
def test_blocked(detector, share, status):
    own = {"request_own_lock_share": share} if detector is lock_wait else {}
    assert found(detector, **{SITES[detector]: share}, **own).status == status


@pytest.mark.parametrize("detector", SITES, ids=lambda detector: detector.code)
def test_blocked_on_something_else_is_a_look_alike(detector):
    others = {site: 0.2 for each, site in SITES.items() if each is not detector}
    assert found(detector, **others, request_ipc_share=0.2, request_starved_share=0.2).status == "absent"


@pytest.mark.parametrize(("major_faults", "pressure", "status"), [
    (0.0, 0.0, "present"),           # plain reads
    (40.0, 0.0, "present"),          # a mapped file, cold
    (40.0, 0.5, "absent"),           # look-alike M103: pages that had to make room
    (0.0, 0.5, "present"),           # plain reads while somebody else's memory is full
    (40.0, None, "unknown"),         # a mapped file, and no PSI to tell
    (0.0, None, "present"),          # plain reads need no PSI
    (None, None, "unknown"),
])  # fmt: skip
def test_reads_are_told_from_full_memory(major_faults, pressure, status):
    changes = {"request_read_share": 0.7, "memory_major_faults": major_faults, "memory_pressure_share": pressure}
    assert found(disk_reads, **changes).status == status


@pytest.mark.parametrize(("held", "status"), [
    (0.99, "present"),           # full under load, though nobody waits for it alone
    (0.40, "absent"),            # healthy: held, and free most of the time
    ((0.85, 0.05), "unknown"),   # straddles the limit
    (None, "absent"),            # several in flight were not measured: one alone decides
])  # fmt: skip
def test_a_lock_under_load(held, status):
    assert found(lock_wait, capacity_lock_utilization=held).status == status


@pytest.mark.parametrize(("held", "idle", "status"), [
    (0.97, 0.50, "present"),     # the fault: one thread at a time on two CPUs
    (0.97, 0.01, "absent"),      # look-alike: the CPUs are full, whoever holds the lock
    (0.20, 0.50, "absent"),      # look-alike W104, I105: idle CPUs, and the interpreter is free
    (0.20, 0.02, "absent"),      # healthy: native code on all CPUs
    ((0.85, 0.05), 0.50, "unknown"),
    (None, 0.50, "unknown"),     # not watched
])  # fmt: skip
def test_gil_contention(held, idle, status):
    assert found(gil_contention, capacity_gil_utilization=held, capacity_idle_share=idle).status == status


@pytest.mark.parametrize(("waiting", "held", "status", "signals"), [
    (0.8, 0.3, "present", 1),            # one request waits for a thread of the background
    (0.8, 0.95, "present", 3),           # and more of them too: it answers both questions
    (0.05, 0.3, "absent", 2),            # handed over now and then
    (None, 0.95, "present", 2),          # nobody looked at threads
])  # fmt: skip
def test_waiting_for_the_interpreter_alone(waiting, held, status, signals):
    told = found(
        gil_contention, request_interpreter_share=waiting, capacity_gil_utilization=held, capacity_idle_share=0.5
    )
    assert (told.status, len(told.evidence)) == (status, signals)


@pytest.mark.parametrize(("taken", "idle", "status"), [
    (0.97, 0.90, "present"),     # the fault: workers that only wait
    (0.97, 0.01, "absent"),      # look-alike: as many workers as CPUs, which are full
    (0.40, 0.90, "absent"),      # healthy, or look-alike W104: workers to spare
    ((0.85, 0.05), 0.90, "unknown"),
    (None, 0.90, "unknown"),     # not tried
])  # fmt: skip
def test_too_few_workers(taken, idle, status):
    assert found(too_few_workers, capacity_pool_utilization=taken, capacity_idle_share=idle).status == status


@pytest.mark.parametrize(("busy", "idle", "status"), [
    (0.98, 0.50, "present"),     # the fault: it computes without end on one of two CPUs
    (0.98, 0.01, "absent"),      # look-alike: one CPU, and it is full
    (0.30, 0.80, "absent"),      # healthy: it waits in its selector
    ((0.85, 0.05), 0.50, "unknown"),
    (None, 0.50, "unknown"),     # not tried
])  # fmt: skip
def test_event_loop_blocked(busy, idle, status):
    assert found(event_loop_blocked, capacity_loop_utilization=busy, capacity_idle_share=idle).status == status


@pytest.mark.parametrize(("ratio", "share", "again", "status"), [
    (4.0, 0.90, 0.10, "present"),      # the fault
    (4.0, 0.02, 0.10, "absent"),       # look-alike: slow requests compute longer
    (1.1, 0.90, 0.10, "absent"),       # healthy: hardly slower, whatever the collector does
    (1.1, 0.00, 0.90, "present"),      # so few that no percentile shows them
    (4.0, (0.50, 0.05), 0.10, "unknown"),
    (4.0, 0.02, 0.90, "present"),      # another job of the program's own
    (4.0, None, 0.90, "present"),      # of a server
    (4.0, None, 0.10, "unknown"),      # a server's collector that runs at no fixed distance is not seen
    (None, None, None, "unknown"),     # too few requests
])  # fmt: skip
def test_garbage_collection(ratio, share, again, status):
    signals = {"tail_ratio": ratio, "tail_collection_share": share, "tail_recurring_share": again}
    assert found(garbage_collection, **signals).status == status


@pytest.mark.parametrize(("seconds", "reading", "share", "status"), [
    (0.41, 0.33, 0.80, "present"),           # the fault: weights come from disk
    (0.41, 0.00, 0.00, "absent"),            # healthy: in the page cache, or nothing to read
    (1.50, 0.01, 0.01, "absent"),            # look-alike C112: opening computes
    (1.50, (-0.01, 0.02), -0.01, "absent"),  # cold starts were no slower
    (0.05, 0.04, 0.80, "absent"),            # nobody notices
    (9.00, 0.20, 0.02, "absent"),            # noticed, and next to nothing of the start
    (0.41, (0.10, 0.05), 0.30, "unknown"),   # straddles the limit
    (0.41, None, None, "unknown"),           # no cold start could be made
    (0.05, None, None, "absent"),            # and none is missed
])  # fmt: skip
def test_a_start_that_reads(seconds, reading, share, status):
    changes = {"startup_seconds": seconds, "startup_reading_s": reading, "startup_reading_share": share}
    assert found(slow_load, **changes).status == status


@pytest.mark.parametrize(("typical", "slow", "status"), [
    (0.85, 0.85, "present"),           # the fault: nearly every request is the first of its shape
    (0.00, 0.90, "present"),           # the fault: slow requests are
    (0.00, 0.00, "absent"),            # healthy: few shapes, all of them known
    (0.00, 0.02, "absent"),            # look-alike: large inputs, slow each time that they come
    (0.30, 0.30, "present"),           # some of all requests: of slow ones it is said
    (0.30, 0.10, "absent"),            # a part of them that something else outweighs
    (0.00, (0.20, 0.05), "unknown"),   # straddles the limit
    (None, 0.00, "unknown"),           # shapes that came once
    (0.00, None, "absent"),            # too few requests for a tail: typical ones decide
])  # fmt: skip
def test_new_shapes(typical, slow, status):
    assert found(new_shapes, request_new_shape_share=typical, tail_new_shape_share=slow).status == status


@pytest.mark.parametrize(("queued", "status"), [
    (0.45, "present"),           # the fault: half of the time in an empty queue
    (0.0, "absent"),             # healthy: served at once; look-alike W110: a sleep of the program's own is in no queue
    (0.03, "absent"),            # handed from thread to thread
    ((0.05, 0.02), "unknown"),   # straddles the limit
    (None, "absent"),            # the server does not tell, and nobody sleeps: a window is a timer of somebody's
])  # fmt: skip
def test_batching_window(queued, status):
    assert found(batching_window, request_queue_share=queued).status == status


@pytest.mark.parametrize(("asleep", "together", "status"), [
    (0.9, 0.9, "present"),           # the fault: who comes meanwhile is answered with the first
    (0.9, 0.02, "absent"),           # look-alike W110: each sleeps for itself
    (0.01, 0.9, "absent"),           # nobody sleeps
    (0.9, (0.5, 0.1), "unknown"),
    (0.9, None, "unknown"),          # requests could not be sent so
])  # fmt: skip
def test_a_window_that_the_program_makes(asleep, together, status):
    told = found(batching_window, request_timer_share=asleep, request_together_share=together)
    assert told.status == status

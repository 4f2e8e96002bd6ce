"""Truth tables of the causes that keep the CPU busy or the request off it."""

from __future__ import annotations

import pytest
from healthy import found

from pinchpoint.detectors.clock_lowered import clock_lowered
from pinchpoint.detectors.codec_heavy import codec_heavy
from pinchpoint.detectors.compute_bound import compute_bound
from pinchpoint.detectors.cpu_taken_by_others import cpu_taken_by_others
from pinchpoint.detectors.denormal_floats import denormal_floats
from pinchpoint.detectors.dispatch_overhead import dispatch_overhead
from pinchpoint.detectors.graph_not_optimised import graph_not_optimised
from pinchpoint.detectors.idle_spinning import idle_spinning
from pinchpoint.detectors.model_reopened import model_reopened
from pinchpoint.detectors.no_batching import no_batching
from pinchpoint.detectors.postprocessing_heavy import postprocessing_heavy
from pinchpoint.detectors.preprocessing_heavy import preprocessing_heavy
from pinchpoint.detectors.quota_throttling import quota_throttling
from pinchpoint.detectors.slow_int8 import slow_int8
from pinchpoint.detectors.slow_operator import slow_operator
from pinchpoint.detectors.thread_oversubscription import thread_oversubscription
from pinchpoint.detectors.too_few_threads import too_few_threads


@pytest.mark.parametrize(("cpu", "efficiency", "status"), [
    (0.93, 0.85, "present"),            # the limit: near the peak
    (0.02, 0.85, "absent"),             # healthy otherwise: the model is a small part
    (0.40, 0.10, "absent"),             # look-alike M101: a busy core that waits for weights
    (0.93, 0.05, "absent"),             # look-alike C114, C105: busy with something else than arithmetic
    (0.93, (0.33, 0.05), "unknown"),    # straddles the limit
    (0.93, None, "unknown"),            # operators could not be told apart
    (0.00, None, "absent"),             # no model at all: nothing is missing
])  # fmt: skip
def test_compute_bound(cpu, efficiency, status):
    assert found(compute_bound, model_cpu_share=cpu, model_arithmetic_efficiency=efficiency).status == status


@pytest.mark.parametrize(("detector", "signal"), [
    (preprocessing_heavy, "preprocess_cpu_share"),
    (postprocessing_heavy, "postprocess_cpu_share"),
    (codec_heavy, "codec_cpu_share"),
    (model_reopened, "opening_cpu_share"),
])  # fmt: skip
@pytest.mark.parametrize(("share", "status"), [
    (0.60, "present"),            # the fault
    (0.12, "absent"),             # healthy: there, and not heavy
    ((0.20, 0.05), "unknown"),    # straddles the limit
    (None, "unknown"),            # not measured
])  # fmt: skip
def test_stages(detector, signal, share, status):
    assert found(detector, **{signal: share}).status == status


def test_preprocessing_that_waits_for_the_disk_is_not_heavy():
    assert found(preprocessing_heavy, preprocess_cpu_share=0.03, request_read_share=0.8).status == "absent"


@pytest.mark.parametrize(("model", "dispatch", "status"), [
    (0.95, 0.80, "present"),            # the fault: hundreds of tiny operators
    (0.95, 0.01, "absent"),             # healthy
    (0.95, 0.10, "absent"),             # some overhead beside real work
    (0.95, (0.20, 0.04), "unknown"),    # straddles the limit
    (0.95, None, "unknown"),            # not calibrated
    (0.00, None, "absent"),             # no model
])  # fmt: skip
def test_dispatch_overhead(model, dispatch, status):
    assert found(dispatch_overhead, model_share=model, model_dispatch_share=dispatch).status == status


@pytest.mark.parametrize(("runnable", "starved_cores", "status"), [
    (4.0, 5.5, "present"),             # the fault: 8 threads on 2 CPUs
    (1.0, 0.01, "absent"),             # healthy: as many threads as CPUs
    (0.5, 0.50, "absent"),             # look-alike C109: one thread beside a hog
    (2.0, 0.03, "absent"),             # look-alike C108: one thread under a quota of half a CPU
    ((1.25, 0.2), 1.0, "unknown"),     # straddles the limit
    (None, 5.5, "unknown"),            # threads could not be sampled
    (None, 0.01, "absent"),            # and nobody waited: nothing is missing
])  # fmt: skip
def test_thread_oversubscription(runnable, starved_cores, status):
    assert (
        found(thread_oversubscription, threads_runnable_per_cpu=runnable, threads_starved_cores=starved_cores).status
        == status
    )


@pytest.mark.parametrize(("model", "gain", "idle", "status"), [
    (0.95, 1.9, 0.50, "present"),            # the fault: one thread, two CPUs
    (0.95, 1.0, 0.02, "absent"),             # healthy: all CPUs in use
    (0.95, 1.0, 0.00, "absent"),             # look-alike: one thread on a machine of one CPU
    (0.95, 1.9, 0.01, "absent"),             # look-alike C109: the other CPU is a neighbour's
    (0.95, 1.0, 0.50, "absent"),             # look-alike C105: operators too small to share out
    (0.03, 1.0, 0.50, "absent"),             # look-alike C102: the one busy thread is not the model's
    (0.95, (1.12, 0.05), 0.50, "unknown"),   # straddles the limit
    (0.95, None, 0.50, "unknown"),           # no ceilings at the other thread count
    (0.00, None, 0.50, "absent"),            # no model
])  # fmt: skip
def test_too_few_threads(model, gain, idle, status):
    assert found(too_few_threads, model_share=model, scaling_thread_gain=gain, cpu_idle_share=idle).status == status


@pytest.mark.parametrize(("throttled", "periods", "status"), [
    (0.60, 0.95, "present"),            # the fault
    (0.00, 0.00, "absent"),             # healthy, or no quota
    (0.00, 0.10, "absent"),             # throttled between the requests only
    (0.30, 0.01, "absent"),             # look-alike C109: waits that no throttled period explains
    ((0.05, 0.02), 0.95, "unknown"),    # straddles the limit
    (None, 0.95, "unknown"),            # cpu.stat has no times
    (None, 0.00, "absent"),             # and no quota either: nothing is missing
])  # fmt: skip
def test_quota_throttling(throttled, periods, status):
    changes = {"request_throttled_share": throttled, "cgroup_throttled_periods_share": periods}
    assert found(quota_throttling, **changes).status == status


@pytest.mark.parametrize(("starved", "starved_cores", "foreign", "status"), [
    (0.50, 0.50, 0.50, "present"),             # the fault: a hog on the same CPU
    (0.01, 0.01, 0.01, "absent"),              # healthy
    (0.01, 0.01, 0.50, "absent"),              # a neighbour on another CPU, who harms nobody
    (0.50, 5.50, 0.01, "absent"),              # look-alike C106: own threads
    (0.60, 0.02, 0.30, "absent"),              # look-alike C108: the quota stops it, and a neighbour is elsewhere
    (0.50, 0.50, (0.05, 0.02), "unknown"),     # straddles the limit
    (0.50, 0.50, None, "unknown"),             # the machine's counters cannot be read
])  # fmt: skip
def test_cpu_taken_by_others(starved, starved_cores, foreign, status):
    changes = {
        "request_starved_share": starved,
        "threads_starved_cores": starved_cores,
        "measurement_foreign_share": foreign,
    }
    assert found(cpu_taken_by_others, **changes).status == status


@pytest.mark.parametrize(("after", "pools", "status"), [
    (0.75, 1.0, "present"),            # the fault: 40 ms of spinning after 13 ms of work
    (0.01, 1.0, "absent"),             # healthy: spinning is allowed, and was turned off or ends at once
    (0.00, 1.0, "absent"),             # look-alike C101: all threads busy, until the answer is there
    (0.75, 0.0, "absent"),             # look-alike: work that a request leaves to a thread of its own
    ((0.20, 0.05), 1.0, "unknown"),    # straddles the limit
    (None, 1.0, "unknown"),            # no time for pauses
    (0.75, None, "unknown"),           # no runtime session: whose threads they are is not known
    (0.01, None, "absent"),            # and nothing is left behind: nothing is missing
])  # fmt: skip
def test_idle_spinning(after, pools, status):
    assert found(idle_spinning, idle_cpu_share=after, idle_spinning_pools=pools).status == status


@pytest.mark.parametrize(("model", "share", "status"), [
    (0.95, 0.60, "present"),            # the fault: most of the time goes when they are taken for zero
    (0.95, (0.0, 0.01), "absent"),      # healthy, or a processor that does not mind
    (0.95, (0.01, 0.02), "absent"),     # look-alike C114, C101: slow on every value
    (0.95, (0.05, 0.02), "unknown"),    # straddles the limit
    (0.95, None, "unknown"),            # not to be flushed here
    (0.00, None, "absent"),             # no model
])  # fmt: skip
def test_denormal_floats(model, share, status):
    assert found(denormal_floats, model_share=model, model_denormal_share=share).status == status


@pytest.mark.parametrize(("changes", "status"), [
    ({}, "present"),                                      # the fault: conversions left standing
    ({"model_float_gain": 0.4}, "absent"),                # healthy: int8 where it pays
    ({"model_quantised_share": 0.0}, "absent"),           # nothing is quantised
    ({"model_quantised_share": 0.05}, "absent"),          # a small part of it is
    ({"model_float_gain": (0.8, 0.1)}, "absent"),         # look-alike C114: far above its own floor, and still ahead
    ({"threads_starved_cores": 5.5}, "absent"),           # look-alike C106: stretched by waiting for a CPU
    ({"model_float_gain": (1.1, 0.4)}, "unknown"),        # straddles the limit
    ({"model_float_gain": None}, "unknown"),              # its costs are not known
    ({"model_share": 0.0, "model_quantised_share": None}, "absent"),  # no model
])  # fmt: skip
def test_slow_int8(changes, status):
    assert found(slow_int8, **{"model_quantised_share": 0.6, "model_float_gain": 2.2} | changes).status == status


@pytest.mark.parametrize(("slower", "status"), [
    (0.30, "present"),             # the fault
    ((0.0, 0.04), "absent"),       # healthy, or a neighbour (C109), for whom the loop waits and is not slower
    ((-0.3, 0.05), "absent"),      # faster: a clock that was raised
    ((0.10, 0.05), "unknown"),     # straddles the limit
    (None, "unknown"),             # too short a run
])  # fmt: skip
def test_clock_lowered(slower, status):
    assert found(clock_lowered, cpu_slowdown_share=slower).status == status


@pytest.mark.parametrize(("off", "removable", "status"), [
    (1.0, 0.30, "present"),            # the fault
    (0.0, 0.00, "absent"),             # healthy
    (1.0, 0.01, "absent"),             # off, and it does not matter
    (1.0, (0.05, 0.02), "unknown"),    # straddles the limit
    (1.0, None, "unknown"),            # the graph could not be optimised for comparison
    (0.0, None, "absent"),             # on: nothing is missing
])  # fmt: skip
def test_graph_not_optimised(off, removable, status):
    assert found(graph_not_optimised, model_optimization_off=off, model_removable_share=removable).status == status


@pytest.mark.parametrize(("seconds", "share", "status"), [
    (0.80, 0.70, "present"),           # the fault: optimised anew at every start
    (0.02, 0.10, "absent"),            # healthy: optimised quickly
    (0.02, 0.40, "absent"),            # nobody notices
    (0.20, 0.05, "absent"),            # look-alike I102: the start is something else
    ((0.10, 0.05), 0.40, "unknown"),   # straddles the limit
    (None, None, "absent"),            # not opened again: requests alone decide
])  # fmt: skip
def test_a_graph_that_is_optimised_at_every_start(seconds, share, status):
    changes = {"startup_optimising_s": seconds, "startup_optimising_share": share}
    assert found(graph_not_optimised, **changes).status == status


@pytest.mark.parametrize(("changes", "status"), [
    ({}, "present"),                                    # the fault: one kind at eight times its floor
    ({"model_excess_share": 0.05}, "absent"),           # healthy: hardly any time above the floors
    ({"model_excess_ratio": 1.6}, "absent"),            # look-alike C101: an awkward shape, and much of it
    ({"model_excess_share": 0.01}, "absent"),           # look-alike C105: dispatch is not excess
    ({"threads_starved_cores": 5.5}, "absent"),         # look-alike C106, C109: stretched by waiting for a CPU
    ({"model_removable_share": 0.4}, "absent"),         # look-alike C112: optimise the graph first
    ({"model_excess_ratio": (3.0, 0.5)}, "unknown"),    # straddles the limit
    ({"model_excess_ratio": None}, "unknown"),          # its costs are not known
    ({"model_share": 0.0, "model_excess_share": None}, "absent"),  # no model
])  # fmt: skip
def test_slow_operator(changes, status):
    assert found(slow_operator, **{"model_excess_share": 0.6, "model_excess_ratio": 8.0} | changes).status == status


@pytest.mark.parametrize(("fixed", "idle", "status"), [
    (0.70, 0.02, "present"),     # the fault: weights are read for each request, and the CPUs are full
    (0.70, 0.60, "absent"),      # look-alike W102, W104: something else holds throughput back
    (0.05, 0.02, "absent"),      # healthy: arithmetic, which a batch does not share (C101)
    ((0.20, 0.05), 0.02, "unknown"),
    (0.70, None, "unknown"),     # several in flight were not tried
])  # fmt: skip
def test_no_batching(fixed, idle, status):
    assert found(no_batching, capacity_batchable_share=fixed, capacity_idle_share=idle).status == status

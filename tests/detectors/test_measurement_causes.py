"""Truth tables of what may be wrong with the measurement itself."""

from __future__ import annotations

import pytest
from healthy import found

from pinchpoint.detectors.client_the_limit import client_the_limit
from pinchpoint.detectors.contradiction import contradiction
from pinchpoint.detectors.failed_requests import failed_requests
from pinchpoint.detectors.not_stationary import not_stationary
from pinchpoint.detectors.too_few_samples import too_few_samples


@pytest.mark.parametrize(("used", "status"), [
    (0.74, "present"),         # the fault
    (0.06, "absent"),          # healthy
    (0.0, "absent"),           # no client: the target answers in a process of its own
    ((0.5, 0.1), "unknown"),   # straddles the limit
    (None, "unknown"),         # the answer was too large to be played back
])  # fmt: skip
def test_client_the_limit(used, status):
    assert found(client_the_limit, client_used_share=used).status == status


@pytest.mark.parametrize(("drift", "disturbed", "status"), [
    (0.34, 0.005, "present"),          # the fault
    (0.01, 0.30, "present"),           # the fault: steady, and a third of it is waiting for others' work
    (0.01, 0.005, "absent"),           # healthy
    (0.01, 0.08, "absent"),            # a neighbour who takes a little
    ((0.08, 0.08), 0.005, "unknown"),  # look-alike V104: noise, which may or may not drift
    (0.01, (0.2, 0.05), "unknown"),    # straddles the limit
    (None, 0.005, "unknown"),          # too few requests
    (0.01, None, "absent"),            # the kernel does not tell who waited: drift decides
])  # fmt: skip
def test_not_stationary(drift, disturbed, status):
    changes = {"measurement_drift_share": drift, "measurement_disturbed_share": disturbed}
    assert found(not_stationary, **changes).status == status


@pytest.mark.parametrize(("clock", "group", "count", "thread", "status"), [
    (0.50, 0.0, 0.0, 0.0, "present"),              # the fault: /proc tells half of the CPU time
    (0.0, 0.50, 0.0, 0.0, "present"),              # the fault: more than its group
    (0.0, 0.0, 0.30, 0.0, "present"),              # the fault: requests were lost
    (0.0, 0.0, 0.0, 0.40, "present"),              # the fault: a thread above its process
    ((0.01, 0.02), (0.0, 0.01), 0.0, 0.0, "absent"),  # healthy, some ticks apart
    ((0.10, 0.05), 0.0, 0.0, 0.0, "unknown"),      # straddles the limit
    ((0.01, 0.02), None, 0.0, 0.0, "absent"),      # no control group: the others decide
    (None, None, None, None, "unknown"),
])  # fmt: skip
def test_contradiction(clock, group, count, thread, status):
    changes = {
        "measurement_clock_disagreement": clock,
        "measurement_group_disagreement": group,
        "measurement_count_disagreement": count,
        "measurement_thread_disagreement": thread,
        "measurement_server_count_disagreement": None,
        "measurement_server_time_disagreement": None,
    }
    assert found(contradiction, **changes).status == status


@pytest.mark.parametrize(("requests", "seconds", "status"), [
    (0.60, 0.0, "present"),    # the fault: more than half of them are others'
    (0.0, 0.50, "present"),    # the fault: it counts longer than anybody waits
    (0.02, 0.0, "absent"),     # healthy: a health check in fifty
    (None, None, "absent"),    # it tells nothing: the other instruments decide
])  # fmt: skip
def test_contradiction_of_a_server_s_own_counters(requests, seconds, status):
    changes = {
        "measurement_server_count_disagreement": requests,
        "measurement_server_time_disagreement": seconds,
    }
    assert found(contradiction, **changes).status == status


@pytest.mark.parametrize(("samples", "noise", "status"), [
    (0.40, 0.01, "present"),           # the fault: too few
    (20.0, 0.20, "present"),           # the fault: too noisy
    (20.0, 0.01, "absent"),            # healthy
    ((1.0, 0.0), 0.01, "absent"),      # just enough
    (20.0, None, "unknown"),           # noise could not be judged
    (0.40, None, "present"),           # and need not be
    (20.0, (0.05, 0.02), "unknown"),   # straddles the limit
])  # fmt: skip
def test_too_few_samples(samples, noise, status):
    assert found(too_few_samples, measurement_samples=samples, measurement_noise_share=noise).status == status


@pytest.mark.parametrize(("errors", "status"), [
    (0.30, "present"),             # the fault
    (0.00, "absent"),              # healthy
    (0.001, "absent"),             # one in a long run
    ((0.01, 0.005), "unknown"),    # straddles the limit
    (None, "unknown"),
])  # fmt: skip
def test_failed_requests(errors, status):
    assert found(failed_requests, measurement_error_share=errors).status == status

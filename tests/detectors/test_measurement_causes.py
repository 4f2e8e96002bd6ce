"""Truth tables of what may be wrong with the measurement itself."""

from __future__ import annotations

import pytest
from healthy import found

from pinchpoint.detectors.failed_requests import failed_requests
from pinchpoint.detectors.not_stationary import not_stationary
from pinchpoint.detectors.too_few_samples import too_few_samples


@pytest.mark.parametrize(("drift", "status"), [
    (0.34, "present"),            # the fault
    (0.01, "absent"),             # healthy
    ((0.08, 0.08), "unknown"),    # look-alike V104: noise, which may or may not drift
    (None, "unknown"),            # too few requests
])  # fmt: skip
def test_not_stationary(drift, status):
    assert found(not_stationary, measurement_drift_share=drift).status == status


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

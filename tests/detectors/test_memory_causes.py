"""Truth tables of the causes in memory."""

from __future__ import annotations

import pytest
from healthy import found

from pinchpoint.detectors.activations_streamed import activations_streamed
from pinchpoint.detectors.allocation_churn import allocation_churn
from pinchpoint.detectors.large_inputs_copied import large_inputs_copied
from pinchpoint.detectors.memory_growth import memory_growth
from pinchpoint.detectors.out_of_memory import out_of_memory
from pinchpoint.detectors.random_access import random_access
from pinchpoint.detectors.weights_streamed import weights_streamed


@pytest.mark.parametrize(("memory", "weights", "activations", "bound"), [
    (0.73, 0.72, 0.01, ("present", "absent")),             # weights
    (0.73, 0.01, 0.72, ("absent", "present")),             # activations
    (0.70, 0.40, 0.30, ("present", "present")),            # both: the verdict ranks them
    (0.01, 0.01, 0.00, ("absent", "absent")),              # healthy: look-alike C101
    ((0.30, 0.27), 0.30, 0.01, ("unknown", "absent")),     # arithmetic and memory overlap: could be either
    (0.73, (0.20, 0.05), 0.68, ("unknown", "present")),    # straddles the limit
    (0.73, None, None, ("unknown", "unknown")),            # not told apart
    (0.00, None, None, ("absent", "absent")),              # no model
])  # fmt: skip
def test_streaming(memory, weights, activations, bound):
    changes = {"model_memory_share": memory, "model_weights_share": weights, "model_activations_share": activations}
    assert tuple(found(each, **changes).status for each in (weights_streamed, activations_streamed)) == bound


SWAPPING = {
    "memory_major_faults": 40.0,
    "memory_swap_in_bytes": 160e3,
    "memory_pressure_share": 0.5,
    "memory_fault_share": 0.7,
}
REFAULTING = {"memory_major_faults": 40.0, "memory_pressure_share": 0.5, "request_read_share": 0.7}
COLD_FILE = {"memory_major_faults": 40.0, "request_read_share": 0.7}


@pytest.mark.parametrize(("changes", "status"), [
    (SWAPPING, "present"),                                               # the fault
    (REFAULTING, "present"),                                             # without swap: mapped files come back
    ({}, "absent"),                                                      # healthy
    (COLD_FILE, "absent"),                                               # look-alike I101: nothing had to make room
    ({"memory_fault_share": 0.4}, "absent"),                             # look-alike M104: minor faults only
    ({"memory_pressure_share": 0.5}, "absent"),                          # somebody else's memory is full
    (SWAPPING | {"memory_fault_share": 0.01}, "absent"),                 # a few pages, in no time
    (SWAPPING | {"memory_major_faults": (1.0, 0.5)}, "unknown"),         # straddles the limit
    (SWAPPING | {"memory_pressure_share": None}, "present"),             # no PSI here: swap-in is enough
    (REFAULTING | {"memory_pressure_share": None}, "unknown"),           # no PSI here, and no swap: I101 or M103
    ({"memory_pressure_share": None}, "absent"),                         # healthy without PSI
])  # fmt: skip
def test_out_of_memory(changes, status):
    assert found(out_of_memory, **changes).status == status


def test_what_would_decide_is_named():
    assert found(out_of_memory, **REFAULTING | {"memory_pressure_share": None}).missing == ("memory.pressure_share",)


@pytest.mark.parametrize(("faults", "major", "status"), [
    (0.40, 0.0, "present"),             # the fault
    (0.02, 0.0, "absent"),              # healthy, or look-alike C102: plain computing
    (0.70, 40.0, "absent"),             # look-alike M103: faults that wait for storage
    ((0.10, 0.03), 0.0, "unknown"),     # straddles the limit
    (None, 0.0, "unknown"),             # the cost of a fault is not calibrated
])  # fmt: skip
def test_allocation_churn(faults, major, status):
    assert found(allocation_churn, memory_fault_share=faults, memory_major_faults=major).status == status


@pytest.mark.parametrize(("copied", "codec", "status"), [
    (0.60, 0.01, "present"),            # the fault
    (0.03, 0.01, "absent"),             # healthy: one copy, into what the model reads
    (0.00, 0.80, "absent"),             # look-alike C104: a codec's own copies are not counted
    ((0.12, 0.05), 0.01, "unknown"),    # straddles the limit
    (None, 0.01, "unknown"),            # requests too slow for the small arm
])  # fmt: skip
def test_large_inputs_copied(copied, codec, status):
    assert found(large_inputs_copied, copies_share=copied, codec_cpu_share=codec).status == status


@pytest.mark.parametrize(("model", "lookups", "weights", "status"), [
    (0.95, 0.80, 0.01, "present"),            # the fault
    (0.95, 0.00, 0.01, "absent"),             # healthy
    (0.95, 0.01, 0.80, "absent"),             # look-alike M101: streamed from front to back
    (0.95, (0.20, 0.05), 0.01, "unknown"),    # straddles the limit
    (0.95, None, 0.01, "unknown"),            # not told apart
    (0.00, None, None, "absent"),             # no model
])  # fmt: skip
def test_random_access(model, lookups, weights, status):
    assert (
        found(random_access, model_share=model, model_lookup_share=lookups, model_weights_share=weights).status
        == status
    )


@pytest.mark.parametrize(("kept", "persistence", "hours", "status"), [
    (20e3, 1.0, 0.5, "present"),            # the fault: every answer is kept
    ((0.0, 40.0), 0.0, 1e6, "absent"),      # healthy: nothing stays
    ((300.0, 500.0), 0.02, 400.0, "absent"),  # look-alike: warm-up, which ends
    (20e3, 0.05, 0.5, "absent"),            # look-alike: a bounded cache that was full half-way
    (20.0, 1.0, 5e3, "absent"),             # a leak that fills the memory in half a year
    ((20.0, 30.0), 1.0, 10.0, "unknown"),  # straddles the limit
    (20e3, (0.33, 0.1), 0.5, "unknown"),    # growth that slows down, and has not ended
    (None, None, None, "unknown"),          # too short a run
    (20e3, 1.0, None, "unknown"),           # nobody knows how much memory there is
])  # fmt: skip
def test_memory_growth(kept, persistence, hours, status):
    changes = {"memory_growth_bytes": kept, "memory_growth_persistence": persistence, "memory_hours_to_limit": hours}
    assert found(memory_growth, **changes).status == status

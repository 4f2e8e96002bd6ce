"""Whole situations: all detectors together find exactly the right causes, and are undecided about nothing."""

from __future__ import annotations

import pytest
from healthy import signals_with

from pinchpoint import limits
from pinchpoint.detectors import BUILTIN
from pinchpoint.diagnose import diagnose
from pinchpoint.domain.ledger import Ledger
from pinchpoint.domain.quantity import exact

NO_MODEL = {
    "model_share": 0.0,
    "model_cpu_share": 0.0,
    "model_memory_share": 0.0,
    "model_arithmetic_efficiency": None,
    "model_bandwidth_efficiency": None,
    "model_weights_share": None,
    "model_activations_share": None,
    "model_lookup_share": None,
    "model_dispatch_share": None,
    "model_excess_share": None,
    "model_excess_ratio": None,
    "model_removable_share": None,
    "model_optimization_off": None,
    "model_quantised_share": None,
    "model_float_gain": None,
    "model_denormal_share": None,
    "scaling_thread_gain": None,
    "threads_pool_per_cpu": None,
    "cpu_parallelism": 1.0,
    "cpu_idle_share": 0.5,
    "threads_runnable_per_cpu": 0.5,
}
ONE_THREAD = {
    "threads_runnable_per_cpu": 0.5,
    "threads_pool_per_cpu": 0.5,
    "cpu_parallelism": 1.0,
    "cpu_idle_share": 0.5,
}
MATMULS = {
    "model_cpu_share": 0.25,
    "model_memory_share": 0.70,
    "model_weights_share": 0.69,
    "model_arithmetic_efficiency": 0.10,
}
TINY = {
    "model_cpu_share": 0.93,
    "model_dispatch_share": 0.85,
    "model_arithmetic_efficiency": 0.02,
    "model_excess_share": 0.03,
    "model_excess_ratio": 1.5,
}
MOSTLY_WAITING = NO_MODEL | {"unclassified_cpu_share": 0.1, "cpu_parallelism": 0.1, "threads_runnable_per_cpu": 0.05}

SITUATIONS = {
    "compute-bound model": ({}, {"C101"}),
    "memory-bound model": (MATMULS, {"M101"}),
    "memory-bound on one thread of two CPUs": (MATMULS | ONE_THREAD | {"scaling_thread_gain": 1.6}, {"M101", "C107"}),
    "compute-bound on one thread of two CPUs": (ONE_THREAD | {"scaling_thread_gain": 1.9}, {"C101", "C107"}),
    "compute-bound on a machine of one CPU": ({"cpu_parallelism": 1.0}, {"C101"}),
    "elementwise operators over large tensors": (
        {
            "model_cpu_share": 0.2,
            "model_memory_share": 0.75,
            "model_activations_share": 0.74,
            "model_arithmetic_efficiency": 0.05,
        },
        {"M102"},
    ),
    "hundreds of tiny operators": (TINY, {"C105"}),
    "one slow operator": (
        {"model_excess_share": 0.7, "model_excess_ratio": 9.0, "model_arithmetic_efficiency": 0.12},
        {"C114"},
    ),
    "embedding look-ups": (
        {
            "model_cpu_share": 0.15,
            "model_memory_share": 0.8,
            "model_lookup_share": 0.75,
            "model_arithmetic_efficiency": 0.02,
        },
        {"M107"},
    ),
    "unoptimised graph that matters": (
        {
            "model_optimization_off": 1.0,
            "model_removable_share": 0.4,
            "model_excess_share": 0.3,
            "model_excess_ratio": 4.0,
        },
        {"C101", "C112"},
    ),
    "unoptimised graph that does not": (
        MATMULS | {"model_optimization_off": 1.0, "model_removable_share": 0.001},
        {"M101"},
    ),
    "eight threads on two CPUs": (
        {
            "threads_runnable_per_cpu": 4.0,
            "threads_pool_per_cpu": 4.0,
            "threads_starved_cores": 5.5,
            "request_starved_share": 0.4,
            "model_cpu_share": 0.55,
            "model_share": 0.95,
            "model_arithmetic_efficiency": 0.2,
            "model_excess_share": 0.4,
            "model_excess_ratio": 5.0,
            "cpu_idle_share": 0.0,
        },
        {"C106"},
    ),
    "a quota of half a CPU, one thread": (
        {
            "request_starved_share": 0.5,
            "request_throttled_share": 0.5,
            "cgroup_throttled_periods_share": 0.95,
            "threads_runnable_per_cpu": 1.0,
            "threads_pool_per_cpu": 2.0,
            "threads_starved_cores": 0.03,
            "model_cpu_share": 0.45,
        },
        {"C101", "C108"},
    ),
    "a quota of two CPUs and eight threads on eight": (
        {
            "request_starved_share": 0.6,
            "request_throttled_share": 0.6,
            "cgroup_throttled_periods_share": 0.98,
            "threads_runnable_per_cpu": 4.0,
            "threads_pool_per_cpu": 4.0,
            "threads_starved_cores": 0.04,
            "model_cpu_share": 0.35,
        },
        {"C101", "C106", "C108"},
    ),
    "a quota of one CPU and eight threads on two": (
        {
            "request_starved_share": 0.6,
            "request_throttled_share": 0.5,
            "cgroup_throttled_periods_share": 0.98,
            "threads_runnable_per_cpu": 8.0,
            "threads_pool_per_cpu": 8.0,
            "threads_starved_cores": 3.0,
            "model_cpu_share": 0.35,
            "model_arithmetic_efficiency": 0.2,
        },
        {"C106", "C108"},
    ),
    "a neighbour on the same CPU": (
        ONE_THREAD
        | {
            "request_starved_share": 0.5,
            "threads_starved_cores": 0.5,
            "measurement_foreign_share": 0.5,
            "cpu_foreign_share": 0.5,
            "cpu_idle_share": 0.0,
            "model_cpu_share": 0.45,
        },
        {"C101", "C109"},
    ),
    "steal": (
        {
            "request_starved_share": 0.3,
            "threads_starved_cores": 0.6,
            "cpu_steal_share": 0.3,
            "measurement_foreign_share": 0.3,
        },
        {"C101", "C109"},
    ),
    "heavy preprocessing": (
        {"preprocess_cpu_share": 0.63, "model_share": 0.3, "model_cpu_share": 0.29, "model_excess_share": 0.02},
        {"C101", "C102"},
    ),
    "preprocessing that waits for the disk": (
        MOSTLY_WAITING | {"preprocess_cpu_share": 0.04, "request_read_share": 0.8},
        {"I101"},
    ),
    "preprocessing that makes its arrays anew": (
        NO_MODEL | {"preprocess_cpu_share": 0.5, "memory_fault_share": 0.45},
        {"C102", "M104"},
    ),
    "preprocessing that hands on copies": (NO_MODEL | {"copies_share": 0.9}, {"M106"}),
    "heavy JSON": (NO_MODEL | {"codec_cpu_share": 0.8}, {"C104"}),
    "a session opened in each request": ({"opening_cpu_share": 0.8, "model_arithmetic_efficiency": 0.1}, {"C118"}),
    "heavy postprocessing": (NO_MODEL | {"postprocess_cpu_share": 0.8}, {"C103"}),
    "a callable without stages": (NO_MODEL | {"unclassified_cpu_share": 0.98}, set()),
    "fsync": (MOSTLY_WAITING | {"request_sync_share": 0.85, "disk_write_bytes": 4096.0}, {"I106"}),
    "swap": (
        MOSTLY_WAITING
        | {
            "memory_major_faults": 60.0,
            "memory_swap_in_bytes": 250e3,
            "memory_pressure_share": 0.6,
            "memory_fault_share": 0.8,
        },
        {"M103"},
    ),
    "mapped files that do not fit": (
        MOSTLY_WAITING | {"memory_major_faults": 60.0, "memory_pressure_share": 0.6, "request_read_share": 0.8},
        {"M103"},
    ),
    "a lock": (MOSTLY_WAITING | {"request_lock_share": 0.85, "request_own_lock_share": 0.85}, {"W104"}),
    "a sleep": (MOSTLY_WAITING | {"request_timer_share": 0.85}, {"W110"}),
    "a downstream call": (MOSTLY_WAITING | {"request_network_share": 0.85}, {"I105"}),
    "a far server": (MOSTLY_WAITING | {"request_round_trips_share": 0.85}, {"I103"}),
    "a narrow link": (MOSTLY_WAITING | {"request_transfer_share": 0.85}, {"I104"}),
    "work in a pool": (NO_MODEL | {"preprocess_cpu_share": 0.9, "cpu_parallelism": 2.0}, {"C102"}),
    "a pipe to another process": (MOSTLY_WAITING | {"request_ipc_share": 0.85}, set()),
}


@pytest.mark.parametrize(("changes", "codes"), SITUATIONS.values(), ids=SITUATIONS)
def test_exactly_the_right_causes(changes, codes):
    ledger = Ledger("latency", "typical", exact(1.0), ())
    findings = diagnose(signals_with(**changes), ledger, BUILTIN, limits.shipped())
    present = [f for f in findings if f.status == "present"]
    assert {f.code for f in present} == codes
    assert [f.code for f in findings if f.status == "unknown"] == []
    assert not present or any(codes.isdisjoint(f.lookalikes) for f in present)  # one of them can be supported

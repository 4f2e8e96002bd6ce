"""A healthy run as signals: a well-fed, compute-bound model in a quiet container. A case names only what differs."""

from __future__ import annotations

from pinchpoint import limits
from pinchpoint.contracts import Detector
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.ledger import Ledger
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.signal import Signal, Signals

Given = float | tuple[float, float] | None  # a value, a value with its half-width, or not measured

HEALTHY: dict[str, Given] = {
    "preprocess.cpu_share": 0.02,
    "postprocess.cpu_share": 0.01,
    "codec.cpu_share": 0.01,
    "framework.cpu_share": 0.01,
    "opening.cpu_share": 0.0,
    "unclassified.cpu_share": 0.0,
    "model.share": 0.95,
    "model.cpu_share": 0.93,
    "model.memory_share": 0.01,
    "model.arithmetic_efficiency": 0.85,
    "model.bandwidth_efficiency": 0.1,
    "model.weights_share": 0.005,
    "model.activations_share": 0.005,
    "model.lookup_share": 0.0,
    "model.dispatch_share": 0.01,
    "capacity.batchable_share": 0.015,
    "model.excess_share": 0.05,
    "model.excess_ratio": 1.2,
    "model.removable_share": 0.0,
    "model.optimization_off": 0.0,
    "model.quantised_share": 0.0,
    "model.float_gain": 1.0,
    "model.denormal_share": (0.0, 0.01),
    "request.starved_share": 0.005,
    "request.throttled_share": 0.0,
    "request.read_share": 0.0,
    "request.sync_share": 0.0,
    "request.network_share": 0.0,
    "request.lock_share": 0.0,
    "request.own_lock_share": 0.0,
    "request.timer_share": 0.0,
    "request.interpreter_share": 0.0,
    "request.together_share": 0.0,
    "request.ipc_share": 0.0,
    "request.unexplained_share": 0.01,
    "threads.runnable_per_cpu": 1.0,
    "threads.pool_per_cpu": 1.0,
    "threads.starved_cores": 0.01,
    "cpu.parallelism": 2.0,
    "cpu.idle_share": 0.02,
    "cpu.foreign_share": 0.01,
    "cpu.steal_share": 0.0,
    "cpu.slowdown_share": (0.0, 0.03),
    "cgroup.throttled_periods_share": 0.0,
    "scaling.thread_gain": 1.0,
    "memory.major_faults": 0.0,
    "memory.swap_in_bytes": 0.0,
    "memory.pressure_share": 0.0,
    "memory.fault_share": 0.005,
    "copies.share": 0.01,
    "disk.read_bytes": 0.0,
    "disk.write_bytes": 0.0,
    "capacity.gil_utilization": 0.1,
    "capacity.lock_utilization": 0.0,
    "capacity.loop_utilization": 0.0,
    "capacity.pool_utilization": 0.0,
    "capacity.busiest_share": 0.0,
    "capacity.idlest_share": 0.0,
    "capacity.idle_share": 0.02,
    "capacity.scaling": 1.9,
    "tail.company_ratio": 1.0,
    "tail.behind_share": 0.0,
    "tail.ratio": 1.1,
    "tail.collection_share": 0.0,
    "tail.recurring_share": 0.1,
    "startup.seconds": 0.3,
    "startup.reading_s": 0.01,
    "startup.reading_share": 0.03,
    "startup.read_bytes": 1e6,
    "startup.optimising_s": 0.02,
    "startup.optimising_share": 0.06,
    "startup.session_share": 0.3,
    "startup.own_code_share": 0.05,
    "startup.libraries_share": 0.4,
    "tail.new_shape_share": 0.0,
    "request.new_shape_share": 0.0,
    "memory.growth_bytes": (0.0, 10.0),
    "memory.growth_persistence": 0.0,
    "memory.hours_to_limit": 1e6,
    "idle.cpu_share": 0.02,
    "idle.spinning_pools": 1.0,
    "measurement.drift_share": 0.01,
    "measurement.disturbed_share": 0.005,
    "measurement.clock_disagreement": (0.005, 0.01),
    "measurement.group_disagreement": (0.0, 0.01),
    "measurement.count_disagreement": 0.0,
    "measurement.thread_disagreement": 0.0,
    "measurement.server_count_disagreement": 0.0,
    "measurement.server_time_disagreement": 0.0,
    "measurement.noise_share": 0.01,
    "measurement.samples": 20.0,
    "measurement.error_share": 0.0,
    "measurement.foreign_share": 0.01,
    "client.used_share": 0.0,
    "request.queue_share": 0.0,
    "request.round_trips_share": 0.0,
    "request.transfer_share": 0.0,
}


def name_of(key: str) -> str:
    """The signal that a keyword stands for: `model_share` is `model.share`."""
    name = key.replace("_", ".", 1)
    assert name in HEALTHY, f"no signal is named {name}"
    return name


def signals_with(**changes: Given) -> Signals:
    """Healthy signals but for `changes`."""
    values = HEALTHY | {name_of(key): value for key, value in changes.items()}
    return Signals(
        {
            name: Signal(name, "", "", _quantity(value), "" if value is not None else "unseen")
            for name, value in values.items()
        }
    )


def found(detector: Detector, **changes: Given) -> Finding:
    """What a detector concludes from healthy signals but for `changes`."""
    from pinchpoint.diagnose import diagnose

    empty = Ledger("latency", "typical", exact(1.0), ())
    return diagnose(signals_with(**changes), empty, (detector,), limits.shipped())[0]


def _quantity(value: Given) -> Quantity | None:
    if value is None:
        return None
    middle, half = value if isinstance(value, tuple) else (value, 0.02 * value)
    return Quantity(middle, middle - half, middle + half, 100)

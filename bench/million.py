"""A run of as many requests as one likes, whose tables are as large as the recorder would make them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pinchpoint import store
from pinchpoint.domain.run import MARKED, OBSERVED, Environment, Probes, Requests, Run, Samples, Spans, Telemetry
from pinchpoint.domain.target import TargetFacts
from pinchpoint.domain.workload import Workload

Ints = npt.NDArray[np.int64]

OBSERVED_BEFORE_THINNING = 20_000  # as the child thins (child/recorder.py): then the observed share halves
STAGES = ("preprocess", "model", "postprocess")
SHARES = (0.3, 0.5, 0.2)  # of a request
REQUEST_NS, JITTER = 60_000, 0.05  # a million in a minute
SAMPLE_NS = 1_000_000  # a thread sampled a thousand times a second
TELEMETRY_NS = 200_000_000
COLUMNS = (
    "cgroup.cpu_s",
    "cgroup.throttled_s",
    "host.busy_s",
    "host.idle_s",
    "host.steal_s",
    "process.cpu_s",
    "tool.cpu_s",
)
MAIN = 100


def stored(folder: Path, count: int) -> Path:
    """The folder of a run of `count` requests, written once."""
    path = folder / f"run-{count}"
    if not store.is_run(path):
        store.save(run_of(count), path)
    return path


def requests_in(folder: Path) -> int:
    """How many requests a run folder holds."""
    return len(store.load(folder).requests.index)


def observed_of(count: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which requests are observed: half of them, and half as many each time that enough were."""
    found = np.zeros(count, dtype=bool)
    share, at = 0.5, 0
    while at < count:
        step = int(OBSERVED_BEFORE_THINNING / share)
        end = min(at + step, count)
        found[at:end] = rng.random(end - at) < share
        share, at = share / 2, end
    return found


def run_of(count: int, seed: int = 0) -> Run:
    """Requests of three stages on CPU, one in flight."""
    rng = np.random.default_rng(seed)
    length = (REQUEST_NS * (1 + JITTER * rng.standard_normal(count))).astype(np.int64)
    end = np.cumsum(length) + np.int64(1_000_000_000)
    start, observed = end - length, observed_of(count, rng)
    index = np.arange(count, dtype=np.int64)
    last = int(end[-1])
    return Run(
        id="many", created="", version="0", target=TargetFacts("python", "app.py:handle"), workload=Workload(),
        environment=Environment("bench", 2, 2, None, None, "Linux", False),
        requests=Requests(index, start, end, np.where(observed, OBSERVED, 0).astype(np.int64)),
        probes=_probes(index[observed], length[observed], start[observed]),
        spans=_spans(index[observed], length[observed], start[observed]),
        span_names=STAGES,
        samples=_samples(int(start[0]), last, rng),
        telemetry=_telemetry(int(start[0]), last),
        request_thread=MAIN,
    )  # fmt: skip


def _probes(index: Ints, length: Ints, start: Ints) -> Probes:
    """All CPU, nothing else counted."""
    none = np.zeros(len(index), dtype=np.int64)
    return Probes(
        index=index, cpu_ns=length, process_cpu_ns=length, run_delay_ns=none, minor_faults=none, major_faults=none,
        voluntary_switches=none, involuntary_switches=none, read_bytes=none, write_bytes=none, system_ns=none,
        begin_cpu_ns=start, begin_delay_ns=none, begin_faults=none,
    )  # fmt: skip


def _spans(index: Ints, length: Ints, start: Ints) -> Spans:
    """Three stages in a row; the thread's CPU clock is the wall clock."""
    edges = np.concatenate(([0.0], np.cumsum(SHARES)))
    count, stages = len(index), len(STAGES)
    begin = np.stack([start + (length * edge).astype(np.int64) for edge in edges[:-1]], axis=1).ravel()
    end = np.stack([start + (length * edge).astype(np.int64) for edge in edges[1:]], axis=1).ravel()
    none = np.zeros(count * stages, dtype=np.int64)
    names = np.tile(np.arange(stages, dtype=np.int64), count)
    kinds, threads = np.full(count * stages, MARKED, dtype=np.int64), np.full(count * stages, MAIN, dtype=np.int64)
    zeros = (none.copy() for _ in range(4))
    return Spans(np.repeat(index, stages), names, kinds, threads, begin, end, begin.copy(), end.copy(), *zeros)


def _samples(first: int, last: int, rng: np.random.Generator) -> Samples:
    """The thread always runs."""
    count = max((last - first) // SAMPLE_NS, 1)
    times = np.sort(rng.integers(first, last, count))
    none = np.zeros(count, dtype=np.int64)
    return Samples(times, np.full(count, MAIN, dtype=np.int64), none, none.copy())


def _telemetry(first: int, last: int) -> Telemetry:
    times = np.arange(first, last + TELEMETRY_NS, TELEMETRY_NS, dtype=np.int64)
    seconds = (times - first) / 1e9
    return Telemetry(times, tuple((name, seconds.copy()) for name in COLUMNS))

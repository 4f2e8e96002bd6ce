"""This machine's limits, measured by the runtime that the target uses, at its thread counts; cached between runs."""

from __future__ import annotations

import hashlib
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import msgspec

from pinchpoint import micromodels
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import Ceiling
from pinchpoint.domain.split import FEW_OPERATORS

VERSION = 4  # of the micro-workloads: older caches are measured anew
SECONDS_EACH = 0.25
RUNS_EACH = 200
MIB = 1 << 20
READ_FOOTPRINTS = (MIB, 8 * MIB, 64 * MIB, 256 * MIB)
RECHECKED = READ_FOOTPRINTS[-1]  # too large for any cache, so that what neighbours leave of one does not matter
TRIAD_FOOTPRINTS = (MIB, 8 * MIB, 96 * MIB)
CHAIN_SHORT, CHAIN_LONG, CHAIN_LONGEST = 100, FEW_OPERATORS, 4000
ROW_FLOATS = 16
TABLE_ROWS, LOOKUPS = 4 * MIB, MIB  # 64 MB of rows a run: more than a cache keeps until the next
SMALL_TABLE_ROWS, SMALL_LOOKUPS = 4096, 65536
DISK_BYTES = 16 * MIB


class Runtime(Protocol):
    """Runs micro-models in the target's interpreter and runtime."""

    name: str

    def times(self, model: Path, feeds: Path, threads: int, seconds: float, most: int) -> Sequence[float]:
        """Seconds of each timed run, after one that is dropped."""
        ...

    def profiled(
        self, model: Path, feeds: Path, threads: int, seconds: float, most: int
    ) -> tuple[Sequence[float], int]:
        """Seconds of each run under the runtime's profiler, and how many operator events a run wrote."""
        ...


@dataclass(frozen=True, slots=True)
class _Bench:
    """A runtime at a thread count, with a folder for the micro-models."""

    runtime: Runtime
    threads: int
    folder: Path

    def times(self, name: str, made: Callable[[], tuple[bytes, dict[str, micromodels.Array]]]) -> Sequence[float]:
        """Run times of a micro-model, built once a folder."""
        model, feeds = self._written(name, made)
        return self.runtime.times(model, feeds, self.threads, SECONDS_EACH, RUNS_EACH)

    def profiled(
        self, name: str, made: Callable[[], tuple[bytes, dict[str, micromodels.Array]]]
    ) -> tuple[Sequence[float], int]:
        """The same under the runtime's profiler."""
        model, feeds = self._written(name, made)
        return self.runtime.profiled(model, feeds, self.threads, SECONDS_EACH, RUNS_EACH)

    def _written(self, name: str, made: Callable[[], tuple[bytes, dict[str, micromodels.Array]]]) -> tuple[Path, Path]:
        model = self.folder / f"{name}.onnx"
        return (model, model.with_suffix(".npz")) if model.exists() else micromodels.write(self.folder, name, made())


def measure(
    runtime: Runtime, thread_counts: Sequence[int], progress: Callable[[str], None] = lambda _: None
) -> tuple[Ceiling, ...]:
    """All ceilings of a runtime at the given thread counts; takes about 5 s a thread count."""
    found: list[Ceiling] = []
    with tempfile.TemporaryDirectory(prefix="pinchpoint-") as folder:
        for threads in thread_counts:
            progress(f"calibrating {runtime.name} at {threads} thread{'s' if threads > 1 else ''}")
            bench = _Bench(runtime, threads, Path(folder))
            overheads = _overheads(bench)
            base = next(c.value.value for c in overheads if c.name == "run_s")
            found += [*overheads, *_arithmetic(bench), *_bandwidth(bench, base), *_random_access(bench)]
    return tuple(found)


def measure_numpy(times: Callable[[str, int], Sequence[float]], threads: int) -> tuple[Ceiling, ...]:
    """The ceilings that numpy's kernels reach, where there is no runtime to ask: `times` runs a kernel on float32 elements.

    The product runs on the threads of its BLAS, of which nothing is known but that `threads` CPUs are there; reading and
    adding run on one.
    """
    product = [2 * 1024**3 / t for t in times("product", 1024**2)]
    found = [_rate_ceiling("flops_per_s", product, "FLOP/s", "numpy", threads, dtype="float32")]
    for name, kernel, footprints, element in (
        ("read_bytes_per_s", "read", READ_FOOTPRINTS, 4),
        ("triad_bytes_per_s", "add", TRIAD_FOOTPRINTS, 12),
    ):
        for size in footprints:
            rates = [size / t for t in times(kernel, size // element)]
            found.append(_rate_ceiling(name, rates, "B/s", "numpy", 1, dtype="float32", footprint=size))
    return tuple(found)


class Kernels(Protocol):
    """Times the kernels of a runtime that is no graph runtime, in the target's interpreter (see child/torch_kernels.py)."""

    def times(self, kernel: str, threads: int, elements: int = 0, dtype: str = "float32") -> Sequence[float]:
        """Seconds of each timed run; empty where the runtime has no such kernel."""
        ...

    def starting(self, threads: int) -> Mapping[str, Mapping[str, Sequence[float]]]:
        """By kind of operator: seconds of starting one (`plain`), and of a tiny one as an operator arm shows it (`shown`)."""
        ...


def measure_torch(
    torch: Kernels, thread_counts: Sequence[int], progress: Callable[[str], None] = lambda _: None
) -> tuple[Ceiling, ...]:
    """All ceilings of torch at the given thread counts; takes about 8 s a thread count.

    What starting an operator costs depends on its kind, which is the `dtype` of `dispatch_s` and `event_s`; the empty one
    stands for kinds that are not listed. `event_s` is all that a tiny operator shows: what timing adds, and its start. Both
    are measured on one thread, since a tiny operator that is shared out shows how soon other threads get a CPU.
    """
    found: list[Ceiling] = []
    starting = torch.starting(1)
    for threads in thread_counts:
        progress(f"calibrating torch at {threads} thread{'s' if threads > 1 else ''}")
        for kind, each in starting.items():
            for name, costs in (("dispatch_s", each["plain"]), ("event_s", each["shown"])):
                found.append(replace(_ceiling(name, costs, "s", "torch", threads, best=_undisturbed), dtype=kind))
        for name, kernel in (("module_s", "call"), ("tensor_s", "reach")):
            found.append(_ceiling(name, torch.times(kernel, 1), "s", "torch", threads, best=_undisturbed))
        for dtype in ("float32", "bfloat16", "int8"):
            rates = _torch_rates(torch, threads, dtype)
            if rates:
                found.append(_rate_ceiling("flops_per_s", rates, "FLOP/s", "torch", threads, dtype=dtype))
        found += _torch_bandwidth(torch, threads)
        for name, rows, looked_up in (
            ("far_row_s", TABLE_ROWS, LOOKUPS),
            ("near_row_s", SMALL_TABLE_ROWS, SMALL_LOOKUPS),
        ):
            costs = [t / looked_up for t in torch.times("rows", threads, rows * ROW_FLOATS)]
            found.append(_ceiling(name, costs, "s", "torch", threads, best=statistics.median))
    return tuple(found)


def _undisturbed(costs: Sequence[float]) -> float:
    """The lower quartile: neighbours only make a cost larger."""
    return sorted(costs)[len(costs) // 4]


def _torch_rates(torch: Kernels, threads: int, dtype: str) -> Sequence[float]:
    """FLOP/s of a large product; in float32 of the faster of it and a convolution."""
    product = [2 * 1024**3 / t for t in torch.times("product", threads, 1024**2, dtype)]
    if dtype != "float32":
        return product
    return max(product, [18 * 64**2 * 112**2 / t for t in torch.times("conv", threads)], key=_upper)


def _torch_bandwidth(torch: Kernels, threads: int) -> list[Ceiling]:
    """Read and read-write bandwidth by footprint. Weights are read by products of a matrix and a vector, which torch does on
    one thread where its reductions use all: those are `stream_bytes_per_s`, and judge nothing.
    """
    found = []
    for name, kernel, footprints, element in (
        ("read_bytes_per_s", "gemv", READ_FOOTPRINTS, 4),
        ("stream_bytes_per_s", "maximum", READ_FOOTPRINTS[-1:], 4),
        ("triad_bytes_per_s", "add", TRIAD_FOOTPRINTS, 12),
    ):
        for size in footprints:
            rates = [size / t for t in torch.times(kernel, threads, size // element)]
            found.append(_rate_ceiling(name, rates, "B/s", "torch", threads, dtype="float32", footprint=size))
    return found


def recheck_torch(torch: Kernels, known: tuple[Ceiling, ...], threads: int) -> tuple[Ceiling, ...]:
    """As `recheck`, with torch's kernels."""
    reads = [RECHECKED / t for t in torch.times("gemv", threads, RECHECKED // 4)]
    return _of_today(known, threads, _torch_rates(torch, threads, "float32"), reads)


def measure_disk(folder: Path) -> tuple[Ceiling, ...]:
    """Read bandwidth of the file system that holds `folder`, past the page cache where the kernel lets us."""
    rates = []
    path = folder / f".pinchpoint-disk-{os.getpid()}"
    try:
        with path.open("wb") as file:
            file.write(os.urandom(MIB) * (DISK_BYTES // MIB))
            file.flush()
            os.fsync(file.fileno())
        for _ in range(3):
            with path.open("rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                start = time.perf_counter()
                while file.read(MIB):
                    pass
                rates.append(DISK_BYTES / (time.perf_counter() - start))
    except OSError:
        return ()
    finally:
        path.unlink(missing_ok=True)
    return (_rate_ceiling("disk_read_bytes_per_s", rates, "B/s", "kernel", 1),)


def page_faults(small: Sequence[float], huge: Sequence[float]) -> tuple[Ceiling, ...]:
    """The cost of a minor fault from repeated first touches of fresh pages, seconds a page; huge ones where there are."""
    measured = (("fault_s", small), ("huge_fault_s", huge))
    return tuple(_ceiling(name, costs, "s", "kernel", 1, best=statistics.median) for name, costs in measured if costs)


def cached(
    key: Mapping[str, str],
    thread_counts: Sequence[int],
    measured: Callable[[Sequence[int]], tuple[Ceiling, ...]],
    *,
    fresh: bool = False,
) -> tuple[Ceiling, ...]:
    """Ceilings from the cache, measuring only the thread counts that it lacks; an unreadable cache is measured anew."""
    path = cache_folder() / f"ceilings-{_digest(key)}.json"
    known: tuple[Ceiling, ...] = ()
    if not fresh:
        try:
            known = msgspec.json.decode(path.read_bytes(), type=tuple[Ceiling, ...])
        except (OSError, msgspec.MsgspecError):
            known = ()
    missing = [threads for threads in thread_counts if not any(c.threads == threads and c.dtype for c in known)]
    if missing:
        new = measured(missing)
        kept = {(c.name, c.threads, c.dtype, c.footprint_bytes): c for c in (*known, *new)}
        known = tuple(kept.values())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.write_bytes(msgspec.json.encode(known))
            temporary.replace(path)
        except OSError:
            return known  # a cache that cannot be written costs time, nothing else
    return known


def recheck(runtime: Runtime, known: tuple[Ceiling, ...], threads: int) -> tuple[Ceiling, ...]:
    """`known` with arithmetic and bandwidth measured once more now: each family is scaled to today, and its interval
    spans both days. Takes about half a second.
    """
    with tempfile.TemporaryDirectory(prefix="pinchpoint-") as folder:
        bench = _Bench(runtime, threads, Path(folder))
        flops = _float32_rates(bench)
        reads = [RECHECKED / t for t in bench.times("reduce", lambda: micromodels.reduction(RECHECKED // 4))]
    return _of_today(known, threads, flops, reads)


def _of_today(
    known: tuple[Ceiling, ...], threads: int, flops: Sequence[float], reads: Sequence[float]
) -> tuple[Ceiling, ...]:
    """`known` scaled by arithmetic and bandwidth as measured now."""
    now = {"flops_per_s": _upper(flops), "read_bytes_per_s": _upper(reads)}
    then = {c.name: c.value.value for c in known if c.threads == threads and c.name in now and _is_reference(c)}
    ratios = {name: now[name] / then[name] for name in then}
    if "read_bytes_per_s" in ratios:
        ratios["triad_bytes_per_s"] = ratios["read_bytes_per_s"]
    return tuple(_rescaled(c, ratios.get(c.name, 1.0)) for c in known)


def _is_reference(ceiling: Ceiling) -> bool:
    """The ceilings that `recheck` measures again."""
    return (ceiling.name, ceiling.dtype) == ("flops_per_s", "float32") or ceiling.footprint_bytes == RECHECKED


def _rescaled(ceiling: Ceiling, ratio: float) -> Ceiling:
    """Scaled to what the machine does now; the interval spans what it did then and what it does now."""
    old = ceiling.value
    value = old.value * ratio
    spread = Quantity(value, min(old.low, old.low * ratio), max(old.high, old.high * ratio), old.n)
    return replace(ceiling, value=spread)


def cache_folder() -> Path:
    """Where ceilings are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pinchpoint"


def _arithmetic(bench: _Bench) -> list[Ceiling]:
    """The best FLOP/s that the runtime's own kernels reach, by data type."""
    int8 = [2 * 1024**3 / t for t in bench.times("gemm8", lambda: micromodels.matmul_int8(1024, 1024, 1024))]
    name, threads = bench.runtime.name, bench.threads
    return [
        _rate_ceiling("flops_per_s", _float32_rates(bench), "FLOP/s", name, threads, dtype="float32"),
        _rate_ceiling("flops_per_s", int8, "FLOP/s", name, threads, dtype="int8"),
    ]


def _float32_rates(bench: _Bench) -> Sequence[float]:
    """FLOP/s of the faster of a large product and a convolution."""
    gemm = [2 * 1024**3 / t for t in bench.times("gemm", lambda: micromodels.matmul(1024, 1024, 1024))]
    conv = [18 * 64**2 * 112**2 / t for t in bench.times("conv", lambda: micromodels.convolution(64, 112))]
    return max(gemm, conv, key=_upper)


def _bandwidth(bench: _Bench, base_s: float) -> list[Ceiling]:
    """Read and read-write bandwidth by footprint, without the `base_s` of a run; the faster of two kernels that only read."""
    found = []
    name, threads = bench.runtime.name, bench.threads
    for size in READ_FOOTPRINTS:
        side = int(math.sqrt(min(size, 64 * MIB) / 4))
        count = max(1, size // (4 * side * side))
        product = bench.times(f"read{size}", lambda s=side, c=count: micromodels.matmul(1, s, s, c))  # type: ignore[misc]
        reduced = bench.times(f"reduce{size}", lambda s=size: micromodels.reduction(s // 4))  # type: ignore[misc]
        rates = max(([size / max(t - base_s, t / 4) for t in each] for each in (product, reduced)), key=_upper)
        found.append(_rate_ceiling("read_bytes_per_s", rates, "B/s", name, threads, dtype="float32", footprint=size))
    for size in TRIAD_FOOTPRINTS:
        times = bench.times(f"add{size}", lambda s=size: micromodels.addition(s // 12))  # type: ignore[misc]
        rates = [size / max(t - base_s, t / 4) for t in times]
        found.append(_rate_ceiling("triad_bytes_per_s", rates, "B/s", name, threads, dtype="float32", footprint=size))
    return found


def _overheads(bench: _Bench) -> list[Ceiling]:
    """What the runtime charges an operator, one of many more (what belongs to them fills the caches), a run, and an event of its
    profiler: slopes between chain lengths.
    """
    short = bench.times("short", lambda: micromodels.chain(CHAIN_SHORT))
    long = bench.times("long", lambda: micromodels.chain(CHAIN_LONG))
    longest = bench.times("longest", lambda: micromodels.chain(CHAIN_LONGEST))
    steps, more = CHAIN_LONG - CHAIN_SHORT, CHAIN_LONGEST - CHAIN_LONG
    each = [(b - a) / steps for a, b in zip(sorted(short), sorted(long), strict=False)]
    base = [a - CHAIN_SHORT * e for a, e in zip(sorted(short), each, strict=False)]
    further = [(b - a) / more for a, b in zip(sorted(long), sorted(longest), strict=False)]
    profiled, events = bench.profiled("long", lambda: micromodels.chain(CHAIN_LONG))
    plain = statistics.median(long)
    event = [max(t - plain, 0.0) / max(events, 1) for t in profiled]
    name, threads = bench.runtime.name, bench.threads
    return [
        _ceiling("dispatch_s", each, "s", name, threads, best=statistics.median),
        _ceiling("dispatch_further_s", further, "s", name, threads, best=statistics.median),
        _ceiling("run_s", base, "s", name, threads, best=statistics.median),
        _ceiling("event_s", event, "s", name, threads, best=statistics.median),
    ]


def _random_access(bench: _Bench) -> list[Ceiling]:
    """Seconds a row of a large table costs at a random place, and of a table that fits the cache."""
    far = bench.times("far", lambda: micromodels.lookup(TABLE_ROWS, ROW_FLOATS, LOOKUPS))
    near = bench.times("near", lambda: micromodels.lookup(SMALL_TABLE_ROWS, ROW_FLOATS, SMALL_LOOKUPS))
    name, threads = bench.runtime.name, bench.threads
    return [
        _ceiling("far_row_s", [t / LOOKUPS for t in far], "s", name, threads, best=statistics.median),
        _ceiling("near_row_s", [t / SMALL_LOOKUPS for t in near], "s", name, threads, best=statistics.median),
    ]


def _upper(rates: Sequence[float]) -> float:
    """The 90th percentile: what is reached when nothing else runs, without trusting a single lucky run."""
    return sorted(rates)[int(0.9 * (len(rates) - 1))]


def _rate_ceiling(
    name: str, rates: Sequence[float], unit: str, runtime: str, threads: int, dtype: str = "", footprint: float = 0.0
) -> Ceiling:
    """A ceiling on a rate: disturbances only lower it, so the value is the 90th percentile, the interval median to best."""
    quantity = Quantity(_upper(rates), min(statistics.median(rates), _upper(rates)), max(rates), len(rates))
    return Ceiling(name, quantity, unit, runtime, threads, dtype, footprint)


def _ceiling(
    name: str, costs: Sequence[float], unit: str, runtime: str, threads: int, best: Callable[[Sequence[float]], float]
) -> Ceiling:
    """A floor on a cost: the interval runs from the lower to the upper quartile."""
    ordered = sorted(max(c, 0.0) for c in costs)
    value = max(best(ordered), 0.0)
    low, high = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    return Ceiling(name, Quantity(value, min(low, value), max(high, value), len(ordered)), unit, runtime, threads)


def _digest(key: Mapping[str, str]) -> str:
    text = "|".join(f"{name}={key[name]}" for name in sorted(key)) + f"|{VERSION}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]

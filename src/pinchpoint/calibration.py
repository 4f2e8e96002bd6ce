"""The target's runtime as a source of ceilings: micro-models run in a child of the target's own interpreter; numpy's kernels
where it has no such runtime.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from pinchpoint import ceilings, runtime_profile
from pinchpoint.domain.run import Ceiling, Environment
from pinchpoint.process import Child, Ended, Reply
from pinchpoint.torch_costs import WHOLE

TIMEOUT_S = 60.0
PROFILED_RUNS = 30
WARM_RUNS = 2
BY_KIND = ("dispatch_s", "event_s")  # of torch, one for each kind of operator: too many to show
STARTING_S = 0.03  # for each kind of operator, as it is and as it shows


class OnnxRuntime:
    """onnxruntime in a child of its own; a context manager."""

    name = "onnxruntime"

    def __init__(self, python: str | None) -> None:
        self._child = Child(python)
        versions = self._child.ask({"do": "runtime", "names": [self.name, "numpy"]}, TIMEOUT_S)
        self.version: str | None = versions[self.name]
        self.numpy: str | None = versions["numpy"]

    def __enter__(self) -> OnnxRuntime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.close()

    def times(self, model: Path, feeds: Path, threads: int, seconds: float, most: int) -> Sequence[float]:
        """Seconds of each run of a micro-model."""
        times: Sequence[float] = self._measure(model, feeds, threads, seconds, most)["seconds"]
        return times

    def profiled(
        self, model: Path, feeds: Path, threads: int, seconds: float, most: int
    ) -> tuple[Sequence[float], int]:
        """Seconds of each run under the runtime's profiler, and the operator events of one run."""
        arm = self._measure(
            model, feeds, threads, seconds, min(most, PROFILED_RUNS), profiled=True, prefix=str(model.with_suffix(""))
        )["profile"]
        path = Path(arm["path"])
        events = sum(event.get("cat") == "Node" for event in runtime_profile.read_events(path))
        path.unlink(missing_ok=True)
        return arm["seconds"], events // (len(arm["seconds"]) + arm["warm_runs"])

    def numpy_times(self, kernel: str, elements: int) -> Sequence[float]:
        """Seconds of each run of one of numpy's kernels."""
        command = {"do": "measure_numpy", "kernel": kernel, "elements": elements}
        limits = {"seconds": ceilings.SECONDS_EACH, "most_runs": ceilings.RUNS_EACH}
        times: Sequence[float] = _answer(self._child.ask({**command, **limits}, TIMEOUT_S))["seconds"]
        return times

    def _measure(self, model: Path, feeds: Path, threads: int, seconds: float, most: int, **more: object) -> Reply:
        spec = {
            "kind": "onnx",
            "uri": model.name,
            "path": str(model),
            "feeds": [str(feeds)],
            "settings": {"intra_op_threads": str(threads)},
        }
        command = {"do": "measure", "spec": spec, "seconds": seconds, "most_runs": most, **more}
        return _answer(self._child.ask(command, TIMEOUT_S))


class Torch:
    """torch in a child of its own; a context manager."""

    name = "torch"

    def __init__(self, python: str | None) -> None:
        self._child = Child(python)
        self.version: str | None = self._child.ask({"do": "runtime", "names": [self.name]}, TIMEOUT_S)[self.name]

    def __enter__(self) -> Torch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.close()

    def times(self, kernel: str, threads: int, elements: int = 0, dtype: str = "float32") -> Sequence[float]:
        """Seconds of each run of one of torch's kernels; empty where it has none for this data type."""
        try:
            times: Sequence[float] = self._measure(kernel, threads, elements=elements, dtype=dtype)["seconds"]
        except Ended:
            if dtype == "float32":
                raise
            return ()
        return times

    def starting(self, threads: int) -> Mapping[str, Mapping[str, Sequence[float]]]:
        """By kind of operator: seconds of starting one, and of a tiny one as an operator arm shows it."""
        kinds: Mapping[str, Mapping[str, Sequence[float]]] = self._measure(
            "start", threads, seconds=STARTING_S, whole=WHOLE
        )["kinds"]
        return kinds

    def _measure(self, kernel: str, threads: int, **more: object) -> Reply:
        limits = {"seconds": ceilings.SECONDS_EACH, "most_runs": ceilings.RUNS_EACH}
        command = {"do": "measure_torch", "kernel": kernel, "threads": threads, **limits, **more}
        return _answer(self._child.ask(command, TIMEOUT_S))


def _answer(reply: Reply) -> Reply:
    if "failed" in reply:
        raise Ended(str(reply["failed"]))
    return reply


def of_machine(
    python: str | None,
    environment: Environment,
    thread_counts: Sequence[int],
    progress: Callable[[str], None],
    *,
    fresh: bool = False,
    runtime: str = OnnxRuntime.name,
) -> tuple[tuple[Ceiling, ...], float]:
    """Ceilings of a runtime under `python`, from the cache where it has them and rechecked now, and the seconds that
    measuring the missing ones took. Where onnxruntime is missing, torch's, and without it or where no thread
    count is asked for, numpy's; empty without.
    """
    most = max(1, math.floor(environment.effective_cpus))
    if runtime == Torch.name:
        return _of_torch(python, environment, thread_counts, progress, fresh=fresh)
    with OnnxRuntime(python) as onnx:
        if thread_counts and onnx.version is not None:
            stopwatch = _Stopwatch(lambda missing: ceilings.measure(onnx, missing, progress))
            key = _key(environment, onnx.name, onnx.version)
            known = ceilings.cached(key, thread_counts, stopwatch, fresh=fresh)
            wanted = tuple(c for c in known if c.threads in thread_counts)
            return ceilings.recheck(onnx, wanted, max(thread_counts)), stopwatch.spent_s
        if thread_counts:
            found, spent = _of_torch(python, environment, thread_counts, progress, fresh=fresh)
            if found:
                return tuple(c for c in found if c.name not in BY_KIND or not c.dtype), spent
        if onnx.numpy is not None:
            stopwatch = _Stopwatch(lambda _: _measure_numpy(onnx, most, progress))
            key = _key(environment, "numpy", onnx.numpy)
            return ceilings.cached(key, (most,), stopwatch, fresh=fresh), stopwatch.spent_s
        return (), 0.0


def _of_torch(
    python: str | None,
    environment: Environment,
    thread_counts: Sequence[int],
    progress: Callable[[str], None],
    *,
    fresh: bool,
) -> tuple[tuple[Ceiling, ...], float]:
    with Torch(python) as torch:
        if torch.version is None:
            return (), 0.0
        stopwatch = _Stopwatch(lambda missing: ceilings.measure_torch(torch, missing, progress))
        known = ceilings.cached(_key(environment, torch.name, torch.version), thread_counts, stopwatch, fresh=fresh)
        wanted = tuple(c for c in known if c.threads in thread_counts)
        return ceilings.recheck_torch(torch, wanted, max(thread_counts)), stopwatch.spent_s


def _measure_numpy(runtime: OnnxRuntime, threads: int, progress: Callable[[str], None]) -> tuple[Ceiling, ...]:
    progress("calibrating numpy")
    return ceilings.measure_numpy(runtime.numpy_times, threads)


class _Stopwatch:
    """A measurement that notes the seconds that it took."""

    def __init__(self, measure: Callable[[Sequence[int]], tuple[Ceiling, ...]]) -> None:
        self._measure = measure
        self.spent_s = 0.0

    def __call__(self, missing: Sequence[int]) -> tuple[Ceiling, ...]:
        began = time.monotonic()
        found = self._measure(missing)
        self.spent_s += time.monotonic() - began
        return found


def _key(environment: Environment, name: str, version: str) -> dict[str, str]:
    """What a cached ceiling depends on."""
    cpus = f"{environment.effective_cpus:g}"
    return {"cpu": environment.cpu_model, "cpus": cpus, "kernel": environment.kernel, name: version}

"""The target's runtime as a source of ceilings: micro-models run in a child of the target's own interpreter."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from pinchpoint import ceilings, runtime_profile
from pinchpoint.domain.run import Ceiling, Environment
from pinchpoint.process import Child, Ended, Reply

TIMEOUT_S = 60.0
PROFILED_RUNS = 30
WARM_RUNS = 2


class OnnxRuntime:
    """onnxruntime in a child of its own; a context manager."""

    name = "onnxruntime"

    def __init__(self, python: str | None) -> None:
        self._child = Child(python)
        self.version: str | None = self._child.ask({"do": "runtime"}, TIMEOUT_S)["version"]

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

    def _measure(self, model: Path, feeds: Path, threads: int, seconds: float, most: int, **more: object) -> Reply:
        spec = {
            "kind": "onnx",
            "uri": model.name,
            "path": str(model),
            "feeds": [str(feeds)],
            "settings": {"intra_op_threads": str(threads)},
        }
        reply = self._child.ask(
            {"do": "measure", "spec": spec, "seconds": seconds, "most_runs": most, **more}, TIMEOUT_S
        )
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
) -> tuple[tuple[Ceiling, ...], float]:
    """Ceilings of onnxruntime under `python`, from the cache where it has them and rechecked now, and the seconds that
    measuring the missing ones took; empty without that runtime.
    """
    spent = [0.0]

    def measured(missing: Sequence[int]) -> tuple[Ceiling, ...]:
        began = time.monotonic()
        found = ceilings.measure(runtime, missing, progress)
        spent[0] += time.monotonic() - began
        return found

    with OnnxRuntime(python) as runtime:
        if runtime.version is None:
            return (), 0.0
        key = {
            "cpu": environment.cpu_model,
            "cpus": f"{environment.effective_cpus:g}",
            "kernel": environment.kernel,
            "onnxruntime": runtime.version,
        }
        known = ceilings.cached(key, thread_counts, measured, fresh=fresh)
        wanted = tuple(c for c in known if c.threads in thread_counts)
        return ceilings.recheck(runtime, wanted, max(thread_counts)), spent[0]

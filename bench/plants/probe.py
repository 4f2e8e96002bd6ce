"""Runs a plant's target by itself and reads the kernel's own counters: `python probe.py SECONDS TARGET [OPTIONS]`.

It shares no clock, no wrapper and no rule with pinchpoint. One JSON object goes to stdout: latencies, shares of the wall
time by state of the thread that answers, counts a request, and the inclusive share of each function and stage of the app.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import inspect
import itertools
import json
import resource
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

spent: dict[str, float] = defaultdict(float)
stages: dict[str, float] = defaultdict(float)


class Stages:
    """Takes the app's own marks."""

    def __init__(self) -> None:
        self.open = threading.local()

    def begin(self, name: str, *_: object) -> None:
        """A stage begins."""
        self.open.__dict__.setdefault("stack", []).append((name, time.perf_counter()))

    def end(self) -> None:
        """The innermost one ends."""
        name, began = self.open.stack.pop()
        stages[name] += time.perf_counter() - began


def timed(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function with its inclusive wall time added to `spent`."""
    if inspect.iscoroutinefunction(function):

        async def awaited(*args: object, **named: object) -> object:
            began = time.perf_counter()
            try:
                return await function(*args, **named)
            finally:
                spent[name] += time.perf_counter() - began

        return awaited

    def called(*args: object, **named: object) -> object:
        began = time.perf_counter()
        try:
            return function(*args, **named)
        finally:
            spent[name] += time.perf_counter() - began

    return called


def watch(module: ModuleType) -> None:
    """Time the public functions and methods of the app, and the codecs."""
    owners = [
        module,
        *(each for each in vars(module).values() if inspect.isclass(each) and each.__module__ == module.__name__),
    ]
    for owner in owners:
        for name, value in list(vars(owner).items()):
            own = inspect.isfunction(value) and value.__module__ == module.__name__
            if own and not name.startswith("_") and name not in ("handle", "example_inputs"):
                setattr(owner, name, timed(value, name))
    json.loads, json.dumps = timed(json.loads, "json.loads"), timed(json.dumps, "json.dumps")


def python_target(target: str) -> tuple[Callable[[Any], Any], list[Any]]:
    """The app's handle and requests."""
    from pinchpoint.stages import listen

    path, _, name = target.rpartition(":")
    sys.path.insert(0, str(Path(path).parent))
    spec = importlib.util.spec_from_file_location("app", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["app"] = module
    spec.loader.exec_module(module)
    requests = list(module.example_inputs())
    watch(module)
    listen(Stages())
    return getattr(module, name), requests


def onnx_target(path: str, options: argparse.Namespace) -> tuple[Callable[[Any], Any], list[Any]]:
    """A session on the file, and random requests; ids span the table that they index."""
    import onnx
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    for key, value in (pair.split("=") for pair in options.set):
        if key == "intra_op_threads":
            settings.intra_op_num_threads = int(value)
        elif value == "disabled":
            settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    if options.input:
        feeds = [dict(np.load(each)) for each in sorted(Path(options.input).iterdir())]
        return lambda feed: session.run(None, feed), feeds
    graph = onnx.load(path).graph
    sizes = {weight.name: weight.dims[0] for weight in graph.initializer if weight.dims}
    rows = {
        node.input[1]: sizes[node.input[0]]
        for node in graph.node
        if node.op_type == "Gather" and node.input[0] in sizes
    }
    random = np.random.default_rng(0)
    feeds = []
    for _ in range(32 if rows else 1):
        feed = {}
        for item in session.get_inputs():
            shape = [size if isinstance(size, int) else {"batch": options.batch}.get(size, 128) for size in item.shape]
            if "int64" in item.type:
                feed[item.name] = random.integers(0, rows.get(item.name, 2), shape)
            else:
                feed[item.name] = random.standard_normal(shape, np.float32)
        feeds.append(feed)
    return lambda feed: session.run(None, feed), feeds


def counters() -> dict[str, float]:
    """What the kernel has counted so far, for the main thread and for the process."""
    thread, process = resource.getrusage(resource.RUSAGE_THREAD), resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "wall": time.perf_counter(),
        "user": thread.ru_utime,
        "system": thread.ru_stime,
        "process": process.ru_utime + process.ru_stime,
        "minor": process.ru_minflt,
        "major": process.ru_majflt,
        "switches": thread.ru_nvcsw,
        "forced": thread.ru_nivcsw,
        "delay": int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9,
        "throttled": throttled_s(),
    }
    for line in Path("/proc/self/io").read_text().splitlines():
        name, value = line.split(": ")
        found[name] = int(value)
    return found


def throttled_s() -> float:
    """Seconds for which the own CPU group was throttled."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if names == "cpu":
            with contextlib.suppress(OSError):
                text = Path(f"/sys/fs/cgroup/cpu{path}/cpu.stat").read_text()
                return next(
                    (int(each.split()[1]) / 1e9 for each in text.splitlines() if each.startswith("throttled_time")), 0.0
                )
    return 0.0


def drive(
    call: Callable[[Any], Any], requests: list[Any], seconds: float, warm_s: float
) -> tuple[list[float], dict[str, float], int]:
    """One request after the other; latencies, the counters' growth after the warm-up, and errors."""
    latencies: list[float] = []
    errors = 0
    loop = asyncio.new_event_loop() if inspect.iscoroutinefunction(call) else None
    start, before = time.perf_counter(), None
    for request in itertools.cycle(requests):
        now = time.perf_counter()
        if before is None and now - start > warm_s and latencies:
            spent.clear()
            stages.clear()
            latencies.clear()
            before = counters()
            now = time.perf_counter()
        if before is not None and now - start > warm_s + seconds and len(latencies) > 4:
            break
        try:
            loop.run_until_complete(call(request)) if loop else call(request)
        except Exception:  # noqa: BLE001  # some plants raise on purpose
            errors += before is not None
        latencies.append(time.perf_counter() - now)
    after = counters()
    assert before is not None
    return latencies, {name: after[name] - before[name] for name in after}, errors


def summary(latencies: list[float], grown: dict[str, float], errors: int) -> Iterator[tuple[str, float]]:
    """Named numbers: times in seconds, shares of the wall time, and counts a request."""
    count, wall = len(latencies), grown["wall"]
    half = count // 2
    yield from zip(("p25", "p50", "p75", "p95"), np.quantile(latencies, (0.25, 0.5, 0.75, 0.95)).tolist(), strict=True)
    yield "drift", float(np.median(latencies[half:]) / np.median(latencies[:half]))
    yield "count", count
    yield "errors", errors / count
    cpu = grown["user"] + grown["system"]
    throttled = min(grown["throttled"], max(grown["delay"], 0.0))
    yield "cpu", cpu / wall
    yield "system", grown["system"] / wall
    yield "throttled", throttled / wall
    yield "starved", (grown["delay"] - throttled) / wall
    yield "wait", (wall - cpu - grown["delay"]) / wall
    yield "cores", grown["process"] / wall
    for name in ("minor", "major", "switches", "forced", "read_bytes", "write_bytes"):
        yield f"{name}/request", grown[name] / count
    for name, seconds in {**spent, **stages}.items():
        yield f"in {name}", seconds / wall


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float)
    parser.add_argument("target")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--input")
    options = parser.parse_args()
    if options.target.endswith(".onnx"):
        call, requests = onnx_target(options.target, options)
    else:
        call, requests = python_target(options.target)
    numbers = dict(summary(*drive(call, requests, options.seconds, warm_s=min(1.0, options.seconds / 2))))
    sys.stdout.write("\n" + json.dumps({name: round(value, 7) for name, value in numbers.items()}) + "\n")
    sys.stdout.flush()
    import os

    os._exit(0)  # some apps have threads without end


if __name__ == "__main__":
    main()

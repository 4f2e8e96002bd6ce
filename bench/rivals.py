"""What other profilers cost on the same work as the tool: ONNX Runtime's, torch's, cProfile, and py-spy."""

from __future__ import annotations

import contextlib
import cProfile
import importlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from bench import plain, workloads
from bench.arms import switched_overhead
from bench.cases import cpus
from pinchpoint.domain.quantity import Quantity

PY_SPY_RATE = "100"  # its default, samples a second
LONGEST_S = "3600"  # it is told to end long before
ATTACHING_S = 0.7  # until py-spy has attached and samples


@dataclass(frozen=True, slots=True)
class Rival:
    """A profiler on some work: why it cannot run here (or None), and its cost in an experiment of so many seconds."""

    name: str
    work: str
    missing: str | None
    measure: Callable[[float], Quantity]


def rivals(conv: Path, tiny: Path) -> list[Rival]:
    """All of them, on the two models and on pure Python."""
    torch = None if importlib.util.find_spec("torch") else "torch is not installed"
    return [
        Rival("cProfile", "python 5 ms", None, lambda s: _on_python(_traced, s)),
        Rival(
            "py-spy", "python 5 ms", None if _py_spy() else "py-spy is not installed", lambda s: _on_python(_sampled, s)
        ),
        Rival("ORT's profiler", "conv", None, lambda s: _on_runtime(conv, s)),
        Rival("ORT's profiler", "600 tiny operators", None, lambda s: _on_runtime(tiny, s)),
        Rival("torch.profiler", "conv", torch, _on_torch),
    ]


def _on_python(switch: Callable[[], contextlib.AbstractContextManager[object]], seconds: float) -> Quantity:
    return switched_overhead(workloads.python_5ms, workloads.python_5ms, seconds, switch)


@contextlib.contextmanager
def _traced() -> Iterator[None]:
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        yield
    finally:
        profiler.disable()


def _py_spy() -> str | None:
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


@contextlib.contextmanager
def _sampled() -> Iterator[None]:
    """py-spy attached to this process, as `py-spy record --pid` does it."""
    program = _py_spy()
    assert program is not None
    with tempfile.NamedTemporaryFile() as output:
        command = [program, "record", "--pid", str(os.getpid()), "--rate", PY_SPY_RATE, "--duration", LONGEST_S]
        command += ["--format", "raw", "--output", output.name]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(ATTACHING_S)
        try:
            if process.poll() is not None:
                raise OSError("py-spy could not attach")
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def _on_runtime(model: Path, seconds: float) -> Quantity:
    """The runtime's own profiler, on for one of two sessions of one thread."""
    with tempfile.TemporaryDirectory(prefix="pinchpoint-bench-") as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = f"{folder}/profile"
        profiled = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        bare = plain.session(model, threads=1)
        found = switched_overhead(plain.runner(bare), plain.runner(profiled), seconds)
        profiled.end_profiling()
        return found


def _on_torch(seconds: float) -> Quantity:
    """torch.profiler around a stack of convolutions like the ONNX one."""
    torch = importlib.import_module("torch")
    profiling = importlib.import_module("torch.profiler")
    torch.set_num_threads(cpus())
    layers = [torch.nn.Conv2d(64, 64, 3, padding=1) for _ in range(2)]
    stack, pixels = torch.nn.Sequential(*layers).eval(), torch.randn(1, 64, 56, 56)

    def run() -> object:
        with torch.no_grad():
            return stack(pixels)

    return switched_overhead(run, run, seconds, profiling.profile)

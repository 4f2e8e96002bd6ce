"""The networks that the benches use, built once into build/bench by the builders of examples/networks.py."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import onnx

from bench.report import REPOSITORY, RESULTS

MODELS = RESULTS / "models"
CONSTANT_RENAMED = "renamed."


@cache
def networks() -> ModuleType:
    """examples/networks.py, which is no part of a package."""
    path = REPOSITORY / "examples" / "networks.py"
    spec = importlib.util.spec_from_file_location("bench_networks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def demo_model(name: str) -> Path:
    """A model of `make demo`, built in another process if it is not there, which takes its memory along."""
    path = REPOSITORY / "build" / f"{name}.onnx"
    if not path.exists():
        _build_apart(path.parent, name)
    return path


def _build_apart(folder: Path, name: str) -> None:
    script = REPOSITORY / "examples" / "networks.py"
    subprocess.run([sys.executable, str(script), str(folder), name], check=True, stdout=subprocess.DEVNULL)


def model(name: str, build: Callable[[ModuleType], onnx.ModelProto]) -> Path:
    """The file of a network, built by `build` from the builders if it is not there."""
    path = MODELS / f"{name}.onnx"
    if not path.exists():
        networks().write(build(networks()), path)
    return path


def renamed(source: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with another name for every node and every value inside it."""
    kept = {value.name for value in (*source.graph.input, *source.graph.output)}

    def new(name: str) -> str:
        return name if not name or name in kept else CONSTANT_RENAMED + name[::-1]

    for number, node in enumerate(source.graph.node):
        node.name = f"{CONSTANT_RENAMED}{number}"
        node.input[:] = [new(name) for name in node.input]
        node.output[:] = [new(name) for name in node.output]
    for weight in source.graph.initializer:
        weight.name = new(weight.name)
    return source

"""What `reasons` diagnoses: networks whose limit is known from their arithmetic, each with the verdict that it must get."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import onnx

from bench import models

SIZE, LAYERS = 4096, 4  # 268 MB of weights: far more than the last cache of any CPU, also a quarter of it (int8)
SPLIT = 4
OPERATORS = 600
LARGE = 512
ITEMS = 8  # the batch of the remedy "several requests at once"
TOO_MANY = 12  # threads a CPU: 24 on two


def cpus() -> int:
    """CPUs that we may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Case:
    """A model file at a batch and with settings; `cause` is what the verdict must be, None for `rejected` alone."""

    name: str
    model: str
    cause: str | None
    batch: int = 1
    threads: int = field(default_factory=cpus)
    optimise: bool = True
    rejected: tuple[str, ...] = ()

    @property
    def settings(self) -> Mapping[str, str]:
        """The pairs of `--set`."""
        level = {} if self.optimise else {"graph_optimization": "disabled"}
        return {"intra_op_threads": str(self.threads), **level}


BUILDERS: Mapping[str, Callable[[ModuleType], onnx.ModelProto]] = {
    "matmul": lambda networks: networks.matmuls(LAYERS, SIZE),
    "matmul.split": lambda networks: networks.matmuls(LAYERS, SIZE, split=SPLIT),
    "matmul.renamed": lambda networks: models.renamed(networks.matmuls(LAYERS, SIZE)),
    "conv3x3": lambda networks: networks.conv3x3(),
    "conv3x3.renamed": lambda networks: models.renamed(networks.conv3x3()),
    "tiny": lambda networks: networks.tiny_operators(OPERATORS),
    "tiny.renamed": lambda networks: models.renamed(networks.tiny_operators(OPERATORS)),
    "unoptimised": lambda networks: networks.unoptimised_convnet(),
}


def file_of(name: str) -> Path:
    """The model file of that name, built if need be."""
    return models.model(name, BUILDERS[name])


def around_crossover(crossover: float) -> list[Case]:
    """The chain of MatMuls from batch 1 to 512, with half and twice the crossover between; at it, anything goes."""
    half, twice = max(1, int(crossover / 2)), min(LARGE, max(2, math.ceil(crossover * 2)))
    cases = [Case(f"MatMul 4096 batch {batch}", "matmul", "M101", batch) for batch in sorted({1, half})]
    if half < round(crossover) < twice:
        cases.append(Case(f"MatMul 4096 batch {round(crossover)}", "matmul", None, round(crossover)))
    return cases + [Case(f"MatMul 4096 batch {batch}", "matmul", "C101", batch) for batch in sorted({twice, LARGE})]


def same_work(crossover: float) -> list[Case]:
    """Split or renamed nodes: the same products, so the same verdicts."""
    far = min(LARGE, max(2, round(crossover * 8)))
    pairs = [(batch, cause) for batch, cause in ((1, "M101"), (far, "C101"))]
    matmuls = [
        Case(f"{word} batch {batch}", f"matmul.{word}", cause, batch)
        for word in ("split", "renamed")
        for batch, cause in pairs
    ]
    return [*matmuls, Case("conv3x3 renamed", "conv3x3.renamed", "C101"), Case("tiny renamed", "tiny.renamed", "C105")]


def others() -> list[Case]:
    """One cause each."""
    return [
        Case("conv3x3", "conv3x3", "C101"),
        Case("600 tiny operators", "tiny", "C105"),
        Case(f"conv3x3 {TOO_MANY * cpus()} threads", "conv3x3", "C106", threads=TOO_MANY * cpus()),
        Case("conv3x3 1 thread", "conv3x3", "C107" if cpus() > 1 else "C101", threads=1),
        Case("unoptimised, off", "unoptimised", "C112", optimise=False),
        Case("unoptimised, on", "unoptimised", None, rejected=("C112",)),
        Case("MatMul 4096, off", "matmul", "M101", optimise=False, rejected=("C112",)),
    ]

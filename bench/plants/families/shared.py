"""What several families use: sizes of this machine, networks with their sizes bound, files for disks, what is needed."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from bench.plants.cgroups import needs_cgroup
from bench.plants.graphs import networks
from bench.plants.neighbours import cores
from bench.plants.preparing import Network

CORES = len(cores())
ALL_THREADS = f"--set intra_op_threads={CORES}"
ONE_THREAD = "--set intra_op_threads=1"


def matmuls(n: int, size: int) -> Network:
    """The chain of MatMuls of the examples."""
    return partial(networks.matmuls, n, size)


def convolutions(n: int, channels: int = 64, size: int = 56) -> Network:
    """The chain of 3x3 convolutions of the examples."""
    return partial(networks.conv3x3, n, channels, size)


def two_cores() -> str | None:
    """Parallelism can only be missing where there is some."""
    return None if CORES > 1 else "needs two CPUs"


def pinning() -> str | None:
    """Whether programs can be bound to a CPU."""
    return None if shutil.which("taskset") else "taskset is not installed"


def quotas() -> str | None:
    """Whether groups with a CPU quota can be made."""
    return needs_cgroup("cpu")() or pinning()


def random_file(megabytes: int) -> Callable[[Path], None]:
    """Writes a file of random float32 numbers."""

    def fill(path: Path) -> None:
        block = np.random.default_rng(0).standard_normal(1 << 20, dtype=np.float32).tobytes()
        with path.open("wb") as file:
            for _ in range(megabytes // 4):
                file.write(block)

    return fill


def transactions(path: Path) -> None:
    """Writes a database of 190 MB, a row a page, so that each point query reads one page that nobody read before."""
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        database.execute("CREATE TABLE transactions (id INTEGER PRIMARY KEY, body BLOB)")
        body = np.random.default_rng(0).integers(0, 255, 3600, np.uint8).tobytes()
        database.executemany("INSERT INTO transactions VALUES (?, ?)", ((number, body) for number in range(1, 48_000)))
    database.close()

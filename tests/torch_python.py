"""The interpreter that has torch, for tests of torch targets: this one, or the one named in PINCHPOINT_TORCH_PYTHON."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

VARIABLE = "PINCHPOINT_TORCH_PYTHON"
SOURCE = Path(__file__).parents[1] / "src"


def torch_python():
    """Its path; None where there is none."""
    if importlib.util.find_spec("torch") is not None:
        return sys.executable
    return os.environ.get(VARIABLE)


needs_torch = pytest.mark.skipif(
    torch_python() is None, reason=f"torch is not installed (pip install torch==2.13.0), and {VARIABLE} names no python"
)


def run(source, *arguments):
    """What a program prints last, as JSON, under the interpreter that has torch."""
    done = subprocess.run(
        [torch_python(), "-W", "ignore", "-c", textwrap.dedent(source), *map(str, arguments)],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])

"""Reading ONNX Runtime's profile, real and damaged."""

from __future__ import annotations

import json

import numpy as np
import pytest

import networks
from pinchpoint import runtime_profile
from pinchpoint.domain.operator import Tensor


def profiled(tmp_path, model, feeds, runs):
    """The path of a real profile of `runs` runs."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "p")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for _ in range(runs):
        session.run(None, feeds)
    return session.end_profiling()


def test_operators_of_a_real_profile(tmp_path):
    from pathlib import Path

    model = networks.matmuls(n=3, size=64)
    path = Path(profiled(tmp_path, model, {"x": np.ones((1, 64), np.float32)}, runs=12))
    rows = runtime_profile.operators(path, 0, warm_runs=2, chosen=np.ones(10, dtype=bool))
    assert [row.kind for row in rows] == ["MatMul"] * 3
    for row in rows:
        assert row.calls == 1.0
        assert row.seconds.n == 10
        assert 0 <= row.seconds.low <= row.seconds.value <= row.seconds.high
        assert row.cost.flops == 2 * 64 * 64
        assert row.cost.weight_bytes == 64 * 64 * 4
        assert row.cost.activation_bytes == 2 * 64 * 4


def test_chosen_runs_only(tmp_path):
    from pathlib import Path

    path = Path(profiled(tmp_path, networks.matmuls(n=1, size=64), {"x": np.ones((1, 64), np.float32)}, runs=6))
    chosen = np.array([True, False, True, False])
    assert runtime_profile.operators(path, 0, 2, chosen)[0].seconds.n == 2
    assert runtime_profile.operators(path, 0, 2, np.ones(7, dtype=bool)) == ()  # tells of other runs than were made


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '[1, "x"]',
        '{"a": 1}',
        json.dumps([{"cat": "Node", "name": "a_kernel_time", "args": {"op_name": "If"}}]),
    ],
)
def test_a_damaged_profile_tells_nothing(tmp_path, content):
    path = tmp_path / "profile.json"
    path.write_text(content)
    assert runtime_profile.operators(path, 0, 0, np.ones(1, dtype=bool)) == ()
    assert runtime_profile.operators(tmp_path / "absent", 0, 0, np.ones(1, dtype=bool)) == ()


F = "float"


@pytest.mark.parametrize(
    ("inputs", "parameter_bytes", "constant"),
    [
        ([Tensor(F, (1, 4)), Tensor(F, (4, 8))], 128, (False, True)),
        ([Tensor(F, (1, 4)), Tensor(F, (4, 8)), Tensor(F, (8,))], 160, (False, True, True)),
        ([Tensor(F, (4, 4)), Tensor(F, (4, 4))], 64, (False, True)),  # both fit: the later one
        ([Tensor(F, (4, 4)), Tensor(F, (4, 4))], 0, (False, False)),
        ([Tensor("string", (2,)), Tensor(F, (4, 4))], 64, (False, True)),
        ([Tensor(F, (1, 4)), Tensor(F, (4, 8))], 77, (False, True)),  # none fits: all but the first
    ],
)
def test_which_inputs_are_constants(inputs, parameter_bytes, constant):
    assert runtime_profile.constants(inputs, parameter_bytes) == constant

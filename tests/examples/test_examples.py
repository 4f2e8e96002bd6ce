"""The example networks are what they claim to be: size, shape, ordinary numbers, the same file each time."""

from __future__ import annotations

import importlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
networks: Any = importlib.import_module("networks")

SMALL = {
    "matmuls": {"n": 2, "size": 64},
    "conv3x3": {"n": 2, "channels": 8, "size": 14},
    "tiny_operators": {"n": 600},
    "elementwise": {"n": 8, "elements": 1000},
    "embedding": {"rows": 1000, "width": 16, "lookups": 8},
    "unoptimised_convnet": {"n": 3, "channels": 8, "size": 14},
    "bert_base": {"layers": 2, "hidden": 32, "heads": 4, "vocabulary": 100, "positions": 16},
}


def small(name: str, **changes: int) -> onnx.ModelProto:
    model: onnx.ModelProto = getattr(networks, name)(**SMALL[name] | changes)
    return model


def session(model: onnx.ModelProto, optimised: bool = True) -> ort.InferenceSession:
    options = ort.SessionOptions()
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(opened: ort.InferenceSession, batch: int = 2, length: int = 7) -> list[NDArray[np.float32]]:
    """Outputs for normal random floats, and for integers that are valid in every input: 0 and 1."""
    random = np.random.default_rng(7)
    feed = {}
    for each in opened.get_inputs():
        shape = [{"batch": batch, "sequence": length}.get(size, size) for size in each.shape]
        integer = each.type == "tensor(int64)"
        feed[each.name] = random.integers(0, 2, shape) if integer else random.standard_normal(shape, np.float32)
    outputs: list[NDArray[np.float32]] = opened.run(None, feed)
    return outputs


def with_every_activation(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with each float tensor in it as one more output."""
    for info in onnx.shape_inference.infer_shapes(model).graph.value_info:
        if info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            model.graph.output.append(info)
    return model


@pytest.mark.parametrize(
    ("batch_norm", "parameters", "operators"),
    [(False, 25_530_472, 53 + 49 + 16 + 4), (True, 25_557_032, 53 + 53 + 49 + 16 + 4)],
)
def test_resnet50_has_the_published_size(batch_norm: bool, parameters: int, operators: int) -> None:
    model = networks.resnet50(batch_norm=batch_norm)
    assert networks.parameters(model) == parameters
    assert len(model.graph.node) == operators


def test_resnet50_computes_the_same_with_and_without_folding() -> None:
    (folded,), (unfolded,) = (run(session(networks.resnet50(batch_norm=form)), batch=1) for form in (False, True))
    assert folded.shape == (1, 1000)
    assert folded.std() > 0.1
    np.testing.assert_allclose(folded, unfolded, atol=1e-3)


def test_bert_base_has_the_published_size_and_runs() -> None:
    model = networks.bert_base()
    assert networks.parameters(model) == 109_482_240
    hidden, pooled = run(session(model, optimised=False), batch=2, length=5)
    assert (hidden.shape, pooled.shape) == ((2, 5, 768), (2, 768))
    assert np.isfinite(hidden).all()
    assert np.isfinite(pooled).all()


def test_bert_ignores_masked_tokens() -> None:
    opened = session(small("bert_base"))
    feed = {"attention_mask": np.array([[1, 1, 1, 0]]), "token_type_ids": np.zeros((1, 4), np.int64)}
    one, other = (opened.run(["pooled"], feed | {"input_ids": np.array([[5, 6, 7, last]])})[0] for last in (8, 9))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", SMALL)
def test_every_activation_is_finite_and_none_is_subnormal(name: str) -> None:
    model = small(name)
    onnx.checker.check_model(model, full_check=True)
    for values in run(session(with_every_activation(model), optimised=False)):
        assert np.isfinite(values).all()
        assert not ((values != 0) & (np.abs(values) < np.finfo(np.float32).tiny)).any()


@pytest.mark.parametrize("name", SMALL)
def test_a_seed_gives_one_file(name: str) -> None:
    assert small(name).SerializeToString() == small(name).SerializeToString()
    if networks.parameters(small(name)):
        assert small(name).SerializeToString() != small(name, seed=1).SerializeToString()


@pytest.mark.parametrize("split", [2, 5, 64])
def test_split_matmuls_compute_the_same(split: int) -> None:
    model = small("matmuls", split=split)
    assert len(model.graph.node) == 2 * (split + 1)
    assert networks.parameters(model) == networks.parameters(small("matmuls"))
    np.testing.assert_allclose(run(session(model))[0], run(session(small("matmuls")))[0], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("tiny_operators", {"Sigmoid": 1, "Mul": 300, "Add": 300}),  # nothing to gain
        ("elementwise", {"Mul": 4, "Add": 4}),  # nothing to gain
        ("unoptimised_convnet", {"Conv": 3}),  # of 27
    ],
)
def test_what_optimisation_leaves(name: str, left: dict[str, int], tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns that the saved file may suit this machine only
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    ort.InferenceSession(small(name).SerializeToString(), options, providers=["CPUExecutionProvider"])
    operators = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    layouts = ("ReorderInput", "ReorderOutput")  # between blocked and plain layout, where the machine has the former
    assert {each: operators.count(each) for each in operators if each not in layouts} == left


def test_the_command_writes_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    networks.main([str(tmp_path / "new"), "conv3x3", "tiny_operators"])
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["conv3x3.onnx", "tiny_operators.onnx"]
    assert "221,184 parameters" in capsys.readouterr().out


def test_the_command_refuses_an_unknown_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        networks.main([str(tmp_path), "resnet51"])
    assert "resnet51; there are: resnet50" in capsys.readouterr().err


def test_image_classifier_answers_its_own_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pinchpoint")
    networks.write(networks.resnet50(), tmp_path / "model.onnx")
    monkeypatch.setenv("IMAGE_CLASSIFIER_MODEL", str(tmp_path / "model.onnx"))
    service: Any = importlib.import_module("image_classifier")
    (photo,) = service.example_inputs(count=1)
    assert 200_000 <= len(photo) <= 400_000
    assert Image.open(io.BytesIO(photo)).size == (1280, 960)
    shares = [each["probability"] for each in json.loads(service.handle(photo))["classes"]]
    assert len(shares) == 5
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1

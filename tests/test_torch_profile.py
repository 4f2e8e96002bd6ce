"""What the child notes of a module's calls, read: operators, calls, and files that do not fit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pinchpoint import torch_profile

X, W, Y = ["float32", [1, 8], 32, False], ["float32", [16, 8], 512, True], ["float32", [1, 16], 64, False]
LINEAR = {"name": "a linear", "kind": "linear", "in": [X, W], "out": [Y], "alias": False, "scalars": []}
RELU = {"name": "relu", "kind": "relu", "in": [Y], "out": [Y], "alias": False, "scalars": []}


def written(tmp_path, *, form="eager", operators=(LINEAR, RELU), runs=((0, [1000, 200], 0), (0, [3000, 400], 0))):
    content = {
        "form": form,
        "structures": [{"modules": 2, "tensors": 2, "operators": list(operators)}],
        "runs": [list(run) for run in runs],
    }
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(content))
    return path


def test_seconds_are_means_over_the_chosen_calls(tmp_path):
    path = written(tmp_path, runs=((0, [1000, 200], 0), (0, [3000, 400], 0), (0, [9000, 9000], 0)))
    read = torch_profile.read(path, 3, np.array([True, True, False]))
    linear, relu = read.operators
    assert (linear.session, linear.name, linear.kind, linear.calls) == (3, "a linear", "linear", 1)
    assert linear.seconds.value == pytest.approx(2e-6)
    assert relu.seconds.value == pytest.approx(300e-9)
    assert (linear.cost.flops, linear.cost.weight_bytes) == (256, 512)
    assert (read.modules, read.tensors) == (2, 2)


def test_a_call_that_went_another_way_is_left_out(tmp_path):
    path = written(tmp_path, runs=((0, [1000, 200], 0), (-1, [], 0), (0, [1000], 0)))
    read = torch_profile.read(path, 0, np.ones(3, bool))
    assert read.operators[0].seconds.value == pytest.approx(1e-6)


def test_a_compiled_module_is_one_operator_that_starts_none(tmp_path):
    path = written(tmp_path, form="compiled", runs=((0, [5000], 0), (0, [7000], 0)))
    (graph,) = torch_profile.read(path, 0, np.ones(2, bool)).operators
    assert (graph.kind, graph.calls) == ("compiled graph", 0)
    assert graph.seconds.value == pytest.approx(6e-6)
    assert (graph.cost.flops, graph.cost.weight_bytes, graph.cost.activation_bytes) == (256 + 16, 512, 32 + 64)


def test_an_operator_of_unknown_cost_keeps_its_time(tmp_path):
    path = written(tmp_path, operators=({**LINEAR, "kind": "mylib.mystery"}, RELU))
    row = torch_profile.read(path, 0, np.ones(2, bool)).operators[0]
    assert row.cost is None
    assert row.seconds.value > 0


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", "[" * 5000, '{"form": "eager", "structures": 1, "runs": []}',
        '{"form": "eager", "structures": [], "runs": [[0, [1], 0], [0, [1], 0]]}',
    ],
)  # fmt: skip
def test_what_is_no_profile_is_empty(tmp_path, text):
    path = tmp_path / "profile.json"
    path.write_text(text)
    assert torch_profile.read(path, 0, np.ones(2, bool)).operators == ()


def test_a_profile_of_other_calls_than_were_made_is_empty(tmp_path):
    assert torch_profile.read(written(tmp_path), 0, np.ones(5, bool)).operators == ()
    assert torch_profile.read(tmp_path / "missing.json", 0, np.ones(2, bool)).operators == ()


def test_sizes_below_zero_have_no_cost(tmp_path):
    path = written(tmp_path, operators=({**LINEAR, "in": [["float32", [-1, 8], 32, False], W]}, RELU))
    assert torch_profile.read(path, 0, np.ones(2, bool)).operators[0].cost is None


def test_page_faults_are_placed_by_one_call_and_counted_in_the_others(tmp_path):
    operators = ({**LINEAR, "faults": 30}, {**RELU, "faults": 10})
    path = written(tmp_path, operators=operators, runs=((0, [1000, 200], 10), (0, [3000, 400], 30)))
    linear, relu = torch_profile.read(path, 0, np.ones(2, bool)).operators
    assert (linear.faults, relu.faults) == (15, 5)

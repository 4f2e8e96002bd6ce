"""Which row a span belongs to."""

from __future__ import annotations

import pytest

from pinchpoint.domain.run import HANDED, MARKED, WRAPPED
from pinchpoint.stage_names import Owner, owner_of, placed, stage_of


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("preprocess", "preprocess"),
        ("Postprocess", "postprocess"),
        ("decode_jpeg", "preprocess"),
        ("resizeImage", "preprocess"),
        ("detokenize", "postprocess"),
        ("top_k", "postprocess"),
        ("topk", "postprocess"),
        ("softmax", "postprocess"),
        ("run inference", "model"),
        ("to_json loads", "deserialize"),
        ("frobnicate", None),
        ("queue", "queue"),
    ],
)
def test_a_users_own_name(name, stage):
    assert stage_of(name, MARKED) == stage


@pytest.mark.parametrize(
    ("stack", "stage", "label"),
    [
        ([("preprocess", MARKED), ("preprocess:PIL.Image.resize", WRAPPED)], "preprocess", "preprocess"),
        (
            [("postprocess", MARKED), ("preprocess:PIL.Image.open", WRAPPED)],
            "postprocess",
            "postprocess",
        ),  # the user's word
        (
            [("preprocess", MARKED), ("deserialize:json.loads", WRAPPED)],
            "deserialize",
            "preprocess",
        ),  # a codec's frame wins
        ([("predict", MARKED), ("model:session 0", WRAPPED)], "model", "predict"),
        ([("preprocess", MARKED), ("model:session 1", WRAPPED)], "model", "preprocess"),
        # what opens a model is the model's, and all that is done meanwhile
        ([("opening:onnxruntime.InferenceSession", WRAPPED)], "model", "onnxruntime.InferenceSession"),
        (
            [("prepare", MARKED), ("opening:joblib.load", WRAPPED), ("deserialize:pickle.load", WRAPPED)],
            "model",
            "prepare",
        ),
        ([("load_resnet_model", MARKED), ("preprocess:PIL.Image.open", WRAPPED)], "model", "load_resnet_model"),
        ([("load_model_input", MARKED)], "preprocess", "load_model_input"),
        ([("frobnicate", MARKED)], None, "frobnicate"),
        ([("preprocess", MARKED), ("frobnicate", MARKED)], "preprocess", "frobnicate"),
        ([("work", HANDED)], None, "work"),
        ([], None, ""),
    ],
)
def test_the_innermost_stage_that_is_told_wins(stack, stage, label):
    owner = owner_of(stack)
    assert (owner.stage, owner.label) == (stage, label)


def test_to_open_a_model_is_no_run_of_it():
    """GIVEN a model that is opened before its input is made THEN what lies between is before the model."""
    stack = [("opening:onnxruntime.InferenceSession", WRAPPED)]
    owners = [owner_of(stack), Owner(None, ""), owner_of([("model:session 0", WRAPPED)]), Owner(None, "")]
    assert [owner.opens for owner in owners] == [True, False, False, False]
    found = placed(owners, gaps_are_framework=False, is_gap=[False, True, False, True])
    assert found == ["model", "preprocess", "model", "postprocess"]
    assert placed(owners[:2], gaps_are_framework=False, is_gap=[False, True]) == ["model", "framework"]


def test_a_session_is_known_by_its_span():
    assert owner_of([("model", MARKED), ("model:session 3", WRAPPED)]).session == 3
    assert owner_of([("model", MARKED)]).session == -1


@pytest.mark.parametrize(
    ("stages", "gaps", "framework", "expected"),
    [
        ([None, "model", None], [True, True, True], False, ["preprocess", "model", "postprocess"]),
        ([None, "model", None], [True, False, True], True, ["framework", "model", "framework"]),
        ([None, None], [True, True], False, ["framework", "framework"]),
        (["model", None, "model"], [False, True, False], False, ["model", "framework", "model"]),
        ([None, "model"], [False, False], True, ["preprocess", "model"]),
    ],
)
def test_what_is_undecided_is_placed_around_the_model(stages, gaps, framework, expected):
    assert placed([Owner(each, "") for each in stages], gaps_are_framework=framework, is_gap=gaps) == expected

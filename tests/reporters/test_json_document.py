"""The public contract."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest

import factories as f
from pinchpoint.domain.verdict import Diagnosis
from pinchpoint.reporters import BUILTIN
from pinchpoint.reporters.json_document import document, render


@pytest.mark.parametrize("make", [f.memory_bound, f.preprocessing_heavy, f.invalid])
def test_a_document_is_read_back_as_it_was(make):
    diagnosis = make()
    assert msgspec.json.decode(render(diagnosis), type=Diagnosis) == diagnosis


def test_the_schema_comes_first_and_the_order_is_fixed():
    text = render(f.memory_bound())
    assert next(iter(json.loads(text))) == "schema"
    reordered = replace(f.measured(), latency_s=dict(reversed(f.measured().latency_s.items())))
    assert render(f.memory_bound(measured=reordered)) == text
    assert text.startswith('{\n  "schema": "pinchpoint/diagnosis/1"')


def test_what_was_not_measured_is_null_with_its_reason_beside_it():
    measured = json.loads(render(f.preprocessing_heavy()))["measured"]
    assert measured["latency_s"]["p99"] is None
    assert "459" in measured["reasons"]["p99"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), np.float64("nan")])
def test_a_number_that_is_none_is_our_defect_and_never_null(bad):
    with pytest.raises(ValueError, match=r"verdicts\.latency\.headroom"):
        render(f.memory_bound(verdicts={"latency": f.verdict(headroom=bad)}))


def test_numpy_numbers_are_numbers():
    verdict = f.verdict(headroom=np.float64(0.25), share=np.float32(0.5))
    read = json.loads(render(f.memory_bound(verdicts={"latency": verdict})))["verdicts"]["latency"]
    assert (read["headroom"], read["share"]) == (0.25, 0.5)


def test_text_of_the_target_is_carried_and_cannot_steer_a_terminal():
    name = "\x1b[31m \x9b1m \u202e 猫 \U000e0041 \udc80"
    text = render(f.memory_bound(target=f.target(uri=name)))
    assert all(c.isprintable() or c == "\n" for c in text)
    assert json.loads(text)["target"]["uri"] == name.replace("\udc80", "?")


def test_the_reporters_have_names_of_their_own():
    names = [each.name for each in BUILTIN]
    assert names == ["terminal", "terminal-colour", "json", "html", "notebook", "markdown"]
    assert json.loads(document(f.environment()))["affinity"] == 2

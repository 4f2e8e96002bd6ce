"""Operators of torch at the roofline: what starting one costs by kind and form, page faults, and compiled graphs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pinchpoint import arms, roofline
from pinchpoint.domain.operator import Cost
from pinchpoint.domain.quantity import exact
from pinchpoint.domain.run import Ceiling, OperatorArm, OperatorTime
from pinchpoint.domain.target import Session, TargetFacts
from synthetic import Script, run_of

US = 1e-6
WORK = Cost(1e5, 0.0, 1e3, 0.0, 0.0, "float32")


def ceiling(name, value, dtype="", threads=1, runtime="torch", footprint=0.0):
    return Ceiling(name, exact(value), "", runtime, threads, dtype, footprint)


CEILINGS = (
    ceiling("dispatch_s", 1 * US), ceiling("dispatch_s", 2 * US, "linear"), ceiling("dispatch_s", 0.5 * US, "scripted"),
    ceiling("dispatch_s", 2.5 * US, "exported"), ceiling("event_s", 2 * US), ceiling("event_s", 3 * US, "linear"),
    ceiling("module_s", 0.8 * US), ceiling("tensor_s", 0.3 * US), ceiling("flops_per_s", 1e11, "float32"),
    ceiling("read_bytes_per_s", 2e10, "float32", footprint=1e6), ceiling("triad_bytes_per_s", 2e10, "float32", footprint=1e6),
    ceiling("fault_s", 1 * US, runtime="kernel"), ceiling("dispatch_s", 9.0, runtime="onnxruntime"),
)  # fmt: skip


def split(rows, form="eager", modules=0.0, tensors=0.0, faults=0):
    run = run_of(Script([("model", 1, 1000, 1000, 0, 0)]))
    session = Session("torch", "2.13", None, 1, 1, "all", ("CPU",), form=form)
    probes = replace(
        run.probes,
        minor_faults=np.full_like(run.probes.minor_faults, faults),
        system_ns=np.full_like(run.probes.system_ns, faults * 1000),
    )
    run = replace(
        run,
        probes=probes,
        target=TargetFacts("torch", "m.py:build", sessions=(session,)),
        environment=replace(run.environment, ceilings=CEILINGS),
        operators=tuple(rows),
        arms=(OperatorArm(0, 10, exact(1e-3), 1.0, 1e6, None, modules, tensors),),
    )
    return roofline.sessions(run)[0]


def row(kind, seconds, calls=1.0, faults=0.0):
    return OperatorTime(0, kind, kind, "CPU", exact(seconds), calls, WORK, faults=faults)


def test_each_kind_is_started_at_its_own_cost_and_others_at_that_of_an_addition():
    found = split([row("linear", 50 * US), row("mystery", 50 * US)])
    assert [item.seconds.value for item in found.splits] == pytest.approx([47 * US, 48 * US])
    assert found.dispatch.value == pytest.approx(3 * US)


@pytest.mark.parametrize(("form", "cost"), [("eager", 2.0), ("scripted", 1.5), ("exported", 3.5)])
def test_other_forms_start_operators_at_another_cost(form, cost):
    assert split([row("linear", 50 * US)], form).dispatch.value == pytest.approx(cost * US)


def test_calling_modules_and_reaching_parameters_is_starting():
    found = split([row("linear", 50 * US)], modules=3, tensors=2)
    assert found.dispatch.value == pytest.approx((2 + 3 * 0.8 + 2 * 0.3) * US)


def test_small_operators_are_not_told_apart_but_their_work_is_known():
    found = split([row("linear", 4 * US) for _ in range(10)])
    assert not found.told_apart
    assert found.work.value == pytest.approx(10 * US)


def test_page_faults_are_taken_off_the_operator_that_has_them():
    found = split([row("linear", 103 * US, faults=40)], faults=40)
    assert found.splits[0].seconds.value == pytest.approx(60 * US)
    many = split([row("linear", 103 * US, faults=4000)], faults=4000)
    assert many.splits[0].seconds.value == pytest.approx(10 * US)


def test_what_a_compiled_graph_takes_above_its_floors_is_nobody_s():
    found = split([row("compiled graph", 500 * US, calls=0.0)])
    assert found.told_apart
    assert found.splits[0].seconds.value == pytest.approx(500 * US)
    assert roofline.excess(found.splits[0], found) == 0
    assert found.dispatch.value == 0


def test_runtimes_are_asked_for_the_threads_that_their_sessions_use():
    environment = replace(
        run_of(Script([("model", 1, 1000, 1000, 0, 0)])).environment, cpus=4, affinity=4, quota_cpus=None
    )
    sessions = [Session(name, "1", None, n, 1, "all", ()) for name, n in (("torch", 2), ("onnxruntime", 0))]
    assert dict(arms.runtimes(sessions, environment, numpy=True)) == {"onnxruntime": (1, 4), "torch": (1, 2, 4)}
    assert list(arms.runtimes([], environment, numpy=True)) == [("onnxruntime", ())]
    assert list(arms.runtimes([], environment, numpy=False)) == []


def test_what_loading_told_of_a_module():
    facts = TargetFacts("python", "m.py:build")
    learned = {"kind": "torch", "parameters": 10, "parameter_bytes": 40, "input_text": "[1,4]"}
    known = arms.with_learned(facts, learned, [row("linear", 1.0)])
    assert (known.kind, known.parameters, known.operators, known.flops_per_request) == ("torch", 10, 1, 1e5)
    unknown = [row("linear", 1.0), OperatorTime(0, "x", "x", "CPU", exact(1.0), 1.0, None)]
    assert arms.with_learned(facts, learned, unknown).flops_per_request is None
    assert arms.with_learned(facts, {}, []) == facts

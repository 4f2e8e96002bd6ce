"""Diagnoses made by hand: valid ones with the figures of OUTPUT.md, and the parts to make others from."""

from __future__ import annotations

from dataclasses import replace

from pinchpoint.domain.change import Change, Edit, Prediction
from pinchpoint.domain.finding import Evidence, Finding, Limit
from pinchpoint.domain.ledger import Row
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import Ceiling, Environment
from pinchpoint.domain.signal import Signal
from pinchpoint.domain.target import Session, TargetFacts
from pinchpoint.domain.verdict import Diagnosis, Gain, Measured, Verdict
from pinchpoint.domain.words import CAUSE_HEADLINE
from pinchpoint.domain.workload import Workload


def quantity(value, plus_minus=0.05, n=740):
    """A quantity with a relative half-width."""
    half = abs(value) * plus_minus
    return Quantity(value, value - half, value + half, n)


def row(state, seconds, share, *, stage="model", label="", site="", operator=None, plus_minus=0.07):
    """A cell of the ledger of typical requests."""
    q = quantity(seconds, plus_minus)
    return Row("latency", 1, "typical", stage, operator, state, "clock", q, share, 0.0, label, site)


def rows(latency_s, *cells):
    """Cells from (stage, label, state, share, site), each in its share of the latency."""
    return tuple(
        row(state, share * latency_s, share, stage=stage, label=label, site=site)
        for stage, label, state, share, site in cells
    )


def signal(name="model.weights_share", value=0.73, unit="share", plus_minus=0.05, reason=""):
    """A signal; None as value is one that could not be measured."""
    return Signal(name, unit, "roofline", None if value is None else quantity(value, plus_minus), reason)


def evidence(name="model.weights_share", value=0.73, limit=0.5, relation="above", unit="share"):
    """One test of a detector."""
    return Evidence(signal(name, value, unit), relation, Limit("memory_share", limit, unit, "why", "source"))


def finding(
    code, status="present", *, where="model", evidence=(), missing=(), lookalikes=(), kind="defect", bound="cpu"
):
    """What a detector concluded."""
    return Finding(code, status, where, tuple(evidence), tuple(missing), (), bound, kind, (), tuple(lookalikes))


def verdict(cause="M101", *, bound="memory", where="model", kind="limit", proof="supported", sentence=None, **changes):
    """A verdict with the sentence of its cause."""
    said = CAUSE_HEADLINE.get(cause or "", "") if sentence is None else sentence
    gain = Gain(2.2, 2.0, 2.4, "int8 weights", "estimate", "typical latency", 1)
    made = Verdict(bound, where, cause, kind, proof, 0.73, 0.05, (), "inferred", said, gain)
    return replace(made, **changes)


def prediction(words, before, after_low, after_high, *, finding="M101", kind="estimate", setting=(), per_request=1.0):
    """What a change is predicted to do to the typical latency."""
    edits = (Edit(exact(0.5), stage="model", state="memory"),)
    change = Change(words.replace(" ", "-"), finding, words, kind, edits, tuple(setting), per_request)
    after = Quantity((after_low + after_high) / 2, after_low, after_high, 740)
    gain = Quantity(before / after.value, before / after_high, before / after_low, 740)
    return Prediction(change, quantity(before, 0.01), after, gain)


def measured(p50=0.0133, p99=0.0142, *, n=1480, failed=0, reasons=None, plus_minus=0.015, overhead=0.004):
    """Headline measurements; None as p99 is one that the sample does not resolve."""
    latency = {
        "p50": None if p50 is None else quantity(p50, plus_minus, n),
        "p99": None if p99 is None else quantity(p99, 0.03, n),
    }
    cost = None if overhead is None else Quantity(overhead, overhead - 0.003, overhead + 0.003, n)
    rate = None if p50 is None else quantity(1 / p50, plus_minus, n)
    return Measured(latency, rate, n + failed, failed, cost, reasons or {})


def environment(**changes):
    """A virtual machine of two CPUs."""
    made = Environment(
        cpu_model="Example CPU @ 2.0 GHz", cpus=8, affinity=2, quota_cpus=None, memory_limit_bytes=4 << 30,
        kernel="6.1.0", virtualized=True,
        ceilings=(
            Ceiling("read_bytes_per_s", quantity(21e9, 0.02, 12), "B/s", "onnxruntime 1.32", 1, "float32", 2.7e8),
            Ceiling("gemm_flops_per_s", quantity(41e9, 0.01, 12), "FLOP/s", "onnxruntime 1.32", 1, "float32"),
        ),
        unobservable=(("CPU counters", "this is a virtual machine"), ("clock speed", "no cpufreq here")),
    )  # fmt: skip
    return replace(made, **changes)


def target(**changes):
    """An ONNX file in the user's onnxruntime."""
    session = Session("onnxruntime", "1.32", "model.onnx", 1, 1, "all", ("CPUExecutionProvider",))
    made = TargetFacts(
        "onnx", "model.onnx", 67_108_864, 268_435_456, 134_217_728.0, 4, "x[1,4096], random (--input to set)",
        "/usr/bin/python3", (session,),
    )  # fmt: skip
    return replace(made, **changes)


def memory_bound(**changes):
    """Four MatMuls of 4096 x 4096: the first screen of OUTPUT.md."""
    made = Diagnosis(
        run="1123-1729", valid=True, reasons=(), target=target(), workload=Workload(), environment=environment(),
        measured=measured(),
        ledger=(
            *(row("memory", 0.0097 / 4, 0.73 / 4, label="session 0", operator=f"MatMul_{i}") for i in range(4)),
            *(row("cpu", 0.003 / 4, 0.226 / 4, label="session 0", operator=f"MatMul_{i}") for i in range(4)),
            row("cpu", 0.0001, 0.007, label="session 0", operator="dispatch"),
            row("unexplained", 0.0005, 0.0376, plus_minus=0.6),
        ),
        demands=(),
        verdicts={"latency": verdict()},
        findings=(
            finding("M101", evidence=(evidence(),), lookalikes=("C101", "C105"), kind="limit", bound="memory"),
            finding("C101", "absent", evidence=(evidence("model.arithmetic_efficiency", 0.1, 0.7),), kind="limit"),
            finding("C105", "absent", evidence=(evidence("model.dispatch_share", 0.03, 0.3),)),
            finding("C112", "absent"),
            finding("C108", "absent", evidence=(evidence("request.throttled_share", 0.0, 0.01),)),
            finding("C109", "unknown", missing=("cpu.steal_share",)),
        ),
        predictions=(
            prediction("int8 weights (check the answers)", 0.0133, 0.0057, 0.0066),
            prediction("all weights in cache", 0.0133, 0.0034, 0.0038, kind="bound"),
            prediction("more arithmetic speed", 0.0133, 0.0132, 0.0133, finding="C101", kind="bound"),
            prediction("fewer operators", 0.0133, 0.01325, 0.0133, finding="C105", kind="bound"),
        ),
        unobservable=("CPU counters: virtual machine without a PMU",),
    )  # fmt: skip
    return replace(made, **changes)


def preprocessing_heavy(**changes):
    """An image pipeline whose resizing takes longer than its model."""
    latency = 0.0241
    session = Session("onnxruntime", "1.32", "resnet.onnx", 2, 1, "all", ("CPUExecutionProvider",))
    made = memory_bound(
        run="1123-1801",
        target=target(
            kind="python", uri="examples/image_classifier.py:handle", parameters=None, parameter_bytes=None,
            flops_per_request=None, operators=None, input_text="example_inputs() of the target, 8 requests",
            sessions=(session,), interpreter="CPython 3.11.7",
        ),
        environment=environment(quota_cpus=2.0),
        measured=measured(latency, None, n=312, reasons={"p99": "312 requests, 459 are needed; run with --budget 3m"}),
        ledger=rows(
            latency,
            ("preprocess", "resize", "cpu", 0.46, ""), ("preprocess", "decode", "cpu", 0.17, ""),
            ("model", "session 0", "cpu", 0.29, ""), ("model", "session 0", "starved", 0.012, ""),
            ("serialize", "", "cpu", 0.006, ""), ("postprocess", "", "cpu", 0.004, ""),
            ("preprocess", "load", "wait", 0.034, "futex"),
            ("model", "", "unexplained", 0.018, ""),
        ),
        verdicts={"latency": verdict("C102", bound="cpu", where="preprocess", kind="defect", headroom=None)},
        findings=(
            finding("C102", evidence=[evidence("preprocess.cpu_share", 0.63, 0.3)], lookalikes=["I101"]),
            finding("I101", "absent", evidence=(evidence("request.read_share", 0.0, 0.1),)),
            finding("C106", "absent", evidence=(evidence("request.starved_share", 0.012, 0.1),)),
            finding("C107", "unknown", evidence=(evidence("scaling.thread_gain", 1.2, 1.2, unit="ratio"),)),
        ),
        predictions=(
            prediction("faster resize", latency, 0.0128, 0.0163, finding="C102", setting=(("resize", "fast"),)),
            prediction("no preprocessing at all", latency, 0.0087, 0.0091, finding="C102", kind="bound"),
            prediction("faster model", latency, 0.0168, 0.0174, finding="C101", kind="bound"),
            prediction("no waiting for locks", latency, 0.0237, 0.0241, finding="W104", kind="bound"),
        ),
        unobservable=(),
    )  # fmt: skip
    return replace(made, **changes)


def invalid(**changes):
    """A run in which requests failed."""
    return memory_bound(
        valid=False,
        reasons=("37 of 120 requests failed: ValueError: bad shape", "the latency drifted by 34 % (V102)"),
        measured=measured(n=83, failed=37, p99=None, reasons={"p99": "83 requests, 459 are needed"}),
        verdicts={},
        findings=(finding("V105", bound="measurement"),),
        predictions=(),
        **changes,
    )

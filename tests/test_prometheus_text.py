"""Prometheus text: what is a sample is read as its makers' own parser reads it, and what is none harms nobody."""

from __future__ import annotations

import time

import pytest

from pinchpoint.prometheus_text import LONGEST_LINE, MOST_BYTES, MOST_SAMPLES, samples

# As prometheus-client 0.23.1 writes it, and as its parser reads it (below).
WRITTEN = rb"""# HELP vllm:request_success_total a "b" \\ c
# TYPE vllm:request_success_total counter
vllm:request_success_total{model_name="a{b}\"c\\d\ne",x="\xc3\xa9,}"} 3.5
# HELP g x
# TYPE g gauge
g -1e-07
# HELP h_seconds x
# TYPE h_seconds histogram
h_seconds_bucket{le="0.5",m="1"} 1.0
h_seconds_bucket{le="+Inf",m="1"} 1.0
h_seconds_count{m="1"} 1.0
h_seconds_sum{m="1"} 0.3
# HELP s x
# TYPE s summary
s_count 1.0
s_sum 1.25
""".replace(rb"\xc3\xa9", "é".encode())
READ = [
    ("vllm:request_success_total", {"model_name": 'a{b}"c\\d\ne', "x": "é,}"}, 3.5),
    ("g", {}, -1e-07),
    ("h_seconds_bucket", {"m": "1", "le": "0.5"}, 1.0),
    ("h_seconds_bucket", {"m": "1", "le": "+Inf"}, 1.0),
    ("h_seconds_count", {"m": "1"}, 1.0),
    ("h_seconds_sum", {"m": "1"}, 0.3),
    ("s_count", {}, 1.0),
    ("s_sum", {}, 1.25),
]


def read(text):
    return [(each.name, dict(each.labels), each.value) for each in samples(text)]


def test_what_a_client_library_writes_is_read_as_its_own_parser_reads_it():
    assert read(WRITTEN) == READ


@pytest.mark.parametrize(("line", "found"), [
    (b'ts_queue_latency_microseconds{model_name="n",hostname="h",} 1.0234E7', ({"model_name": "n", "hostname": "h"}, 1.0234e7)),
    (b":tensorflow:core:graph_runs{} 4", ({}, 4)),  # TensorFlow Serving, without labels
    (b'x{a="1"} 5 1395066363000', ({"a": "1"}, 5)),  # with a time
    (b'x_bucket{le="1"} 5 # {trace_id="t"} 0.5', ({"le": "1"}, 5)),  # OpenMetrics, with an exemplar
    (b"x\t7\r", ({}, 7)),
    (b'x{ a = "1" , b="2" }  3', ({"a": "1", "b": "2"}, 3)),
])  # fmt: skip
def test_forms_of_a_sample(line, found):
    assert [each[1:] for each in read(line)] == [found]


@pytest.mark.parametrize("line", [
    b"", b"# a comment 5", b"x", b"x ", b"x NaN", b"x +Inf", b"x 1e999", b"x 1_000", b"x --5", b"x .", b"x5", b'x{a="1} 5',
    b"5 5", b'x{a="1"', b"<html>", b"\xff\xfe 1", b"x{} 5five",
])  # fmt: skip
def test_what_is_no_sample_is_passed_over(line):
    assert read(line + b"\ny 1\n") == [("y", {}, 1.0)]


def test_what_a_part_of_a_series_is_declared_to_be():
    kinds = {each.name: each.kind for each in samples(WRITTEN)}
    assert kinds["vllm:request_success_total"] == "counter"
    assert kinds["h_seconds_sum"] == kinds["h_seconds_bucket"] == "histogram"
    assert kinds["g"] == "gauge"
    assert [each.kind for each in samples(b"undeclared 1\n# TYPE undeclared gauge\n")] == [""]


@pytest.mark.parametrize(("text", "count"), [
    (b"x 1\n" * (MOST_SAMPLES + 5), MOST_SAMPLES),
    (b"x 1\n" + b" " * MOST_BYTES, 0),  # too long a text: none of it
    (b"x" * LONGEST_LINE + b" 1\ny 1", 1),
    (b"x{" + b'"' * 4000 + b"} 1\n" * 100, None),
    (b'x{a="' + b'\\"' * 2000 + b"} 1\n" * 100, None),
    (b"{" * 1_000_000, 0),
    ((b"x{" * 2000 + b"\n") * 200, 0),
    (bytes(range(256)) * 4000, None),
])  # fmt: skip
def test_hostile_text_is_bounded(text, count):
    began = time.monotonic()
    found = list(samples(text))
    assert count is None or len(found) == count
    assert len(found) <= MOST_SAMPLES
    assert time.monotonic() - began < 10  # it hangs, or it does not: a second is far more than it takes

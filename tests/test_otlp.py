"""Traces that a service writes are read as spans of our own requests, whatever else the file holds."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from pinchpoint import otlp
from pinchpoint.errors import BadInput
from pinchpoint.otlp import Context, Traced, TraceFile, Traces

OURS = Context("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


def span(own, parent, name="work", begin=1_000, end=2_000, **more):
    return {"traceId": OURS.trace, "spanId": own, "parentSpanId": parent, "name": name,
            "startTimeUnixNano": str(begin), "endTimeUnixNano": str(end), **more}  # fmt: skip


def line(*spans, service="app"):
    about = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    told = {"resourceSpans": [{"resource": about, "scopeSpans": [{"scope": {}, "spans": list(spans)}]}]}
    return json.dumps(told).encode() + b"\n"


def read(*lines):
    return otlp.families(iter(lines), OURS)


TOP, OTHER_TOP = (
    span("01", OURS.span, "POST /predict", 1_000, 9_000),
    span("a1", OURS.span, "POST /predict", 10_000, 19_000),
)


def test_each_request_has_what_descends_from_its_top():
    inner = span("02", "01", "decode", 2_000, 5_000)
    deeper = span("03", "02", "resize", 3_000, 4_000)
    assert read(line(deeper, inner), line(OTHER_TOP), line(TOP)) == (
        (Traced("POST /predict", "app", 10_000, 19_000),),
        (
            Traced("POST /predict", "app", 1_000, 9_000),
            Traced("decode", "app", 2_000, 5_000, 1),
            Traced("resize", "app", 3_000, 4_000, 2),
        ),
    )


def test_services_behind_it_are_told_apart():
    found = read(line(TOP), line(span("02", "01", "GET /features"), service="features"))
    assert [each.service for each in found[0]] == ["app", "features"]


@pytest.mark.parametrize(
    "other",
    [
        b"no json at all " + OURS.trace.encode(),
        b"[" * 100_000 + OURS.trace.encode(),
        json.dumps({"resourceSpans": OURS.trace}).encode(),
        json.dumps({"resourceSpans": [None, {"scopeSpans": [3, {"spans": {"traceId": OURS.trace}}]}]}).encode(),
        line(span("02", "01", traceId="f" * 32), {"of": OURS.trace}),
        line(span("02", "01", endTimeUnixNano="500")),
        line(span("02", "01", endTimeUnixNano="-1"), span("03", "01", endTimeUnixNano=None)),
        line(span("02", "01", endTimeUnixNano="9" * 400), span("03", "01", endTimeUnixNano=True)),
        line(span("02", 1), span("", "01")),
        line(span("02", "99")),
    ],
)
def test_what_is_no_span_of_ours_is_passed_over(other):
    assert read(other, line(TOP)) == ((Traced("POST /predict", "app", 1_000, 9_000),),)


def test_spans_that_descend_from_themselves_end():
    found = read(line(TOP, span("02", "01"), span("02", "02"), span("01", "02")))
    assert [each.depth for each in found[0]] == [0, 1]


def test_identifiers_are_read_in_either_case():
    assert len(read(line(span("AB", OURS.span.upper(), traceId=OURS.trace.upper()), span("02", "ab")))[0]) == 2


def test_numbers_of_spans_are_bounded(monkeypatch):
    monkeypatch.setattr(otlp, "MOST_SPANS", 3)
    assert len(read(*(line(span(f"{each:02x}", OURS.span)) for each in range(9)))) == 3


def test_names_are_bounded():
    assert len(read(line(replace_name(TOP, "x" * 10_000)))[0][0].name) == otlp.LONGEST_NAME


def replace_name(told, name):
    return told | {"name": name}


class TestAFile:
    def test_only_what_is_added_counts(self, tmp_path):
        path = tmp_path / "traces.jsonl"
        path.write_bytes(line(TOP))
        file = TraceFile.at(path)
        assert file.requests(OURS) == ()
        with path.open("ab") as appended:
            appended.write(line(OTHER_TOP))
        assert len(file.requests(OURS)) == 1

    def test_it_may_come_later_and_be_begun_anew(self, tmp_path):
        path = tmp_path / "traces.jsonl"
        file = TraceFile.at(path)
        assert file.requests(OURS) == ()
        path.write_bytes(line(TOP))
        assert len(file.requests(OURS)) == 1
        assert len(replace_begin(file, 10_000).requests(OURS)) == 1  # it was longer once

    def test_a_line_beyond_all_bounds_is_passed_over(self, tmp_path, monkeypatch):
        monkeypatch.setattr(otlp, "LONGEST_LINE", 2_000)
        path = tmp_path / "traces.jsonl"
        path.write_bytes(line(replace_name(TOP, "y" * 9_000)) + line(OTHER_TOP))
        assert [each[0].begin_ns for each in TraceFile(path, 0).requests(OURS)] == [10_000]

    def test_the_traces_of_our_requests_are_found_by_what_these_bear(self, tmp_path):
        path = tmp_path / "traces.jsonl"
        ours = Traces.to(str(path))
        (header,) = ours.headers
        assert header == f"traceparent: {ours.context.header}"
        assert ours.unseen(ours.requests()) == ((
            "traces of the requests",
            f"{path} has no span of them: the service must take the header traceparent, and write there meanwhile",
        ),)  # fmt: skip
        mine = TOP | {"traceId": ours.context.trace, "parentSpanId": ours.context.span}
        path.write_bytes(line(TOP, mine))
        ((top,),) = found = ours.requests()
        assert (top.begin_ns + ours.ahead_ns, top.end_ns + ours.ahead_ns) == (1_000, 9_000)
        assert ours.unseen(found) == ()
        assert (Traces.to("").headers, Traces.to("").requests(), Traces.to("").unseen(())) == ((), (), ())

    def test_what_is_no_file_is_refused(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path, tmp_path / "pipe"):
            with pytest.raises(BadInput, match="it is no file"):
                TraceFile.at(path)


def replace_begin(file, begins_at):
    return replace(file, begins_at=begins_at)


def test_a_context_is_what_the_standard_says():
    version, trace, parent, flags = Context.fresh().header.split("-")
    assert (version, len(trace), len(parent), flags) == ("00", 32, 16, "01")
    assert int(trace, 16)
    assert int(parent, 16)
    assert Context.fresh() != Context.fresh()

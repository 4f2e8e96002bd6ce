"""What the client noted of requests to a server, and what of streams: phases, tokens, their pace."""

from __future__ import annotations

import numpy as np
import pytest

from pinchpoint.domain.run import CONTROL, FAILED, OBSERVED, TOLD
from pinchpoint.domain.service import SPANS
from pinchpoint.load import records
from pinchpoint.load.crew import ROW, TIMING
from pinchpoint.otlp import Traced
from pinchpoint.service_requests import MOST_NAMES, phases_of, requests_of, spans_of, stages_of, stream_of, traced_of

MS = 1_000_000


def noted(count, *, outcome=records.OK, first_ms=2, between_ms=1, tokens=10, events=12, begin=0):
    """Rows of requests that follow each other: a stream's first event, and the others at a steady pace."""
    rows = np.zeros(count, ROW)
    whole = first_ms + between_ms * (max(tokens, 1) - 1)
    rows["due_ns"] = begin + np.arange(count) * whole * MS
    rows["first_ns"] = rows["due_ns"] + first_ms * MS
    rows["done_ns"] = rows["due_ns"] + whole * MS
    rows["outcome"], rows["tokens"], rows["events"] = outcome, tokens, events
    return rows


def test_requests_that_failed_are_marked_and_those_that_we_gave_up_are_none():
    parts = [
        (noted(3), OBSERVED),
        (noted(2, outcome=records.RESET), CONTROL),
        (noted(4, outcome=records.CUT_OFF), OBSERVED),
    ]
    found = requests_of(parts)
    assert found.flags.tolist() == [OBSERVED] * 3 + [CONTROL | FAILED] * 2
    assert found.index.tolist() == list(range(5))
    assert len(requests_of([]).index) == 0


def test_the_phases_of_a_stream_are_its_request():
    parts = [
        (noted(2, events=0, between_ms=0), OBSERVED),
        (noted(3, begin=100 * MS), OBSERVED),
        (noted(1, outcome=records.SHORT), OBSERVED),
    ]
    requests, spans = requests_of(parts), phases_of(parts)
    assert spans.index.tolist() == [2, 2, 3, 3, 4, 4]  # no others came as streams, or whole
    assert spans.name.tolist() == [0, 1] * 3
    assert set(spans.kind.tolist()) == {TOLD}
    assert (spans.begin_ns[::2] == requests.start_ns[2:5]).all()
    assert (spans.end_ns[::2] == spans.begin_ns[1::2]).all()
    assert (spans.end_ns[1::2] == requests.end_ns[2:5]).all()
    assert set(spans.begin_cpu_ns.tolist()) == {-1}  # not measured is not 0


def test_how_long_a_connection_was_made_and_an_answer_came():
    """GIVEN requests that are sent 1 ms after they were due, and answered for 9 ms; streams; and one that failed."""
    rows = np.concatenate([noted(2, events=0), noted(1), noted(1, outcome=records.RESET, events=0)])
    rows["sent_ns"] = rows["due_ns"] + MS
    spans = phases_of([(rows, OBSERVED)])
    named = [(int(index), SPANS[name]) for index, name in zip(spans.index, spans.name, strict=True)]
    assert named == [
        (0, "connecting"), (0, "receiving"), (1, "connecting"), (1, "receiving"), (2, "prefill"), (2, "decode"), (2, "connecting"),
    ]  # fmt: skip
    assert (spans.end_ns - spans.begin_ns).tolist() == [MS, 9 * MS, MS, 9 * MS, 2 * MS, 9 * MS, MS]


def test_what_takes_next_to_no_time_is_not_kept():
    rows = noted(3, events=0, between_ms=0)
    rows["sent_ns"] = rows["due_ns"] + 3_000  # of 2 ms
    assert len(phases_of([(rows, OBSERVED)]).index) == 0


def test_the_pace_of_tokens():
    found = stream_of([(noted(50), OBSERVED)])
    assert found.unit == "token"
    assert found.units == 10
    assert found.first_s.value == pytest.approx(2e-3)
    assert found.between_s.value == pytest.approx(1e-3)
    assert found.between_s.n == 50


@pytest.mark.parametrize("parts", [
    [(noted(5, tokens=0), OBSERVED)],
    [(noted(5, tokens=0), OBSERVED), (noted(5), OBSERVED)],  # not all of them tell
])  # fmt: skip
def test_events_where_tokens_are_not_told(parts):
    found = stream_of(parts)
    assert (found.unit, found.units) == ("event", 12)


def test_answers_that_are_no_streams():
    assert stream_of([]) is None
    assert stream_of([(noted(5, events=0, tokens=0), OBSERVED)]) is None
    assert stream_of([(noted(5, outcome=records.SHORT), OBSERVED)]) is None


def test_a_stream_of_one_token_has_no_pace():
    assert stream_of([(noted(5, tokens=1), OBSERVED)]).between_s is None


# --- stages that the server tells ----------------------------------------------------------------------------------
def answered(count=1, *, sent_ms=0, first_ms=20, total_ms=16, **changes):
    """Requests that follow each other, of which the server says that it took so long."""
    rows = np.zeros(count, ROW)
    rows["due_ns"] = rows["sent_ns"] = (sent_ms + np.arange(count) * 30) * MS
    rows["first_ns"], rows["done_ns"] = rows["sent_ns"] + first_ms * MS, rows["sent_ns"] + (first_ms + 5) * MS
    rows["server_ns"], rows["outcome"] = total_ms * MS, records.OK
    for name, value in changes.items():
        rows[name] = value
    return rows


def timings(rows, *stages):
    """What each answer tells: (name, ms after the server got it or -1, ms)."""
    told = [
        (done, at if at < 0 else at * MS, length * MS, name) for done in rows["done_ns"] for name, at, length in stages
    ]
    return [np.array(told, TIMING)]


def laid(rows, *stages):
    """(request, name, begin, end) of each span in ms."""
    spans, names = stages_of([(rows, OBSERVED)], timings(rows, *stages))
    assert set(spans.kind.tolist()) <= {TOLD}
    return [
        (index, names[name], begin / MS, end / MS)
        for index, name, begin, end in zip(spans.index, spans.name, spans.begin_ns, spans.end_ns, strict=True)
    ]


def test_stages_lie_where_the_server_says_in_the_middle_of_its_request():
    """GIVEN 20 ms from the sending to the first byte, 16 of them in the server THEN it got the request after 2."""
    found = laid(answered(2), (b"total", -1, 16), (b"preprocess", 1, 9), (b"model", 11, 4))
    assert found == [(0, "preprocess", 3, 12), (0, "model", 13, 17), (1, "preprocess", 33, 42), (1, "model", 43, 47)]


def test_stages_without_a_begin_are_laid_in_a_row():
    found = laid(answered(2), (b"db", -1, 5), (b"app", -1, 7), (b"model", 1, 2))
    assert found == [
        (0, "db", 2, 7), (0, "app", 7, 14), (0, "model", 3, 5),
        (1, "db", 32, 37), (1, "app", 37, 44), (1, "model", 33, 35),
    ]  # fmt: skip


@pytest.mark.parametrize(("stages", "left"), [
    ([(b"a", -1, 15), (b"b", -1, 15)], []),  # together they are more than the request took
    ([(b"a", 5, 16)], []),
    ([(b"a", 10**6, 1)], []),
    ([(b"a", 1, 10**6), (b"b", 1, 2)], ["b"]),
    ([(b"a", 1, 0)], []),
    ([(b"TOTAL", 1, 2)], []),
])  # fmt: skip
def test_what_cannot_be_is_left_out(stages, left):
    assert [name for _, name, _, _ in laid(answered(), *stages)] == left


def test_a_server_that_says_it_took_longer_than_it_did_is_placed_at_the_sending():
    assert laid(answered(total_ms=500), (b"a", 0, 20)) == [(0, "a", 0, 20)]


def test_only_answers_tell_stages():
    failed = answered(outcome=records.SHORT)
    assert laid(failed, (b"a", 1, 2)) == []
    cut = answered(outcome=records.CUT_OFF)
    assert laid(cut, (b"a", 1, 2)) == []
    spans, names = stages_of([(answered(), OBSERVED)], timings(answered(sent_ms=1), (b"a", 1, 2)))
    assert (len(spans.index), names) == (0, ())  # of a request that is not among the rows


def test_names_without_end_are_few():
    rows = answered(100)
    told = [np.array([(done, 1 * MS, 2 * MS, b"n%d" % number)], TIMING) for number, done in enumerate(rows["done_ns"])]
    spans, names = stages_of([(rows, OBSERVED)], told)
    assert len(names) == MOST_NAMES + 1
    assert names[-1] == "others"
    assert len(spans.index) == 100


def traced(*families):
    """Traces, each its top and what is below: (service, name, begin, end) in ms."""
    return [
        [
            Traced(name, service, int(begin * MS), int(end * MS), depth)
            for depth, (service, name, begin, end) in enumerate(each)
        ]
        for each in families
    ]


def test_the_trace_of_a_request_is_the_one_within_it():
    """GIVEN two requests of 25 ms each, 5 ms apart, and a trace of each; one has a span that ends after the answer."""
    rows = answered(2)
    spans, names = traced_of([(rows, OBSERVED)], traced(
        [("app", "POST /", 32, 50), ("app", "model", 33, 49), ("features", "GET /", 40, 45)],
        [("app", "POST /", 1, 20), ("app", "model", 2, 30)],
        [("app", "POST /", 26, 28), ("app", "model", 26, 28)],  # between them
        [("app", "POST /", -9, -1), ("app", "model", -8, -2)],  # before
        [("app", "POST /", 90, 99), ("app", "model", 91, 92)],  # after
    ))  # fmt: skip
    found = zip(spans.index, spans.name, spans.begin_ns / MS, spans.end_ns / MS, strict=True)
    assert [(index, names[name], begin, end) for index, name, begin, end in found] == [
        (1, "model", 33, 49), (1, "features: GET /", 40, 45), (0, "model", 2, 25),
    ]  # fmt: skip
    assert spans_of([(rows, OBSERVED)], timings(rows, (b"a", 1, 2)), str, traced())[1] == (*SPANS, "a")


def test_traces_of_no_answered_request_tell_nothing():
    for rows in (answered(0), answered(outcome=records.SHORT)):
        spans, names = traced_of([(rows, OBSERVED)], traced([("app", "POST /", 1, 20), ("app", "model", 2, 9)]))
        assert (len(spans.index), names) == (0, ())


def test_names_hide_secrets_and_streams_have_phases():
    rows = answered(3)
    _, names = spans_of(
        [(rows, OBSERVED)], timings(rows, (b"secret", 1, 2)), lambda name: name.replace("secret", "***")
    )
    assert names == (*SPANS, "***")
    rows["events"] = 12
    assert spans_of([(rows, OBSERVED)], timings(rows, (b"a", 1, 2)), str)[1] == SPANS

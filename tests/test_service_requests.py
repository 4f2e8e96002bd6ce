"""What the client noted of requests to a server, and what of streams: phases, tokens, their pace."""

from __future__ import annotations

import numpy as np
import pytest

from pinchpoint.domain.run import CONTROL, FAILED, OBSERVED, TOLD
from pinchpoint.load import records
from pinchpoint.load.crew import ROW
from pinchpoint.service_requests import SPANS, phases_of, requests_of, stream_of

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

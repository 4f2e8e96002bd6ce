"""Charts: what is handed to the drawing library is valid Vega-Lite, which is not checked while a report is drawn."""

from __future__ import annotations

import altair
import pytest
import vl_convert
from test_html_page import diagnosed

from pinchpoint.domain.picture import Curve, Mark, Pictures, Roof
from pinchpoint.reporters import charts, sections
from test_demands import CASES

MARKS = (Mark("MatMul_0", "MatMul", 0.5, 1e10, 0.01), Mark("Softmax", "Softmax", 2.0, 1e9, 0.001))
CURVES = (
    Curve("this program", "CPUs", ((0.0, 1.0), (1.0, 1.5))),
    Curve("waiting for a CPU", "CPUs", ((0.0, 0.1), (1.0, 0.2))),
    Curve("memory", "B", ((0.0, 1e8), (1.0, 2e8))),
)


@pytest.fixture
def drawn(monkeypatch):
    """The specifications of the charts that are drawn."""
    found = []
    draw = vl_convert.vegalite_to_svg
    monkeypatch.setattr(vl_convert, "vegalite_to_svg", lambda spec: found.append(spec) or draw(spec))
    return found


def test_every_chart_is_valid_vega_lite(drawn):
    diagnosis = diagnosed(CASES["GIL"][0])
    pictures = diagnosis.pictures
    svgs = [
        charts.ledger(sections.typical_rows(diagnosis)),
        charts.throughput(diagnosis.rungs),
        charts.latency(diagnosis.rungs),
        charts.distribution(pictures.distribution),
        charts.course(pictures.course),
        charts.roofline(Pictures(operators=MARKS, roof=Roof(5e10, 2e10))),
        charts.processors(Pictures(counters=CURVES)),
        charts.memory(Pictures(counters=CURVES)),
    ]
    assert all(svg.startswith("<svg") for svg in svgs)
    assert len(drawn) == len(svgs)
    for spec in drawn:
        altair.Chart.from_dict(spec).to_dict(validate=True)


def test_what_was_not_measured_is_not_drawn(drawn):
    nothing = Pictures()
    empty = (
        charts.ledger(()),
        charts.throughput(()),
        charts.latency(()),
        charts.distribution(()),
        charts.course(()),
        charts.roofline(nothing),
        charts.processors(nothing),
        charts.memory(nothing),
    )
    assert empty == ("",) * len(empty)
    assert drawn == []

"""Charts as SVG, from what a diagnosis holds; drawn once, here, so that a page needs no script.

Colours are from the palette of Okabe & Ito (2008), which people with any colour vision tell apart; text takes the colour of
the page, light or dark.
"""

from __future__ import annotations

import resource
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pinchpoint.domain.demand import Rung
from pinchpoint.domain.ledger import Row
from pinchpoint.domain.picture import Bin, Moment, Pictures
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.words import STAGE_WORDS, STATE_WORDS
from pinchpoint.reporters.layout import clean, shortened

if TYPE_CHECKING:
    import altair as alt

INK = "currentColor"
STATE_COLOURS = {
    "cpu": "#0072b2",
    "memory": "#d55e00",
    "gpu": "#56b4e9",
    "disk": "#cc79a7",
    "network": "#e69f00",
    "starved": "#f0e442",
    "wait": "#009e73",
    "unexplained": "#999999",
}
WIDE, SIDE, HIGH, ROW = 620, 280, 200, 26
LONGEST = 28
MILLI, MEGA = 1e3, 1e6
IN_FLIGHT = "requests in flight"
ADDRESS_SPACE_BYTES = 256 << 30  # V8, which draws, reserves more than 64 GiB at once and uses next to nothing of it
LEAST_SHARE = 0.002  # of a request: less has no width


def ledger(rows: tuple[Row, ...]) -> str:
    """Where a request's time goes: a bar a stage, a colour a state."""
    import altair as alt

    sums: dict[tuple[str, str], float] = defaultdict(float)
    for row in rows:
        sums[(row.stage, row.state)] += row.seconds.value
    least = LEAST_SHARE * sum(sums.values())
    found = {key: seconds for key, seconds in sums.items() if abs(seconds) >= least}
    data = [
        {
            "stage": STAGE_WORDS.get(stage, clean(stage)),
            "state": STATE_WORDS.get(state, clean(state)),
            "ms": seconds * MILLI,
        }
        for (stage, state), seconds in found.items()
    ]
    if not data:
        return ""
    states = [state for state in STATE_COLOURS if any(key[1] == state for key in found)]
    colours = alt.Scale(domain=[STATE_WORDS[s] for s in states], range=[STATE_COLOURS[s] for s in states])
    chart = alt.Chart(alt.InlineData(values=data)).mark_bar().encode(
        x=alt.X("ms:Q", title="milliseconds a request"),
        y=alt.Y("stage:N", title=None, sort="-x"),
        color=alt.Color("state:N", scale=colours, legend=alt.Legend(title=None, orient="top", columns=4)),
    )  # fmt: skip
    stages = len({item["stage"] for item in data})
    return _svg(chart.properties(width=WIDE - 100, height=max(ROW * stages, 2 * ROW)), "Where a request's time goes")


def throughput(rungs: tuple[Rung, ...]) -> str:
    """Completions a second against requests in flight, with intervals."""
    data = [point(rung.load, rung.throughput_per_s) for rung in rungs]
    return curve(data, IN_FLIGHT, "requests a second", "Throughput against requests in flight")


def latency(rungs: tuple[Rung, ...]) -> str:
    """Mean latency against requests in flight, with intervals."""
    data = [point(rung.load, rung.latency_s.scaled(MILLI)) for rung in rungs]
    return curve(data, IN_FLIGHT, "milliseconds", "Latency against requests in flight")


def point(load: float, quantity: Quantity) -> dict[str, float]:
    """A point of a curve, with its interval."""
    return {"load": load, "value": quantity.value, "low": quantity.low, "high": quantity.high}


def curve(data: list[dict[str, float]], x_title: str, title: str, said: str) -> str:
    """Points with intervals against a load, which is doubled from tick to tick; empty without points."""
    import altair as alt

    if not data:
        return ""
    x = alt.X(
        "load:Q",
        title=x_title,
        scale=alt.Scale(type="log", base=2),
        axis=alt.Axis(values=[d["load"] for d in data]),
    )
    base = alt.Chart(alt.InlineData(values=data))
    line = base.mark_line(color=STATE_COLOURS["cpu"], point=alt.OverlayMarkDef(color=STATE_COLOURS["cpu"], size=40))
    spread = base.mark_rule(color=STATE_COLOURS["cpu"], strokeWidth=2)
    y = alt.Y("value:Q", title=title, scale=alt.Scale(zero=True))
    chart = spread.encode(x=x, y=alt.Y("low:Q", title=title), y2="high:Q") + line.encode(x=x, y=y)
    return _svg(chart.properties(width=SIDE, height=HIGH), said)


def roofline(pictures: Pictures) -> str:
    """Each operator's FLOP/s against its FLOPs a byte, under this machine's two ceilings."""
    import altair as alt

    roof = pictures.roof
    if roof is None or not pictures.operators:
        return ""
    ridge = roof.flops_per_s / roof.bytes_per_s
    intensities = [mark.flops_per_byte for mark in pictures.operators]
    ends = min(*intensities, ridge / 10), max(*intensities, ridge * 10)
    line = [{"x": x, "y": min(x * roof.bytes_per_s, roof.flops_per_s) / 1e9} for x in (ends[0], ridge, ends[1])]
    marks = [
        {
            "x": m.flops_per_byte,
            "y": m.flops_per_s / 1e9,
            "kind": shortened(clean(m.kind), LONGEST),
            "ms": m.seconds * MILLI,
        }
        for m in pictures.operators
    ]
    x = alt.X("x:Q", title="FLOPs for each byte", scale=alt.Scale(type="log"))
    y = alt.Y("y:Q", title="GFLOP/s", scale=alt.Scale(type="log"))
    roofs = alt.Chart(alt.InlineData(values=line)).mark_line(color=INK, strokeDash=[5, 3]).encode(x=x, y=y)
    points = alt.Chart(alt.InlineData(values=marks)).mark_circle(opacity=0.75).encode(
        x=x, y=y, color=alt.Color("kind:N", legend=alt.Legend(title=None, orient="right"), scale=alt.Scale(scheme="tableau10")),
        size=alt.Size("ms:Q", legend=None, scale=alt.Scale(range=[30, 400])),
    )  # fmt: skip
    return _svg((roofs + points).properties(width=WIDE - 180, height=HIGH + 60), "Operators under the roofline")


def distribution(bins: Sequence[Bin], *, log: bool = False) -> str:
    """How many requests took how long; on a logarithmic axis for bins of equal ratios."""
    import altair as alt

    data = [{"from": b.low_s * MILLI, "to": b.high_s * MILLI, "count": b.count} for b in bins]
    if not data:
        return ""
    scale = alt.Scale(type="log") if log else alt.Scale(zero=False)
    chart = alt.Chart(alt.InlineData(values=data)).mark_bar(color=STATE_COLOURS["cpu"]).encode(
        x=alt.X("from:Q", title="milliseconds", bin="binned", scale=scale), x2="to:Q",
        y=alt.Y("count:Q", title="requests"),
    )  # fmt: skip
    return _svg(chart.properties(width=SIDE, height=HIGH), "Distribution of latency")


def course(moments: Sequence[Moment]) -> str:
    """Latency over the run: the median and the slowest of each stretch."""
    import altair as alt

    data = [{"at": m.at_s, "ms": m.median_s * MILLI, "slowest": m.slowest_s * MILLI} for m in moments]
    if not data:
        return ""
    base = alt.Chart(alt.InlineData(values=data)).encode(x=alt.X("at:Q", title="seconds of the run"))
    y = alt.Y("ms:Q", title="milliseconds")
    chart = base.mark_circle(color=STATE_COLOURS["memory"], size=14, opacity=0.8).encode(
        y=alt.Y("slowest:Q", title="milliseconds")
    ) + base.mark_line(color=STATE_COLOURS["cpu"]).encode(y=y)
    return _svg(chart.properties(width=SIDE, height=HIGH), "Latency over the run: median and slowest")


def processors(pictures: Pictures) -> str:
    """CPUs over the run: busy with the target, busy with others, and wanted by threads that wait."""
    import altair as alt

    curves = [curve for curve in pictures.counters if curve.unit == "CPUs"]
    data = [{"at": at, "cpus": value, "who": curve.name} for curve in curves for at, value in curve.points]
    if not data:
        return ""
    names = [curve.name for curve in curves]
    colours = alt.Scale(domain=names, range=[STATE_COLOURS[state] for state in ("cpu", "memory", "wait")][: len(names)])
    chart = alt.Chart(alt.InlineData(values=data)).mark_line(interpolate="step-after").encode(
        x=alt.X("at:Q", title="seconds of the run", scale=alt.Scale(zero=True)), y=alt.Y("cpus:Q", title="CPUs"),
        color=alt.Color("who:N", scale=colours, legend=alt.Legend(title=None, orient="top", columns=2)),
    )  # fmt: skip
    return _svg(chart.properties(width=SIDE, height=HIGH), "CPUs over the run")


def memory(pictures: Pictures) -> str:
    """Memory over the run."""
    import altair as alt

    data = [
        {"at": at, "mb": value / MEGA} for curve in pictures.counters if curve.unit == "B" for at, value in curve.points
    ]
    if not data:
        return ""
    chart = alt.Chart(alt.InlineData(values=data)).mark_line(color=STATE_COLOURS["cpu"]).encode(
        x=alt.X("at:Q", title="seconds of the run", scale=alt.Scale(zero=True)),
        y=alt.Y("mb:Q", title="MB of memory", scale=alt.Scale(zero=True)),
    )  # fmt: skip
    return _svg(chart.properties(width=SIDE, height=HIGH), "Memory over the run")


def _svg(chart: alt.TopLevelMixin, description: str) -> str:
    """The chart as an SVG element that scales, with a description for those who do not see it.

    MemoryError where a limit on address space is too small for what draws it, which would end the process instead.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if 0 <= most < ADDRESS_SPACE_BYTES:
        raise MemoryError(f"charts need {ADDRESS_SPACE_BYTES >> 30} GiB of address space (ulimit -v)")
    import vl_convert

    styled = (
        chart.properties(background="transparent", description=description)
        .configure_axis(labelColor=INK, titleColor=INK, domainColor=INK, tickColor=INK, gridColor=INK, gridOpacity=0.15)
        .configure_legend(labelColor=INK, titleColor=INK)
        .configure_view(stroke=None)
    )
    found: str = vl_convert.vegalite_to_svg(
        styled.to_dict(validate=False)
    )  # the tests do, which takes a third of the time
    return found

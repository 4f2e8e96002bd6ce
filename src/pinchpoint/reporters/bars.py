"""The ledger as bars: where a typical request's time goes, one row a part, with seconds, share and interval."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pinchpoint.domain.ledger import Row
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.words import STATE_WORDS
from pinchpoint.reporters.cell_names import cell_name, setting
from pinchpoint.reporters.figures import share_interval
from pinchpoint.reporters.layout import WIDTH, Line, columns, padded, shortened
from pinchpoint.units import decimals, duration_unit, percent

SMALL_SHARE = 0.01  # parts below it are merged
MOST_PARTS = 8
_WIDEST_NAME = 37  # "request handling: waiting for a timer"
_WIDEST_BAR = 30
_OTHER = "other"


@dataclass(frozen=True, slots=True)
class Part:
    """A row as it is shown: cells of the ledger that a reader would call by the same name."""

    name: str
    seconds: Quantity
    share: float


def parts(rows: Iterable[Row], causes: Iterable[str], slow: Iterable[str] = ()) -> tuple[Part, ...]:
    """The parts of a request, largest first, then what was too small to show, then what is unexplained.

    `causes` are the codes found, the verdict's own first; `slow` are operators that a cause names.
    """
    cells = tuple(rows)
    around = setting(cells, causes, slow)
    by_name: dict[str, list[Row]] = {}
    for row in cells:
        if not row.remainder:
            by_name.setdefault(cell_name(row, around), []).append(row)
    every = sorted((_part(name, same) for name, same in by_name.items()), key=lambda part: (-part.share, part.name))
    large = [part for position, part in enumerate(every) if abs(part.share) >= SMALL_SHARE and position < MOST_PARTS]
    small = [part for part in every if part not in large]
    merged = [Part(_OTHER, _sum([p.seconds for p in small]), sum(p.share for p in small))] if len(small) > 1 else small
    unexplained = [row for row in cells if row.remainder]
    return (*large, *merged, *([_part(STATE_WORDS["unexplained"], unexplained)] if unexplained else []))


def bars(shown: tuple[Part, ...], typical_s: float, width: int = WIDTH) -> list[Line]:
    """The parts as lines of `width` columns; `typical_s` chooses the unit and the decimals of all of them."""
    if not shown:
        return []
    scale, unit = duration_unit(typical_s or max(abs(part.seconds.value) for part in shown))
    places = decimals(typical_s / scale)
    values = [_value(part, scale, places) for part in shown]
    shares = [percent(part.share) for part in shown]
    inside = [_inside(part) for part in shown]
    name_width = min(max(columns(part.name) for part in shown), _WIDEST_NAME)
    right = f"  {{:>{max(map(len, values))}}} {unit}  {{:>{max(map(len, shares))}}} {{:<{max(map(len, inside))}}}"
    bar_width = min(_WIDEST_BAR, width - len(right.format("", "", "")) - name_width - 4)
    full = max(1.0, *(part.share for part in shown))
    return [
        _line(part, name_width, _bar(part.share / full, bar_width), bar_width, right.format(*figures))
        for part, figures in zip(shown, zip(values, shares, inside, strict=True), strict=True)
    ]


def _line(part: Part, name_width: int, bar: str, bar_width: int, right: str) -> Line:
    """One row: name, bar, figures."""
    before = f"  {padded(shortened(part.name, name_width), name_width)}  "
    text = f"{before}{bar:<{bar_width}}{right}".rstrip()
    return Line(text, ((len(before), len(before) + len(bar), "bar"),) if bar else ())


def _bar(share: float, width: int) -> str:
    """`#` for a share, `-` for a negative one; what rounds to a per cent or more is always seen."""
    length = min(round(abs(share) * width), width)
    if not length and abs(share) >= SMALL_SHARE:
        length = 1
    return ("#" if share > 0 else "-") * length


def _value(part: Part, scale: float, places: int) -> str:
    """Seconds with the decimals of the whole column."""
    text = f"{part.seconds.value / scale:,.{places}f}"
    return text.removeprefix("-") if not any(c in "123456789" for c in text) else text


def _inside(part: Part) -> str:
    """The interval of the share; "" where it has no width to show."""
    seconds = part.seconds
    if not seconds.value or not part.share or seconds.low >= seconds.high:
        return ""
    per_second = part.share / seconds.value
    inside = share_interval(seconds.low * per_second, seconds.high * per_second)
    return f"({inside})" if inside else ""


def _part(name: str, same: list[Row]) -> Part:
    """Cells of one name as one part."""
    return Part(name, _sum([row.seconds for row in same]), sum(row.share for row in same))


def _sum(quantities: list[Quantity]) -> Quantity:
    """A sum whose parts may err together, as cells from one ceiling or one profile do: their ends are added."""
    return Quantity(
        sum(q.value for q in quantities),
        sum(q.low for q in quantities),
        sum(q.high for q in quantities),
        min(q.n for q in quantities),
    )

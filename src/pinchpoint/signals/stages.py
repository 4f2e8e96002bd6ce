"""Shares of typical latency by stage and state."""

from __future__ import annotations

from collections.abc import Callable

from pinchpoint.contracts import Measure, SignalSource, Tables, signal
from pinchpoint.domain.ledger import TOLD, Ledger, Row
from pinchpoint.domain.quantity import Quantity, total
from pinchpoint.domain.service import INSIDE_UNSEEN
from pinchpoint.service_ledger import INSIDE, UNSEEN
from pinchpoint.stage_names import OPENING

UNSEEN_INSIDE = "what the server executes cannot be seen"
HIDES = 0.05  # of the time: less is no stage worth a name


def share(ledger: Ledger, wanted: Callable[[Row], bool]) -> Quantity:
    """The wanted cells together, as a share of the ledger's latency."""
    rows = [row.seconds for row in ledger.rows if row.state != "unexplained" and wanted(row)]
    if not rows:
        return Quantity(0.0, 0.0, 0.0, ledger.latency.n)
    return total(rows).scaled(1 / ledger.latency.value)


def _on_cpu(wanted: Callable[[Row], bool]) -> Measure:
    def measure(tables: Tables) -> Quantity | str:
        found = share(tables.typical, lambda row: row.state == "cpu" and wanted(row))
        if found.value == 0 and _hidden(tables):
            return UNSEEN_INSIDE
        beside = share(tables.typical, lambda row: row.label == INSIDE.label and row.state == "cpu")
        return Quantity(found.value, found.low, found.high + beside.high, found.n)

    return measure


def _hidden(tables: Tables) -> bool:
    """Whether a server computes for long enough, or does anything unseen, and what it computes could not be seen; or only its
    word tells its stages.
    """
    if tables.run.service is None or tables.typical.stages_from != UNSEEN:
        return sum(row.share for row in tables.typical.rows if row.site == TOLD) > HIDES
    return hidden(tables.typical) or share(tables.typical, lambda row: row.state == "cpu").high > HIDES


def hidden(ledger: Ledger) -> bool:
    """Whether a good part of the time passes inside a server that cannot be looked into."""
    return share(ledger, lambda row: row.site == INSIDE_UNSEEN).high > HIDES


def _cpu_signal(name: str, *stages: str) -> SignalSource:
    return signal(name, unit="share", mechanism="thread clock")(_on_cpu(lambda row: row.stage in stages))


opening = signal("opening.cpu_share", unit="share", mechanism="thread clock")(_on_cpu(lambda row: row.site == OPENING))


@signal("unclassified.cpu_share", unit="share", mechanism="thread clock")
def unclassified(tables: Tables) -> Quantity:
    """CPU time of a callable in which no stage but request handling was recognised."""
    known = {row.stage for row in tables.typical.rows} - {"framework"}
    if known:
        return Quantity(0.0, 0.0, 0.0, tables.typical.latency.n)
    return share(tables.typical, lambda row: row.state == "cpu")


@signal("model.share", unit="share", mechanism="wall clock")
def model(tables: Tables) -> Quantity | str:
    """The model stage in all states."""
    if hidden(tables.typical):
        return UNSEEN_INSIDE
    return share(tables.typical, lambda row: row.stage == "model")


@signal("model.memory_share", unit="share", mechanism="roofline")
def model_memory(tables: Tables) -> Quantity | str:
    """The model at the memory floor; unknown of a server's model, whose bytes nobody counted."""
    inside = share(tables.typical, lambda row: row.stage == "model")
    if tables.run.service is not None and (_hidden(tables) or inside.high > HIDES):
        return "the bytes of a server's model are not counted"
    rows = [row for row in tables.typical.rows if row.stage == "model" and row.state == "memory"]
    n = tables.typical.latency.n
    ends = [sum(pick(row.seconds) for row in rows) for pick in (_value, _low, _high)]
    return Quantity(ends[0], ends[1], ends[2], n).scaled(1 / tables.typical.latency.value)


@signal("request.queue_share", unit="share", mechanism="the server's counters")
def queued(tables: Tables) -> Quantity | str:
    """Waiting in the server's queue, with one request in flight; 0 where the target has no queue, being called directly."""
    service = tables.run.service
    if service is not None and not service.parts("queue"):
        return "the server does not tell how long requests queue"
    return share(tables.typical, lambda row: row.stage == "queue")


@signal("request.unexplained_share", unit="share", mechanism="difference")
def unexplained(tables: Tables) -> Quantity:
    """Latency less all cells, signed."""
    rows = [row.seconds for row in tables.typical.rows if row.state == "unexplained"]
    return total(rows).scaled(1 / tables.typical.latency.value) if rows else Quantity(0.0, 0.0, 0.0, 0)


def _value(quantity: Quantity) -> float:
    return quantity.value


def _low(quantity: Quantity) -> float:
    return quantity.low


def _high(quantity: Quantity) -> float:
    return quantity.high


STAGE_SIGNALS = (
    _cpu_signal("preprocess.cpu_share", "preprocess"),
    _cpu_signal("postprocess.cpu_share", "postprocess"),
    _cpu_signal("codec.cpu_share", "deserialize", "serialize"),
    _cpu_signal("framework.cpu_share", "framework"),
    _cpu_signal("model.cpu_share", "model"),
    opening,
    unclassified,
    model,
    model_memory,
    unexplained,
    queued,
)

"""Shares of typical latency on the network between client and server."""

from __future__ import annotations

from pinchpoint.contracts import Tables, signal
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.service import CONNECT, DISTANCE, STALL, TRANSFER
from pinchpoint.signals.stages import share

UNKNOWN = "the way to the server was not measured"


def _on_the_way(tables: Tables, *sites: str) -> Quantity | str:
    """What a request takes at some sites of the network; 0 where the target is called directly."""
    service = tables.run.service
    if service is not None and service.wire is None:
        return UNKNOWN
    return share(tables.typical, lambda row: row.site in sites)


@signal("request.round_trips_share", unit="share", mechanism="TCP_INFO")
def round_trips(tables: Tables) -> Quantity | str:
    """New connections, the way there and back, and small packets that wait to be acknowledged."""
    return _on_the_way(tables, CONNECT, DISTANCE, STALL)


@signal("request.transfer_share", unit="share", mechanism="client clock")
def transfer(tables: Tables) -> Quantity | str:
    """Bytes of a request or its answer that come as fast as the network takes them."""
    return _on_the_way(tables, TRANSFER)


NETWORK_SIGNALS = (round_trips, transfer)

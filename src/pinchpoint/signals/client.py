"""What our own side of a server's requests used."""

from __future__ import annotations

from pinchpoint.contracts import Tables, signal
from pinchpoint.domain.quantity import Quantity, exact


@signal("client.used_share", unit="share", mechanism="process clock")
def used(tables: Tables) -> Quantity | str:
    """The largest share of the client's ceiling, or of its time, that one request in flight took; 0 where the target answers in
    a process of our own, which waits meanwhile.
    """
    service = tables.run.service
    if service is None:
        return exact(0.0)
    return service.client_reason or "it was not measured" if service.client_used is None else exact(service.client_used)


CLIENT_SIGNALS = (used,)

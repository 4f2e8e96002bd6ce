"""What goes where, and which certificate of the server is taken, for either wire."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from pinchpoint.errors import BadInput
from pinchpoint.load import payloads
from pinchpoint.load.addresses import Address

HTTP2 = "h2"  # what gRPC needs: some servers refuse whoever does not ask for it


@dataclass(frozen=True, slots=True)
class Sending:
    """What goes where, secrets included: this stays in memory."""

    address: Address
    bodies: tuple[payloads.Payload, ...]
    headers: tuple[payloads.Header, ...]
    ca: str | None = None
    insecure: bool = False


def tls_context(sending: Sending) -> ssl.SSLContext | None:
    """How the server's certificate is checked; BadInput for a file of authorities that is none."""
    if not sending.address.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=sending.ca)
    except (OSError, ssl.SSLError) as error:
        why = getattr(error, "strerror", None) or "no certificate in it"
        raise BadInput(what=f"cannot be read: {why}", where=f"--set ca={sending.ca}", todo="Give a PEM file") from None
    if sending.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if sending.address.kind == "grpc":
        context.set_alpn_protocols([HTTP2])
    return context

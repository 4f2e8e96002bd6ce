"""gRPC over TLS: which certificates a channel takes. gRPC has roots of its own and checks always; here it is as for https://.

The roots are the system's, or those of the user's file. Where nothing is to be checked, the certificate that the server shows is
fetched, and it is the only one that is taken, by a name that is in it.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinchpoint.errors import BadInput
from pinchpoint.load.addresses import Address
from pinchpoint.load.greeting import connected
from pinchpoint.load.sending import HTTP2, Sending, tls_context

HASHED = re.compile(r"[0-9a-f]{8}\.\d+")  # what OpenSSL calls the certificates in its folder
Options = tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class Trust:
    """Authorities, or the server's own certificate, in PEM, and the name that it has to show; without one it is in the clear."""

    roots: bytes = b""
    name: str = ""


def trust(sending: Sending, hosts: Sequence[str], timeout_s: float) -> Trust:
    """What is trusted of a server. BadInput where nothing is to be checked, and gRPC would refuse what it shows nevertheless;
    raises what `greeting.connected` raises.
    """
    address = sending.address
    if not address.tls:
        return Trust()
    if sending.insecure:
        return _shown(sending, hosts, timeout_s)
    return Trust(Path(sending.ca).read_bytes() if sending.ca else _system_roots(), address.host)


def channel(of: Any, place: str, trusted: Trust, options: Options) -> Any:  # noqa: ANN401  # grpc has no types
    """A channel of `of`, which is grpc or grpc.aio."""
    if not trusted.name:
        return of.insecure_channel(place, options=options)
    import grpc

    credentials = grpc.ssl_channel_credentials(trusted.roots)
    return of.secure_channel(place, credentials, options=(*options, ("grpc.ssl_target_name_override", trusted.name)))


def _system_roots() -> bytes:
    """All authorities that OpenSSL trusts here; BadInput where there are none."""
    paths = ssl.get_default_verify_paths()
    files = [Path(paths.cafile)] if paths.cafile else []
    if paths.capath:
        files += sorted(each for each in Path(paths.capath).iterdir() if HASHED.fullmatch(each.name))
    found = b"\n".join(each.read_bytes() for each in files if os.access(each, os.R_OK))
    if not found:
        raise BadInput(what="no authorities are known here", where="--set ca", todo="Name them with --set ca=FILE")
    return found


def _shown(sending: Sending, hosts: Sequence[str], timeout_s: float) -> Trust:
    """The certificate that a server shows, and the first name in it."""
    address = sending.address
    with connected(address, hosts, timeout_s, tls_context(sending))[1] as connection:
        shown = ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))  # type: ignore[attr-defined]  # it is TLS
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols([HTTP2])
    context.load_verify_locations(cadata=shown)
    try:
        with connected(address, hosts, timeout_s, context)[1] as connection:
            name = _name(connection.getpeercert())  # type: ignore[attr-defined]  # it is TLS
    except BadInput as error:
        raise _not_skipped(address, error.what) from None
    if not name:
        raise _not_skipped(address, "its certificate names no server")
    return Trust(shown.encode(), name)


def _name(told: Mapping[str, Any]) -> str:
    """A name that a certificate is valid for; empty where it has none."""
    names = [value for kind, value in told.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    common = [value for parts in told.get("subject", ()) for kind, value in parts if kind == "commonName"]
    return next((each.replace("*", "any") for each in names or common), "")


def _not_skipped(address: Address, why: str) -> BadInput:
    what = f"gRPC checks a certificate in spite of insecure=yes: {why}"
    return BadInput(what=what, where=address.uri, todo="Renew it, or ask a port without TLS")

"""The certificate of the server that does nothing, which our own client alone asks, on loopback. Its key is not a secret."""

from __future__ import annotations

import ssl
import tempfile

NAME = "localhost"
# Self-signed, of the curve P-256, from 2000 to 2999.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBTzCB9qADAgECAgEBMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCWxvY2FsaG9z
dDAgFw0wMDAxMDEwMDAwMDBaGA8yOTk5MTIzMTAwMDAwMFowFDESMBAGA1UEAwwJ
bG9jYWxob3N0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEkSbIzL4z0xZDbjQs
duKvhGcnMk642WINrA8wf8ymJVeH6wEkwGys36djHqSNPw0EyV5l9TMtnPzqOFTw
YKrwI6M3MDUwFAYDVR0RBA0wC4IJbG9jYWxob3N0MB0GA1UdDgQWBBTjPThT/nY7
6FmKX/wzIlQchzQZ7zAKBggqhkjOPQQDAgNIADBFAiEAxclMmm6zv/D0bqolnt64
stcEC7vpIBXKZX0yx2YrFdUCIDSm0LG5k7jJBZ5ojU3CZDhrOAwuF0AkqBDCXBLL
sxeO
-----END CERTIFICATE-----
"""
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgkLOhsCH4ihwhYm6O
w5CqZ1MpQBm1bU8IghYdRTK9k1ChRANCAASRJsjMvjPTFkNuNCx24q+EZycyTrjZ
Yg2sDzB/zKYlV4frASTAbKzfp2MepI0/DQTJXmX1My2c/Oo4VPBgqvAj
-----END PRIVATE KEY-----
"""


def server_context() -> ssl.SSLContext:
    """The server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w") as file:  # it is read from a file only
        file.write(CERTIFICATE + KEY)
        file.flush()
        context.load_cert_chain(file.name)
    return context

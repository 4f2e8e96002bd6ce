"""A URL -> where to connect and what to ask for; what is secret in it stays out of what is shown."""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlsplit

from pinchpoint.errors import BadInput

PORTS = {
    "http": 80, "https": 443, "grpc": 50051, "oip+grpc": 8001, "triton+grpc": 8001, "tfserving+grpc": 8500,
    "grpcs": 443, "oip+grpcs": 8001, "triton+grpcs": 8001, "tfserving+grpcs": 8500,
}  # fmt: skip
INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"  # a request is answered by several messages
PREDICT = "/tensorflow.serving.PredictionService/Predict"
OF_MODELS = {
    "oip+grpc": INFER, "triton+grpc": INFER, "tfserving+grpc": PREDICT,
    "oip+grpcs": INFER, "triton+grpcs": INFER, "tfserving+grpcs": PREDICT,
}  # protocols whose method is known: their path names a model  # fmt: skip
OVER_TLS = ("https", "grpcs", "oip+grpcs", "triton+grpcs", "tfserving+grpcs")
SCHEMES = ("http", "https", "http+unix", "grpc", "grpcs", *OF_MODELS)
DESCRIBED = (
    "oip+http",
    "triton+http",
    "openai+http",
)  # whose requests a server's own word is asked for: http:// by then
SECRET = re.compile(r"key|token|secret|passw|pwd|auth|sig", re.IGNORECASE)
HIDDEN = "***"
BEGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
GRPC_PATH = re.compile(r"/[\w.]+/\w+")
MODEL_PATH = re.compile(r"(?:/v2/models)?/(?P<model>[^/]*)(?:/versions/(?P<version>[^/]+))?/?")


@dataclass(frozen=True, slots=True)
class Address:
    """Where requests go. `uri` is fit to be shown; `userinfo` is for an Authorization header, or empty.

    `unix` is the path of a socket, else `host` and `port` count; `target` is the path with its query, as sent. `model` and
    `version` are what the URL names where it leads to a protocol instead of a method.
    """

    kind: str
    uri: str
    host: str
    port: int
    target: str
    tls: bool = False
    unix: str = ""
    userinfo: str = ""
    secrets: tuple[str, ...] = ()
    model: str = ""
    version: str = ""

    @property
    def authority(self) -> str:
        """What the Host header says."""
        if self.unix:
            return "localhost"
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.tls else 80) else f"{name}:{self.port}"


def parse(url: str) -> Address:
    """The address of a URL; BadInput in one line for what is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:  # its words quote what may be a password
        what = "not a URL: " + ("its port is no number up to 65535" if "ort " in str(error) else "its host is none")
        raise BadInput(what=what, where=_shown(url), todo="Write it as http://host:port/path") from None
    if parts.scheme not in SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in (*SCHEMES, *DESCRIBED))
        raise BadInput(what="load needs a URL", where=_shown(url), todo=f"It begins with one of {known}")
    if any(ord(c) <= ord(" ") or ord(c) == 127 for c in url):
        raise BadInput(what="a URL has no blanks", where=_shown(url), todo="Write them as %20")
    if not parts.netloc or (not parts.hostname and parts.scheme != "http+unix"):
        raise BadInput(what="the URL names no host", where=_shown(url), todo="Write it as http://host:port/path")
    if port == 0:
        raise BadInput(what="nothing listens on port 0", where=_shown(url), todo="Give the server's port")
    return _unix(parts) if parts.scheme == "http+unix" else _tcp(parts, port)


def _tcp(parts: SplitResult, port: int | None) -> Address:
    host, target, model, version = parts.hostname or "", _target(parts), "", ""
    grpc = parts.scheme in ("grpc", "grpcs", *OF_MODELS)
    if parts.scheme in OF_MODELS:
        target, model, version = OF_MODELS[parts.scheme], *_model(parts)
    if grpc and not GRPC_PATH.fullmatch(target):
        todo = f"Write it as {parts.scheme}://host:port/package.Service/Method"
        raise BadInput(what="the URL names no method", where=_redacted(parts), todo=todo)
    user = "" if parts.username is None else unquote(parts.username) + ":" + unquote(parts.password or "")
    number = port or PORTS[parts.scheme]
    tls, kind = parts.scheme in OVER_TLS, "grpc" if grpc else "http"
    return Address(kind, _redacted(parts), host, number, target, tls, "", user, _secrets(parts), model, version)


def _model(parts: SplitResult) -> tuple[str, str]:
    """The model that a path names, or none, and its version, or none."""
    found = MODEL_PATH.fullmatch(parts.path or "/")
    if found is None or parts.query:
        todo = f"Write it as {parts.scheme}://host:port/MODEL or .../MODEL/versions/VERSION"
        raise BadInput(what="the URL names more than a model", where=_redacted(parts), todo=todo)
    return unquote(found["model"]), unquote(found["version"] or "")


def _unix(parts: SplitResult) -> Address:
    path = unquote(parts.netloc)
    if not path.startswith("/"):
        todo = "Write its path with %2F for each /: http+unix://%2Frun%2Fapp.sock/path"
        raise BadInput(what="a Unix socket has an absolute path", where=_redacted(parts), todo=todo)
    return Address("http", _redacted(parts), "", 0, _target(parts), False, path, "", _secrets(parts))


def _target(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return f"{path}?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?[]')}" if parts.query else path


def _redacted(parts: SplitResult) -> str:
    """The URL without a password, and without the values of what looks like a key in its query."""
    place = parts.netloc.rpartition("@")[2]
    pairs = [_pair(each) for each in parts.query.split("&")] if parts.query else []
    query = "?" + "&".join(pairs) if pairs else ""
    return f"{parts.scheme}://{place}{parts.path}{query}"


def _pair(text: str) -> str:
    name, equals, _ = text.partition("=")
    return f"{name}={HIDDEN}" if equals and SECRET.search(name) else text


def _secrets(parts: SplitResult) -> tuple[str, ...]:
    """What must be shown nowhere: the password, and the values of what looks like a key."""
    pairs = [each.partition("=") for each in parts.query.split("&")]
    found = [value for name, _, value in pairs if SECRET.search(name)]
    found += [unquote(value) for value in found]
    return tuple(filter(None, [*found, parts.password, unquote(parts.password or "")]))


def _shown(url: str) -> str:
    """As much of something that may be no URL as can be shown: nothing before an @, which ends a password, and no query."""
    scheme = BEGIN.match(url)
    _, at, place = url.rpartition("@")
    rest = place if at else url[scheme.end() if scheme else 0 :]
    return (scheme[0] if scheme else "") + re.split("[?#]", rest, maxsplit=1)[0][:200]


def basic(userinfo: str) -> str:
    """The value of an Authorization header (RFC 7617)."""
    return "Basic " + base64.b64encode(userinfo.encode()).decode()


def resolved(address: Address) -> tuple[str, ...]:
    """The IP addresses behind a name, in the order in which the system would try them; BadInput where there is none."""
    if address.unix:
        return ()
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInput(what=f"the host is not known: {reason}", where=address.uri, todo="Check its name") from None
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))


def is_local(addresses: tuple[str, ...]) -> bool:
    """Whether all of them are this machine's own loopback; a Unix socket, which has none, is."""
    return all(ipaddress.ip_address(each.partition("%")[0]).is_loopback for each in addresses)

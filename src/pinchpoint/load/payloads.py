"""Options -> the bytes of each request. Values of headers are kept out of every run: only their names are told."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pinchpoint import __version__
from pinchpoint.errors import BadInput
from pinchpoint.load.addresses import Address, basic

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
FROM_ENVIRONMENT = "env:"
OWN = {"content-length", "transfer-encoding"}
OF_THE_BODY = {"content-type", "inference-header-content-length"}  # what is said of a body, and no secret
MOST_FILES, MOST_BYTES, MOST_HEADER_BYTES = 1000, 256 << 20, 16 << 10
TYPES = {
    ".json": "application/json",
    ".txt": "text/plain",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
}
LEAST_SECRET = 4  # characters: shorter ones occur by chance


@dataclass(frozen=True, slots=True)
class Payload:
    """A request's body by the name of its file; the name is empty where there is no body."""

    name: str
    body: bytes
    kind: str


@dataclass(frozen=True, slots=True)
class Header:
    """A header as it is sent."""

    name: str
    value: str


def read(inputs: Sequence[str]) -> tuple[Payload, ...]:
    """The payloads of `--input`: files, and the files in folders; one without a body where there are none."""
    files = [file for each in inputs for file in _files(Path(each))]
    if len(files) > MOST_FILES:
        raise BadInput(what=f"more than {MOST_FILES} files", where="--input", todo="Give a part of them")
    payloads, size = [], 0
    for file in files:
        try:
            size += file.stat().st_size
            if size > MOST_BYTES:
                raise BadInput(what=f"more than {MOST_BYTES >> 20} MB", where="--input", todo="Give smaller inputs")
            payloads.append(
                Payload(file.name, file.read_bytes(), TYPES.get(file.suffix.lower(), "application/octet-stream"))
            )
        except OSError as error:
            raise _unreadable(file, error) from None
    return tuple(payloads) or (Payload("", b"", ""),)


def _files(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            if not path.is_file():
                path.stat()
                raise BadInput(what="neither a file nor a folder", where=f"--input {path}", todo="Give a file")
            return [path]
        found = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if not found:
        raise BadInput(what="the folder holds no files", where=f"--input {path}", todo="Put request bodies into it")
    return found


def _unreadable(path: Path, error: Exception) -> BadInput:
    why = getattr(error, "strerror", None) or str(error)
    return BadInput(what=f"cannot be read: {why}", where=f"--input {path}", todo="Give a file that can be read")


def headers(said: Iterable[str], address: Address, environment: Mapping[str, str] = os.environ) -> tuple[Header, ...]:
    """The headers of `--header 'Name: value'`; a value `env:NAME` is taken from the environment. Shows no value, ever."""
    found = [_header(each, environment) for each in said]
    if sum(len(each.name) + len(each.value) for each in found) > MOST_HEADER_BYTES:
        raise BadInput(what=f"more than {MOST_HEADER_BYTES >> 10} kB of headers", where="--header", todo="Send fewer")
    if address.userinfo:
        found.append(Header("Authorization", basic(address.userinfo)))
    return tuple(found)


def _header(text: str, environment: Mapping[str, str]) -> Header:
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not TOKEN.fullmatch(name):
        raise BadInput(what="a header is written 'Name: value'", where="--header", todo="Name it before a colon")
    if name.lower() in OWN:
        raise BadInput(what="it follows from the body", where=f"--header {name}", todo="Leave it out")
    if value.startswith(FROM_ENVIRONMENT):
        variable = value.removeprefix(FROM_ENVIRONMENT)
        if variable not in environment:
            todo = "Set it, or give the value itself"
            raise BadInput(what=f"the environment has no {variable!r}", where=f"--header {name}", todo=todo)
        value = environment[variable]
    if not value.isprintable() or not value.isascii():
        todo = "Give printable ASCII without line ends"
        raise BadInput(what="its value cannot be sent", where=f"--header {name}", todo=todo)
    return Header(name, value)


def secrets(sent: Iterable[Header], address: Address) -> tuple[str, ...]:
    """What must not be shown, longest first: values of headers, with their parts, and what is secret in the URL."""
    own = (each.value for each in sent if each.name.lower() not in OF_THE_BODY)
    values = [part for value in own for part in (value, *value.split())]
    values += [*address.secrets, *address.userinfo.split(":")]
    return tuple(sorted({each for each in values if len(each) >= LEAST_SECRET}, key=len, reverse=True))


def without(text: str, hidden: Iterable[str]) -> str:
    """`text` with what is secret in it replaced."""
    for each in hidden:
        text = text.replace(each, "***")
    return text


def method_of(said: str | None, payloads: Sequence[Payload]) -> str:
    """The method that was asked for; POST where there is a body, else GET."""
    method = (said or ("POST" if payloads[0].name else "GET")).upper()
    if method not in METHODS:
        raise BadInput(what=f"no method {method!r}", where="--method", todo=f"Use one of {', '.join(METHODS)}")
    return method


def rendered(address: Address, method: str, payload: Payload, sent: Sequence[Header]) -> bytes:
    """One request as it goes over the wire (RFC 9112)."""
    given = {each.name.lower() for each in sent}
    lines = [f"{method} {address.target} HTTP/1.1"]
    defaults = [("Host", address.authority), ("User-Agent", f"pinchpoint/{__version__}"), ("Accept", "*/*")]
    if payload.name:
        defaults.append(("Content-Type", payload.kind))
    lines += [f"{name}: {value}" for name, value in defaults if name.lower() not in given]
    lines += [f"{each.name}: {each.value}" for each in sent]
    if payload.name or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(payload.body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + payload.body

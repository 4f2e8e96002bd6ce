"""A server on loopback that behaves as badly as it is told to: a behaviour is a function of a `Call`, tried by its name.

It runs in a thread of the test. What it saw is counted: connections, and requests in the order in which they came.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import subprocess
import threading

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset
BLOCK = b"x" * (64 << 10)


class Call:
    """A request that came, and what can be done about it."""

    def __init__(self, server, connection, number, head, body):
        self.server, self.number, self.head, self.body = server, number, head, body
        self._transport, self.loop = connection.transport, server.loop

    def write(self, data):
        self._transport.write(data)

    def close(self):
        self._transport.close()

    def reset(self):
        reset(self._transport)

    def later(self, seconds, call, *arguments):
        """Call it then, unless the connection is gone."""
        self.loop.call_later(seconds, lambda: None if self._transport.is_closing() else call(*arguments))

    def endless(self, piece):
        """Write a piece again and again, as fast as it is taken."""
        if not self._transport.is_closing():
            if self._transport.get_write_buffer_size() < 1 << 20:
                self._transport.write(piece)
            self.loop.call_later(0.0005, self.endless, piece)

    def header(self, name):
        """The value of a header of the request."""
        for line in self.head.split(b"\r\n"):
            if line.lower().startswith(name.lower().encode() + b":"):
                return line.partition(b":")[2].strip()
        return b""


def reset(transport):
    found = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    transport.abort()


def answer(status=200, body=b"hello", more=b""):
    return b"HTTP/1.1 %d Some Words\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), more, body)


# --- behaviours ----------------------------------------------------------------------------------------------------
def good(call):
    call.write(ANSWER)


def silent(call):
    """Takes the request and never answers."""


def closes(call):
    call.close()


def resets(call):
    call.reset()


def resets_midway(call):
    call.write(ANSWER[:-3])
    call.later(0.005, call.reset)


def closes_midway(call):
    call.write(ANSWER[:-3])
    call.close()


def closes_after(call):
    """Answers, and closes without having said so."""
    call.write(ANSWER)
    call.close()


def says_close(call):
    call.write(answer(more=b"Connection: close\r\n"))
    call.close()


def until_close(call):
    call.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
    call.close()


def loris(call, at=0):
    """A byte every 50 ms."""
    call.write(ANSWER[at : at + 1])
    if at + 1 < len(ANSWER):
        call.later(0.05, loris, call, at + 1)


def malformed(call):
    call.write(b"SSH-2.0-OpenSSH_9.6\r\n")


def endless_head(call):
    call.write(b"HTTP/1.1 200 OK\r\n")
    call.endless(b"X-More: and more\r\n" * 1000)


def endless_line(call):
    call.write(b"HTTP/1.1 200 OK\r\nX-More: ")
    call.endless(BLOCK)


def endless_body(call):
    call.write(b"HTTP/1.1 200 OK\r\nServer: endless\r\n\r\n")
    call.endless(BLOCK)


def huge_body(call):
    call.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
    call.endless(BLOCK)


def endless_stream(call):
    call.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    call.endless(b"data: token\n\n")


def talks_on(call):
    """An answer, and a little later another one that nobody asked for."""
    call.write(ANSWER)
    call.later(0.002, call.write, ANSWER)


def another_body(call):
    call.write(ANSWER.replace(b"hello", b"%05d" % call.number))


def late(seconds):
    """Answers that late."""
    return lambda call: call.later(seconds, call.write, ANSWER)


def echoes(call):
    """Puts what is secret into all that a server says."""
    secret = call.header("Authorization") + call.header("X-Key")
    call.write(b"HTTP/1.1 200 %b\r\nServer: %b\r\nContent-Length: %d\r\n\r\n%b" % (secret, secret, len(secret), secret))


def escapes(call):
    """Terminal escapes as far as HTTP allows them in a header: those of one byte, and a change of direction."""
    call.write(answer(more=b"Server: \x9b2Jred\x9d0;title\x9c\xe2\x80\xae end\r\n"))


def escapes_esc(call):
    call.write(answer(more=b"Server: \x1b[31mred\x1b]0;title\x07\r\n"))


def redirects(call):
    call.write(answer(302, more=b"Location: http://192.0.2.1/\r\n"))


def unavailable(call):
    call.write(answer(503))


def missing(call):
    call.write(answer(404))


def until(number, before, after):
    """One behaviour for the requests before `number`, another one from then on."""
    return lambda call: (before if call.number < number else after)(call)


def every(number, usual, seldom):
    """Another behaviour for one request in `number`; never for the first."""
    return lambda call: (seldom if call.number % number == number - 1 else usual)(call)


# --- the server ----------------------------------------------------------------------------------------------------
class _Connection(asyncio.Protocol):
    def __init__(self, server):
        self.server, self._data = server, b""

    def connection_made(self, transport):
        self.transport = transport
        self.server.connections += 1
        self.server.open.add(transport)
        self.server.most = max(self.server.most, len(self.server.open))
        if self.server.greets:
            self.server.greets(transport)

    def connection_lost(self, error):
        self.server.open.discard(self.transport)

    def data_received(self, data):
        self._data += data
        if self._data.startswith(b"\x16") and self.server.behaviour is good:  # TLS, where none is spoken
            self.transport.write(answer(400))
            self.transport.close()
        while b"\r\n\r\n" in self._data:
            head, _, rest = self._data.partition(b"\r\n\r\n")
            lowered = head.lower()
            size = int(lowered.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            if len(rest) < size:
                return
            self._data = rest[size:]
            number, self.server.requests = self.server.requests, self.server.requests + 1
            self.server.behaviour(Call(self.server, self, number, head, rest[:size]))


class Server:
    """Listens on a port of its own of 127.0.0.1 (or another host, or a Unix socket) while the block lasts.

    `greets` is called with each new connection's transport; `backlog` without `accepts` leaves connections half open.
    """

    def __init__(
        self, behaviour=good, *, greets=None, tls=None, unix=None, accepts=True, backlog=1024, host="127.0.0.1"
    ):
        self.behaviour, self.greets, self.tls, self.unix = behaviour, greets, tls, unix
        self.accepts, self.backlog, self.host = accepts, backlog, host
        self.connections = self.requests = self.port = self.most = 0  # `most` connections were open at once
        self.open = set()

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda *_: None)
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.begin()
        return self

    def __exit__(self, *_):
        self.die()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    @property
    def url(self):
        return f"http{'s' if self.tls else ''}://{self.host}:{self.port}/"

    def begin(self):
        """Listen, on the same port as before if there was one."""
        family = socket.AF_UNIX if self.unix else socket.AF_INET
        self._socket = socket.socket(family)
        if not self.unix:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(self.unix or (self.host, self.port))
        self.port = 0 if self.unix else self._socket.getsockname()[1]
        self._socket.listen(self.backlog)
        if self.accepts:
            self._call(self._serve())

    def die(self):
        """Break all connections, and listen no more."""
        self._call(self._end())
        self._socket.close()

    async def _serve(self):
        make = lambda: _Connection(self)  # noqa: E731
        self._socket.setblocking(False)
        self._server = await self.loop.create_server(make, sock=self._socket, ssl=self.tls, backlog=self.backlog)

    async def _end(self):
        if self.accepts:
            self._server.close()
        for each in list(self.open):
            reset(each)
        await asyncio.sleep(0)

    def _call(self, what):
        asyncio.run_coroutine_threadsafe(what, self.loop).result(10)


def unused_port():
    """A port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def certificate(folder, name="localhost", *, expired=False):
    """A self-signed certificate and its key: the paths of both."""
    folder.mkdir(exist_ok=True)
    crt, key, request, settings = (folder / each for each in ("crt.pem", "key.pem", "request.pem", "ca.cnf"))
    kind = "IP" if name[0].isdigit() else "DNS"
    settings.write_text(
        f"[ca]\ndefault_ca=a\n[a]\ndatabase={folder}/index\nserial={folder}/serial\nnew_certs_dir={folder}\ndefault_md=sha256\n"
        f"policy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName={kind}:{name}\n"
    )
    (folder / "index").touch()
    (folder / "serial").write_text("01\n")
    begin, end = ("20200101000000Z", "20200102000000Z") if expired else ("20200101000000Z", "20990101000000Z")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for command in (
        ["req", "-new", *curve, "-keyout", key, "-out", request, "-subj", f"/CN={name}"],
        ["ca", "-batch", "-config", settings, "-selfsign", "-keyfile", key, "-in", request, "-out", crt, "-notext",
         "-startdate", begin, "-enddate", end],
    ):  # fmt: skip
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    return crt, key


def served_by(files):
    """The server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context

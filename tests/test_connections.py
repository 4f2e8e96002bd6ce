"""Which services are waited for and which sockets are served, on connections of this machine whose state is known."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from pinchpoint.connections import Connection, Doors, Peers, ServedSockets, _connections, _kernel

PATIENCE_S = 3.0
NOT_THE_SERVED_PORT = 1
HERE = [os.getpid()]
IPV4, IPV6 = (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")


def answers():
    """Whether the kernel tells of connections here."""
    diag = _kernel()
    if diag is None:
        return False
    with diag, contextlib.suppress(OSError):
        list(_connections(diag, socket.AF_INET))
        return True
    return False


pytestmark = pytest.mark.skipif(not answers(), reason="the kernel does not tell of connections here (netlink)")

# Another service: takes a connection, and for each line that it is told here sends that through each one that it has.
OTHER = """
    import select, socket, sys
    listener = socket.socket(fileno=int(sys.argv[1]))
    listener.listen()
    taken = []
    while True:
        for ready in select.select([listener, sys.stdin], [], [])[0]:
            if ready is listener:
                taken.append(listener.accept()[0])
                continue
            line = sys.stdin.readline()
            for each in taken:
                each.sendall(line.encode())
            if not line:
                sys.exit()
"""


class Other:
    """Another service in a process of its own."""

    def __init__(self, family=IPV4):
        with socket.socket(family[0]) as listener:
            try:
                listener.bind((family[1], 0))
            except OSError as error:
                pytest.skip(f"no such addresses here: {error}")
            self.address = listener.getsockname()[:2]
            command = [sys.executable, "-c", textwrap.dedent(OTHER), str(listener.fileno())]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, text=True, bufsize=1, pass_fds=[listener.fileno()]
            )
            listener.listen()

    def connected(self):
        return socket.create_connection(self.address, PATIENCE_S)

    def answer(self, connection):
        self.process.stdin.write("answer\n")
        assert connection.recv(100) == b"answer\n"

    def close(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def other():
    made = Other()
    yield made
    made.close()


class Asked:
    """Peers, without what other tests of this process have left open."""

    def __init__(self, port):
        self.peers = Peers(port)
        left = psutil.Process().net_connections("tcp")
        self.left = {name(each.raddr) for each in left if each.raddr}

    def awaited(self, processes):
        return tuple(each for each in self.peers.awaited(processes).surely if each not in self.left)

    def close(self):
        self.peers.close()


@pytest.fixture
def peers():
    made = Asked(NOT_THE_SERVED_PORT)
    yield made
    made.close()


def name(address):
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def settled(look, wanted):
    """What a look shows, once it shows what is wanted, and in the end anyway."""
    end = time.monotonic() + PATIENCE_S
    while (found := look()) != wanted and time.monotonic() < end:
        time.sleep(0.02)
    return found


def test_an_answer_is_awaited_until_it_is_there(other, peers):
    """GIVEN a request and its answer, twice on one connection THEN the service is waited for between them only."""
    with other.connected() as connection:
        for _ in range(2):
            time.sleep(0.05)  # the kernel tells milliseconds
            connection.sendall(b"request")
            assert settled(lambda: peers.awaited(HERE), (name(other.address),)) == (name(other.address),)
            time.sleep(0.05)
            assert peers.awaited(HERE) == (name(other.address),)
            other.answer(connection)
            assert settled(lambda: peers.awaited(HERE), ()) == ()
            time.sleep(0.05)
            assert peers.awaited(HERE) == ()
    assert peers.awaited(HERE) == ()


SERVICE = "127.0.0.1:9"
TICK_MS = 4


def looks_at(exchanges_s, seed=1):
    """Peers that look, each 7 ms on average, at a connection on which a request is sent and answered again and again, after so
    many seconds each, as a clock tells that ticks every 4 ms; and whether the answer was awaited at those that could not tell.
    """
    rng = np.random.default_rng(seed)
    until_answer, until_request = exchanges_s
    peers = Peers(NOT_THE_SERVED_PORT)
    peers._mine, peers._looked, peers._look_again = frozenset([1]), math.inf, math.inf
    peers.kernel.close()
    peers.kernel = SimpleNamespace(connections=lambda _: [now], rested=lambda: True, close=lambda: None)
    truth, at = [], 0.05
    ticks = lambda seconds: math.floor(seconds * 1e3 / TICK_MS)  # noqa: E731
    for _ in range(2000):
        at += rng.uniform(0.0, 0.014)
        sent = math.floor(at / (until_answer + until_request)) * (until_answer + until_request)
        awaits = at < sent + until_answer
        received = sent - until_request if awaits else sent + until_answer
        ages = [(ticks(at) - ticks(each)) * TICK_MS for each in (sent, received)]
        now = Connection(1, 5, 9, bytes([127, 0, 0, 1]), None if ages[0] == ages[1] else ages[0] < ages[1], 0, *ages)
        truth += [awaits] if SERVICE in peers.awaited(HERE).maybe else []
    return peers, np.mean(truth)


@pytest.mark.parametrize("exchanges_s", [
    (0.0402, 0.0013),  # it asks anew at once: 42 of 44 ms are in one tick of answer and request, most times
    (0.0003, 0.0511),  # it is answered at once
    (0.00117, 0.00093),
])  # fmt: skip
def test_whose_answer_was_awaited_where_one_tick_holds_both(exchanges_s):
    peers, awaited = looks_at(exchanges_s)
    assert peers.share_awaited(SERVICE) == pytest.approx(awaited, abs=0.12)


def test_a_connection_on_which_nothing_was_asked_awaits_nothing(other, peers):
    with other.connected():
        time.sleep(0.15)
        assert [peers.awaited(HERE) for _ in range(5)] == [()] * 5


def test_connections_of_other_processes_do_not_count(other, peers):
    with other.connected() as connection:
        connection.sendall(b"request")
        assert settled(lambda: peers.awaited(HERE), (name(other.address),)) == (name(other.address),)
        assert settled(lambda: peers.awaited([1]), ()) == ()


def test_a_connection_that_is_made_later_is_noticed(other, peers):
    assert peers.awaited(HERE) == ()
    with other.connected() as first, other.connected() as second:
        second.sendall(b"request")
        assert settled(lambda: peers.awaited(HERE), (name(other.address),)) == (name(other.address),)
        first.sendall(b"request")
        time.sleep(0.05)
        assert peers.awaited(HERE) == (name(other.address),)  # one service, however many ask it


def test_connections_of_the_served_port_do_not_count(other):
    """Neither those of clients, nor what the server asks of itself."""
    peers = Asked(other.address[1])
    try:
        with other.connected() as connection:
            connection.sendall(b"request")
            time.sleep(0.2)
            assert peers.awaited(HERE) == ()
            assert peers.awaited([other.process.pid]) == ()
    finally:
        peers.close()


def test_a_client_of_another_port_of_the_server_is_no_service(other, peers):
    """GIVEN a server that also serves metrics, whose reader keeps its connection THEN it awaits nothing from that reader."""
    server = [other.process.pid]
    with other.connected() as reader:
        reader.sendall(b"metrics")
        time.sleep(0.05)
        other.answer(reader)
        time.sleep(0.15)
        assert [peers.awaited(server) for _ in range(5)] == [()] * 5


def test_a_service_is_found_whatever_family_was_in_use_before(other, peers):
    with other.connected() as first:
        first.sendall(b"request")
        assert settled(lambda: peers.awaited(HERE), (name(other.address),)) == (name(other.address),)
        other.answer(first)
        newer = Other(IPV6)
        try:
            with newer.connected() as connection:
                connection.sendall(b"request")
                assert settled(lambda: peers.awaited(HERE), (name(newer.address),)) == (name(newer.address),)
        finally:
            newer.close()


@pytest.mark.parametrize(("peer", "address"), [
    (bytes([10, 0, 0, 1]), "10.0.0.1:80"),
    (bytes(15) + b"\1", "[::1]:80"),
    (bytes(10) + b"\xff\xff" + bytes([10, 0, 0, 1]), "10.0.0.1:80"),  # IPv4 through an IPv6 socket
])  # fmt: skip
def test_an_address(peer, address):
    assert Connection(1, 2, 80, peer, awaits=False).address == address


def test_a_kernel_that_takes_long_is_asked_seldom(other, peers):
    """GIVEN that it took a second THEN its last answer holds, until that is forgotten."""
    assert peers.awaited(HERE) == ()
    peers.peers.kernel._cost_s = 1.0
    with other.connected() as connection:
        connection.sendall(b"request")
        time.sleep(0.15)
        assert peers.awaited(HERE) == ()
        peers.peers.forget()
        assert settled(lambda: peers.awaited(HERE), (name(other.address),)) == (name(other.address),)
    assert peers.peers.kernel.spent_s > 0


def test_without_a_kernel_that_tells_nothing_is_awaited(other, monkeypatch):
    monkeypatch.setattr("pinchpoint.connections._kernel", lambda: None)
    peers, served = Asked(NOT_THE_SERVED_PORT), ServedSockets(other.address[1])
    with other.connected() as connection:
        connection.sendall(b"request")
        assert peers.awaited(HERE) == ()
        assert not served.has(os.fstat(connection.fileno()).st_ino)
    peers.close()
    served.close()


# --- what is served ------------------------------------------------------------------------------------------------
def inode(connection):
    return os.fstat(connection.fileno()).st_ino


@pytest.fixture(params=["IPv4", "IPv6", "unix"])
def listening(request, tmp_path):
    """A listener of each kind, and what it is called: (listener, port, path)."""
    if request.param == "unix":
        path = str(tmp_path / "a socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            yield listener, 0, path
        return
    family, host = IPV4 if request.param == "IPv4" else IPV6
    with socket.socket(family) as listener:
        try:
            listener.bind((host, 0))
        except OSError as error:
            pytest.skip(f"no such addresses here: {error}")
        listener.listen()
        yield listener, listener.getsockname()[1], ""


def test_accepted_connections_are_served_and_others_are_not(listening):
    listener, port, unix = listening
    with socket.socket(listener.family) as client:
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        served = ServedSockets(port, unix)
        try:
            with accepted, socket.socket() as foreign, socket.socketpair()[0] as pair:
                assert served.has(inode(accepted))
                assert not any(served.has(inode(each)) for each in (client, foreign, pair))
                assert served.has(inode(accepted))
        finally:
            served.close()


def test_a_connection_that_is_accepted_later_is_noticed(listening):
    listener, port, unix = listening
    served = ServedSockets(port, unix)
    try:
        with socket.socket(listener.family) as client:
            assert not served.has(inode(client))
            client.connect(listener.getsockname())
            with listener.accept()[0] as accepted:
                assert settled(lambda: served.has(inode(accepted)), True)
                assert not served.has(inode(client))
    finally:
        served.close()


def test_a_link_to_a_unix_socket_leads_to_its_connections(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "real" / "it"))
        listener.listen()
        client.connect(str(tmp_path / "real" / "it"))
        with listener.accept()[0] as accepted:
            assert ServedSockets(0, str(tmp_path / "link" / "it")).has(inode(accepted))
            assert not ServedSockets(0, str(tmp_path / "another")).has(inode(accepted))


# --- doors ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("family", [IPV4, IPV6])
def test_connections_that_nobody_accepted_wait_at_the_door(family):
    with socket.socket(family[0]) as listener, contextlib.ExitStack() as clients:
        try:
            listener.bind((family[1], 0))
        except OSError:
            pytest.skip("this machine has no such address")
        listener.listen()
        port = listener.getsockname()[1]
        with contextlib.closing(Doors(HERE)) as doors:
            assert doors.waiting()[port] == 0
            for count in (1, 2, 3):
                clients.enter_context(socket.create_connection(listener.getsockname()[:2]))
                assert doors.waiting()[port] == count
            for count in (2, 1, 0):
                clients.enter_context(listener.accept()[0])
                assert doors.waiting()[port] == count


def test_the_busiest_door_is_that_with_most_connections():
    with contextlib.ExitStack() as opened:
        quiet, busy = (opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        for listener in (quiet, *[busy] * 30):
            opened.enter_context(socket.create_connection(listener.getsockname()))
        with contextlib.closing(Doors(HERE)) as doors:
            assert doors.busiest() == busy.getsockname()[1]


def test_who_does_not_listen_has_no_door():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with contextlib.closing(Doors([process.pid])) as doors:
            assert (doors.waiting(), doors.busiest()) == ({}, 0)
        process.kill()

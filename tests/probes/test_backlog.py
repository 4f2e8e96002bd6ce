"""Connections that wait at a door, by a socket of this process."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys

import pytest

from pinchpoint.probes.backlog import BacklogProbe

LISTENS = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
input()
"""


@contextlib.contextmanager
def program(source):
    with subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_those_that_nobody_accepted_are_counted():
    with program(LISTENS) as process:
        address = "127.0.0.1", int(process.stdout.readline())
        probe = BacklogProbe()
        try:
            probe.open(process.pid)
        except OSError:
            pytest.skip("the kernel does not tell of connections here (netlink)")
        assert probe.read() == {"waiting": 0.0}
        with socket.create_connection(address), socket.create_connection(address):
            assert probe.read() == {"waiting": 2.0}
        probe.close()


def test_who_does_not_listen_has_nothing_to_count():
    with program("input()") as process, pytest.raises(OSError, match="it listens at no TCP port"):
        BacklogProbe().open(process.pid)

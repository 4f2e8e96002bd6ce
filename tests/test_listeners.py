"""Who serves an address on this host: real sockets, forked workers, and what passes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager

import pytest

from pinchpoint.listeners import family, name_of, served_by
from pinchpoint.load.addresses import parse
from pinchpoint.overseeing import PROCESSES, overseen

SERVER = """
    import os, select, socket, sys, time
    kind, place, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if kind == "unix":
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(place)
        listening.listen()
    else:
        listening = socket.create_server((place, 0), family=socket.AF_INET6 if ":" in place else socket.AF_INET)
    for number in range(workers):
        if os.fork() == 0:
            if number:
                waiting = select.epoll()
                waiting.register(listening, select.EPOLLIN)
            time.sleep(600)
            os._exit(0)
    print(listening.getsockname()[1] if kind == "tcp" else 0, flush=True)
    sys.stdin.read()
    os.killpg(0, 9)
"""


SHARED = r"""
    import os, socket, time
    first = socket.socket()
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    first.bind(("127.0.0.1", 0))
    port = first.getsockname()[1]
    print(port, flush=True)
    for _ in range(2):
        if os.fork() == 0:
            first.close()
            mine = socket.socket()
            mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            mine.bind(("127.0.0.1", port))
            mine.listen()
            os.write(1, b"%d\n" % os.getpid())  # in one piece: the other worker writes too
            time.sleep(600)
    first.close()
    time.sleep(600)
"""


@contextmanager
def serving(folder, kind="tcp", place="127.0.0.1", workers=0, program=None):
    """The port and the process id of a server that answers nobody."""
    path = folder / "toy_server.py"
    path.write_text(textwrap.dedent(SERVER))
    start = program or [sys.executable, "-u"]
    process = subprocess.Popen(
        [*start, str(path), kind, str(place), str(workers)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(
    ("place", "asked"), [("127.0.0.1", ["127.0.0.1"]), ("0.0.0.0", ["127.0.0.1"]), ("::1", ["::1"])]
)
def test_a_server_by_its_port(tmp_path, place, asked):
    with serving(tmp_path, place=place) as (port, pid):
        found = served_by(asked, port)
    assert [(each.pid, each.name) for each in found.processes] == [(pid, "toy_server.py")]
    assert (found.reason, found.tunnel) == ("", "")


def test_workers_belong_to_whoever_started_them(tmp_path):
    with serving(tmp_path, workers=3) as (port, pid):
        found = served_by(["127.0.0.1"], port)
    assert next(each.pid for each in found.processes) == pid
    assert [each.parent for each in found.processes[1:]] == [pid] * 3


def test_who_waits_for_connections_at_the_socket(tmp_path):
    """GIVEN a server and three workers that all hold the socket, of which two wait at it THEN these are its doors."""
    with serving(tmp_path, workers=3) as (port, _):
        end = time.monotonic() + 5
        while len((found := served_by(["127.0.0.1"], port)).doors) < 2 and time.monotonic() < end:
            time.sleep(0.02)
    assert set(found.doors) == {each.pid for each in found.processes[2:]}


BEHIND = """
    import os, socket, sys, time
    listening = socket.create_server(("127.0.0.1", 0))
    for number in range(3):
        if os.fork() == 0:
            if number:
                own = socket.create_server(("127.0.0.1", 0))
            os.write(1, b"%d\\n" % (os.getpid() if number else 0))
            time.sleep(600)
    os.write(1, b"%d\\n" % -listening.getsockname()[1])
    time.sleep(600)
"""


def test_who_has_a_listening_socket_of_its_own(tmp_path):
    """GIVEN a server with three workers, of which two listen at ports of their own THEN these stand behind it."""
    script = tmp_path / "behind.py"
    script.write_text(textwrap.dedent(BEHIND))
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        told = sorted(int(process.stdout.readline()) for _ in range(4))
        found = served_by(["127.0.0.1"], -told[0])
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert sorted(found.apart) == told[2:]
    assert len(found.processes) == 4


def test_processes_that_share_a_port_are_all_of_the_server(tmp_path):
    """Each worker has a socket of its own (SO_REUSEPORT), and whoever started them has none."""
    script = tmp_path / "shared_port.py"
    script.write_text(textwrap.dedent(SHARED))
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        port, *workers = (int(process.stdout.readline()) for _ in range(3))
        with overseen(parse(f"http://127.0.0.1:{port}/"), (), lambda _: 0.5) as watched:
            time.sleep(0.3)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert sorted(each.pid for each in watched.served.processes) == sorted(workers)
    assert watched.served.cpus == 0.5
    assert watched.telemetry.column(PROCESSES)[-1] == 2


def test_a_unix_socket(tmp_path):
    with serving(tmp_path, "unix", tmp_path / "a socket") as (_, pid):
        assert [each.pid for each in served_by([], 0, str(tmp_path / "a socket")).processes] == [pid]
        assert "listens on" in served_by([], 0, str(tmp_path / "other")).reason


def test_a_server_of_our_own_process_leaves_us_out():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = served_by(["127.0.0.1"], listening.getsockname()[1])
    assert os.getpid() not in [each.pid for each in found.processes]


def test_a_port_that_nobody_listens_on():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        found = served_by(["127.0.0.1"], bound.getsockname()[1])
    assert found.processes == ()
    assert "nothing that can be seen from here listens on port" in found.reason


def test_what_only_passes_on_is_named(tmp_path):
    tunnel = tmp_path / "kubectl"
    tunnel.write_text(f'#!/bin/bash\nPYTHONHOME={sys.base_prefix} exec -a kubectl {sys.executable} "$@"\n')
    tunnel.chmod(0o755)
    with serving(tmp_path, program=[str(tunnel), "-u"]) as (port, _):
        assert served_by(["127.0.0.1"], port).tunnel == "kubectl"


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/opt/tritonserver/bin/tritonserver --model-repository /secret", "tritonserver"),
        ("/usr/bin/python3.11 -X dev -u /srv/app.py --token hush", "app.py"),
        ("python -m uvicorn app:app", "uvicorn"),
        ("python -c pass", "python"),
        ("/lib/ld-linux-x86-64.so.2 --library-path /a:/b /usr/bin/llama-server -m secret.gguf", "llama-server"),
        ("/lib/ld-linux.so.2 --list", "ld-linux.so.2"),
        ("/lib/ld-musl-x86_64.so.1 --preload x.so /usr/bin/python3 -m uvicorn app:app", "uvicorn"),
        ("nginx: master process /usr/sbin/nginx", "nginx"),
        ("", "worker"),
    ],
)
def test_a_process_is_named_without_its_arguments(tmp_path, command, name):
    home = tmp_path / "7"
    home.mkdir()
    (home / "cmdline").write_bytes(command.replace(" ", "\0").encode())
    (home / "comm").write_text("worker\n")
    assert name_of(7, tmp_path) == name


def test_a_family_is_as_it_is_now(tmp_path):
    with serving(tmp_path, workers=2) as (_, pid):
        assert len(family([pid])) == 3
    assert family([pid]) == []

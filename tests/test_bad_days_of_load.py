"""Bad days of `load`, end to end: each ends in one clear line, the right exit code, and no request that is not told of.

What holds on any day is checked by `bad_day.Day`: no traceback, no process or temporary file left, and no folder that is not
a run. Servers are on loopback (`hostile_server`), or in a network of the test's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import resource
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import hostile_server as h
from bad_day import PROGRAM, permitted, slow
from pinchpoint import store
from pinchpoint.load import records

SECRET = "s3same-0pen-4711"
OPEN, CLOSED = ("--rate", "200/s"), ("--concurrency", "4")
BRIEF = ("--duration", "300ms", "--timeout", "2s")


class Loads:
    """`pinchpoint load` run on a day."""

    def __init__(self, day):
        self.day = day

    def start(self, url, *arguments, quiet=True, **more):
        chosen = [] if "--count" in arguments or "--duration" in arguments else list(BRIEF)
        silent = ["--quiet"] if quiet else []
        return self.day.start("load", *silent, *chosen, *arguments, "--", url, **more)

    def run(self, url, *arguments, **more):
        done = self.day.end(self.start(url, *arguments, **more))
        if "pinchpoint-runs" in os.listdir(self.day.folder):
            for run in self.runs():
                adds_up(run)
        return done

    def runs(self):
        return [store.load_traffic(path) for path in sorted((self.day.folder / "pinchpoint-runs").glob("*"))]

    def nothing_kept(self):
        assert "pinchpoint-runs" not in os.listdir(self.day.folder)


@pytest.fixture
def load(day):
    return Loads(day)


def adds_up(run):
    """All that was sent has ended, or was given up by ourselves; and what failed is told by kind."""
    for number, level in enumerate(run.levels):
        kinds = np.bincount(run.sends.outcome[run.sends.level == number], minlength=len(records.OUTCOMES))
        assert level.thinned == 1
        assert level.lost == 0
        assert kinds.sum() == level.sent == level.done + kinds[records.CUT_OFF]
        told = {each.kind: each.count for each in level.failures}
        assert told == {
            records.OUTCOMES[kind]: n for kind, n in enumerate(kinds) if n and kind not in (records.OK, records.CUT_OFF)
        }


def kinds(load):
    """How many requests of the last run failed in each way, and how many did not."""
    level = load.runs()[-1].levels[-1]
    found = {each.kind: each.count for each in level.failures}
    return found | {"ok": level.done - sum(found.values())}


def workers_of(pid, least=1, wait_s=20.0):
    """The worker processes that belong to a program, once there are as many."""
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        found = []
        for each in Path("/proc").iterdir():
            if each.name.isdigit():
                with contextlib.suppress(OSError, IndexError):
                    parent = (each / "stat").read_text().rpartition(")")[2].split()[1]
                    if parent == str(pid) and b"pinchpoint.load.worker" in (each / "cmdline").read_bytes():
                        found.append(int(each.name))
        if len(found) >= least:
            return found
        time.sleep(0.02)
    raise AssertionError("no worker was started")


def until(condition, wait_s=30.0):
    deadline = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- nobody answers ------------------------------------------------------------------------------------------------
def test_nobody_listens(load):
    url = f"http://127.0.0.1:{h.unused_port()}/"
    load.run(url).said(2, url, "nothing listens there", "Start the server")
    load.nothing_kept()


def test_a_name_that_does_not_resolve(load):
    load.run("http://no-such-host.invalid/").said(
        2, "http://no-such-host.invalid/", "the host is not known", "Check its name"
    )
    load.nothing_kept()


@slow
@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (h.resets, "broke the connection"),
        (h.closes_midway, "before its first answer was whole"),
        (h.loris, "no answer to the first request within 2 s"),
        (h.escapes_esc, "not HTTP/1.1"),
        (h.endless_head, "a head of more than 64 kB"),
    ],
)
def test_a_first_request_without_an_answer(load, behaviour, words):
    with h.Server(behaviour) as server:
        load.run(server.url).said(3, server.url, words)
    load.nothing_kept()


@slow
def test_each_connection_is_given_up_at_once(load):
    with h.Server(greets=h.reset) as server:
        done = load.run(server.url)
    assert done.said(3, server.url, "the connection")


# --- answers that go bad later -------------------------------------------------------------------------------------
@slow
def test_a_server_that_always_closes_without_saying_so_is_asked_over_new_connections(load):
    with h.Server(h.closes_after) as server:
        done = load.run(server.url, *CLOSED, "--duration", "700ms", "--timeout", "300ms")
    found = kinds(load)
    assert found["ok"] > 20
    assert set(found) == {"ok"}
    assert "closes the connection after each answer" in " ".join(done.out.split())


@slow
@pytest.mark.parametrize(
    ("behaviour", "failures", "how"),
    [
        (h.until(1000, h.good, h.unavailable), {"status"}, CLOSED),
        (h.until(60, h.good, h.closes), {"closed", "reset"}, OPEN),
        (h.until(60, h.good, h.resets_midway), {"reset", "short"}, CLOSED),
        (h.until(60, h.good, h.silent), {"timeout"}, CLOSED),
        (h.until(60, h.good, h.silent), {"timeout"}, OPEN),
        (h.until(60, h.good, h.endless_head), {"malformed"}, CLOSED),
        (h.every(3, h.good, h.closes_midway), {"short"}, OPEN),
        (h.until(60, h.good, h.closes_after), {"closed", "reset"}, CLOSED),
    ],
)
def test_failures_are_counted_by_kind(load, behaviour, failures, how):
    """A connection that the server closed just as a request was sent into it is a failure: it is not sent again."""
    with h.Server(behaviour) as server:
        done = load.run(server.url, *how, "--duration", "700ms", "--timeout", "300ms", "--json", "d.json")
    found = kinds(load)
    assert found["ok"] > 20
    assert set(found) - {"ok"} <= failures
    assert sum(found.values()) > found["ok"]
    assert done.code in (0, 3), done
    report = json.loads((load.day.folder / "d.json").read_text())
    level = report["levels"][0]
    assert level["failed"] == sum(each["count"] for each in level["errors"]) == sum(found.values()) - found["ok"]
    assert "FAILED" in done.out


@slow
@pytest.mark.parametrize(("behaviour", "status"), [(h.unavailable, 503), (h.redirects, 302)])
def test_another_status_from_the_first_request_on(load, behaviour, status):
    with h.Server(behaviour) as server:
        done = load.run(server.url)
        assert done.said(3, server.url)
    assert re.search(rf"All [\d,]+ requests failed at 1 in flight: status\s+{status}", done.out)


@slow
def test_a_status_that_was_expected(load):
    with h.Server(h.missing) as server:
        assert load.run(server.url, "--expect-status", "200,404").code in (0, 3)
    assert set(kinds(load)) == {"ok"}
    assert load.runs()[0].levels[0].ended == "complete"


@slow
def test_answers_that_are_not_as_expected(load):
    with h.Server(h.another_body) as server:
        load.run(server.url, "--expect", "same", "--count", "50")
    assert kinds(load) == {"ok": 1, "unexpected": 49}


@slow
@pytest.mark.parametrize("behaviour", [h.endless_body, h.endless_stream])
def test_answers_without_end_take_no_memory(load, behaviour):
    """One that begins well, in what each of eight connections then reads without end."""
    with h.Server(h.until(2, h.good, behaviour)) as server:
        process = load.start(
            server.url, "--concurrency", "8", "--duration", "2s", "--timeout", "5s", "--expect", "same"
        )
        most = 0
        for _ in range(100):
            with contextlib.suppress(OSError, AssertionError, TypeError):  # it has just gone
                for pid in workers_of(process.pid, wait_s=1.0):
                    text = Path(f"/proc/{pid}/status").read_text()
                    most = max(most, int(re.search(r"VmHWM:\s+(\d+)", text)[1]))
            if process.poll() is not None:
                break
            time.sleep(0.05)
        done = load.day.end(process)
    assert done.code in (0, 3), done
    assert 0 < most < 500_000  # kB: a quarter of a gigabyte of answers that wait for their check, at most
    assert set(kinds(load)) <= {"ok", "too_large", "timeout", "unexpected", "malformed"}


# --- a server that goes and comes ----------------------------------------------------------------------------------
@slow
@pytest.mark.parametrize(
    ("how", "returns"), [(("--concurrency", "2"), True), (("--rate", "100/s"), True), (("--rate", "100/s"), False)]
)
def test_a_server_that_dies(load, returns, how):
    with h.Server() as server:
        process = load.start(server.url, *how, "--duration", "3s")
        until(lambda: server.requests > 100)
        server.die()
        if returns:
            time.sleep(1.0)
            server.begin()
            before = server.requests
        done = load.day.end(process)
        if returns:
            assert server.requests > before + 50
        else:
            server.begin()
    found = kinds(load)
    adds_up(load.runs()[0])
    assert found["ok"] > 50
    assert found["refused"] > 5
    assert done.code in (0, 3), done
    assert "connection refused" in done.out


# --- TLS -----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    return {
        "good": h.certificate(folder / "good", "127.0.0.1"),
        "expired": h.certificate(folder / "expired", "127.0.0.1", expired=True),
        "other": h.certificate(folder / "other", "other.example"),
    }


@slow
@pytest.mark.parametrize(
    ("which", "options", "words"),
    [
        ("good", (), "its certificate is not trusted: self-signed certificate"),
        ("good", ("--set", "ca=good"), None),
        ("expired", ("--set", "ca=expired"), "certificate has expired"),
        (
            "expired",
            (
                "--set",
                "insecure=yes",
            ),
            None,
        ),
        ("other", ("--set", "ca=other"), "certificate is not valid for '127.0.0.1'"),
    ],
)
def test_certificates(load, certificates, which, options, words):
    options = [
        f"ca={certificates[each.removeprefix('ca=')][0]}" if each.startswith("ca=") else each for each in options
    ]
    with h.Server(tls=h.served_by(certificates[which])) as server:
        done = load.run(server.url, *options)
        if words:
            done.said(2, server.url, words, "--set ca=FILE", "insecure=yes")
            load.nothing_kept()
            assert server.requests == 0
        else:
            assert done.code in (0, 3), done
            assert set(kinds(load)) == {"ok"}


@slow
def test_one_side_speaks_tls(load, certificates, tmp_path):
    for behaviour in (h.good, h.silent):
        with h.Server(behaviour) as server:
            done = load.run(server.url.replace("http", "https"), "--timeout", "500ms")
            done.said(2, "no TLS connection", "http:// if it speaks no TLS")
    with h.Server(tls=h.served_by(certificates["good"])) as server:
        done = load.run(server.url.replace("https", "http"), "--timeout", "500ms")
        assert done.code in (2, 3), done
        assert "127.0.0.1" in done.said(done.code)
    load.run("https://127.0.0.1:1/", "--set", "ca=absent.pem").said(2, "--set ca=absent.pem", "No such file")
    (load.day.folder / "empty.pem").touch()
    load.run("https://127.0.0.1:1/", "--set", "ca=empty.pem").said(2, "--set ca=empty.pem", "Give a PEM file")
    load.nothing_kept()


# --- interrupts ----------------------------------------------------------------------------------------------------
@slow
def test_an_interrupt_at_the_first_request(load):
    with h.Server(h.silent) as server:
        process = load.start(server.url, "--timeout", "60s")
        until(lambda: server.requests)
        process.send_signal(signal.SIGINT)
        load.day.end(process).said(130, "interrupted")
    load.nothing_kept()


@slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_during_calibration(load, number):
    with h.Server() as server:
        process = load.start(server.url, "--duration", "60s")
        workers_of(process.pid)
        process.send_signal(number)
        done = load.day.end(process)
        assert server.requests == 1
    assert done.said(130, "interrupted after 0 requests")
    assert len(load.runs()) == 1


@slow
@pytest.mark.parametrize("how", [("--concurrency", "4", "--workers", "2"), ("--rate", "200/s")])
def test_an_interrupt_during_a_level(load, how):
    with h.Server() as server:
        process = load.start(server.url, *how, "--duration", "60s", "--json", "d.json")
        until(lambda: server.requests > 50)
        process.send_signal(signal.SIGINT)
        done = load.day.end(process)
    assert done.said(130, "interrupted after", "kept")
    assert kinds(load)["ok"] > 10
    adds_up(load.runs()[0])
    assert json.loads((load.day.folder / "d.json").read_text())["ended"] == "interrupted"


@slow
@pytest.mark.parametrize("seconds", [0.0, 0.1])
def test_an_interrupt_while_it_is_saved(load, seconds):
    with h.Server() as server:
        process = load.start(server.url, "--concurrency", "2", "--duration", "1s")
        until(lambda: server.requests > 100)
        until(lambda: not server.open)  # the workers have ended
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        done = load.day.end(process)
    assert done.code in (130, 0, 3, -signal.SIGINT), done
    assert len(load.runs()) == 1
    adds_up(load.runs()[0])


# --- processes that are killed -------------------------------------------------------------------------------------
@slow
def test_a_worker_is_killed(load):
    with h.Server() as server:
        process = load.start(server.url, "--workers", "2", "--concurrency", "4", "--duration", "60s")
        until(lambda: server.requests > 200)
        os.kill(workers_of(process.pid, 2)[0], signal.SIGKILL)
        load.day.end(process).said(3, "a client process was killed by signal 9, SIGKILL", "try again")


@slow
def test_the_program_itself_is_killed(load):
    with h.Server() as server:
        process = load.start(server.url, "--workers", "2", "--concurrency", "4", "--duration", "60s")
        until(lambda: server.requests > 200)
        assert len(workers_of(process.pid, 2)) == 2
        process.kill()
        process.wait()
        until(lambda: not load.day.left(), 10.0)
        until(lambda: not server.open, 10.0)
    shutil.rmtree(load.day.folder / "pinchpoint-runs", ignore_errors=True)


# --- what it writes to ---------------------------------------------------------------------------------------------
@slow
def test_stdout_is_closed_early(load):
    with h.Server() as server:
        command = [*PROGRAM, "load", "--quiet", *BRIEF, "--json", "-", server.url]
        pipe = f"{' '.join(map(str, command))} | head -c 1 > first; echo ${{PIPESTATUS[0]}}"
        done = load.day.end(load.day.start("-c", pipe, program=["bash"]))
    assert done.out.strip() in ("0", "3"), done
    assert (load.day.folder / "first").read_text() == "{"
    adds_up(load.runs()[0])


@slow
def test_a_folder_that_cannot_be_written(load, powerless):
    (load.day.folder / "closed").mkdir(mode=0o500)
    with h.Server() as server:
        done = load.run(server.url, "--out", "closed", program=powerless)
        done.said(2, "closed", "Permission denied", "--out")
        assert server.requests == 0  # said before anything was sent


@slow
def test_a_full_disk(load, small_disk):
    (load.day.folder / "small").mkdir()
    with h.Server() as server:
        program = small_disk("64k", load.day.folder / "small", 60_000)
        process = load.start(server.url, "--out", "small", "--duration", "1s", program=program)
        out, err = process.communicate(timeout=60)
    assert process.returncode in (0, 3), (out, err)
    assert "the disk is full" in err
    assert "Traceback" not in err
    saved = re.search(r"The run is in (\S+)\.", err)
    assert saved
    adds_up(store.load_traffic(Path(saved[1])))
    shutil.rmtree(saved[1])


@slow
def test_few_file_descriptors(load):
    def few():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    with h.Server(h.late(0.01)) as server:
        done = load.run(server.url, "--concurrency", "100", "--duration", "1s", preexec_fn=few)
    found = kinds(load)
    assert done.code in (0, 3), done
    assert set(found) == {"ok", "no_descriptor"}
    assert found["ok"] > 10
    assert "no file descriptor left" in done.out


# --- secrets -------------------------------------------------------------------------------------------------------
@slow
@pytest.mark.parametrize(
    "behaviour",
    [
        h.good,
        h.echoes,
    ],
)
def test_no_secret_is_told_to_anybody(load, behaviour):
    shown = []

    def look():
        while process.poll() is None:
            for each in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    if str(process.pid) in (each.parent / "stat").read_text():
                        shown.append(each.read_bytes())
            time.sleep(0.02)

    with h.Server(behaviour) as server:
        url = f"http://user:{SECRET}-url@127.0.0.1:{server.port}/?api_key={SECRET}-query"
        environment = {"TOKEN": f"Bearer {SECRET}", "URL": url}
        command = 'exec "$@" -- "$URL"'  # from the environment, so that it is on no command line that ends up in ours
        options = (
            "--header",
            "Authorization: env:TOKEN",
            "--header",
            "X-Key: env:TOKEN",
            "--json",
            "d.json",
            "--debug",
        )
        program = ["bash", "-c", command, "bash", *PROGRAM]
        process = load.day.start("load", *BRIEF, *options, program=program, env=environment)
        thread = threading.Thread(target=look)
        thread.start()
        done = load.day.end(process)
        thread.join()
    assert done.code in (0, 3), done
    assert SECRET not in done.out
    assert SECRET not in done.err
    files = [each for each in load.day.folder.rglob("*") if each.is_file()]
    assert len(files) >= 4
    for each in files:
        assert SECRET.encode() not in each.read_bytes(), each
    workers = [each for each in shown if b"pinchpoint.load" in each]
    assert workers
    assert not [each for each in workers if SECRET.encode() in each]
    again = load.day.run(
        "report", "--format", "json", f"pinchpoint-runs/{os.listdir(load.day.folder / 'pinchpoint-runs')[0]}"
    )
    assert again.code == 0, again
    assert SECRET not in again.out + again.err


@slow
def test_an_answer_with_escapes_moves_no_terminal(load):
    with h.Server(h.escapes) as server:
        done = load.run(server.url, "--json", "d.json", quiet=False)
    assert done.code in (0, 3), done
    for text in (done.out, done.err, (load.day.folder / "d.json").read_text()):
        assert all(each.isprintable() or each == "\n" for each in text), text
    assert "2Jred" in done.out


@slow
def test_progress_on_a_terminal(load):
    ours, theirs = pty.openpty()
    with h.Server() as server:
        process = load.start(server.url, "--duration", "1s", quiet=False, stderr=theirs)
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):
            while data := os.read(ours, 1 << 16):
                seen += data
        os.close(ours)
        done = load.day.end(process)
    assert done.code in (0, 3), done
    assert b"1 in flight: " in seen
    assert b"under way" in seen


# --- other machines ------------------------------------------------------------------------------------------------
NETWORK = """
ip link set lo up; ip link add there type veth peer name here
ip addr add 192.0.2.1/24 dev there; ip link set there up; ip link set here up
"""


@pytest.fixture(scope="module")
def elsewhere():
    """A program's start in a network of its own where 192.0.2.1, which is no loopback address, is served."""
    if not permitted("unshare", "-n", "sh", "-ec", NETWORK):
        pytest.skip("no network can be made here (unshare -n, ip)")
    serve = (
        f"import sys, time; sys.path.insert(0, {str(Path(__file__).parent)!r}); import hostile_server as h\n"
        "with h.Server(host='192.0.2.1') as server:\n"
        "    server.port and print(server.port, flush=True)\n    sys.stdin.read()\n    print(server.requests, server.most, flush=True)\n"
    )
    script = NETWORK + (
        f'mkfifo to; {sys.executable} -c "$0" < to > port & exec 3> to; while [ ! -s port ]; do sleep 0.05; done; '
        'set +e; "$@" "http://192.0.2.1:$(head -1 port)/"; code=$?; exec 3>&-; wait; tail -1 port > seen; rm to port; exit $code'
    )
    return [
        "unshare",
        "-n",
        "bash",
        "-ec",
        script,
        serve,
        *PROGRAM,
    ]


@slow
@pytest.mark.parametrize("how", [("--workers", "2", "--rate", "1/s"), ("--slo", "p99=1s")])
def test_another_machine_is_not_loaded_without_leave(load, elsewhere, how):
    done = load.day.run("load", "--quiet", "--duration", "1s", *how, program=elsewhere)
    done.said(2, "http://192.0.2.1:", "it is another machine", "--max-rate")
    assert (load.day.folder / "seen").read_text().split() == ["0", "0"]


@slow
@pytest.mark.parametrize(
    ("how", "most"),
    [
        (("--workers", "3"), 1),
        (("--concurrency", "8", "--max-rate", "40/s"), 8),
        (("--rate", "40/s", "--max-rate", "40/s"), 40),
    ],
)
def test_another_machine_with_leave(load, elsewhere, how, most):
    done = load.day.run("load", "--quiet", "--duration", "1s", *how, program=elsewhere)
    assert done.code in (0, 3), done
    requests, at_once = map(int, (load.day.folder / "seen").read_text().split())
    assert requests > 5
    assert at_once <= most
    if "--max-rate" in how:
        assert requests <= 1 + 2 * 42  # the first one, and what a second holds, with twice as much room


# --- gRPC ----------------------------------------------------------------------------------------------------------
@slow
def test_no_grpc_server(load):
    url = f"grpc://127.0.0.1:{h.unused_port()}/a.B/C"
    load.run(url).said(2, url, "nothing listens there")
    with h.Server() as server:
        load.run(f"grpc://127.0.0.1:{server.port}/a.B/C").said(2, "speaks no gRPC")
    load.nothing_kept()


@slow
def test_a_grpc_server_that_fails_now_and_then(load):
    grpc = pytest.importorskip("grpc")
    from load.test_grpc_greeting import serving

    calls = []

    def answer(request, context):
        calls.append(request)
        if len(calls) % 2 == 0:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no")
        return request

    with serving(answer) as port:
        done = load.run(f"grpc://127.0.0.1:{port}/test.Echo/Call", "--count", "40")
    done.said(3, "20 of 40 requests failed", "FAILED_PRECONDITION (20)")


@slow
def test_a_grpc_server_that_dies(load):
    pytest.importorskip("grpc")
    from load.test_grpc_greeting import echo, serving

    with contextlib.ExitStack() as stack:
        port = stack.enter_context(serving(echo))
        load.run(f"grpc://127.0.0.1:{port}/test.Echo/Other").said(2, "the server has no such method")
        load.nothing_kept()
        process = load.start(f"grpc://127.0.0.1:{port}/test.Echo/Call", "--duration", "3s", "--concurrency", "2")
        workers_of(process.pid)
        time.sleep(2.0)
        stack.close()
        done = load.day.end(process)
    assert done.code in (0, 3), done
    adds_up(load.runs()[0])

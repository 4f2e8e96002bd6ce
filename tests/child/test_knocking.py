"""How often the interpreter's lock is held, against programs where it is known."""

from __future__ import annotations

import hashlib
import threading
import time

import pytest

from pinchpoint.child.knocking import Knocker, has_gil

pytestmark = pytest.mark.skipif(not has_gil(), reason="this interpreter has no such lock")


def held_share(work, seconds=0.4):
    stop = threading.Event()

    def go():
        while not stop.is_set():
            work()

    knocker = Knocker()
    knocker.begin()
    knocker.end()  # calibrated before the work begins
    worker = threading.Thread(target=go)
    worker.start()
    knocker.begin()
    time.sleep(seconds)
    probes, held = knocker.end()
    stop.set()
    worker.join()
    assert probes > 5
    return held / probes


def test_python_holds_it_and_native_code_does_not():
    data = bytes(5_000_000)
    python = held_share(lambda: sum(range(50_000)))
    native = held_share(lambda: hashlib.sha256(data).digest())
    assert python > 0.7
    assert native < 0.5 * python

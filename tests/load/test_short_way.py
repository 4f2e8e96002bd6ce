"""The short way of answers like the one before, against the long way of all others."""

import asyncio
import base64
import time

import numpy as np
import pytest

from pinchpoint.load import records
from pinchpoint.load.crew import ROW
from pinchpoint.load.worker import Worker

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 80\r\n\r\n" + b"x" * 80
PLAN = {
    "kind": "http", "statuses": [], "check": [], "stream": False, "host": "127.0.0.1", "unix": "", "tls": False, "name": "",
    "ca": None, "insecure": False, "timeout_s": 5, "seed": 0, "worker": 0, "workers": 1,
}  # fmt: skip


class Answering(asyncio.Protocol):
    """Answers each request at once."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))


async def drive(plan, level, ring):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0)
    worker = Worker({**PLAN, **plan, "port": server.sockets[0].getsockname()[1]}, ring, loop)
    await worker.prepare(level)
    assert ring.head[records.CPU_NS] > 0  # what the process took until here: the level's is the difference
    await worker.run(level, time.monotonic_ns())
    worker.close()
    server.close()


@pytest.mark.parametrize(("payloads", "think_s", "check"), [
    (1, 0.0, []),          # the short way
    (2, 0.0, []),          # a mix
    (1, 0.001, []),        # pauses
    (1, 0.0, ["same"]),    # answers that are looked at
])  # fmt: skip
def test_a_closed_loop_sends_its_count_whichever_way_answers_take(payloads, think_s, check):
    request = base64.b64encode(b"GET / HTTP/1.1\r\n\r\n").decode()
    ring = records.Ring(records.new_ring("test"))
    level = {"arrivals": {"loop": "closed", "concurrency": 3, "think_s": think_s}, "seconds": 0, "count": 100}
    asyncio.run(drive({"requests": [request] * payloads, "check": check}, level, ring))
    rows = np.frombuffer(ring.memory, ROW, 100, records.HEAD_BYTES).copy()
    assert ring.head[records.WRITTEN] == ring.head[records.SENT] == 100
    assert set(rows["outcome"]) == {records.OK}
    assert set(rows["status"]) == {200}
    assert set(rows["bytes"]) == {len(ANSWER)}
    assert set(rows["payload"]) == set(range(payloads))
    assert np.all(rows["due_ns"] <= rows["sent_ns"])
    assert np.all(rows["sent_ns"] <= rows["first_ns"])
    assert np.all(rows["first_ns"] <= rows["done_ns"])
    if not think_s:  # each request but the first three is due when another one is answered
        assert set(rows["due_ns"][rows["due_ns"] > rows["due_ns"].min()]) <= set(rows["done_ns"])

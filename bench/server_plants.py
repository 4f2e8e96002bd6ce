"""Live servers with a fault planted, their healthy twins and look-alikes: what to serve, how, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.live_servers import FASTAPI, FLASK, WORK, gunicorn, program, uvicorn

SLOW_SERVICE = """
    import sys, time
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    class Slow(BaseHTTPRequestHandler):
        protocol_version, wbufsize = "HTTP/1.1", 1 << 16  # an answer is one packet
        def do_GET(self):
            time.sleep(0.025)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")
        def log_message(self, *_): pass
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Slow).serve_forever()
"""
PHOTO = """
    import io, sys
    import numpy as np
    from PIL import Image
    noise = np.random.default_rng(0).integers(0, 255, (700, 900, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photo := io.BytesIO(), "jpeg")
    def decode():
        image = Image.open(io.BytesIO(photo.getvalue())).convert("RGB").resize((224, 224))
        return float(np.asarray(image, np.float32).mean())
"""
# Layers that take far longer to open than to run.
NETWORK = """
    import numpy as np, onnx, onnxruntime
    from onnx import helper, numpy_helper
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # threads that live for one request are seen now and then only
    x, each = np.ones((1, 16), np.float32), np.eye(16, dtype=np.float32)
    weights = [numpy_helper.from_array(each * (1 + at / 1e3), f"w{at}") for at in range(200)]
    names = ["x", *(f"t{at}" for at in range(200))]
    nodes = [helper.make_node("MatMul", [names[at], f"w{at}"], [names[at + 1]]) for at in range(200)]
    tensor = lambda name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 16])
    graph = helper.make_graph(nodes, "layers", [tensor("x")], [tensor(names[-1])], weights)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), "layers.onnx")
"""
# A request is shared out to so many threads that compute, and each touches more than a core's own cache.
SHARED_OUT = """
        import concurrent.futures
        import numpy as np
        pool, large = concurrent.futures.ThreadPoolExecutor({threads}), np.ones(2_000_000, np.float32)
        def part(_):
            end = time.thread_time() + 0.002
            while time.thread_time() < end: np.add(large, 1.0)
        @app.get("/")
        def predict():
            list(pool.map(part, range(8)))
            return {{"y": 1}}
"""
FAT = json.dumps({"x": [i * 1.01 for i in range(40_000)]})
THIN = json.dumps({"x": [1.0]})
OTHER = "OTHER_PORT"


# Two processes at one socket. One of them is slow to take connections, so that all lie at the other: or each takes its share.
TWO_PROCESSES = """
    import os, mmap, selectors, socket, struct, sys, time
    EVEN = {even}
    listening = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=256)
    listening.setblocking(False)
    shared = mmap.mmap(-1, 16)
    def taken(which, more=0):
        count = struct.unpack_from("q", shared, 8 * which)[0] + more
        struct.pack_into("q", shared, 8 * which, count)
        return count
    def serve(me):
        selector = selectors.DefaultSelector()
        selector.register(listening, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listening:
                    take(selector, me)
                elif key.fileobj.recv(65536):
                    time.sleep(0.01)
                    key.fileobj.sendall(b"HTTP/1.1 200 OK" + bytes([13, 10]) + b"Content-Length: 2" + bytes([13, 10, 13, 10]) + b"ok")
                else:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                    taken(me, -1)
    def take(selector, me):
        if EVEN and taken(me) > taken(1 - me) or me == 1 and not EVEN:
            time.sleep(0.001 if EVEN else 1.0)
            if EVEN: return
        try:
            connection, _ = listening.accept()
        except BlockingIOError:
            return
        taken(me, 1)
        selector.register(connection, selectors.EVENT_READ)
    serve(0 if os.fork() else 1)
"""


@dataclass(frozen=True, slots=True)
class ServerPlant:
    """A server, and what must be said of it: causes of `latency` and `capacity`, None where there is none to name.

    `body` is what is sent; `parts` are indented alike. A `{OTHER}` in the source is the port of a slow service beside it. `quota` are
    the CPUs that its control group grants.
    """

    name: str
    parts: tuple[str, ...]
    latency: frozenset[str | None]
    capacity: frozenset[str | None]
    command: Callable[..., list[str]] = uvicorn
    how: Mapping[str, int] = field(default_factory=dict)
    body: str | None = None
    quota: float | None = None


def _only(*codes: str | None) -> frozenset[str | None]:
    return frozenset(codes)


NOTHING = _only(None)
PLANTS = (
    ServerPlant("loop computes", (WORK, FASTAPI, """
        @app.get("/")
        async def predict():
            spin(8)
            return {"y": 1}
    """), NOTHING, _only("W105")),
    ServerPlant("loop sleeps", (WORK, FASTAPI, """
        @app.get("/")
        async def predict():
            time.sleep(0.02)
            return {"y": 1}
    """), _only("W110"), _only("W105")),
    ServerPlant("loop awaits", (WORK, FASTAPI, """
        import asyncio
        @app.get("/")
        async def predict():
            await asyncio.sleep(0.02)
            return {"y": 1}
    """), _only("W110"), NOTHING),
    ServerPlant("threads in Python", (WORK, FASTAPI, """
        @app.get("/")
        def predict():
            spin(8)
            return {"y": 1}
    """), NOTHING, _only("W101")),
    ServerPlant("one worker sleeps", (WORK, FLASK, """
        @app.get("/")
        def predict():
            time.sleep(0.02)
            return {"y": 1}
    """), _only("W110"), _only("W102"), gunicorn),
    ServerPlant("one worker that fills the CPUs", (WORK, FLASK, """
        import numpy as np
        x, weights = np.ones((256, 1024), np.float32), np.ones((1024, 1024), np.float32)
        @app.get("/")
        def predict():
            return {"y": float((x @ weights @ weights)[0, 0])}
    """), NOTHING, NOTHING, gunicorn),
    ServerPlant("helpers spin while it sleeps", (WORK, FLASK, """
        import numpy as np
        x = weights = np.ones((512, 512), np.float32)
        @app.get("/")
        def predict():
            y = float((x @ weights)[0, 0])
            time.sleep(0.02)
            return {"y": y}
    """), _only("W110"), _only("W102"), gunicorn),
    ServerPlant("helpers spin while a coroutine sleeps", (WORK, FASTAPI, NETWORK, """
        import asyncio
        wide = np.ones((256, 512), np.float32)
        node = helper.make_node("MatMul", ["a", "b"], ["c"])
        shapes = {"a": [256, 512], "b": [512, 512], "c": [256, 512]}
        a, b, c = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shapes[name]) for name in shapes)
        made = helper.make_model(helper.make_graph([node], "product", [a, b], [c]), opset_imports=opset, ir_version=9)
        session = onnxruntime.InferenceSession(made.SerializeToString())
        @app.get("/")
        async def predict():
            y = session.run(None, {"a": wide, "b": np.ones((512, 512), np.float32)})[0]
            await asyncio.sleep(0.03)
            return {"y": float(y[0, 0])}
    """), _only("W110"), _only(None, "W105")),
    ServerPlant("a process of its own", (WORK, FASTAPI, """
        import asyncio, concurrent.futures, multiprocessing
        pool = None
        @app.get("/")
        async def predict():
            global pool
            spawn = multiprocessing.get_context("spawn")
            pool = pool or concurrent.futures.ProcessPoolExecutor(1, spawn)
            await asyncio.get_running_loop().run_in_executor(pool, spin, 8)
            return {"y": 1}
    """), NOTHING, _only("W102")),
    ServerPlant("one place in a loop", (WORK, FASTAPI, """
        import asyncio, hashlib
        gate, data = asyncio.Semaphore(1), bytes(8_000_000)
        @app.get("/")
        async def predict():
            async with gate:
                await asyncio.to_thread(hashlib.sha256, data)
            return {"y": 1}
    """), NOTHING, _only("W102", "W104")),
    ServerPlant("a lock", (WORK, FASTAPI, """
        lock = threading.Lock()
        @app.get("/")
        def predict():
            with lock:
                time.sleep(0.01)
            return {"y": 1}
    """), _only("W110", "W104"), _only("W104")),
    ServerPlant("fat JSON", (WORK, FASTAPI, """
        @app.post("/")
        async def predict(request: Request):
            x = json.loads(await request.body())["x"]
            spin(2)
            return {"y": sum(x)}
    """), _only("C104"), _only("W105", "W101"), body=FAT),
    ServerPlant("thin JSON", (WORK, FASTAPI, """
        @app.post("/")
        async def predict(request: Request):
            x = json.loads(await request.body())["x"]
            spin(2)
            return {"y": sum(x)}
    """), NOTHING, _only("W105", "W101"), body=THIN),
    ServerPlant("another service", (WORK, FLASK, """
        import urllib.request
        @app.get("/")
        def predict():
            with urllib.request.urlopen("http://127.0.0.1:OTHER_PORT/") as answer:
                return {"y": len(answer.read())}
    """), _only("I105"), _only("W102"), gunicorn, {"threads": 4}),
    ServerPlant("awaited service", (WORK, FASTAPI, """
        import asyncio
        @app.get("/")
        async def predict():
            reader, writer = await asyncio.open_connection("127.0.0.1", OTHER_PORT)
            writer.write(b"GET / HTTP/1.0" + bytes([13, 10, 13, 10]))
            await reader.read()
            writer.close()
            return {"y": 1}
    """), _only("I105"), NOTHING),
    ServerPlant("awaited on kept connections", (WORK, FASTAPI, """
        import asyncio
        kept, end = [], bytes([13, 10])
        @app.get("/")
        async def predict():
            reader, writer = kept.pop() if kept else await asyncio.open_connection("127.0.0.1", OTHER_PORT)
            writer.write(b"GET / HTTP/1.1" + end + end)
            await reader.readuntil(end + end)
            await reader.readexactly(2)
            kept.append((reader, writer))
            return {"y": 1}
    """), _only("I105"), NOTHING),
    ServerPlant("preprocessing", (WORK, FASTAPI, PHOTO, """
        @app.get("/")
        def predict():
            return {"y": decode()}
    """), _only("C102"), _only("C102")),
    ServerPlant("session in each request", (WORK, FASTAPI, NETWORK, """
        @app.get("/")
        def predict():
            session = onnxruntime.InferenceSession("layers.onnx", options)
            return {"y": float(session.run(None, {"x": x})[0].sum())}
    """), _only("C118"), _only(None, "C118", "W101")),
    ServerPlant("session kept", (WORK, FASTAPI, NETWORK, """
        session = onnxruntime.InferenceSession("layers.onnx")
        @app.get("/")
        def predict():
            return {"y": sum(float(session.run(None, {"x": x})[0].sum()) for _ in range(80))}
    """), NOTHING, _only(None, "W101")),
    ServerPlant("a window of its own", (WORK, FASTAPI, """
        import asyncio
        waiting = []
        async def answer():
            await asyncio.sleep(0.025)
            batch, waiting[:] = list(waiting), []
            spin(1)
            for each in batch:
                each.set_result(1)
        @app.get("/")
        async def predict():
            waiting.append(asyncio.get_running_loop().create_future())
            if len(waiting) == 1:
                asyncio.ensure_future(answer())
            return {"y": await waiting[-1]}
    """), _only("W103"), NOTHING),
    ServerPlant("memory made anew", (WORK, FASTAPI, """
        import numpy as np
        @app.get("/")
        def predict():
            return {"y": sum(float(np.ones(5_000_000)[::512].sum()) for _ in range(2))}
    """), _only("M104"), _only("M104", "W101", None)),
    ServerPlant("a thread in the background", (WORK, FASTAPI, """
        import hashlib
        def refresh():
            while True:
                sum(i * i for i in range(10_000))
        threading.Thread(target=refresh, daemon=True).start()
        @app.get("/")
        def predict():
            return {"y": hashlib.sha256(b"request").hexdigest()}
    """), _only("W101"), _only("W101", "W105", None)),
    ServerPlant("eight threads", (WORK, FASTAPI, SHARED_OUT.format(threads=8)), _only("C106"), _only("C106", None)),
    ServerPlant("standard library", (WORK, PHOTO, """
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
        class Classifier(BaseHTTPRequestHandler):
            protocol_version, disable_nagle_algorithm = "HTTP/1.1", True
            def do_GET(self):
                body = b"%f" % decode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            def log_message(self, *_): pass
        ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Classifier).serve_forever()
    """), _only("C102"), _only("C102"), program),
    ServerPlant("a quota", (WORK, FASTAPI, """
        @app.get("/")
        def predict():
            spin(30)
            return {"y": 1}
    """), _only("C108"), _only("C108"), quota=0.4),
    ServerPlant("uneven processes", (TWO_PROCESSES.format(even=False),), _only("W110"), _only("W106"), program),
    ServerPlant("even processes", (TWO_PROCESSES.format(even=True),), _only("W110"), _only("W105", "W102"), program),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Removal:
    """What is done about a plant's fault: the remedy that foretells it, and what then is served, and asked, instead; a quota is lifted."""

    plant: str
    remedy: str
    parts: tuple[str, ...] | None = None
    how: Mapping[str, int] | None = None
    body: str | None = None


REMOVALS = (
    Removal("loop computes", "more-processes", how={"workers": 2}),
    Removal("threads in Python", "more-processes", how={"workers": 2}),
    Removal("one worker sleeps", "more-workers", how={"workers": 2}),
    Removal("one worker sleeps", "replace-timer", (WORK, FLASK, """
        @app.get("/")
        def predict():
            return {"y": 1}
    """)),
    Removal("a lock", "split-lock", (WORK, FASTAPI, """
        import itertools
        locks, turn = (threading.Lock(), threading.Lock()), itertools.count()
        @app.get("/")
        def predict():
            with locks[next(turn) % 2]:
                time.sleep(0.01)
            return {"y": 1}
    """)),
    Removal("fat JSON", "faster-codec", (WORK, FASTAPI, """
        x = [i * 1.01 for i in range(40_000)]
        @app.post("/")
        async def predict(request: Request):
            await request.body()
            spin(2)
            return {"y": sum(x)}
    """)),
    Removal("uneven processes", "spread-requests", (TWO_PROCESSES.format(even=True),)),
    Removal("another service", "avoid-call", (WORK, FLASK, """
        @app.get("/")
        def predict():
            return {"y": 2}
    """)),
    Removal("preprocessing", "faster-preprocessing", (WORK, FASTAPI, """
        @app.get("/")
        def predict():
            return {"y": 1.0}
    """)),
    Removal("eight threads", "fewer-threads", (WORK, FASTAPI, SHARED_OUT.format(threads=2))),
    Removal("a quota", "raise-quota"),
)  # fmt: skip

"""Live servers through the command line: real uvicorn, gunicorn and http.server, with a fault planted and without."""

from __future__ import annotations

import json
import textwrap

import pytest

from end_to_end import named, verdict
from live_servers import FASTAPI, FLASK, WORK, ask, diagnosed, gunicorn, program, serving, uvicorn

pytestmark = [pytest.mark.slow, pytest.mark.alone]
SLOW_SERVICE = """
    import sys, time
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    class Slow(BaseHTTPRequestHandler):
        def do_GET(self):
            time.sleep(0.025)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")
        def log_message(self, *_): pass
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Slow).serve_forever()
"""


def source(*parts):
    """A program from its parts."""
    return "\n".join(textwrap.dedent(part) for part in parts)


def inside(found):
    """Whether the server's processes and its Python code could be looked at here."""
    unseen = " ".join(found["unobservable"])
    if "inside the server" in unseen or "what Python executes" in unseen or "thread states" in unseen:
        pytest.skip(unseen)
    return found


def capacity(found, *expected):
    """The cause of capacity, one of `expected`; skips where it is left open."""
    answer = found["verdicts"]["capacity"]
    if answer["bound"] == "unknown":
        pytest.skip(f"inconclusive: {answer['sentence']}")
    assert answer["cause"] in expected, answer["sentence"]
    return answer


def unexplained(found):
    """The share of typical latency that no cell accounts for."""
    rows = [row for row in found["ledger"] if row["question"] == "latency"]
    return sum(row["share"] for row in rows if row["state"] == "unexplained")


def test_a_coroutine_that_computes_blocks_the_loop(tmp_path):
    app = source(WORK, FASTAPI, """
        @app.get("/")
        async def predict():
            spin(8)
            return {"y": 1}
    """)  # fmt: skip
    with serving(tmp_path, app, uvicorn) as port:
        found = inside(diagnosed(tmp_path, f"http://127.0.0.1:{port}/"))
    assert abs(unexplained(found)) < 0.1
    assert found["service"]["frameworks"][0] == "FastAPI"
    assert found["verdicts"]["latency"]["bound"] in ("cpu", "unknown")
    answer = capacity(found, "W105")
    assert answer["bound"] == "wait"
    gains = [p["gain"] for p in found["predictions"] if p["change"]["remedy"] == "more-processes"]
    assert gains
    assert 1.5 < gains[0]["value"] < 2.5


def test_threads_that_compute_in_python_share_one_interpreter(tmp_path):
    app = source(WORK, FASTAPI, """
        @app.get("/")
        def predict():
            spin(8)
            return {"y": 1}
    """)  # fmt: skip
    with serving(tmp_path, app, uvicorn) as port:
        found = inside(diagnosed(tmp_path, f"http://127.0.0.1:{port}/", budget=30))
    assert capacity(found, "W101")["bound"] == "wait"


def test_one_worker_that_sleeps_is_too_few(tmp_path):
    app = source(WORK, FLASK, """
        @app.get("/")
        def predict():
            time.sleep(0.02)
            return {"y": 1}
    """)  # fmt: skip
    with serving(tmp_path, app, gunicorn) as port:
        found = inside(diagnosed(tmp_path, f"http://127.0.0.1:{port}/", budget=30))
    assert verdict(found) == (named(found, "W110"), "framework")
    assert capacity(found, "W102")["bound"] == "wait"


def test_a_lock_across_a_sleep(tmp_path):
    app = source(WORK, FASTAPI, """
        lock = threading.Lock()
        @app.get("/")
        def predict():
            with lock:
                time.sleep(0.01)
            return {"y": 1}
    """)  # fmt: skip
    with serving(tmp_path, app, uvicorn) as port:
        found = inside(diagnosed(tmp_path, f"http://127.0.0.1:{port}/", budget=30))
    assert capacity(found, "W104")["bound"] == "wait"


def test_a_fat_payload_and_its_thin_twin(tmp_path):
    app = source(WORK, FASTAPI, """
        @app.post("/")
        def predict(body: dict):
            return {"y": sum(body["x"])}
        @app.post("/raw")
        async def raw(request: Request):
            x = json.loads(await request.body())["x"]
            spin(4)
            return {"y": sum(x)}
    """)  # fmt: skip
    (tmp_path / "fat.json").write_text(json.dumps({"x": [i * 1.01 for i in range(40_000)]}))
    (tmp_path / "thin.json").write_text(json.dumps({"x": [1.0]}))
    with serving(tmp_path, app, uvicorn) as port:
        fat = inside(diagnosed(tmp_path, f"http://127.0.0.1:{port}/raw", "--input", "fat.json"))
        thin = inside(diagnosed(tmp_path, f"http://127.0.0.1:{port}/raw", "--input", "thin.json"))
    assert named(fat, "C104") == "C104"
    assert fat["verdicts"]["latency"]["where"] == "deserialize"
    assert fat["verdicts"]["latency"]["gain"]["low"] > 1.2
    assert thin["verdicts"]["latency"]["cause"] != "C104"


def test_a_call_to_another_service(tmp_path):
    with serving(tmp_path / "other", SLOW_SERVICE, program) as other:
        app = source(WORK, FLASK, f"""
            import urllib.request
            @app.get("/")
            def predict():
                with urllib.request.urlopen("http://127.0.0.1:{other}/") as answer:
                    return {{"y": len(answer.read())}}
        """)  # fmt: skip
        with serving(tmp_path, app, gunicorn, threads=4) as port:
            found = inside(diagnosed(tmp_path, f"http://127.0.0.1:{port}/"))
    assert named(found, "I105") == "I105"
    assert found["verdicts"]["latency"]["bound"] == "io"
    assert abs(unexplained(found)) < 0.1


def test_slow_preprocessing_in_a_server_of_the_standard_library(tmp_path):
    app = """
        import io, sys
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
        import numpy as np
        from PIL import Image
        noise = np.random.default_rng(0).integers(0, 255, (700, 900, 3), dtype=np.uint8)
        Image.fromarray(noise).save(photo := io.BytesIO(), "jpeg")
        class Classifier(BaseHTTPRequestHandler):
            protocol_version, disable_nagle_algorithm = "HTTP/1.1", True
            def do_GET(self):
                image = Image.open(io.BytesIO(photo.getvalue())).convert("RGB").resize((224, 224))
                body = b"%f" % np.asarray(image, np.float32).mean()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            def log_message(self, *_): pass
        ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Classifier).serve_forever()
    """
    with serving(tmp_path, app, program) as port:
        found = inside(diagnosed(tmp_path, f"http://127.0.0.1:{port}/"))
    assert verdict(found) == (named(found, "C102"), "preprocess")
    assert abs(unexplained(found)) < 0.1


def test_a_run_of_a_server_gives_the_same_answer_from_its_folder_alone(tmp_path):
    app = source(WORK, FLASK, """
        @app.get("/")
        def predict():
            spin(3)
            return {"y": 1}
    """)  # fmt: skip
    with serving(tmp_path, app, gunicorn) as port:
        assert ask(port)
        first = diagnosed(tmp_path, f"http://127.0.0.1:{port}/", budget=14)
    again = diagnosed(tmp_path, next((tmp_path / "pinchpoint-runs").iterdir()))
    assert again == first

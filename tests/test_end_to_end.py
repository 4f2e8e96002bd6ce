"""From a target to a verdict through the command line, on programs whose answer is known by construction.

Each cause has its fault, its healthy twin and its nearest look-alike in bench/plants, whose verdicts `python -m bench
verdicts` publishes; here are those that hold still on any machine.
"""

from __future__ import annotations

import textwrap

import pytest
from bench.server_plants import NETWORK

import networks
from end_to_end import decided, diagnose, named, program, status, verdict

pytestmark = [pytest.mark.slow, pytest.mark.alone]
SPIN = """
    import time, json, threading, pinchpoint
    def work(ms):
        end = time.thread_time() + ms / 1000
        while time.thread_time() < end: pass
    def example_inputs(): return [b"request"]
"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("def handle(x):\n    with pinchpoint.stage('preprocess'): work(4)\n    with pinchpoint.stage('model'): work(1)", ("C102", "preprocess")),
        ("def handle(x):\n    with pinchpoint.stage('model'): work(1)\n    with pinchpoint.stage('nms'): work(4)", ("C103", "postprocess")),
        ("def handle(x):\n    with pinchpoint.stage('model'): work(1)\n    time.sleep(0.004)", ("W110", "framework")),
        ("data = list(range(60000))\ndef handle(x):\n    with pinchpoint.stage('model'): work(1)\n    return json.dumps(data)", ("C104", "serialize")),
    ],
)  # fmt: skip
def test_a_pipeline(tmp_path, body, expected):
    source = textwrap.dedent(SPIN) + body
    found = diagnose(tmp_path, program(tmp_path, source))
    named(found, expected[0])
    assert verdict(found) == expected
    typical = [row for row in found["ledger"] if row["question"] == "latency"]
    assert abs(sum(row["share"] for row in typical if row["state"] == "unexplained")) < 0.05


@pytest.mark.parametrize(("made", "lock"), [
    # its result comes through a thread of the library's, and it is seen to compute
    ("multiprocessing.get_context('fork').Pool(1).apply", ("unknown", "absent")),
    ("(lambda work, of: asked.put(of) or done.get())", ("unknown",)),  # a thread of its own, which a queue feeds
])  # fmt: skip
def test_a_result_that_is_waited_for_is_no_lock(tmp_path, made, lock):
    source = textwrap.dedent(SPIN) + textwrap.dedent(
        f"""
        import multiprocessing, queue
        asked, done, doing = queue.Queue(), queue.Queue(), []
        def serve():
            while True: done.put(work(*asked.get()))
        threading.Thread(target=serve, daemon=True).start()
        def handle(x):
            doing or doing.append({made})
            doing[0](work, (8,))
        """
    )
    found = diagnose(tmp_path, program(tmp_path, source))
    assert found["verdicts"]["latency"]["cause"] is None
    assert status(found, "W104") in lock


@pytest.mark.parametrize("limit_s", [0.006, 5.0])
def test_to_look_again_and_again_is_a_timer(tmp_path, limit_s):
    """GIVEN a result that is there at once WHEN nobody says so and it is looked for after a time THEN that is what is waited for."""
    source = textwrap.dedent(SPIN) + textwrap.dedent(
        f"""
        import queue
        asked, answers, told = queue.Queue(), [], threading.Event()
        def serve():
            while True:
                asked.get()
                work(1)
                answers.append(1)
                {"pass" if limit_s < 1 else "told.set()"}
        threading.Thread(target=serve, daemon=True).start()
        def handle(x):
            asked.put(x)
            while not answers: told.wait({limit_s})
            told.clear()
            return answers.pop()
        """
    )
    found = diagnose(tmp_path, program(tmp_path, source))
    if limit_s < 1:
        named(found, "W110")
    else:
        assert status(found, "W110") == "absent"


@pytest.mark.parametrize("started", [
    "subprocess.run([sys.executable, '-I', '-c', 'import time\\nwhile time.process_time() < 0.03: pass'])",
    "pool.submit(work, 20).result()",
])  # fmt: skip
def test_programs_that_compute_the_input(tmp_path, started):
    """GIVEN a process that a request starts, or one of a pool, which makes the model's input THEN that computes, and nobody waits."""
    source = textwrap.dedent(SPIN) + textwrap.dedent(
        f"""
        import concurrent.futures, multiprocessing, subprocess, sys
        pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"))
        def handle(x):
            with pinchpoint.stage('preprocess'): {started}
            with pinchpoint.stage('model'): work(2)
        """
    )
    found = diagnose(tmp_path, program(tmp_path, source), budget=18)
    named(found, "C102")
    rows = [row for row in found["ledger"] if row["question"] == "latency"]
    assert sum(row["share"] for row in rows if row["site"] == "programs") > 0.5
    named(found, "C102", "W101", question="capacity")


def test_a_lock_and_not_a_timer(tmp_path):
    source = textwrap.dedent(SPIN) + textwrap.dedent(
        """
        lock, asked, held = threading.Lock(), threading.Event(), threading.Event()
        def refresh():
            while True:
                asked.wait()
                asked.clear()
                with lock:
                    held.set()
                    time.sleep(0.006)
        threading.Thread(target=refresh, daemon=True).start()
        def handle(x):
            asked.set()
            held.wait()
            held.clear()
            with pinchpoint.stage('preprocess'):
                with lock: work(0.2)
        """
    )
    named(diagnose(tmp_path, program(tmp_path, source)), "W104")


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        (lambda: networks.conv3x3(), ("--set", "intra_op_threads=2"), "C101"),
        (lambda: networks.tiny_operators(600), (), "C105"),
        (lambda: networks.matmuls(4, 2048), ("--batch", "256"), "C101"),
    ],
)
def test_a_model(tmp_path, model, options, expected):
    networks.write(model(), tmp_path / "model.onnx")
    found = diagnose(tmp_path, tmp_path / "model.onnx", *options, budget=10)
    assert verdict(found) == (named(found, expected), "model")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("time.sleep(0.7)", "present"),  # a handful of requests
        ("work(2)", "absent"),  # enough of them
    ],
)
def test_too_few_requests_are_told_from_enough(tmp_path, body, expected):
    source = textwrap.dedent(SPIN) + f"def handle(x):\n    with pinchpoint.stage('preprocess'): {body}"
    found = diagnose(tmp_path, program(tmp_path, source), budget=6)
    assert status(found, "V104") == expected


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        (lambda: networks.matmuls(2, 4096), (), "present"),  # weights are read for each request alone
        (lambda: networks.conv3x3(), (), "absent"),  # arithmetic, of which a batch shares nothing
        (lambda: networks.matmuls(2, 4096), ("--batch", "64"), "absent"),  # they come in batches already
    ],
)
def test_what_a_batch_would_share_is_found_under_load(tmp_path, model, options, expected):
    networks.write(model(), tmp_path / "model.onnx")
    found = diagnose(tmp_path, tmp_path / "model.onnx", *options, budget=25)
    assert decided(found, "C113") == expected


def test_a_run_gives_the_same_answer_from_its_folder_alone(tmp_path):
    source = textwrap.dedent(SPIN) + "def handle(x):\n    with pinchpoint.stage('preprocess'): work(2)"
    first = diagnose(tmp_path, program(tmp_path, source), budget=4)
    (tmp_path / "app.py").unlink()
    again = diagnose(tmp_path, next((tmp_path / "pinchpoint-runs").iterdir()))
    assert again == first


def test_the_library_gives_the_same_objects(tmp_path, monkeypatch):
    import pinchpoint

    monkeypatch.chdir(tmp_path)
    source = textwrap.dedent(SPIN) + "def handle(x):\n    with pinchpoint.stage('preprocess'): work(2)"
    outcome = pinchpoint.diagnose(program(tmp_path, source), budget_s=4)
    assert isinstance(outcome.diagnosis, pinchpoint.Diagnosis)
    assert outcome.diagnosis.measured.requests > 100


@pytest.mark.parametrize("anew", [True, False])
def test_a_model_that_is_opened_in_each_request(tmp_path, anew):
    """GIVEN a session that a request opens, and runs once THEN it is that, and its time goes; opened once, there is none of it."""
    opened = "onnxruntime.InferenceSession('layers.onnx')"
    source = textwrap.dedent(NETWORK) + textwrap.dedent(
        f"""
        def example_inputs(): return [x]
        kept = {opened}
        def handle(x):
            session = {opened if anew else "kept"}
            return [float(session.run(None, {{"x": x}})[0].sum()) for _ in range({1 if anew else 100})]
        """
    )
    found = diagnose(tmp_path, program(tmp_path, source))
    opening = sum(row["share"] for row in found["ledger"] if row["question"] == "latency" and row["site"] == "opening")
    if anew:
        assert verdict(found) == (named(found, "C118"), "model")
        assert opening > 0.6
        (line,) = [each for each in found["predictions"] if each["change"]["remedy"] == "open-once"]
        assert line["gain"]["value"] == pytest.approx(1 / (1 - opening), rel=0.2)
    else:
        assert (status(found, "C118"), opening) == ("absent", 0.0)

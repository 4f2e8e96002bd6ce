"""A live server of gRPC through the command line: a model's name is enough, and a planted cause is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bench.live_servers import program, serving

from end_to_end import diagnose

pytest.importorskip("grpc")
pytestmark = [pytest.mark.slow, pytest.mark.alone]
SLEEPS = f"""
    import sys
    sys.path.insert(0, {str(Path(__file__).parent)!r})
    from inference_double import sleeping
    sleeping(int(sys.argv[1]), 0.02)
"""


def test_a_model_that_sleeps_with_a_lock_held(tmp_path):
    with serving(tmp_path / "server", SLEEPS, program) as port:
        url = f"oip+grpc://127.0.0.1:{port}/m"
        found = diagnose(tmp_path, url, budget=30)
    assert found["target"]["uri"] == url
    assert (found["service"]["protocol"], found["target"]["input_text"]) == (
        "Open Inference Protocol (gRPC)",
        "random-values.bin",
    )
    assert found["service"]["round_trip"]["value"] > 0
    why = found["verdicts"]["capacity"]["sentence"]
    assert max(found["service"]["loads"]) > 1, why
    unseen = " ".join(found["unobservable"])
    if any(words in unseen for words in ("inside the server", "what Python executes", "thread states")):
        pytest.skip(unseen)
    answer = found["verdicts"]["latency"]
    if answer["cause"] is None:
        pytest.skip(f"inconclusive: {answer['sentence']}")
    assert answer["cause"] == "W110", answer["sentence"]
    assert found["verdicts"]["capacity"]["cause"] in ("W104", "W102", None)


def test_the_help_needs_no_grpc():
    script = "import sys; sys.modules['grpc'] = None; sys.argv = ['pinchpoint', '--help']; from pinchpoint.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, "diagnose" in done.stdout) == (0, True), done.stderr

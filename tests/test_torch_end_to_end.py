"""torch modules from a target to a verdict through the command line, and what is said of those that cannot be used.

The tool runs under the tests' interpreter, the target under the one that has torch (see torch_python).
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import end_to_end
from end_to_end import decided, named, status
from torch_python import needs_torch, run, torch_python

pytestmark = [pytest.mark.slow, needs_torch]

MODELS = '''
import os, torch
from torch import nn

class Products(nn.Module):
    """Four large products."""
    def __init__(self, width):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
    def forward(self, x):
        for layer in self.layers: x = layer(x)
        return x

class Additions(nn.Module):
    """Many operators that do next to nothing."""
    def forward(self, x):
        y = x
        for i in range(400): y = y + x if i % 2 else y - x
        return y

def convolutions(layers=4):
    parts = [part for _ in range(layers) for part in (nn.Conv2d(64, 64, 3, padding=1), nn.ReLU())]
    return nn.Sequential(*parts).eval(), torch.randn(1, 64, 56, 56)

def products(): return Products(4096).eval(), torch.randn(1, 4096)
def batch(): return Products(1024).eval(), torch.randn(512, 1024)
def additions(): return Additions(), torch.full((16,), 0.5)
def layers(): return nn.Sequential(*[p for _ in range(60) for p in (nn.Linear(16, 16), nn.ReLU())]).eval(), torch.randn(1, 16)
def one_thread():
    torch.set_num_threads(1)
    return convolutions()
def dropping(): return nn.Sequential(nn.Linear(8, 8), nn.Dropout()), torch.randn(1, 8)
def a_number() -> nn.Module: return 3
def raises(): raise RuntimeError("no weights here")
def no_inputs(): return nn.Linear(3, 3).eval()
def wrong_inputs(): return nn.Linear(3, 3).eval(), torch.randn(1, 4)

class Net(nn.Linear):
    def __init__(self): super().__init__(8, 8)
'''
APP = """
import json, torch
from models import products, additions
large, x = products()
small, _ = additions()
def example_inputs(): return [json.dumps(x[0].tolist())]
def handle(body):
    with torch.inference_mode():
        y = large(torch.tensor([json.loads(body)]))
        return json.dumps(small(y[0, :16]).tolist())
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def told(folder, target, *options, budget=10):
    """Exit code, stderr, and the diagnosis (None without) of a target under the interpreter that has torch."""
    return end_to_end.told(folder, target, "--python", torch_python(), *options, budget=budget)


def diagnosed(folder, target, *options, budget=10):
    """The diagnosis; the machine's own noise is a reason to skip, not to fail."""
    return end_to_end.diagnose(folder, target, "--python", torch_python(), *options, budget=budget)


@pytest.mark.alone
@pytest.mark.parametrize(
    ("target", "options", "expected"),
    [
        ("models.py:products", (), {"M101"}),
        ("models.py:batch", (), {"C101"}),
        ("models.py:convolutions", (), {"C101", "M104"}),  # torch gets its buffers anew for each convolution
        ("models.py:additions", (), {"C105"}),
        ("models.py:layers", (), {"C105"}),
    ],
)
def test_a_module_from_a_factory(folder, target, options, expected):
    found = diagnosed(folder, target, *options)
    assert found["target"]["kind"] == "torch"
    assert found["target"]["sessions"][0]["form"] == "eager"
    named(found, *expected)
    assert "present" in {status(found, code) for code in expected}


@pytest.mark.alone
def test_one_thread_that_reads_weights(folder):
    """Reading them takes the time; a second thread leads only where this machine's bandwidth grows with it."""
    found = diagnosed(folder, "models.py:products", "--set", "intra_op_threads=1")
    assert decided(found, "M101") == "present"
    named(found, "C107" if status(found, "C107") == "present" else "M101")


@pytest.mark.alone
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU: no second thread")
def test_one_thread_beside_idle_cpus(folder):
    found = diagnosed(folder, "models.py:one_thread")
    assert found["target"]["sessions"][0]["intra_op_threads"] == 1
    by_code = {f["code"]: f for f in found["findings"]}
    idle = next(e["signal"]["quantity"] for e in by_code["C107"]["evidence"] if e["signal"]["name"] == "cpu.idle_share")
    if idle["low"] < 0.2:
        pytest.skip("neighbours use the other CPU")
    assert decided(found, "C107") == "present"
    threads = os.cpu_count() or 2
    again = diagnosed(folder, "models.py:one_thread", "--set", f"intra_op_threads={threads}")
    assert decided(again, "C107") == "absent"


@pytest.mark.alone
def test_threads_that_are_too_many(folder):
    threads = (os.cpu_count() or 2) * 6
    found = diagnosed(folder, "models.py:convolutions", "--set", f"intra_op_threads={threads}")
    assert decided(found, "C106") == "present"


@pytest.mark.alone
def test_the_accounts_of_a_module_add_up(folder):
    found = diagnosed(folder, "models.py:layers")
    rows = [r for r in found["ledger"] if r["question"] == "latency" and r["requests"] == "typical"]
    assert abs(sum(r["share"] for r in rows if r["state"] == "unexplained")) < 0.2
    assert sum(r["share"] for r in rows if r["operator"] == "dispatch") > 0.3
    assert found["target"]["parameters"] == 60 * (16 * 16 + 16)
    assert found["target"]["operators"] == 120


SAVE = """
    import sys, torch
    sys.path.insert(0, sys.argv[1])
    import models
    module, x = models.layers()
    torch.export.save(torch.export.export(module, (x,)), sys.argv[1] + "/model.pt2")
    torch.jit.save(torch.jit.trace(module, x), sys.argv[1] + "/model.pt")
    import numpy
    numpy.savez(sys.argv[1] + "/input.npz", input=x.numpy())
    print(1)
"""


@pytest.mark.alone
@pytest.mark.parametrize(
    ("target", "options", "form"),
    [("model.pt2", (), "exported"), ("model.pt", ("--input", "input.npz"), "scripted")],
)
def test_a_file(folder, target, options, form):
    run(SAVE, folder)
    code, stderr, _ = told(folder, target, *options)
    assert code == 2
    assert "--trust" in stderr
    found = diagnosed(folder, target, "--trust", *options)
    assert found["target"]["sessions"][0]["form"] == form
    assert found["target"]["operators"] == 120
    assert decided(found, "C105") == "present"


@pytest.mark.alone
def test_modules_in_a_pipeline_are_split_into_operators(folder):
    found = diagnosed(folder, "app.py:handle")
    assert found["target"]["kind"] == "python"
    assert [s["runtime"] for s in found["target"]["sessions"]] == ["torch", "torch"]
    rows = [r for r in found["ledger"] if r["question"] == "latency" and r["requests"] == "typical"]
    assert {r["label"] for r in rows if r["stage"] == "model"} >= {"session 0", "session 1"}
    assert any(r["operator"] == "layers.0 linear" and r["state"] == "memory" for r in rows)
    assert any(r["stage"] == "deserialize" for r in rows)


def test_training_mode_and_autograd_are_noted(folder):
    notes = diagnosed(folder, "models.py:dropping", "--set", "grad_mode=grad", budget=4)["target"]["sessions"][0][
        "notes"
    ]
    assert any("training mode" in note for note in notes)
    assert any("autograd" in note for note in notes)
    assert diagnosed(folder, "models.py:layers", budget=4)["target"]["sessions"][0]["notes"] == []


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("models.py:a_number", (), "it returned a int, not a torch.nn.Module"),
        ("models.py:raises", (), "RuntimeError: no weights here at models.py:"),
        ("models.py:no_inputs", (), "Linear takes inputs and none were given"),
        ("models.py:Net", (), "Net takes inputs and none were given"),
        ("models.py:wrong_inputs", (), "the first request raised RuntimeError: mat1 and mat2"),
        ("models.py:layers", ("--set", "colour=1"), "unknown setting 'colour'"),
        ("models.py:layers", ("--set", "intra_op_threads=many"), "takes a whole number"),
        ("models.py:layers", ("--set", "grad_mode=full"), "grad_mode is one of"),
        ("models.py:layers", ("--input", "models.py"), "takes arrays"),
        ("app.py:handle", ("--set", "intra_op_threads=1"), "--set changes a model, not your code"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(folder, target, options, words):
    code, stderr, _ = told(folder, target, *options, budget=4)
    assert code == 2
    assert words in stderr
    assert stderr.count("\n") == 1
    assert "Traceback" not in stderr


def test_an_interpreter_without_torch(folder):
    run(SAVE, folder)
    bare = subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(folder / "bare")], capture_output=True, check=False
    )
    assert bare.returncode == 0
    command = [sys.executable, "-m", "pinchpoint", "diagnose", "model.pt2", "--trust", "--quiet", "--budget", "4"]
    done = subprocess.run(
        [*command, "--python", str(folder / "bare/bin/python")], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "torch is not installed for" in done.stderr
    assert done.stderr.count("\n") == 1

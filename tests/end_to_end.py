"""Diagnoses through the command line for tests: a machine too busy to tell, or an answer left open, skips; a wrong one fails."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

BUSY = {"C109", "V102"}


def told(folder, target, *options, budget=8):
    """Exit code, stderr, and the JSON document of a diagnosis; None without one."""
    command = [sys.executable, "-m", "pinchpoint", "diagnose", str(target), "--budget", str(budget), "--quiet"]
    done = subprocess.run(
        [*command, "--json", "out.json", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    path = folder / "out.json"
    return done.returncode, done.stderr, json.loads(path.read_text()) if path.exists() else None


def diagnose(folder, target, *options, budget=8):
    """The JSON document of a diagnosis; the machine's own noise is a reason to skip, not to fail."""
    code, stderr, found = told(folder, target, *options, budget=budget)
    assert code in (0, 3), stderr
    skip_if_busy(found)
    return found


def skip_if_busy(found):
    """Neighbours or the hypervisor took the CPUs, which the tool says itself."""
    if BUSY & {f["code"] for f in found["findings"] if f["status"] == "present"}:
        pytest.skip("the machine is too busy to tell")


def program(tmp_path, source):
    """A program's path with its handle."""
    (tmp_path / "app.py").write_text(textwrap.dedent(source))
    return f"{tmp_path}/app.py:handle"


def status(found, code):
    """Whether a cause was found: present, absent or unknown."""
    return next(each["status"] for each in found["findings"] if each["code"] == code)


def verdict(found, question="latency"):
    """Cause and stage."""
    answer = found["verdicts"][question]
    return answer["cause"], answer["where"]


def named(found, *expected, question="latency"):
    """The cause that leads, one of `expected`; skips where the tool leaves it open and does not rule them out."""
    answer = found["verdicts"][question]
    if answer["cause"] is None and any(status(found, code) != "absent" for code in expected):
        pytest.skip(f"inconclusive: {answer['sentence']}")
    assert answer["cause"] in expected, answer["sentence"]
    return answer["cause"]


def decided(found, code):
    """Whether a cause was found, present or absent; skips where that is left open."""
    if (answer := status(found, code)) == "unknown":
        pytest.skip(f"inconclusive: whether {code} is there is left open")
    return answer

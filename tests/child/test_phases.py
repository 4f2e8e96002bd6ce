"""The account of a start: each moment belongs to one phase."""

from __future__ import annotations

import importlib
import sys
import threading
import time

import pytest

from pinchpoint.child import phases
from pinchpoint.child.phases import FIRST_REQUEST, OWN_CODE, SESSION, Account, Start, phase


def seconds(rows):
    """Wall seconds by phase and detail."""
    return {(name, detail): wall / 1e9 for name, detail, wall, *_ in rows}


def test_a_phase_inside_another_interrupts_it():
    account = Account()
    outer = account.enter(OWN_CODE, "app.py")
    time.sleep(0.02)
    inner = account.enter(SESSION)
    time.sleep(0.05)
    account.leave(entered=inner)
    account.leave(entered=outer)
    time.sleep(0.05)
    found = seconds(account.rows())
    assert 0.05 <= found[SESSION, ""] < 0.2
    assert 0.02 <= found[OWN_CODE, "app.py"] < found[SESSION, ""] + 0.05
    assert len(found) == 2  # what is in no phase is not told


def test_another_thread_has_no_phases():
    account, told = Account(), []
    thread = threading.Thread(target=lambda: told.append(account.enter(SESSION)))
    thread.start()
    thread.join()
    assert told == [False]
    assert account.rows() == []


def test_cpu_and_bytes_are_counted(tmp_path):
    (tmp_path / "data").write_bytes(bytes(3 << 20))
    account = Account()
    entered = account.enter(OWN_CODE)
    (tmp_path / "data").read_bytes()
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    account.leave(entered=entered)
    ((_, _, wall, cpu, stored, read, faults),) = account.rows()
    assert cpu >= 0.02e9
    assert wall > 0
    assert stored >= -1
    assert read == -1 or read >= 3 << 20
    assert faults >= 0


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An own module that imports another own module and a library that is not loaded."""
    site = tmp_path / "site-packages"
    (site / "a_library").mkdir(parents=True)
    (site / "a_library" / "__init__.py").write_text("import time\nfrom a_library import inner\ntime.sleep(0.03)\n")
    (site / "a_library" / "inner.py").write_text("import time\ntime.sleep(0.03)\n")
    (tmp_path / "own_part.py").write_text("import time\ntime.sleep(0.02)\n")
    (tmp_path / "own_main.py").write_text(
        "import own_part\nimport a_library\nimport time\nfor _ in range(5):\n    time.sleep(0.02)\n"
    )
    for path in (tmp_path, site):
        monkeypatch.syspath_prepend(str(path))
    yield tmp_path
    for name in ("own_main", "own_part", "a_library", "a_library.inner"):
        sys.modules.pop(name, None)


def test_imports_are_told_apart_by_whose_code_runs(package):
    start = Start(lines=True, files=False)
    try:
        with phase(OWN_CODE, "begin"):
            importlib.import_module("own_main")
    finally:
        told = start.finish()
    found = seconds(told["phases"])
    assert found["libraries", "a_library"] >= 0.06
    assert 0.02 <= found[OWN_CODE, str(package / "own_part.py")] < 0.1
    assert 0.1 <= found[OWN_CODE, str(package / "own_main.py")] < 0.3
    lines = {(name, file.rpartition("/")[2], line) for name, file, line, _ in told["lines"]}
    assert (OWN_CODE, "own_main.py", 5) in lines
    assert ("libraries", "own_main.py", 2) in lines


def test_after_the_start_nothing_is_watched(package):
    before = importlib.machinery.SourceFileLoader.exec_module
    start = Start(lines=False, files=False)
    assert importlib.machinery.SourceFileLoader.exec_module is not before
    start.finish()
    assert importlib.machinery.SourceFileLoader.exec_module is before
    with phase(FIRST_REQUEST):  # a second first request is none
        pass


def test_own_files_are_noted_and_others_are_not(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"x")
    start = Start(lines=False, files=True)
    for _ in range(2):
        (tmp_path / "weights.bin").read_bytes()
    (tmp_path / "written.bin").write_bytes(b"x")
    open(phases.__file__).close()
    open("/proc/self/stat").close()
    told = start.finish()
    (tmp_path / "later.bin").write_bytes(b"x")
    (tmp_path / "later.bin").read_bytes()
    assert [each for each in told["files"] if each.startswith(str(tmp_path))] == [str(tmp_path / "weights.bin")]
    assert phases.__file__ not in told["files"]
    assert "/proc/self/stat" not in told["files"]


def test_small_libraries_share_a_row():
    account = Account()
    for number in range(60):
        entered = account.enter("libraries", f"library_{number}")
        account.leave(entered=entered)
    rows = account.rows()
    assert len(rows) == phases.ROWS_KEPT + 1
    assert rows[-1][1] == phases.OTHERS

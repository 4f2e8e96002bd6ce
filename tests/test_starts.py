"""Starting a target again, for real: cold and warm, its failures, and what must survive them."""

from __future__ import annotations

import os
import textwrap
import time

import numpy as np
import onnx
import pytest

from bad_day import Day
from pinchpoint import page_cache
from pinchpoint.domain.run import Phase
from pinchpoint.starts import COLD, COMPLETE, WARM, Again, bytes_read, kept_for_starts, start_again
from small_models import FLOAT, save, weights

MB = 1 << 20
READ = """
    with open({path!r}, 'rb') as file:
        weights = file.read()
    def handle():
        return len(weights)
"""


def again(tmp_path, source, *, seconds=30.0, first_s=0.5, timeout_s=60.0):
    """What came of starting a program again."""
    path = tmp_path / "app.py"
    path.write_text(textwrap.dedent(source))
    load = {"kind": "python", "uri": "app.py:handle", "module": str(path), "name": "handle", "folder": str(tmp_path),
            "input": None, "trust": False}  # fmt: skip
    return start_again(Again(load, None, 0, first_s, time.monotonic() + seconds, timeout_s))


@pytest.fixture
def data(tmp_path):
    """40 MB that are on disk."""
    path = tmp_path / "weights.bin"
    with path.open("wb") as file:
        file.write(os.urandom(MB) * 40)
        file.flush()
        os.fsync(file.fileno())
    page_cache.let_go([path])
    if page_cache.resident_share([path]) != 0:
        pytest.skip("a file system that keeps its pages")
    page_cache.fill([path])
    return path


def test_cold_and_warm_starts_take_turns(tmp_path, data):
    found = again(tmp_path, READ.format(path=str(data)))
    assert (found.ended, found.cold_ended) == (COMPLETE, "")
    caches = [start.cache for start in found.starts]
    assert caches.count(COLD) == caches.count(WARM) == 3
    for start in found.starts:
        assert {phase.name for phase in start.phases} >= {"interpreter", "own code", "first request"}
        read = bytes_read(start.phases)
        if start.cache == COLD:
            assert start.resident_share < 0.1
            assert read is None or read > 30 * MB
        elif start.cache == WARM:
            assert read is None or read <= MB


def test_files_that_stay_in_memory_make_no_cold_start(tmp_path, data):
    with data.open("rb") as file:
        import mmap

        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert sum(mapped[i] for i in range(0, len(mapped), mmap.PAGESIZE)) > 0
            found = again(tmp_path, READ.format(path=str(data)))
    assert "the kernel kept 100% of its files in memory" in found.cold_ended
    assert {start.cache for start in found.starts} <= {WARM, "as found"}
    assert found.ended == COMPLETE


@pytest.mark.parametrize(("source", "words"), [
    ("import os\nos.open('LOCK', os.O_CREAT | os.O_EXCL)\ndef handle(): return 1", "FileExistsError"),
    ("import os\nif os.path.exists('LOCK'): os._exit(3)\nopen('LOCK', 'w').close()\ndef handle(): return 1", "status 3"),
    ("import os, time\nif os.path.exists('LOCK'): time.sleep(60)\nopen('LOCK', 'w').close()\ndef handle(): return 1", "did not answer"),
    ("import os\ndef handle():\n    os.open('LOCK', os.O_CREAT | os.O_EXCL)", "its first request raised FileExistsError"),
])  # fmt: skip
def test_a_start_that_fails_keeps_those_before_it(tmp_path, source, words):
    found = again(tmp_path, source.replace("LOCK", str(tmp_path / "lock")), timeout_s=2.0)
    assert len(found.starts) == 1
    assert words in found.ended
    assert found.ended.startswith("it did not start again: ")


def test_nothing_is_started_without_time(tmp_path):
    found = again(tmp_path, "def handle(): return 1", seconds=0.1)
    assert found.starts == []
    assert "too little time" in found.ended


def test_weights_beside_a_model_count_as_its_files_and_optimising_is_timed(tmp_path):
    inner = save(tmp_path / "inner.onnx", [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])], [("x", FLOAT, [1, 512])],
                 ["y"], {"w": weights(512, 512)})  # fmt: skip
    onnx.save(onnx.load(inner), tmp_path / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0)
    os.sync()
    np.savez(tmp_path / "input.npz", x=weights(1, 512))
    load = {"kind": "onnx", "uri": "m.onnx", "path": str(tmp_path / "m.onnx"), "settings": {},
            "feeds": [str(tmp_path / "input.npz")], "second_feeds": []}  # fmt: skip
    found = start_again(Again(load, None, 0, 0.5, time.monotonic() + 30, 60.0))
    assert found.ended == COMPLETE
    assert len(found.openings) == 3
    assert all(each.seconds > 0 and each.plain_s > 0 for each in found.openings)
    assert all(any(phase.name == "session" for phase in start.phases) for start in found.starts)
    assert found.cold_ended == "" or "kept" in found.cold_ended
    if not found.cold_ended:
        cold = [start for start in found.starts if start.cache == COLD]
        assert all((bytes_read(start.phases) or MB) >= 512 * 512 * 4 for start in cold)


@pytest.mark.parametrize(("start_s", "window", "kept"), [
    (0.1, 15.0, 2.0),    # eight short starts
    (2.0, 15.0, 5.0),    # never more than a third of the ladder's
    (2.0, 5.0, 2.0),     # the ladder keeps what it needs
    (0.1, 2.0, 0.0),
])  # fmt: skip
def test_what_the_ladder_gives(start_s, window, kept):
    assert kept_for_starts([Phase("import", start_s)], window) == pytest.approx(kept)


def test_a_port_is_free_again(tmp_path):
    source = "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', PORT))\ns.listen()\ndef handle(): return 1"
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = again(tmp_path, source.replace("PORT", str(port)))
    assert found.ended == COMPLETE
    assert len(found.starts) >= 3


# --- the whole program ----------------------------------------------------------------------------------------------
@pytest.fixture
def day(tmp_path):
    return Day(tmp_path)


@pytest.mark.slow
def test_a_second_start_that_fails_loses_nothing(day):
    day.write(
        f"import os\nos.open({str(day.folder / 'lock')!r}, os.O_CREAT | os.O_EXCL)\ndef handle(): return sum(range(10000))\n"
    )
    done = day.diagnose("app.py:handle", "--budget", "9")
    assert done.code in (0, 3)
    (run,) = day.runs()
    assert run.ended == "complete"
    assert run.requests.ok.all()
    assert run.starts == ()
    assert "FileExistsError" in run.starts_ended
    assert "LATENCY" in done.out


def test_the_cache_of_other_files_stays(tmp_path, data):
    other = tmp_path / "other.bin"
    other.write_bytes(os.urandom(MB))
    found = again(tmp_path, READ.format(path=str(data)))
    assert any(start.cache == COLD for start in found.starts)
    assert page_cache.resident_share([other]) == 1

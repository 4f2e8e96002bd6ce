"""What the child records, read back as the parent does: in this process, without a target."""

from __future__ import annotations

import asyncio
import mmap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pinchpoint import stages
from pinchpoint.child.pacing import Pacer
from pinchpoint.child.recorder import FAILED, OBSERVED, Recorder
from pinchpoint.child.sessions import FEEDS_BYTES, FEEDS_KEPT, CapturedSession
from pinchpoint.child.streams import SEGMENT_BYTES, Stream


def rows(folder, name, columns):
    """Rows of a stream, as process.Child reads them."""
    found = []
    for path in sorted(folder.glob(f"{name}.*")):
        words = np.fromfile(path, dtype=np.int64)
        found.append(words[3 : 3 + words[2] * columns].reshape(-1, columns))
    return np.concatenate(found)


def test_a_stream_goes_on_over_segments(tmp_path):
    stream = Stream(str(tmp_path), "requests", 4)
    many = 3 * SEGMENT_BYTES // 32
    for i in range(many):
        stream.append(i, 0, 0, 0)
    assert np.array_equal(rows(tmp_path, "requests", 4)[:, 0], np.arange(many))
    stream.close()


def test_a_full_file_system_is_an_error_and_not_a_crash(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        Stream(str(tmp_path), "requests", 4)


def drive(folder, call, count=200, observe=1.0):
    """Drive a callable and return (requests, probes, spans)."""
    recorder = Recorder(str(folder))
    pacer = Pacer(recorder, seed=0)
    pacer.drive(call, [None], 60.0, count, observe)
    recorder.close()
    return pacer, rows(folder, "requests", 4), rows(folder, "probes", 14), rows(folder, "spans", 12)


def test_every_request_is_stamped_and_a_share_observed(tmp_path):
    _, requests, probes, _ = drive(tmp_path, lambda _: None, count=1000, observe=0.25)
    assert len(requests) == 1000
    assert np.all(requests[:, 2] >= requests[:, 1])
    assert np.all(requests[1:, 1] >= requests[:-1, 2])
    observed = np.count_nonzero(requests[:, 3] & OBSERVED)
    assert observed == len(probes)
    assert 180 < observed < 320  # binomial(1000, 1/4): five standard deviations


def test_nested_stages_lie_in_their_request(tmp_path):
    def handle(_):
        with stages.stage("outer"), stages.stage("inner"):
            pass

    _, requests, _, spans = drive(tmp_path, handle, count=50)
    inner, outer = spans[0::2], spans[1::2]
    assert len(spans) == 100
    assert np.all((outer[:, 4] <= inner[:, 4]) & (inner[:, 5] <= outer[:, 5]))
    assert np.all((requests[:, 1] <= outer[:, 4]) & (outer[:, 5] <= requests[:, 2]))


def test_cpu_and_wall_are_told_apart(tmp_path):
    def handle(_):
        with stages.stage("sleeps"):
            time.sleep(0.005)

    _, _, _, spans = drive(tmp_path, handle, count=20)
    wall, cpu = spans[:, 5] - spans[:, 4], spans[:, 7] - spans[:, 6]
    assert np.all(wall >= 5_000_000)
    assert np.median(cpu) < 0.2 * np.median(wall)


def test_errors_are_counted_by_kind_and_the_drive_goes_on(tmp_path):
    calls = iter(range(10**6))

    def handle(_):
        if next(calls) % 10 == 3:
            raise ValueError("every tenth")

    pacer, requests, _, _ = drive(tmp_path, handle, count=100, observe=0.5)
    assert np.count_nonzero(requests[:, 3] & FAILED) == 10
    assert (pacer.failed, pacer.errors, str(pacer.first_error)) == (10, {"ValueError": 10}, "every tenth")


def test_a_stage_in_another_thread_belongs_to_the_request(tmp_path):
    pool = ThreadPoolExecutor(1)

    def work():
        with stages.stage("elsewhere"):
            time.sleep(0.001)

    _, _, _, spans = drive(tmp_path, lambda _: pool.submit(work).result(), count=20)
    assert len(spans) == 20
    assert np.all(spans[:, 3] != threading.get_native_id())
    assert np.all(spans[:, 8] == -1)  # the run-queue clock is the request thread's own


def test_a_stage_left_open_by_a_request_does_not_leak_into_the_next(tmp_path):
    def handle(_):
        stages._listener.begin("never ended")

    _, _, _, spans = drive(tmp_path, handle, count=20)
    assert len(spans) == 0


def test_coroutines_are_awaited_in_one_loop(tmp_path):
    seen = set()

    async def handle(_):
        seen.add(id(asyncio.get_running_loop()))
        with stages.stage("awaits"):
            await asyncio.sleep(0.001)

    recorder = Recorder(str(tmp_path))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(Pacer(recorder, 0).drive_async(handle, [None], 60.0, 20, 1.0))
    loop.close()
    recorder.close()
    assert (len(seen), len(rows(tmp_path, "spans", 12))) == (1, 20)


def test_recording_a_stage_has_a_calibrated_cost(tmp_path):
    recorder = Recorder(str(tmp_path))
    assert recorder.span_cost_ns() > 0
    assert not list(rows(tmp_path, "spans", 12))
    recorder.close()


def test_the_inputs_of_the_first_runs_are_kept_within_bounds():
    class Opened:
        pass

    known = CapturedSession(Opened(), b"", None, None)
    kept = 0
    while known.room > 0:
        known.keep(None, {"x": np.zeros(10)})
        kept += 1
    assert kept == len(known.feeds) == FEEDS_KEPT
    known = CapturedSession(Opened(), b"", None, None)
    known.keep(None, {"x": np.empty(FEEDS_BYTES, np.uint8)})
    assert known.room <= 0


def test_page_faults_are_those_of_the_stage_that_has_them(tmp_path):
    def handle(_):
        with mmap.mmap(-1, 8 << 20) as fresh:
            fresh[:: mmap.PAGESIZE] = bytes(len(fresh) // mmap.PAGESIZE)
            with stages.stage("model"):
                pass

    _, _, probes, spans = drive(tmp_path, handle, count=20)
    before = spans[:, 10] - probes[:, 13]
    after = probes[:, 13] + probes[:, 4] + probes[:, 5] - spans[:, 11]
    assert np.all(before[1:] >= 2048)
    assert np.all(after[1:] < 100)

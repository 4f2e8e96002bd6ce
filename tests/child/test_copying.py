"""Copies that a request makes: which are seen, and that nothing of the watching stays."""

from __future__ import annotations

import copy
import io
import sys
import threading

import numpy as np
import pytest
from numpy import concatenate as imported_by_name

from pinchpoint.child import copies
from pinchpoint.stages import stage

LARGE = 1 << 20
A = np.ones((256, 1024, 4), np.uint8)
F = np.ones((256, 1024), np.float32)
RAW = bytes(LARGE)
BUFFER, STREAM = bytearray(RAW), io.BytesIO(bytes(16 * LARGE))
VAST = np.ones((1024, 4096), np.float32)  # no machine is so busy that a view of it takes as long as a copy


def seen(request, payload=RAW, seconds=5.0):
    """Entries of the last watched request."""
    return copies.of_requests(lambda _: request(), [payload], seconds)["copies"][-1]["entries"]


def in_short(request):
    """(function, times, bytes) of the copies."""
    return [(each["function"], each["times"], each["size_bytes"]) for each in seen(request) if each["function"]]


def partly_read():
    """Not the whole stream, which would be handed out as it is."""
    STREAM.seek(1)
    return STREAM.read()


@pytest.mark.parametrize(("request_", "function", "size"), [
    (lambda: A.copy(), "ndarray.copy", LARGE),
    (lambda: A.tobytes(), "ndarray.tobytes", LARGE),
    (lambda: A.flatten(), "ndarray.flatten", LARGE),
    (lambda: A.T.reshape(-1), "ndarray.reshape", LARGE),
    (lambda: np.array(A), "numpy.array", LARGE),
    (lambda: np.array([F, F]), "numpy.array", 2 * LARGE),
    (lambda: np.array(BUFFER), "numpy.array", LARGE),
    (lambda: np.copy(A), "numpy.array", LARGE),
    (lambda: np.ascontiguousarray(A.T), "numpy.ascontiguousarray", LARGE),
    (lambda: np.concatenate([F, F]), "numpy.concatenate", 2 * LARGE),
    (lambda: imported_by_name([F, F]), "numpy.concatenate", 2 * LARGE),
    (lambda: np.stack([F, F]), "numpy.concatenate", 2 * LARGE),
    (lambda: np.copyto(np.empty_like(F), F), "numpy.copyto", LARGE),
    (lambda: copy.deepcopy([F]), "ndarray.__deepcopy__", LARGE),
    (lambda: memoryview(RAW).tobytes(), "memoryview.tobytes", LARGE),
    (lambda: bytearray().extend(RAW), "bytearray.extend", LARGE),
    (lambda: BUFFER.copy(), "bytearray.copy", LARGE),
    (lambda: io.BytesIO().write(RAW), "BytesIO.write", LARGE),
    (partly_read, "BytesIO.read", 16 * LARGE - 1),
    (lambda: b"".join([RAW, RAW]), "bytes.join", copies.UNSIZED),
])  # fmt: skip
def test_a_copy_is_seen(request_, function, size):
    assert in_short(request_) == [(function, 1, size)]


@pytest.mark.parametrize("request_", [
    lambda: VAST.reshape(-1),
    lambda: VAST.ravel(),
    lambda: np.asarray(VAST),
    lambda: np.ascontiguousarray(VAST),
    lambda: np.frombuffer(RAW, np.uint8),
    lambda: F[:8].copy(),                            # small
    lambda: F.astype(np.float64),                    # a conversion
    lambda: np.array(F, np.float64),
    lambda: np.concatenate([F, F.astype(np.float64)]),
    lambda: np.array([1.0] * 100_000),               # numbers made from objects
    lambda: "".join(["text"] * 100_000),
    lambda: b"".join(each for each in [RAW, RAW]),   # runs the target's code as well
    lambda: STREAM.getvalue(),                       # handed out as it is
    lambda: F + F,
])  # fmt: skip
def test_what_is_no_copy_is_not(request_):
    assert in_short(request_) == []


def test_copies_at_one_place_are_one_entry_with_their_line_and_stages():
    def request():
        with stage("prepare"):
            for _ in range(3):
                A.copy()
            np.array(A)
        A.copy()

    found = seen(request)
    assert [(e["function"], e["times"], e["stages"]) for e in found] == [
        ("", 0, (("prepare", 0),)),
        ("ndarray.copy", 3, (("prepare", 0),)),
        ("numpy.array", 1, (("prepare", 0),)),
        ("ndarray.copy", 1, ()),
    ]
    assert found[1]["size_bytes"] == 3 * found[1]["largest_bytes"] == 3 * LARGE
    assert found[1]["file"] == __file__
    assert found[2]["line"] == found[1]["line"] + 1
    assert all(each["cpu_s"] > 0 for each in found if each["function"])


def test_everything_is_as_it_was():
    before = np.array, np.concatenate, np.copyto, imported_by_name
    kept = []
    seen(lambda: kept.append(np.array))
    copies.of_requests(lambda _: 1 / 0, [RAW], 0.1)
    assert (np.array, np.concatenate, np.copyto, imported_by_name) == before
    assert sys.getprofile() is None
    assert kept[0](A).nbytes == LARGE  # what the target kept of ours still works


def test_a_profile_function_of_the_targets_own_is_left_alone():
    def own(*_):
        return None

    sys.setprofile(own)
    try:
        found = copies.of_requests(lambda _: A.copy(), [RAW], 0.1)
        assert sys.getprofile() is own
    finally:
        sys.setprofile(None)
    assert "profile function" in found["missing"]


def test_a_profile_function_that_a_request_sets_stays():
    def own(*_):
        return None

    try:
        found = copies.of_requests(lambda _: sys.setprofile(own), [RAW], 0.1)
        assert sys.getprofile() is own
    finally:
        sys.setprofile(None)
    assert "missing" in found
    assert np.array.__module__ == "numpy"


def test_requests_that_fail_are_passed_over():
    asked = []

    def request(_):
        asked.append(1)
        np.array(A)
        if len(asked) == 2:
            raise ValueError

    found = copies.of_requests(request, [RAW], 0.0)["copies"]
    assert len(found) == len(asked) - 1 == copies.FEWEST - 1
    assert [[each["function"] for each in one["entries"]] for one in found] == [["numpy.array"]] * len(found)


def test_a_request_that_takes_too_long_is_left_alone():
    def busy(_):
        for number in range(1_000_000):
            len(str(number))

    assert "missing" in copies.of_requests(busy, [RAW], 0.001)
    assert sys.getprofile() is None


def test_other_threads_are_not_this_request():
    def request():
        other = threading.Thread(target=lambda: np.array(A))
        other.start()
        other.join()

    assert in_short(request) == []


@pytest.mark.parametrize(("payload", "size"), [
    (RAW, LARGE), (A, LARGE), ({"x": A, "more": [RAW, 3]}, 2 * LARGE), ("text", 0), (None, 0), ([[[[[A]]]]], 0),
])  # fmt: skip
def test_bytes_that_a_payload_holds(payload, size):
    assert copies.held_bytes(payload, copies.DEPTH) == size

"""What runs beside the target: in one thread, one thing after the other, and without changing how the target's own session runs."""

from __future__ import annotations

import statistics
import threading
import time

import numpy as np
import onnxruntime
import pytest

from examples import networks
from pinchpoint.child import sessions
from pinchpoint.child.beside import Beside


def test_all_is_done_in_one_other_thread():
    beside = Beside()
    first, second = beside.do(threading.get_ident), beside.do(threading.get_ident)
    assert first == second != threading.get_ident()
    assert beside.do(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        beside.do(divmod, 1, 0)
    assert beside.do(int) == 0  # it goes on
    before = threading.active_count()
    beside.close()
    end = time.monotonic() + 5
    while first in {each.ident for each in threading.enumerate()} and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() <= before


@pytest.mark.slow
@pytest.mark.alone
def test_the_profile_of_many_operators_leaves_the_target_as_fast_as_before(tmp_path):
    """GIVEN 4,000 operators, 16,000 events of whose profile are kept THEN the session itself takes as long as without."""
    feeds = {"x": np.random.default_rng(0).random((1, 16), dtype=np.float32)}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = networks.tiny_operators(4000).SerializeToString()
    session = onnxruntime.InferenceSession(model, options)
    known = sessions.CapturedSession(session, model, options, ["CPUExecutionProvider"])
    known.keep(None, feeds)

    def typical_s():
        times = []
        for _ in range(300):
            begin = time.perf_counter()
            session.run(None, feeds)
            times.append(time.perf_counter() - begin)
        return statistics.median(times)

    def ratio():
        before = typical_s()
        twin = sessions.ProfiledTwin(known, str(tmp_path / "profile"))
        twin.visit(10.0, 8)
        after = typical_s()
        twin.close()
        return after / before

    assert min(ratio() for _ in range(3)) < 1.2  # in the same thread 1.5

"""What of a level's latency is the client's own."""

import numpy as np
import pytest

from pinchpoint.domain.arrivals import Arrivals
from pinchpoint.domain.traffic import MEASURED, Client, Level, Sends
from pinchpoint.load_figures import _used


def sends(count, latency_s, lag_s):
    due = np.linspace(0, 1e9, count).astype(np.int64)
    zero = np.zeros(count, np.int64)
    sent, done = due + int(lag_s * 1e9), due + int(latency_s * 1e9)
    return Sends(zero, due, sent, done, done, zero, zero, zero, zero, zero, zero, zero)


@pytest.mark.parametrize(("count", "latency_s", "lag_s", "delay_s", "share"), [
    (3200, 0.005, 0.0, 0.010, 0.01 / 16),              # 16 in flight, woken up for each answer: nobody else waits
    (3200, 0.005, 0.0, 0.232, 0.2 + 0.032 / 16),       # without a CPU a fifth of the time: all 16 wait
    (8000, 0.0005, 0.0, 0.180, 0.1 + 0.080 / 4),       # the same of 4 that are fast
    (400, 0.005, 0.00005, 0.0, 0.01),                  # an open loop that sends a bit late
    (400, 0.005, 0.001, 0.104, 0.2 + 0.1 + 0.004 / 2), # late at both ends
    (100, 0.001, 0.0, 0.501, 1.0),                     # never more than all
])  # fmt: skip
def test_the_share_of_latency_that_is_the_clients_own(count, latency_s, lag_s, delay_s, share):
    level = Level(Arrivals("poisson", rate_per_s=count), MEASURED, 0, 10**9, count, count, (), 0.1, delay_s, 0)
    _, found = _used(Client(1), level, sends(count, latency_s, lag_s))
    assert found == pytest.approx(share, rel=0.01)

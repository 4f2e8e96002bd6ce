"""An alarm is never early, and learns how long waking up takes."""

import asyncio
import random
import time

import pytest

from pinchpoint.load.pacing import MOST_SPIN_NS, SPIN_NS, Alarm, learnt


@pytest.mark.parametrize(("low_us", "high_us", "in_time"), [
    (2, 10, 1.0),        # a CPU that is awake: the least is enough
    (60, 120, 0.85),     # one that sleeps, in a virtual machine
    (100, 250, 0.8),
    (400, 900, 0.0),     # beyond what may be spun away
])  # fmt: skip
def test_how_early_is_learnt(low_us, high_us, in_time):
    generator, early, kept = random.Random(1), SPIN_NS, 0
    for number in range(2000):
        woke = int(generator.uniform(low_us, high_us) * 1000)
        kept += number >= 1000 and woke <= early
        early = learnt(early, woke)
        assert SPIN_NS <= early <= MOST_SPIN_NS
    assert kept / 1000 >= in_time


def test_what_happens_once_is_forgotten():
    early = learnt(SPIN_NS, 50_000_000)
    assert early > 4 * SPIN_NS
    for _ in range(200):
        early = learnt(early, 10_000)
    assert early == SPIN_NS


def test_an_alarm_is_never_early():
    async def rung():
        loop = asyncio.get_running_loop()
        came, over = [], asyncio.Event()
        alarm = Alarm(loop, lambda: (came.append(time.monotonic_ns()), over.set()))
        dues = []
        for wait_ns in (2_000_000, 50_000, 5_000_000, -1_000_000, 1_000_000):
            over.clear()
            dues.append(time.monotonic_ns() + wait_ns)
            alarm.at(dues[-1])
            await asyncio.wait_for(over.wait(), 5)
        alarm.close()
        return dues, came

    dues, came = asyncio.run(rung())
    assert len(came) == len(dues)
    assert all(at >= due for at, due in zip(came, dues, strict=True))

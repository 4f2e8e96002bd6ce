"""The alarm rings when a moment has come: never before it, and once."""

from __future__ import annotations

import asyncio
import os
import random
import time

import pytest
import uvloop

from pinchpoint.load import pacing
from pinchpoint.load.pacing import MOST_SPIN_NS, SPIN_NS, Alarm, learnt

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def rings(new_loop, *moments, wait_s=0.12):
    """When it rang after it was set to these moments (ns from now), one right after the other, and the last moment."""
    found, due = [], 0

    async def main():
        nonlocal due
        alarm = Alarm(asyncio.get_running_loop(), lambda: found.append(time.monotonic_ns()))
        begin = time.monotonic_ns()
        for each in moments:
            due = begin + each
            alarm.at(due)
        await asyncio.sleep(wait_s)
        while time.monotonic_ns() < due + 10_000_000:
            await asyncio.sleep(0.01)
        alarm.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
    return found, due


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("moment", [-(10**9), 0, 1, 15_000, 100_000, 3_333_333, 100_000_000])
def test_it_rings_once_and_never_early(new_loop, moment):
    found, due = rings(new_loop, moment)
    assert len(found) == 1
    assert found[0] >= due


@pytest.mark.parametrize("new_loop", LOOPS)
def test_setting_it_again_replaces_the_moment(new_loop):
    for moments in [(1_000_000, 50_000_000), (50_000_000, 1_000_000), (0, 50_000_000)]:
        found, due = rings(new_loop, *moments)
        assert len(found) == 1
        assert found[0] >= due


def test_a_thousand_moments_one_after_the_other():
    early, count = [], 0

    async def main():
        nonlocal count
        over = asyncio.Event()
        begin = time.monotonic_ns() + 1_000_000

        def ring():
            nonlocal count
            early.append(begin + count * 100_000 - time.monotonic_ns())
            count += 1
            if count == 1000:
                over.set()
            else:
                alarm.at(begin + count * 100_000)

        alarm = Alarm(asyncio.get_running_loop(), ring)
        alarm.at(begin)
        await asyncio.wait_for(over.wait(), 30)
        alarm.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    assert max(early) <= 0


def test_a_closed_alarm_lets_go_of_its_descriptor():
    before = len(os.listdir("/proc/self/fd"))

    async def main():
        for _ in range(20):
            Alarm(asyncio.get_running_loop(), lambda: None).close()
        return len(os.listdir("/proc/self/fd"))

    during = asyncio.run(main())
    assert during - before < 20


def test_it_goes_by_the_clock_that_is_never_set():
    assert pacing.CLOCK_MONOTONIC == time.CLOCK_MONOTONIC


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

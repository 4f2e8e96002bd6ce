"""The marker: free when nothing listens, exact when something does."""

from __future__ import annotations

import asyncio
import inspect
import threading

import pytest

from pinchpoint import stages
from pinchpoint.stages import stage


class Heard:
    """A listener that notes what it hears."""

    def __init__(self):
        self.calls = []

    def begin(self, name):
        self.calls.append(name)

    def end(self):
        self.calls.append("/")


@pytest.fixture
def heard():
    listener = Heard()
    stages.listen(listener)
    yield listener
    stages.listen(None)


def test_forms_of_the_marker(heard):
    @stage
    def resize(x):
        return x + 1

    @stage("named")
    def other(x, *, y=2):
        return x + y

    with stage("block"):
        assert (resize(1), other(1)) == (2, 3)
    assert heard.calls == ["block", "resize", "/", "named", "/", "/"]
    assert (resize.__name__, inspect.signature(other).parameters["y"].default) == ("resize", 2)


def test_a_stage_ends_when_its_body_raises(heard):
    with pytest.raises(ZeroDivisionError), stage("block"):
        raise ZeroDivisionError
    assert heard.calls == ["block", "/"]


def test_a_coroutine_function_stays_one(heard):
    @stage("fetch")
    async def fetch():
        await asyncio.sleep(0)
        return 7

    assert inspect.iscoroutinefunction(fetch)
    assert asyncio.run(fetch()) == 7
    assert heard.calls == ["fetch", "/"]


def test_nothing_is_recorded_while_nothing_listens():
    with stage("block"):
        assert stages._listener is None


def test_a_generator_cannot_be_marked():
    with pytest.raises(TypeError, match="mark the block inside"):

        @stage
        def rows():
            yield 1


def test_names_made_up_at_run_time_are_not_kept():
    for i in range(1000):
        stage(f"request {i}")
    assert len(stages._stages) <= stages._KEPT


def test_threads_may_share_a_stage(heard):
    def work():
        with stage("shared"):
            pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(heard.calls) == ["/"] * 8 + ["shared"] * 8

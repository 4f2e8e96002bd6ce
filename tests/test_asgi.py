"""The middleware, around applications that are driven by hand: which stages the head of an answer tells."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading

import pytest

from pinchpoint import stages
from pinchpoint.asgi import LONGEST_NAME, MOST, Middleware
from pinchpoint.stages import stage

HTTP = {"type": "http", "method": "GET", "path": "/"}


@pytest.fixture(autouse=True)
def _nobody_listens_afterwards():
    yield
    stages.listen(None)


async def asked(app, scope=HTTP):
    """What an application sends for a request."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    await app(scope, receive, send)
    return sent


async def answer(send, *bodies, headers=()):
    await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
    for body in bodies or (b"",):
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def told(messages):
    """The metrics of an answer's last Server-Timing header: (name, {parameter: ms}), in order."""
    head = next(each for each in messages if each["type"] == "http.response.start")
    value = [value for name, value in head["headers"] if name == b"server-timing"][-1].decode("ascii")
    found = []
    for metric in value.split(", "):
        name, *parameters = metric.split(";")
        found.append((name, {key: float(ms) for key, _, ms in (each.partition("=") for each in parameters)}))
    return found


def asked_once(work, *, headers=()):
    """What is told by an application that does `work` and answers."""

    async def app(scope, receive, send):
        await work()
        await answer(send, headers=headers)

    return asyncio.run(asked(Middleware(app)))


def names(messages):
    return [name for name, _ in told(messages)]


def test_stages_are_told_in_order_with_their_times():
    async def work():
        with stage("preprocess"):
            await asyncio.sleep(0.004)
        with stage("model"):
            await asyncio.sleep(0.002)

    (first, one), (second, two), (last, total) = told(asked_once(work))
    assert (first, second, last) == ("preprocess", "model", "total")
    assert one["dur"] >= 4
    assert two["dur"] >= 2
    assert one["at"] + one["dur"] <= two["at"] + 0.01
    assert two["at"] + two["dur"] <= total["dur"] + 0.01


def test_a_stage_inside_another_is_told_too():
    async def work():
        with stage("outer"), stage("inner"):
            await asyncio.sleep(0.001)
        with stage("after"):
            pass

    found = told(asked_once(work))
    assert [name for name, _ in found] == ["outer", "inner", "after", "total"]
    assert found[0][1]["dur"] >= found[1][1]["dur"]


def test_threads_that_get_the_context_and_tasks_belong_to_the_request():
    async def work():
        def resize():
            with stage("in a thread"):
                pass

        @stage("task")
        async def fetch():
            await asyncio.sleep(0)

        with stage("outer"):
            await asyncio.to_thread(resize)
            await asyncio.get_running_loop().run_in_executor(None, contextvars.copy_context().run, resize)
            await asyncio.gather(fetch(), fetch())
        with stage("after"):
            pass

    assert names(asked_once(work)) == ["outer", "in_a_thread", "in_a_thread", "task", "task", "after", "total"]


def test_a_thread_without_the_context_is_nobodys():
    async def work():
        def elsewhere():
            with stage("elsewhere"):
                pass

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(thread.join)

    assert names(asked_once(work)) == ["total"]


def test_requests_at_once_are_told_apart():
    async def app(scope, receive, send):
        with stage(scope["path"]):
            await asyncio.sleep(0.001)
        with stage(scope["path"]):
            await asyncio.sleep(0.001)
        await answer(send)

    async def both():
        wrapped = Middleware(app)
        return await asyncio.gather(*(asked(wrapped, {**HTTP, "path": path}) for path in "ab"))

    assert [names(each) for each in asyncio.run(both())] == [["a", "a", "total"], ["b", "b", "total"]]


def test_an_error_goes_on_and_leaves_nothing_open():
    async def failing(scope, receive, send):
        with stage("model"):
            raise KeyError("x")

    async def run():
        with pytest.raises(KeyError):
            await asked(Middleware(failing))
        with stage("outside of any request"):
            pass

        async def fine(scope, receive, send):
            await answer(send)

        return await asked(Middleware(fine))

    assert names(asyncio.run(run())) == ["total"]


def test_what_ends_after_the_head_was_sent_is_not_told():
    async def app(scope, receive, send):
        with stage("before"):
            pass
        with stage("around"):
            await answer(send, b"one", b"two")
        with stage("after"):
            pass

    sent = asyncio.run(asked(Middleware(app)))
    assert names(sent) == ["before", "total"]
    assert [each["body"] for each in sent[1:]] == [b"one", b"two", b""]


def test_a_header_of_the_application_stays():
    async def work():
        pass

    mine = ((b"content-type", b"text/plain"), (b"server-timing", b"db;dur=5"))
    head = asked_once(work, headers=mine)[0]
    assert tuple(head["headers"][:2]) == mine
    assert [name for name, _ in head["headers"]].count(b"server-timing") == 2


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
def test_other_scopes_pass_through_untouched(kind):
    seen = []

    async def app(*given):
        seen.append(given)

    async def receive():
        raise AssertionError

    async def send(_message):
        raise AssertionError

    scope = {"type": kind}
    asyncio.run(Middleware(app)(scope, receive, send))
    assert seen == [(scope, receive, send)]
    assert stages._listener is None


def test_names_become_tokens_and_none_breaks_out_of_the_header():
    async def work():
        for name in ("a b", "x;dur=9, y", "größe\r\nSet-Cookie: z", "", "n" * 500):
            with stage(name):
                pass

    messages = asked_once(work)
    assert names(messages) == ["a_b", "x_dur_9__y", "gr__e__Set-Cookie__z", "_", "n" * LONGEST_NAME, "total"]


def test_of_too_many_stages_each_name_tells_its_own_time():
    """GIVEN one stage around many others THEN no time is told twice, and the number of metrics is bounded."""

    async def work():
        with stage("outer"):
            for _ in range(MOST):
                with stage("inner"):
                    await asyncio.sleep(0.0002)
        for number in range(3 * MOST):
            with stage(f"name {number}"):
                pass

    found = told(asked_once(work))
    assert len(found) == MOST + 1
    sums = dict(found)
    assert all("at" not in parameters for parameters in sums.values())
    assert sums["inner"]["dur"] >= MOST * 0.2
    assert sum(each["dur"] for name, each in found if name != "total") <= sums["total"]["dur"] + 0.1


def test_a_listener_that_is_there_keeps_listening():
    class Other:
        heard = ()

        def begin(self, name):
            self.heard += (name,)

        def end(self):
            pass

    other = Other()
    stages.listen(other)

    async def work():
        with stage("model"):
            pass

    assert names(asked_once(work)) == ["total"]
    assert other.heard == ("model",)


def test_it_imports_little():
    """A server that marks its stages loads neither numpy nor anything else of ours."""
    program = "import sys, pinchpoint.asgi; print(*[m for m in sys.modules if m.startswith(('numpy', 'pinchpoint.'))])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert sorted(found) == ["pinchpoint.asgi", "pinchpoint.stages"]

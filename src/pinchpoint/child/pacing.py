"""One request in flight after the other: stamps due and done, and observes a random share of the requests."""

from __future__ import annotations

import inspect
import random
import time
from typing import Any, Callable, Dict, List, Optional

from pinchpoint.child.recorder import FAILED, NEW_SHAPE, OBSERVED, OBSERVED_BEFORE_THINNING, Recorder
from pinchpoint.child.sessions import fresh
from pinchpoint.stages import listen

_clock = time.perf_counter_ns
_thread_cpu = time.thread_time_ns
ERRORS_KEPT = 8


class Pacer:
    """Drives `call(payload)` over `payloads` in turn until time or count is up; counts errors and goes on."""

    def __init__(self, recorder: Recorder, seed: int) -> None:
        self._recorder = recorder
        self._random = random.Random(seed)  # noqa: S311  # sampling, not secrets
        self.errors: Dict[str, int] = {}
        self.first_error: Optional[BaseException] = None
        self.failed = 0
        self.served = 0

    def drive(
        self, call: Callable[[Any], Any], payloads: List[Any], seconds: float, count: int, observe: float, flag: int = 0
    ) -> None:
        """Closed loop on a plain callable; `flag` marks the requests of another arm."""
        deadline = _clock() + int(seconds * 1e9)
        remaining = count
        while remaining > 0 and _clock() < deadline:
            self._one(call, payloads[self.served % len(payloads)], observe, flag)
            remaining -= 1

    async def drive_async(
        self, call: Callable[[Any], Any], payloads: List[Any], seconds: float, count: int, observe: float, flag: int = 0
    ) -> None:
        """The same loop for a coroutine function, awaited inside one event loop."""
        deadline = _clock() + int(seconds * 1e9)
        remaining = count
        while remaining > 0 and _clock() < deadline:
            await self._one_async(call, payloads[self.served % len(payloads)], observe, flag)
            remaining -= 1

    def _one(self, call: Callable[[Any], Any], payload: Any, observe: float, flag: int) -> None:
        recorder, index = self._recorder, self.served
        self.served += 1
        shapes = fresh[0]
        if self._random.random() >= self._share(observe):
            start = _clock()
            try:
                call(payload)
            except Exception as error:
                flag |= self._failure(error)
            end = _clock()
            recorder.request(index, start, end, flag if fresh[0] == shapes else flag | NEW_SHAPE)
            return
        recorder.open_request(index)
        before = recorder.counters()
        listen(recorder)
        cpu = _thread_cpu()
        start = _clock()
        try:
            call(payload)
        except Exception as error:
            flag |= self._failure(error)
        end = _clock()
        end_cpu = _thread_cpu()
        listen(None)
        recorder.close_request(cpu, end_cpu, before, recorder.counters())
        flag |= OBSERVED
        recorder.request(index, start, end, flag if fresh[0] == shapes else flag | NEW_SHAPE)

    async def _one_async(self, call: Callable[[Any], Any], payload: Any, observe: float, flag: int) -> None:
        recorder, index = self._recorder, self.served
        self.served += 1
        shapes = fresh[0]
        observed = self._random.random() < self._share(observe)
        if observed:
            recorder.open_request(index)
            before = recorder.counters()
            listen(recorder)
            cpu = _thread_cpu()
        start = _clock()
        try:
            await call(payload)
        except Exception as error:
            flag |= self._failure(error)
        end = _clock()
        if observed:
            end_cpu = _thread_cpu()
            listen(None)
            recorder.close_request(cpu, end_cpu, before, recorder.counters())
            flag |= OBSERVED
        recorder.request(index, start, end, flag if fresh[0] == shapes else flag | NEW_SHAPE)

    def _share(self, observe: float) -> float:
        """The share to observe: halves with every `OBSERVED_BEFORE_THINNING` observed, so that a long run stays small."""
        return observe / (1 << (self._recorder.observed // OBSERVED_BEFORE_THINNING))

    def _failure(self, error: BaseException) -> int:
        self.failed += 1
        if self.first_error is None:
            self.first_error = error
        kind = type(error).__name__
        if kind in self.errors or len(self.errors) < ERRORS_KEPT:
            self.errors[kind] = self.errors.get(kind, 0) + 1
        return FAILED


def is_async(call: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine."""
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, "__call__", None))  # noqa: B004

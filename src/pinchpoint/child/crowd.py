"""Several requests in flight: threads, or tasks of one event loop, each asking again as soon as it is answered."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from typing import Any, Callable, Dict, List, Tuple

from pinchpoint.child import descendants, held, pools
from pinchpoint.child.pacing import is_async

_clock = time.perf_counter_ns
_process_cpu = time.process_time_ns
LATENCIES_KEPT = 1000  # of a visit, evenly from the shortest to the longest
ASKED_KEPT = 4000  # requests of a visit: of so many, the first ones, it is noted which payload they had
FIRST_S = 0.1  # a request is never cut short, so a visit lasts at least one
CHECKED_PAYLOADS, CHECKED_EACH, CHECKED_S = 4, 8, 0.3
DEPTH = 6  # of an answer that is compared


class Crowd:
    """Visits of a target at some load; what fails is counted, and the first error kept."""

    def __init__(self, call: Callable[[Any], Any], payloads: List[Any]) -> None:
        self._call, self._payloads = call, payloads
        self._loop_watch: Any = None
        self._asked: List[Tuple[int, int, int]] = []
        self.first_error: Any = None

    def visit(self, load: int, seconds: float, loop: Any, begin_ns: int = 0) -> Dict[str, Any]:
        """Keep `load` requests in flight for `seconds`, or for none just wait; what was done and used meanwhile.

        It begins at `begin_ns` of the monotonic clock, at once where that has passed.
        """
        time.sleep(max(begin_ns - _clock(), 0) / 1e9)
        before, self._asked = held.totals(), []
        children, cpu, begin = descendants.cpu_s(), _process_cpu(), _clock()
        if load == 0:
            time.sleep(seconds)
            latencies, failed = [], 0
        elif is_async(self._call):
            if self._loop_watch is None:
                self._loop_watch = pools.LoopWatch(loop)
            self._loop_watch.begin()
            latencies, failed = loop.run_until_complete(self._tasks(load, begin + int(seconds * 1e9)))
        else:
            latencies, failed = self._threads(load, begin + int(seconds * 1e9))
        end, cpu_end = _clock(), _process_cpu()
        latencies.sort()
        return {
            "load": load,
            "begin_ns": begin,
            "end_ns": end,
            "done": len(latencies),
            "failed": failed,
            "cpu_s": (cpu_end - cpu) / 1e9 + descendants.cpu_s() - children,
            "mean_s": sum(latencies) / len(latencies) / 1e9 if latencies else 0.0,
            "latencies_ns": _thinned(latencies),
            "held": held.since(before),
            "asked": self._asked,
        }

    def _threads(self, load: int, deadline: int) -> Tuple[List[int], int]:
        latencies: List[List[int]] = [[] for _ in range(load)]
        failures: List[BaseException] = []
        call, payloads, several = self._call, self._payloads, len(self._payloads) > 1

        def ask(number: int) -> None:
            mine, turn = latencies[number], number
            while True:
                start = _clock()
                if start >= deadline and (mine or failures):
                    return
                try:
                    call(payloads[turn % len(payloads)])
                except Exception as error:
                    failures.append(error)
                else:
                    end = _clock()
                    mine.append(end - start)
                    if several:
                        self._note(turn, start, end)
                turn += load

        threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(load)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return self._told([ns for mine in latencies for ns in mine], failures)

    async def _tasks(self, load: int, deadline: int) -> Tuple[List[int], int]:
        latencies: List[int] = []
        failures: List[BaseException] = []
        several = len(self._payloads) > 1

        async def ask(number: int) -> None:
            turn = number
            while _clock() < deadline or turn == number:
                start = _clock()
                try:
                    await self._call(self._payloads[turn % len(self._payloads)])
                except Exception as error:
                    failures.append(error)
                    await asyncio.sleep(0)  # one that fails at once must not keep the others from running
                else:
                    end = _clock()
                    latencies.append(end - start)
                    if several:
                        self._note(turn, start, end)
                turn += load

        await asyncio.gather(*(ask(number) for number in range(load)))
        return self._told(latencies, failures)

    def _note(self, turn: int, start: int, end: int) -> None:
        """Which payload a request had."""
        if len(self._asked) < ASKED_KEPT:
            self._asked.append((turn % len(self._payloads), start, end))

    def _told(self, latencies: List[int], failures: List[BaseException]) -> Tuple[List[int], int]:
        if failures and self.first_error is None:
            self.first_error = failures[0]
        return latencies, len(failures)

    def check(self, load: int) -> Dict[str, int]:
        """Whether answers under `load` threads equal those of one request alone: how many were compared, how many differ.

        Requests whose answer alone is not the same twice, or cannot be compared, are left out.
        """
        alone: Dict[int, bytes] = {}
        deadline = _clock() + int(CHECKED_S * 1e9)
        for number, payload in enumerate(self._payloads[:CHECKED_PAYLOADS]):
            if alone and _clock() > deadline:
                break
            first, second = (digest(self._call(payload)) for _ in range(2))
            if first and first == second:
                alone[number] = first
        deadline = _clock() + int(CHECKED_S * 1e9)
        differ: List[bool] = []

        def ask(first: int) -> None:
            for turn in range(CHECKED_EACH):
                if turn and _clock() > deadline:
                    return
                number = (first + turn) % CHECKED_PAYLOADS
                if number in alone:
                    differ.append(digest(self._call(self._payloads[number])) != alone[number])

        threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(load)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return {"compared": len(differ), "different": sum(differ)}


def _thinned(ascending: List[int]) -> List[int]:
    """As many values as are kept, at even ranks."""
    if len(ascending) <= LATENCIES_KEPT:
        return ascending
    step = (len(ascending) - 1) / (LATENCIES_KEPT - 1)
    return [ascending[round(rank * step)] for rank in range(LATENCIES_KEPT)]


def digest(answer: Any) -> bytes:
    """A hash of an answer's values; empty where it has something that we cannot compare."""
    parts = hashlib.sha256()
    return parts.digest() if _feed(answer, parts, DEPTH) else b""


def _feed(value: Any, parts: Any, depth: int) -> bool:
    """Hash a value; False for what cannot be compared."""
    if depth == 0:
        return False
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # a tensor of torch
        try:
            value = value.detach().cpu().numpy()
        except Exception:
            return False
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        parts.update(repr(value).encode("utf-8", "replace"))
    elif isinstance(value, (bytes, bytearray)):
        parts.update(value)
    elif isinstance(value, (list, tuple)):
        parts.update(b"[")
        return all(_feed(each, parts, depth - 1) for each in value)
    elif isinstance(value, dict):
        parts.update(b"{")
        return all(_feed(each, parts, depth - 1) for pair in value.items() for each in pair)
    elif hasattr(value, "tobytes") and not getattr(getattr(value, "dtype", None), "hasobject", True):
        parts.update(repr((value.shape, str(value.dtype))).encode())
        parts.update(value.tobytes())
    else:
        return False
    return True

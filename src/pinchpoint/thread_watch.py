"""The threads of a server's processes, looked at from outside at random moments: running, parked, or blocked and on what.

A thread is parked where it sits while nothing is asked: in its selector, at the lock of its pool's queue, in `accept`, or in a
read from one of its own clients. What each thread's place is then is learnt from moments without a request.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pinchpoint.connections import Awaited, Peers, ServedSockets
from pinchpoint.domain.run import FUTEX, NETWORK, OTHER, PARKED, RUNNING, TIMER, Ints, Samples
from pinchpoint.domain.service import (
    ACCEPTING,
    ELSEWHERE,
    INTERPRETER,
    SELECTOR,
    SLEEPING,
    WAITING_FOR_WORK,
    Peer,
    ServerThread,
)
from pinchpoint.sampling import Calls, SiteReader, TimeLimits, be_punctual
from pinchpoint.watched_thread import UNLIMITED_MS, Blocked, WatchedThread, ran_ns, thread_of, unread

MOST_RATE_PER_S = 150.0
MOST_SHARE = 0.03  # of a CPU, not the one that the server computes on
REFRESH_S, SITE_KEPT_S = 0.25, 0.5
SLEEPERS_EVERY_S = 0.9
MOST_THREADS, MOST_AWAKE = 512, 128
MOST_PARENTS = 4  # processes in which new threads are looked for at each moment
PARKED_SHARE = 0.05  # of a thread's moments without a request: a place where it is less often is none of its own
OTHERS = 0  # the thread number of connections to other services: a row in each moment
SHORT, SHORTER_SHARE = 0.5, 0.8  # of the usual time limit of an idle selector; of the moments within requests
SOON = 0.1  # of the moments of a wait are in its last tenth, where it ends with its time
FEWEST = 20
TURN_MS = 5  # after so long a thread that waits for CPython's interpreter asks for it (sys.setswitchinterval)

Windows = Sequence[tuple[int, int]]
Told = Sequence[tuple[int, int, Mapping[int, bool]]]  # from when to when, and which threads' stacks wait for work then
Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class _Rows:
    t_ns: list[int] = field(default_factory=list)
    thread: list[int] = field(default_factory=list)
    site: list[int] = field(default_factory=list)
    place: list[int] = field(default_factory=list)
    limit_ms: list[int] = field(default_factory=list)  # of a selector; UNLIMITED_MS without

    def columns(self) -> tuple[Ints, Ints, Ints, Ints, Ints]:
        """The same as arrays."""
        t, thread, site, place, limit = (
            np.array(each, dtype=np.int64) for each in (self.t_ns, self.thread, self.site, self.place, self.limit_ms)
        )
        return t, thread, site, place, limit


class ThreadWatch:
    """Looks at all threads of the processes that `processes` names, while it is not paused. Whether another service is awaited is
    asked while none of them runs. `passive`, where nothing is to be felt of it: no CPU is taken while another is idle; and always
    asked, since no moment is known to be of one request.
    """

    def __init__(
        self, processes: Callable[[], Sequence[int]], port: int, unix: str, seed: int, *, passive: bool = False
    ) -> None:
        self._processes, self._passive = processes, passive
        self._served, self._peers = ServedSockets(port, unix), Peers(port)
        self._random = random.Random(seed)  # noqa: S311  # jitter, not secrets
        self._rows = _Rows()
        self._threads: dict[int, WatchedThread] = {}
        self._numbers: dict[int, list[int]] = {}  # of each process's threads that came and went
        self._known: dict[int, ServerThread] = {}
        self._sites: dict[int, SiteReader] = {}
        self._sites_of: dict[int, tuple[int, float]] = {}
        self._calls, self._limits = Calls(), TimeLimits()
        self._places: dict[tuple[int, ...], int] = {}
        self._kinds: list[str] = [ELSEWHERE]
        self._awaited: Counter[str] = Counter()
        self._maybe: list[tuple[int, tuple[str, ...]]] = []  # rows, and whose answer was awaited then or not
        self._moments = 0
        self._refreshed = self._slept = 0.0
        self._cost_s = 0.0
        self._over, self._open = threading.Event(), threading.Event()
        self.blind = ""
        self._worker = threading.Thread(target=self._watch, name="thread watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._worker.start()

    def pause(self) -> None:
        """Look no more until `go`."""
        self._open.clear()

    def go(self) -> None:
        """Look."""
        self._peers.forget()
        self._open.set()

    def stop(self) -> None:
        """End looking."""
        self._over.set()
        self._open.set()
        if self._worker.ident is not None:
            self._worker.join()
        for thread in self._threads.values():
            thread.close()
        self._threads = {}
        self._limits.close()
        self._peers.close()
        self._served.close()

    # --- looking ---------------------------------------------------------------------------------------------------
    def _watch(self) -> None:
        be_punctual(gently=self._passive)
        while not self._over.is_set():
            self._open.wait()
            rate = min(MOST_RATE_PER_S, MOST_SHARE / max(self._cost_s, 1e-6))
            time.sleep((0.5 + self._random.random()) / rate)
            if self._over.is_set() or not self._open.is_set():
                continue
            if time.monotonic() - self._refreshed > REFRESH_S:
                self._refresh()
            began = self._own_s()
            self._look()
            self._cost_s += 0.1 * (self._own_s() - began - self._cost_s)

    def _own_s(self) -> float:
        """CPU time of looking; what asking for connections takes, which is seldom enough by itself, is none of it."""
        return time.thread_time() - self._peers.kernel.spent_s - self._served.kernel.spent_s

    def _look(self) -> None:
        """One moment: every thread that is awake, and whether another service is awaited where none of them says so itself."""
        now, parked = time.monotonic_ns(), True
        with_sleepers = time.monotonic() - self._slept > SLEEPERS_EVERY_S
        self._slept = time.monotonic() if with_sleepers else self._slept
        chosen = [each for each in self._threads.values() if each.awake or with_sleepers]
        # All are read before anything is made of it: a thread that is woken up meanwhile waits for this CPU, as if it ran.
        for thread, text in [(each, each.glance()) for each in chosen]:
            parked &= self._glanced(now, thread, text)
        if parked:  # as far as is known: a thread that lives for one request may have begun
            for thread in self._newborn():
                parked &= self._glanced(now, thread, thread.glance())
        self._moments += 1
        awaited = self._peers.awaited(self._processes()) if parked or self._passive else Awaited()
        if awaited.maybe and not awaited.surely:
            self._maybe.append((len(self._rows.t_ns), awaited.maybe))
        self._note(now, OTHERS, NETWORK if awaited.surely else PARKED, 0)
        self._awaited.update(awaited.surely)

    def _glanced(self, now: int, thread: WatchedThread, text: bytes) -> bool:
        """The same as `_look_at`; a thread that is gone is forgotten."""
        try:
            return self._look_at(now, thread, text)
        except (OSError, ValueError, IndexError):
            if thread.born:
                self._forget(thread)
            else:
                self._refreshed = 0.0
        return True

    def _newborn(self) -> list[WatchedThread]:
        """Threads that nobody has seen yet, of so many processes that it takes next to no time."""
        found: list[WatchedThread | None] = []
        for process in self._processes()[:MOST_PARENTS]:
            with contextlib.suppress(OSError):
                numbers = map(int, os.listdir(f"/proc/{process}/task")[:MOST_THREADS])
                found += [self._met(process, number, born=True) for number in numbers if number not in self._threads]
        return [each for each in found if each is not None]

    def _look_at(self, now: int, thread: WatchedThread, text: bytes) -> bool:
        """Note what a thread does, of which its `syscall` said `text`; whether it may be parked."""
        if thread.told is None or text != thread.text:  # most threads have not moved since the look before
            words = text.split()
            if words[:1] == [b"running"] or (not words and thread.state() == b"R"):
                thread.told = None
                self._note(now, thread.number, RUNNING, 0)
                return False
            found = self._blocked(thread, words)
            thread.text, thread.told = text, found if found.kept else None
        else:
            found = thread.told
        limit = found.limit_ms
        if found.until:
            limit = min(self._limits.left_ms(thread.process, found.until) or UNLIMITED_MS, UNLIMITED_MS)
        self._note(now, thread.number, found.site, found.place, limit)
        return found.parked

    def _blocked(self, thread: WatchedThread, words: list[bytes]) -> Blocked:
        """What a thread is blocked in."""
        sites = self._sites.get(thread.process)
        if sites is None:
            sites = self._sites[thread.process] = SiteReader(thread.process)
        if not words or not words[0].isdigit():
            return Blocked(sites.of(words, b"") if words else unread(thread), 0)
        number, argument = int(words[0]), int(words[1], 16)
        if self._calls.moves(number) and (inode := sites.inode(argument)):
            served = self._served.has(inode)
            place = self._place((thread.process, -1) if served else (thread.process, number, argument), ACCEPTING)
            return Blocked(PARKED if served else NETWORK, place, parked=served)
        kind = self._calls.kind(number)
        here = (thread.process, number) if kind in (SLEEPING, ACCEPTING) else (thread.process, number, argument)
        place = self._place(here, kind)
        if kind == ACCEPTING:
            return Blocked(TIMER if self._calls.sleeps(number, words) else NETWORK, place, parked=True)
        if kind == SELECTOR:
            limit = ctypes.c_int32(int(words[4], 16) & 0xFFFFFFFF).value
            return Blocked(NETWORK, place, UNLIMITED_MS if limit < 0 else limit, parked=True, kept=True)
        site = self._site(place, sites, words, thread)
        if kind != WAITING_FOR_WORK:
            return Blocked(site, place)
        timed = int(words[4], 16) != 0
        return Blocked(site, -place if timed else place, parked=True, kept=True, until=words if timed else None)

    def _place(self, here: tuple[int, ...], kind: str) -> int:
        """The number of a place."""
        place = self._places.get(here)
        if place is None:
            place = self._places[here] = len(self._kinds)
            self._kinds.append(kind)
        return place

    def _site(self, place: int, sites: SiteReader, words: list[bytes], thread: WatchedThread) -> int:
        """What is waited for at a place, which takes a while to find out and changes seldom."""
        known, until = self._sites_of.get(place, (OTHER, 0.0))
        if time.monotonic() > until:
            known = sites.of(words, thread.state())
            self._sites_of[place] = known, time.monotonic() + SITE_KEPT_S
        return known

    def _note(self, now: int, thread: int, site: int, place: int, limit_ms: int = UNLIMITED_MS) -> None:
        rows = self._rows
        rows.t_ns.append(now)
        rows.thread.append(thread)
        rows.site.append(site)
        rows.place.append(place)
        rows.limit_ms.append(limit_ms)

    def _refresh(self) -> None:
        """Find the threads that appeared, forget those that are gone, and wake up those that have run meanwhile."""
        self._refreshed = time.monotonic()
        alive: dict[int, int] = {}
        for process in self._processes():
            with contextlib.suppress(OSError):
                alive |= {int(name): process for name in os.listdir(f"/proc/{process}/task")[:MOST_THREADS]}
        for gone in self._threads.keys() - alive.keys():
            self._forget(self._threads[gone])
        first = not self._known
        for number in alive.keys() - self._threads.keys():
            self._met(alive[number], number, born=not first)
        for thread in self._threads.values():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if not thread.awake and ran_ns(thread) != thread.ran_ns:
                    self._wake(thread)

    def _met(self, process: int, number: int, *, born: bool) -> WatchedThread | None:
        """A thread that is seen for the first time; None where it is gone already. One that begins after another of its process
        has ended is noted as that one: where each request has a thread of its own, they are one worker.
        """
        with contextlib.suppress(OSError, ValueError, IndexError):
            thread = thread_of(process, number)
            left = self._numbers.get(process, []) if born else []
            thread.number, thread.born = left.pop() if left else number, born
            self._threads[number] = thread
            self._known.setdefault(thread.number, ServerThread(thread.number, process, thread.name))
            if born:
                self._wake(thread)
            return thread
        return None

    def noted_as(self, thread: int) -> int:
        """By which number a thread is noted that is there now: its own, or that of one that it follows."""
        known = self._threads.get(thread)
        return known.number if known is not None else thread

    def _forget(self, thread: WatchedThread) -> None:
        """A thread is gone."""
        self._threads.pop(thread.thread, None)
        thread.close()
        if thread.born:
            self._numbers.setdefault(thread.process, []).append(thread.number)

    def _wake(self, thread: WatchedThread) -> None:
        """Look at a thread in every moment from now on."""
        if sum(each.awake for each in self._threads.values()) >= MOST_AWAKE:
            return
        thread.awake = True
        task = f"/proc/{thread.process}/task/{thread.thread}"
        thread.stat = os.open(f"{task}/stat", os.O_RDONLY)
        try:
            thread.syscall = os.open(f"{task}/syscall", os.O_RDONLY)
        except OSError as error:
            self.blind = f"what threads are blocked in cannot be read ({error.strerror})"

    # --- what was seen ---------------------------------------------------------------------------------------------
    def _columns(self) -> tuple[Ints, Ints, Ints, Ints, Ints]:
        """The rows. Of those that could not tell whether another service was awaited, as many say so as did where it was seen,
        evenly.
        """
        due: dict[str, float] = defaultdict(float)
        for row, addresses in self._maybe:
            for address in addresses:
                due[address] += self._peers.share_awaited(address)
                if due[address] >= 1:
                    due[address] -= 1
                    self._rows.site[row] = NETWORK
                    self._awaited[address] += 1
        self._maybe = []
        return self._rows.columns()

    def seen(self, idle: Windows, requests: Windows) -> tuple[Samples, tuple[ServerThread, ...], tuple[Peer, ...]]:
        """All that was seen, once it is over: the samples with parked threads told from blocked ones, the threads, and the
        services that were waited for. `idle` are times without a request, `requests` those of requests alone in flight.
        """
        t, thread, site, place, limit = self._columns()
        at_rest, asked = within(t, idle), within(t, requests)
        homes = {number: self._homes(place[at_rest & (thread == number)]) for number in self._known}
        selectors = np.array([kind == SELECTOR for kind in self._kinds], dtype=bool)[np.abs(place)] & (place != 0)
        timed = self._on_a_timer(t, thread, site, selectors, limit, at_rest, asked)
        impatient = self._impatient(t, thread, site, place, limit, at_rest, asked)
        for number, own in homes.items():
            mine = (thread == number) & (site != RUNNING) & np.isin(np.abs(place), list(own)) & (place != 0)
            site[mine] = np.where(timed[mine], TIMER, PARKED)
        site[impatient] = TIMER
        site[self._in_turn(site, place, selectors, timed, homes)] = PARKED
        site[self._at_their_queue(thread, site, place, homes)] = PARKED
        place[(site == FUTEX) & (place < 0) & (limit <= TURN_MS)] = INTERPRETER
        return self._told(t, thread, site, place, {number: own[0] for number, own in homes.items() if own})

    def seen_at_work(self, told: Told) -> tuple[Samples, tuple[ServerThread, ...], tuple[Peer, ...]]:
        """The same of a server that was never left alone. An epoll is a place of rest by its kind, and so is `accept` (or a poll)
        while no other service is awaited. Of a lock the stacks say whether it is a queue's, at which a thread waits for work, or
        one that the user's own code waits for; of another one it is not said that it is a lock.
        """
        t, thread, site, place, limit = self._columns()
        kinds = np.array(self._kinds)[np.abs(place)]
        calls = np.isin(t, t[(thread == OTHERS) & (site == NETWORK)])
        site[(kinds == SELECTOR) | ((kinds == ACCEPTING) & (site == NETWORK) & ~calls)] = PARKED
        in_lock = (site == FUTEX) & (place != 0)
        said = _said(t[in_lock], thread[in_lock], np.abs(place[in_lock]), told)
        queues, locks = ([at for at, votes in said.items() if votes * sign > 0] for sign in (1, -1))
        site[in_lock & np.isin(np.abs(place), queues)] = PARKED
        site[in_lock & (place > 0) & ~np.isin(place, [*queues, *locks])] = OTHER
        place[(site == FUTEX) & (place < 0) & (limit <= TURN_MS)] = INTERPRETER
        parked = (site == PARKED) & (place != 0)
        usual = {number: np.abs(place[parked & (thread == number)]) for number in self._known}
        return self._told(
            t, thread, site, place, {number: int(np.bincount(at).argmax()) for number, at in usual.items() if len(at)}
        )

    def _told(
        self, t: Ints, thread: Ints, site: Ints, place: Ints, homes: Mapping[int, int]
    ) -> tuple[Samples, tuple[ServerThread, ...], tuple[Peer, ...]]:
        threads = tuple(
            ServerThread(number, each.process, each.name, self._kinds[homes[number]] if number in homes else "")
            for number, each in sorted(self._known.items())
        )
        peers = tuple(Peer(address, count, self._moments) for address, count in self._awaited.most_common())
        return Samples(t, thread, site, np.full(len(t), -1, np.int64), place), threads, peers

    def _at_their_queue(self, thread: Ints, site: Ints, place: Ints, homes: Mapping[int, Sequence[int]]) -> Mask:
        """Rows of workers that wait for work at locks of their own: a condition makes a new one for each wait, so that no other
        thread is ever seen at any of them. They wait as at rest, with a time limit or without: for the interpreter there is one.
        """
        limited = {number: int(place[(site == PARKED) & (thread == number)].sum()) < 0 for number in homes}
        as_at_rest = (place < 0) == np.array([limited.get(each, False) for each in thread.tolist()], dtype=bool)
        at_lock = (site == FUTEX) & (place != 0) & as_at_rest
        pairs = np.unique(np.stack([np.abs(place[at_lock]), thread[at_lock]]), axis=1)
        places, first, visitors = np.unique(pairs[0], return_index=True, return_counts=True)
        alone = {int(at): int(pairs[1][i]) for at, i, count in zip(places, first, visitors, strict=True) if count == 1}
        several = {thread for thread, count in Counter(alone.values()).items() if count > 1}
        idle = [each for each in several if (own := homes.get(each)) and self._kinds[own[0]] == WAITING_FOR_WORK]
        found: Mask = at_lock & np.isin(np.abs(place), list(alone)) & np.isin(thread, idle)
        return found

    def _in_turn(
        self, site: Ints, place: Ints, selectors: Mask, timed: Mask, homes: Mapping[int, Sequence[int]]
    ) -> Mask:
        """Rows of threads that take turns at a selector where one of them is at rest (gRPC's pollers): it is the place of all."""
        common = [each for own in homes.values() for each in own if self._kinds[each] == SELECTOR]
        found: Mask = selectors & (site == NETWORK) & ~timed & np.isin(np.abs(place), common)
        return found

    def _homes(self, places: Ints) -> list[int]:
        """The places where a thread sits at rest, the usual one first."""
        known: Counter[int] = Counter(np.abs(places[places != 0]).tolist())
        return [place for place, count in known.most_common() if count > PARKED_SHARE * len(places)]

    def _on_a_timer(
        self, t: Ints, thread: Ints, site: Ints, selectors: Mask, limit: Ints, at_rest: Mask, asked: Mask
    ) -> Mask:
        """Which rows are of a selector that waits for a timer of the request: within requests, while no thread runs and no
        service is awaited, its time limit is nearly always far below the usual one without a request. Then it does so as well
        while threads run: these may only spin.
        """
        nothing = np.zeros(len(t), dtype=bool)
        usual, awaited = limit[selectors & at_rest], t[(thread == OTHERS) & (site == NETWORK)]
        waiting = selectors & asked & (site != RUNNING) & ~np.isin(t, awaited)
        alone = waiting & ~np.isin(t, t[site == RUNNING])
        if min(len(usual), int(np.count_nonzero(alone))) < FEWEST:
            return nothing
        short = (limit > 0) & (limit < SHORT * float(np.median(usual)))
        # with several selectors one of them has the timer
        moments = np.unique(t[alone])
        of_timer = np.isin(moments, t[alone & short])
        return (waiting & short) if of_timer.mean() >= SHORTER_SHARE else nothing

    def _impatient(
        self, t: Ints, thread: Ints, site: Ints, place: Ints, limit: Ints, at_rest: Mask, asked: Mask
    ) -> Mask:
        """Rows of threads that wait in a lock until their time is over, while no thread runs: the time that is left lies nearly
        always far below their usual one without a request, and comes near its end. That of a lock which is had before does not.
        """
        found = np.zeros(len(t), dtype=bool)
        waiting = (site == FUTEX) & (place != 0)
        alone = waiting & (place < 0) & asked & ~np.isin(t, t[site == RUNNING])
        for number in np.unique(thread[alone]).tolist():
            mine = thread == number
            usual, left = limit[mine & waiting & at_rest], limit[mine & alone]
            if min(len(usual), len(left)) < FEWEST:
                continue
            short = SHORT * float(np.median(usual))
            if np.mean(left < short) >= SHORTER_SHARE and np.quantile(left, SOON) < SHORT**2 * np.quantile(
                left, 1 - SOON
            ):
                found |= mine & alone & (limit < short)
        return found


def _said(t: Ints, thread: Ints, place: Ints, told: Told) -> Counter[int]:
    """For each place in a lock how many more stacks say that it is a queue's than that it is a lock of the user's own."""
    votes: Counter[int] = Counter()
    for begin, end, waiting in told:
        now = slice(*np.searchsorted(t, (begin, end)))
        for number, for_work in waiting.items():
            at = place[now][thread[now] == number]
            if len(at):
                votes[int(np.bincount(at).argmax())] += 1 if for_work else -1
    return votes


def within(t: Ints, windows: Windows) -> Mask:
    """Which moments lie in one of some windows that do not overlap."""
    if not windows:
        return np.zeros(len(t), dtype=bool)
    begins, ends = (np.array(each, dtype=np.int64) for each in zip(*sorted(windows), strict=True))
    at = np.searchsorted(begins, t, side="right") - 1
    inside: Mask = (at >= 0) & (t < ends[np.maximum(at, 0)])
    return inside

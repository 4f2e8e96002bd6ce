"""Run of a server -> its ladder with what was held in each visit: event loops, workers, locks, the interpreters' locks, and
processes where requests lie unevenly among them.

Nothing of this is counted by a clock: threads are looked at some hundred times a second, and each share is one of moments.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pinchpoint.domain.run import FUTEX, PARKED, RUNNING, Floats, Held, Ints, Run, Samples, Visit
from pinchpoint.domain.served import Served
from pinchpoint.domain.service import HOLDING, INTERPRETER, SELECTOR, ServerThread, Service
from pinchpoint.moments_of_service import FEWEST, background, spinning
from pinchpoint.timeline import Mask

LOOP, POOL, LOCK, PROCESS = "loop", "pool", "lock", "process"
OF_THE_SERVER = "of the server"
COMPUTES = 0.5  # of the time: what a native thread that serves does in some visit at least
SHARED = 1.5  # threads that are busy with one request: they share it
USED = 0.02  # of the time: a loop that does less serves nobody
MORE_IN_FLIGHT = 1.25  # times the workers: with fewer nobody has to wait for one
ALIKE = 0.1  # of their number: how far as many workers are from it at any load
AT_MOST = 0.99  # of the moments have no more workers busy than there are
ENOUGH_EACH = 2  # requests in flight a process: one is served, and one waits
ALL_THE_TIME = 0.9  # of the time: what a worker is busy at the highest load
UNEVEN = 0.5  # of the busiest process's time: what the idlest one is busy at most where requests lie unevenly


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen in a stretch of time: how many moments, and a row for each thread that was not parked in one."""

    moments: int
    at: Ints  # the number of the moment
    thread: Ints
    site: Ints
    place: Ints

    def busy(self, threads: Collection[int]) -> Floats:
        """How many of some threads were not parked, at each moment."""
        return self._count(np.isin(self.thread, list(threads)))

    def computing(self, threads: Collection[int]) -> Floats:
        """The same without those that wait for the interpreter, or for anything else with a time limit."""
        return self._count(np.isin(self.thread, list(threads)) & ((self.site != FUTEX) | (self.place > 0)))

    def awaited(self, threads: Collection[int]) -> float:
        """The share of the moments in which any of some threads waits for the interpreter."""
        waits = np.isin(self.thread, list(threads)) & (self.site == FUTEX) & (self.place == INTERPRETER)
        return np.count_nonzero(self._count(waits)) / self.moments

    def runs(self, thread: int) -> float:
        """The share of the moments in which a thread can run."""
        return np.count_nonzero((self.thread == thread) & (self.site == RUNNING)) / self.moments

    def waiting(self, threads: Collection[int]) -> Mask:
        """The rows of some threads that wait for a lock without a time limit: the interpreter's own has one."""
        waiting: Mask = np.isin(self.thread, list(threads)) & (self.site == FUTEX) & (self.place > 0)
        return waiting

    def busy_share(self, threads: Collection[int]) -> float:
        """The share of the moments in which any of some threads is not parked."""
        return np.count_nonzero(self.busy(threads)) / self.moments

    def _count(self, rows: Mask) -> Floats:
        return np.bincount(self.at[rows], minlength=self.moments).astype(float)


def ladder_of(run: Run) -> tuple[Visit, ...]:
    """The visits with what was held in each, in seconds summed over all that hold it, and CPU time without what helpers spin."""
    service = run.service
    if service is None or not run.ladder:
        return run.ladder
    looked = [looked_at(run.samples, visit.begin_ns, visit.end_ns) for visit in run.ladder]
    serving = _serving(run, looked) or _computing(service, run.ladder, looked)
    most = _at_a_time(run.ladder, looked, serving)
    loops, uneven, spins = serving_loops(service, looked), _uneven(run, service, looked), spinning(run)
    found = []
    for visit, seen in zip(run.ladder, looked, strict=True):
        held: list[Held] = []
        often = seen.moments >= FEWEST
        if visit.load and often:
            held += _loops(visit, seen, loops)
            held += _workers(visit, seen, serving, most) if most and not uneven else []
            held += _lock(visit, seen, serving)
            held += _processes(visit, seen, uneven)
        looks, locked = _interpreters(run, visit, seen)
        worked_s = visit.cpu_s * (1 - _spun(run.samples, visit, spins))
        found.append(replace(visit, held=tuple(held), gil_probes=looks, gil_held=locked, looked=often, cpu_s=worked_s))
    return tuple(found)


def _at_a_time(ladder: Sequence[Visit], looked: Sequence[Looked], serving: Collection[int]) -> float:
    """How many requests are served at a time where that is limited, else 0: as many as workers are busy on average, whether few
    or many requests wait in line; or the most that are ever busy, where more are in flight. Workers that wait for a lock, or
    for another service, are busy as well: of these there are the more the more are in flight.
    """
    counts: dict[int, list[Floats]] = defaultdict(list)
    for visit, seen in zip(ladder, looked, strict=True):
        if visit.load and seen.moments >= FEWEST:
            counts[visit.load].append(seen.busy(serving))
    if not counts:
        return 0.0
    means = {load: float(np.mean([each.mean() for each in found])) for load, found in sorted(counts.items())}
    places = round(means[max(means)])
    in_line = [mean for load, mean in means.items() if places and load >= MORE_IN_FLIGHT * places]
    if len(in_line) > 1 and all(abs(mean - places) < ALIKE * places for mean in in_line):
        return float(places)
    # No quantile between two: at few moments it would count a part of a worker.
    most = max(float(np.quantile(each, AT_MOST, method="lower")) for found in counts.values() for each in found)
    return most if most >= 1 and max(visit.load for visit in ladder) >= MORE_IN_FLIGHT * most else 0.0


def _spun(samples: Samples, visit: Visit, spins: Mask) -> float:
    """The share of the threads that could run in a visit which only spun."""
    first, last = np.searchsorted(samples.t_ns, (visit.begin_ns, visit.end_ns))
    running = np.count_nonzero(samples.site[first:last] == RUNNING)
    return np.count_nonzero(spins[first:last]) / running if running else 0.0


def _serving(run: Run, looked: Sequence[Looked]) -> list[int]:
    """The workers of Python's; where some are busy all the time at the highest load, and all others little, those alone: who
    hands a request over to a worker, or does a part of it for one, is none. Nor is a thread that computes without requests.
    """
    assert run.service is not None
    apart = background(run)
    serving = [each.thread for each in workers(run.service) if each.thread not in apart]
    full = [(visit.load, seen) for seen, visit in zip(looked, run.ladder, strict=True) if seen.moments >= FEWEST]
    most = max((load for load, _ in full), default=0)
    if most < 2:
        return serving
    used = {each: float(np.mean([seen.busy_share([each]) for load, seen in full if load == most])) for each in serving}
    always = [each for each, share in used.items() if share > ALL_THE_TIME]
    others = [share for each, share in used.items() if each not in always]
    return always if always and max(others, default=0.0) < UNEVEN else serving


def workers(service: Service) -> tuple[ServerThread, ...]:
    """The threads that serve one request after the other: Python's, whose home is no selector. A runtime's helpers, which are no
    threads of Python's, compute for others and serve nobody.
    """
    return tuple(each for each in service.threads if each.parked != SELECTOR and each.python)


def _computing(service: Service, ladder: Sequence[Visit], looked: Sequence[Looked]) -> list[int]:
    """The threads that compute most of the time in any visit, of a server that has no Python in it: its workers. None where
    several of them are busy with one request in flight: these share it out, and wait for each other in no line of requests.
    """
    if any(each.python is not False for each in service.threads):
        return []
    known = [(visit.load, seen) for visit, seen in zip(ladder, looked, strict=True) if seen.moments >= FEWEST]
    others = [each.thread for each in service.threads if each.parked != SELECTOR]
    found = [thread for thread in others if any(seen.runs(thread) > COMPUTES for _, seen in known)]
    shared = [float(seen.busy(found).mean()) for load, seen in known if load == 1]
    return [] if shared and max(shared) > SHARED else found


def looked_at(samples: Samples, begin_ns: int, end_ns: int) -> Looked:
    """What was seen from one moment to another."""
    first, last = np.searchsorted(samples.t_ns, (begin_ns, end_ns))
    t = samples.t_ns[first:last]
    moments, at = np.unique(t, return_inverse=True)
    kept = samples.site[first:last] != PARKED
    place = samples.place[first:last] if len(samples.place) else np.zeros(len(t), np.int64)
    return Looked(
        len(moments), at[kept].astype(np.int64), samples.thread[first:last][kept], samples.site[first:last][kept], place[kept]
    )  # fmt: skip


def serving_loops(service: Service, looked: Sequence[Looked]) -> list[ServerThread]:
    """The event loops that do anything in any visit."""
    known = [each for each in looked if each.moments >= FEWEST]
    selectors = [each for each in service.threads if each.parked == SELECTOR]
    return [loop for loop in selectors if any(seen.busy([loop.thread]).mean() > USED for seen in known)]


def _loops(visit: Visit, seen: Looked, loops: Sequence[ServerThread]) -> list[Held]:
    """How much of the time each event loop is neither waiting in its selector nor for the interpreter. Several may be alike, or
    one may serve what another takes in: so each is a resource of its own.
    """
    found = []
    of_process = Counter(loop.process for loop in loops)
    for loop in loops:
        busy_s = float(seen.computing([loop.thread]).mean()) * visit.seconds
        thread = f", thread {loop.thread}" if of_process[loop.process] > 1 else ""
        name = f"of process {loop.process}{thread}" if len(loops) > 1 else ""
        found.append(Held(LOOP, name, 1, busy_s, 0.0, visit.done))
    return found


def _workers(visit: Visit, seen: Looked, serving: Collection[int], most: float) -> list[Held]:
    """Workers, where more requests are in flight than are ever served at once: then there are no more of them."""
    mean = float(seen.busy(serving).mean())
    waited = max(visit.load - mean, 0.0)
    return [Held(POOL, OF_THE_SERVER, most, min(mean, most) * visit.seconds, waited * visit.seconds, visit.done)]


Crews = Mapping[int, Collection[int]]  # the threads of each process


def _uneven(run: Run, service: Service, looked: Sequence[Looked]) -> Crews:
    """The processes that serve alike where requests lie unevenly among them; none where they do not."""
    threads: dict[int, list[int]] = defaultdict(list)
    for each in service.threads:
        threads[each.process].append(each.thread)
    known = [each for each in looked if each.moments >= FEWEST]
    used = {pid: max((seen.busy_share(own) for seen in known), default=0.0) for pid, own in threads.items()}
    alike = _alike(service.served, {pid for pid, share in used.items() if share > USED})
    pairs = zip(looked, run.ladder, strict=True)
    full = [seen for seen, visit in pairs if visit.load >= ENOUGH_EACH * len(alike) and seen.moments >= FEWEST]
    if len(alike) < 2 or not full:
        return {}
    busy = [float(np.mean([seen.busy_share(threads[pid]) for seen in full])) for pid in alike]
    return {pid: threads[pid] for pid in alike} if min(busy) < UNEVEN * max(busy) else {}


def _alike(served: Served, busy: Collection[int]) -> Sequence[int]:
    """The processes that wait for connections at the same socket, or else the most siblings of one name that all serve: also one
    that never has anything to do, where each of them has a listening socket of its own.
    """
    if len(served.doors) > 1:
        return served.doors
    siblings: dict[tuple[int, str], list[int]] = defaultdict(list)
    for each in served.processes:
        siblings[each.parent, each.name].append(each.pid)
    groups = [_that_serve(pids, busy, served.apart) for pids in siblings.values()]
    return max(groups, key=len, default=[])


def _that_serve(siblings: Sequence[int], busy: Collection[int], apart: Collection[int]) -> Sequence[int]:
    at_work = [pid for pid in siblings if pid in busy]
    alike = [pid for pid in siblings if pid in apart]
    return alike if at_work and set(at_work) <= set(alike) else at_work


def _processes(visit: Visit, seen: Looked, crews: Crews) -> list[Held]:
    """How much of the time each of some processes has anything to do."""
    return [
        Held(PROCESS, str(pid), 1, seen.busy_share(threads) * visit.seconds, 0.0, visit.done)
        for pid, threads in crews.items()
    ]


def _lock(visit: Visit, seen: Looked, serving: Collection[int]) -> list[Held]:
    """The lock that threads wait for most: whenever one waits, somebody holds it. Where only one ever waits is its own queue."""
    waiting = seen.waiting(serving)
    pairs = np.unique(np.stack([seen.place[waiting], seen.thread[waiting]]), axis=1)
    places, threads = np.unique(pairs[0], return_counts=True)
    waiting &= np.isin(seen.place, places[threads > 1])
    if not np.any(waiting):
        return []
    place = int(np.bincount(seen.place[waiting]).argmax())
    at = seen.at[waiting & (seen.place == place)]
    held_s, waited_s = (count / seen.moments * visit.seconds for count in (len(np.unique(at)), len(at)))
    return [Held(LOCK, OF_THE_SERVER, 1, held_s, waited_s, visit.done)]


def _interpreters(run: Run, visit: Visit, seen: Looked) -> tuple[int, int]:
    """A visit's part of the looks at the interpreters' locks at its load, and in how many of them one was held, a process on
    average; 0, 0 where nobody looked. Where a thread waits for it, it is held or handed over.
    """
    service = run.service
    look = service.look(HOLDING, visit.load) if service is not None else None
    if service is None or look is None or not look.moments:
        return 0, 0
    visits = sum(each.load == visit.load for each in run.ladder)
    busy = {each.process for each in service.threads if np.any(seen.thread == each.thread)}
    looks = look.moments * max(len(busy) if visit.load else look.processes, 1)
    count = sum(stack.count for stack in service.stacks if (stack.kind, stack.load) == (HOLDING, visit.load))
    awaited = sum(seen.awaited([each.thread for each in service.threads if each.process == pid]) for pid in busy)
    return looks // visits, min(max(count, round(look.moments * awaited)), looks) // visits

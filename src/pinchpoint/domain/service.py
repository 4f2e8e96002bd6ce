"""A live server as a target: who serves, what its threads are, what they were seen executing, and what stands between."""

from __future__ import annotations

from dataclasses import dataclass

from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.served import Served

# What was looked at when a stack was seen (`Stack.kind`).
IDLE, ACTIVE, ALL, HOLDING = "idle", "active", "all", "holding"
INTERPRETER = -(1 << 40)  # the place of a thread that waits for the interpreter's lock (`Samples.place`)
UNKNOWN_LOAD = -1  # of stacks and looks, where nobody knows how many requests were in flight
PREFILL, DECODE = PHASES = "prefill", "decode"  # until the first event of a stream, and from there to its end
# Where a thread sits while nothing is asked (`ServerThread.parked`).
SELECTOR, ACCEPTING, WAITING_FOR_WORK, SLEEPING, ELSEWHERE = "selector", "accepting", "work", "timer", "elsewhere"

CONNECTING, RECEIVING = "connecting", "receiving"  # of a request: until it is sent, and from the answer's first byte on
# What the client saw of a request, at the begin of `Run.span_names`; stages that the server tells follow.
SPANS = (*PHASES, CONNECTING, RECEIVING)
# What a request's time on the network goes into (`Row.site` of the stage `network`): as for a server that does nothing on this
# machine, a new connection, the way there and back, bytes, and small packets that wait to be acknowledged.
WIRE, CONNECT, DISTANCE, TRANSFER, STALL = ON_THE_WAY = "wire", "connect", "distance", "transfer", "stall"
INSIDE_UNSEEN = "inside"  # the site of what a server takes that cannot be looked into


@dataclass(frozen=True, slots=True)
class ServerThread:
    """A thread of a server; `parked` says where it sits while nothing is asked, empty where it was not there then.

    `python` is whether an interpreter runs in it, None where that is not known.
    """

    thread: int
    process: int
    name: str
    parked: str = ""
    python: bool | None = None


@dataclass(frozen=True, slots=True)
class Stack:
    """What Python threads were seen executing, outermost frame first, at `load` requests in flight.

    Each frame is `origin|file|line|function`; the origin is std, site (an installed package) or own. `kind` is idle (nothing was
    asked; all threads), active (on a CPU), all (whether on a CPU or not) or holding (the interpreter's lock).
    """

    kind: str
    load: int
    count: int
    frames: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StackLook:
    """How many moments were looked at for one kind of stacks at one load, and in how many processes; or why none were."""

    kind: str
    load: int
    moments: int
    processes: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another service that the server is connected to, and in how many of the moments looked at an answer was awaited."""

    address: str
    awaited: int
    moments: int


@dataclass(frozen=True, slots=True)
class Counted:
    """What the server itself counted while one request was in flight: how often, seconds in all, and their mean with an interval
    where it was read several times. `of` is what was counted: a request or a token; `step` is the model of an ensemble.
    """

    name: str
    count: int
    seconds: float
    mean: Quantity | None = None
    of: str = "request"
    step: str = ""

    @property
    def each(self) -> Quantity:
        """Mean seconds."""
        return self.mean or exact(self.seconds / self.count, self.count)


@dataclass(frozen=True, slots=True)
class Queued:
    """Mean seconds that requests queued with so many in flight, as the server itself counted."""

    load: int
    each: Quantity


@dataclass(frozen=True, slots=True)
class Stream:
    """Answers that come as streams, with one in flight: how many `units` (tokens, events, or responses of gRPC) one has, the
    median seconds until the first of them, and the mean from one to the next.
    """

    unit: str
    units: float
    first_s: Quantity | None
    between_s: Quantity | None


@dataclass(frozen=True, slots=True)
class Wire:
    """What a few requests on connections of their own told of the way to a server (the kernel's TCP_INFO), each part of an answer
    acknowledged at once. What they did not tell is None.

    `far` is whether that is beyond this machine's loopback. `round_trip` is the shortest that each connection saw, in seconds;
    `rate_bytes_per_s` how fast a request's bytes were taken. `answer_s` is from the first byte of an answer to its last, of which
    `paused_s` passed in longer pauses, the longest of them `pause_s`; `fullness` is how full its segments were, 1 is full. Of
    `segments` that we sent, `sent_again` were lost or late. `packed` is the share of an answer's bytes that gzip would leave.
    """

    far: bool
    round_trip: Quantity | None = None
    rate_bytes_per_s: Quantity | None = None
    answer_s: Quantity | None = None
    paused_s: Quantity | None = None
    pause_s: Quantity | None = None
    fullness: Quantity | None = None
    segments: int = 0
    sent_again: int = 0
    packed: Quantity | None = None


@dataclass(frozen=True, slots=True)
class Spaced:
    """Requests sent three quarters of a latency apart: how many there were, and how many ended together with a neighbour."""

    seconds: float
    requests: int
    together: int


@dataclass(frozen=True, slots=True)
class Service:
    """What is known of a server besides its requests.

    `round_trip` is what one request alone takes to a server that does nothing and back, with the same bytes, without that
    server's own CPU time; `client_ceiling_per_s` is the most that our own side can send, and `client_used` what share of it, or
    of our time, one request in flight took. `software` is what its answers say that it is. `frames` are
    the user's own stages by the beginning of a frame's path. `counted` is what the server (a `teller`) itself counted,
    `answered` how many requests, those of others included; None where it does not tell. `stretches` are the times (begin and
    end) of a server that was watched without any request of ours; there are none of one that was asked.
    """

    served: Served
    method: str
    software: str = ""
    client_ceiling_per_s: Quantity | None = None
    client_reason: str = ""
    client_used: float | None = None
    round_trip: Quantity | None = None
    threads: tuple[ServerThread, ...] = ()
    stacks: tuple[Stack, ...] = ()
    frames: tuple[tuple[str, str], ...] = ()
    looks: tuple[StackLook, ...] = ()
    peers: tuple[Peer, ...] = ()
    protocol: str = ""
    counted: tuple[Counted, ...] = ()
    request_bytes: int = 0
    answer_bytes: int = 0
    stream: Stream | None = None
    answered: int | None = None
    teller: str = ""
    stretches: tuple[tuple[int, int], ...] = ()
    wire: Wire | None = None
    stages_by: str = "Server-Timing"  # how the server tells its stages, where it does
    spaced: Spaced | None = None

    def parts(self, name: str) -> tuple[Counted, ...]:
        """What the server counted of one kind, of an ensemble for each step too; nothing where it does not tell."""
        return tuple(each for each in self.counted if each.name == name and each.count > 0)

    @property
    def watched_s(self) -> float:
        """How long it was watched without any request of ours."""
        return sum(end - begin for begin, end in self.stretches) / 1e9

    def look(self, kind: str, load: int) -> StackLook | None:
        """How the stacks of a kind were looked for at a load; None where they were not."""
        return next((each for each in self.looks if (each.kind, each.load) == (kind, load)), None)


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What a diagnosis tells of a server: who serves, with which software, and what was sent.

    `frameworks` are those whose code was seen running. `loads` are the requests in flight that were tried, `client_used` the most
    that our own side took of its ceiling at any of them.
    """

    served: Served
    method: str
    software: str
    protocol: str
    frameworks: tuple[str, ...]
    processes: int
    threads: int
    request_bytes: int | None
    answer_bytes: int | None
    loads: tuple[int, ...]
    client_used: float | None
    round_trip: Quantity | None
    peers: tuple[str, ...]
    stream: Stream | None = None
    units_per_s: Quantity | None = None  # of a stream, at the highest throughput
    counted: tuple[Counted, ...] = ()  # by the server itself, with one request in flight
    answered: int | None = None  # requests that it counted then, and how many of them were ours
    ours: int = 0
    teller: str = ""
    queued: tuple[Queued, ...] = ()  # by the server's counters, at each load
    wire: Wire | None = None
    stages: tuple[Counted, ...] = ()  # that the server tells, and how it does
    stages_by: str = "Server-Timing"

"""Real servers with a fault planted, and healthy: what is wrong with each, what must be said of it, and how the fault is removed.

Left out is what a server cannot have, or cannot have alone:

- A blocked event loop: Triton, TorchServe and llama-server run no model in an event loop. MLServer does without workers of its own,
  BentoML in an `async` API.
- A batching window: BentoML's adapts itself to the load and is none at one request in flight; llama-server has no window.
- Too few instances: llama-server shares its threads among all slots, so that more slots serve no more where the CPUs are full.
- Slow preprocessing, a slow downstream call and a leak: code of a user's own, which llama-server does not run.
- Fat JSON: orjson reads it in 3 % of MLServer's time, and most of the rest goes into passing it between its processes.
- transformers runs no code of a user's, and has one worker and nothing to set; it is asked healthy.
- The double of TensorFlow Serving is ours, and so are its faults; an ASGI application with each of them is in `server_plants`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.live_servers import program, serving
from bench.plants.cgroups import needs_cgroup
from bench.real_servers.install import missing
from bench.real_servers.running import Running, running
from bench.server_plants import SLOW_SERVICE

SHORT = 1  # layers beside which a fault leads
LONG = 240  # layers that take about 40 ms: all that a quota of 0.4 grants in a period
WINDOW_S, QUOTA, MANY = 0.025, 0.4, 8
NUMBERS = 40_000
PREPARING, DOWNSTREAM, LEAK = "slow preprocessing", "slow downstream call", "leak"
UNHURRIED, LOOP = "too few instances", "blocked event loop"
HEALTHY = "healthy"
WAITS = ("W102", "W103", "W104", "W110", "I105")  # what no request of a healthy one does


@dataclass(frozen=True, slots=True)
class Removal:
    """What is done about a fault: the remedies that may foretell it, the first that does counts; and the knobs that are turned.

    `binary` asks the same server for the same by its own protocol, as bytes.
    """

    remedies: tuple[str, ...]
    knobs: Mapping[str, object] = field(default_factory=dict)
    binary: bool = False


@dataclass(frozen=True, slots=True)
class Plant:
    """A server with something planted: the causes of latency and of capacity that are right, empty where none is due.

    `present` is what must be found, whether it leads or not.
    """

    server: str
    name: str = HEALTHY
    knobs: Mapping[str, object] = field(default_factory=dict)
    latency: tuple[str, ...] = ()
    capacity: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    removals: tuple[Removal, ...] = ()

    def __str__(self) -> str:
        return f"{self.server}, {self.name}"


def preprocessing(server: str) -> Plant:
    """15 ms of Python before the model."""
    without = Removal(("faster-preprocessing",), {"fault": ""})
    return Plant(server, PREPARING, {"fault": PREPARING, "layers": SHORT}, ("C102",), removals=(without,))


def downstream(server: str) -> Plant:
    """A service that takes 25 ms, asked in each request."""
    without = Removal(("avoid-call",), {"fault": ""})
    return Plant(server, DOWNSTREAM, {"fault": DOWNSTREAM, "layers": SHORT}, ("I105",), removals=(without,))


def few(server: str) -> Plant:
    """An instance that sleeps for 15 ms in each request: a loop or a lone worker, which a second one relieves."""
    second, without = (
        Removal(("more-workers", "more-processes"), {"instances": 2}),
        Removal(("replace-timer",), {"fault": ""}),
    )
    knobs = {"fault": UNHURRIED, "layers": SHORT}
    return Plant(server, UNHURRIED, knobs, ("W110",), ("W102", "W105"), removals=(second, without))


def window(server: str) -> Plant:
    """A batch that never fills: by the server's counters, or by a timer."""
    without = Removal(("shorter-window", "replace-timer"), {"window_s": 0.0})
    knobs = {"window_s": WINDOW_S, "layers": SHORT}
    return Plant(server, "long batching window", knobs, ("W103", "W110"), removals=(without,))


def fat(server: str) -> Plant:
    """Numbers that nobody needs, as text; Triton takes them as bytes, elsewhere they are left out."""
    binary = server == "triton"
    without = Removal(("faster-codec",), {} if binary else {"needless_numbers": 0}, binary)
    return Plant(
        server, "fat JSON", {"needless_numbers": NUMBERS, "layers": SHORT}, present=("C104",), removals=(without,)
    )


def quota(server: str) -> Plant:
    """As much CPU time in a request as a period of its quota grants."""
    without = Removal(("raise-quota",), {"quota": None})
    return Plant(server, "a CPU quota", {"quota": QUOTA, "layers": LONG}, ("C108",), ("C108",), removals=(without,))


def oversubscribed(server: str) -> Plant:
    """Two instances of eight threads on fewer CPUs."""
    without = Removal(("fewer-threads",), {"threads": 2, "instances": 1})
    return Plant(server, "threads x workers", {"threads": MANY, "instances": 2}, ("C106",), removals=(without,))


def loop(server: str, knobs: Mapping[str, object]) -> Plant:
    """A model that computes in the event loop."""
    second = Removal(("more-processes",), {"instances": 2})
    return Plant(server, LOOP, knobs, (), ("W105",), removals=(second,))


def leak(server: str) -> Plant:
    """A list that keeps 120 kB of each request."""
    return Plant(server, LEAK, {"fault": LEAK}, present=("M105",))


PLANTS = (
    Plant("triton"),
    few("triton"),
    preprocessing("triton"),
    window("triton"),
    Plant("triton", "window of a step", {"window_s": WINDOW_S, "layers": SHORT, "ensemble": True}, ("W103",)),
    downstream("triton"),
    fat("triton"),
    quota("triton"),
    oversubscribed("triton"),
    leak("triton"),
    Plant("mlserver"),
    few("mlserver"),
    preprocessing("mlserver"),
    window("mlserver"),
    downstream("mlserver"),
    quota("mlserver"),
    oversubscribed("mlserver"),
    leak("mlserver"),
    loop("mlserver", {"instances": 0}),
    Plant("torchserve"),
    few("torchserve"),
    preprocessing("torchserve"),
    window("torchserve"),
    downstream("torchserve"),
    fat("torchserve"),
    quota("torchserve"),
    oversubscribed("torchserve"),
    leak("torchserve"),
    Plant("bentoml"),
    few("bentoml"),
    preprocessing("bentoml"),
    downstream("bentoml"),
    fat("bentoml"),
    quota("bentoml"),
    oversubscribed("bentoml"),
    leak("bentoml"),
    loop("bentoml", {"fault": LOOP}),
    Plant("llama"),
    fat("llama"),
    quota("llama"),
    oversubscribed("llama"),
    Plant("transformers"),
    Plant("tensorflow"),
)


def cannot(plant: Plant) -> str | None:
    """Why a plant cannot be had here, in words; None where it can."""
    return missing(plant.server) or (needs_cgroup("cpu")() if plant.knobs.get("quota") else None)


@contextlib.contextmanager
def planted(folder: Path, plant: Plant, **changed: object) -> Iterator[Running]:
    """The plant being served, with some knobs changed, and the slow service that it asks."""
    with contextlib.ExitStack() as beside:
        other = 0
        if plant.name == DOWNSTREAM:
            other = beside.enter_context(serving(folder / "other", SLOW_SERVICE, program))
        knobs = {**plant.knobs, **changed}
        yield beside.enter_context(running(plant.server, folder / plant.server, other=other, **knobs))

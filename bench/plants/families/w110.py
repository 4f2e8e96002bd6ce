"""W110, a timer on the path: a job's state is polled every 10 ms, looked for with doubling delays, or its worker polls.

The work is done long before anybody looks; latency moves with the interval alone.
"""

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import matmuls, two_cores
from bench.plants.preparing import app, service

POLL = story(
    "W110",
    "develop",
    "poll",
    fault=Case(
        app("polling_worker", network=matmuls(1, 1024), truth={"wait": 0.97}),
        expect("W110", absent="I101 I105 W102 W104"),
        "half a millisecond of work, seen at the next 10 ms",
    ),
    healthy=Case(
        app("polling_worker", network=matmuls(4, 1024), WAIT="event"),
        expect(absent="W110 W104 I105"),
        "an event instead; the wait for the worker is the model's own time",
    ),
    lookalike=Case(
        app("enrich_http", service(0.01), network=matmuls(1, 1024), truth={"wait": 0.9}),
        expect("I105", absent="W110"),
        "the same constant of 10 ms, but it is another service's",
    ),
)

RETRY = story(
    "W110",
    "test",
    "retry",
    fault=Case(
        app("retrying_client", network=matmuls(2, 512), truth={"wait": 0.8}),
        expect("W110", absent="I101 I105 W102 W104 W105"),
        "a coroutine looks, sleeps 4 ms and looks again; the answer was there after one",
    ),
    healthy=Case(
        app("retrying_client", network=matmuls(2, 512), STRATEGY="future"),
        expect(absent="W110 W104 I105"),
        "the worker sets a future",
    ),
    lookalike=Case(
        app("index_service", network=matmuls(8, 512), BYTES=300_000, truth={"wait": 0.85}),
        expect("W104", absent="W110 I105"),
        "a regular wait of a few milliseconds, for a lock whose holder also sleeps between two rounds",
        two_cores,
    ),
)

WORKER = story(
    "W110", "test", "worker",
    # The request's thread waits for an event that comes in time; the timer is in the worker that should set it.
    fault=Case(
        app("polling_worker", network=matmuls(1, 1024), WAIT="worker polls", INTERVAL_S=0.006, truth={"wait": 0.95}),
        expect("W110", absent="I101 I105"),
        "an idle worker looks for jobs every 6 ms",
    ),
    healthy=Case(
        app("polling_worker", network=matmuls(2, 1024), WAIT="event"),
        expect(absent="W110 I105"),
        "the worker blocks on its queue",
    ),
    lookalike=Case(
        app("shared_cache", network=matmuls(2, 1024), FETCH_S=0.006, truth={"wait": 0.85}),
        expect("W104", absent="W110 I105"),
        "6 ms again: the lock of a refresh whose thread sleeps inside it",
    ),
)  # fmt: skip

PLANTS = (*POLL, *RETRY, *WORKER)

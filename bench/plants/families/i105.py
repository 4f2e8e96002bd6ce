"""I105, another service is awaited: HTTP on a kept connection to a process on loopback that answers after a fixed time.

The callee sleeps, so it takes no CPU here; the wait ends with bytes on a socket, not with a lock (W104) or a timer (W110).
"""

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import matmuls
from bench.plants.preparing import app, service

HTTP = story(
    "I105",
    "develop",
    "http",
    fault=Case(
        app("enrich_http", service(0.015), network=matmuls(2, 1024), truth={"profile": 0.9, "wait": 0.9}),
        expect("I105", absent="C101 I101 I106 W102 W104 W110"),
        "15 ms for a profile, 2 ms of our own",
    ),
    healthy=Case(
        app("enrich_http", service(0.015), network=matmuls(2, 1024), CACHE=True, truth={"model": 0.85}),
        expect("C101", where="model", absent="I105"),
        "sixteen profiles in a cache",
    ),
    lookalike=Case(
        app("shared_cache", network=matmuls(2, 1024), truth={"catalogue": 0.9, "wait": 0.9}),
        expect("W104", absent="I105 I101"),
        "as long a wait without any call: for a lock that a background thread holds",
    ),
)

ASYNC = story(
    "I105", "test", "async",
    fault=Case(
        app("enrich_async", service(0.008), network=matmuls(1, 512), truth={"get": 0.95, "wait": 0.9}),
        expect("I105", absent="I101 W102 W104 W110"),
        "two calls of 8 ms, one after the other, on asyncio streams",
    ),
    healthy=Case(
        app("enrich_async", service(0.008), network=matmuls(8, 512), LOCAL=True, truth={"wait": 0.0}),
        expect(absent="I105"),
        "values that are kept locally",
    ),
    lookalike=Case(
        app("retrying_client", network=matmuls(2, 512), FIRST_DELAY_S=0.012, truth={"wait": 0.85}),
        expect("W110", absent="I105 I101"),
        "a coroutine that sleeps as long, by its own timer",
    ),
)  # fmt: skip

PLANTS = (*HTTP, *ASYNC)

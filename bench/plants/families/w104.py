"""W104, a lock: a background thread holds it while it sleeps for a refresh, and while it compresses on another core.

The waiting request burns no CPU and asks nobody; it ends when the holder lets go.
"""

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import matmuls, two_cores
from bench.plants.preparing import app, service

REFRESH = story(
    "W104",
    "develop",
    "refresh",
    fault=Case(
        app("shared_cache", network=matmuls(2, 1024), truth={"catalogue": 0.9, "wait": 0.9}),
        expect("W104", absent="I101 I105 W101 W110"),
        "a cache refreshed under its lock, 12 ms at a time: the holder is off the CPU",
    ),
    healthy=Case(
        app("shared_cache", network=matmuls(4, 1024), REFRESH="swap", truth={"model": 0.9, "wait": 0.0}),
        expect(where="model", absent="W104 I105"),
        "fetched first, then swapped in under the lock",
    ),
    lookalike=Case(
        app("enrich_http", service(0.012), network=matmuls(1, 1024), truth={"wait": 0.9}),
        expect("I105", absent="W104"),
        "as long a wait, for another service",
    ),
)

SNAPSHOT = story(
    "W104", "test", "snapshot",
    fault=Case(
        app("index_service", network=matmuls(8, 512), truth={"nearest": 0.9, "wait": 0.9}),
        expect("W104", absent="I101 I105 W101 W110"),
        "an index compressed under its lock on the other core: the holder is on the CPU, without the interpreter's lock",
        two_cores,
    ),
    healthy=Case(
        app("index_service", network=matmuls(8, 512), SNAPSHOT="copy", truth={"nearest": 0.1}),
        expect(absent="W104 W101"),
        "a copy under the lock, compressed outside",
        two_cores,
    ),
    # By the rulings a remote call under a lock is I105 for latency; one request in flight never contends for the lock.
    lookalike=Case(
        app("enrich_async", service(0.008), network=matmuls(1, 512), LOCKED=True, truth={"get": 0.95, "wait": 0.9}),
        expect("I105", absent="W104"),
        "a lock is there and is held for the whole wait, but by this very request, around a call",
    ),
)  # fmt: skip

PLANTS = (*REFRESH, *SNAPSHOT)

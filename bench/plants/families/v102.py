"""V102, not stationary: each request makes the next slower, or the service that it calls slows down by the minute.

A slow start that ends is not it: warm-up is cut off, and what follows holds still.
"""

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import matmuls
from bench.plants.preparing import app, service

HISTORY = story(
    "V102",
    "develop",
    "history",
    fault=Case(
        app("drifting", network=matmuls(1, 512)),
        expect(present="V102"),
        "every request is compared with all before it: latency grows with the count",
    ),
    healthy=Case(app("drifting", network=matmuls(1, 512), KEEP=2000), expect(absent="V102"), "with the last 2,000"),
    lookalike=Case(
        app("drifting", network=matmuls(1, 512), KEEP=2000, WARM_UP=80),
        expect(absent="V102"),
        "80 slow requests while a cache fills, and none after",
    ),
)

DEGRADING = story(
    "V102", "test", "degrading",
    fault=Case(
        app("enrich_http", service(0.004, 0.001), network=matmuls(1, 1024)),
        expect(present="V102"),
        "the service that it calls takes 4 ms at first and a millisecond more each second",
    ),
    healthy=Case(
        app("enrich_http", service(0.01), network=matmuls(1, 1024)),
        expect("I105", absent="V102"),
        "the same service at a steady 10 ms",
    ),
    lookalike=Case(
        app("enrich_http", service(0.05), network=matmuls(2, 1024), CACHE=True),
        expect(absent="V102 I105"),
        "sixteen slow calls until every profile is cached, then none",
    ),
)  # fmt: skip

PLANTS = (*HISTORY, *DEGRADING)

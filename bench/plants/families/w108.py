"""W108, planning for new shapes: now and then, which makes slow requests, or for nearly every request.

The plans are kept: the same shape again is quick.
"""

from bench.plants.contract import Case, expect, story
from bench.plants.preparing import app

NOW_AND_THEN = story(
    "W108",
    "develop",
    "now-and-then",
    fault=Case(
        app("shape_compiler"),
        expect(present="W108"),
        "one request in fifteen has a length that never came before, and waits 30 ms for its plan",
    ),
    healthy=Case(
        app("shape_compiler", LENGTHS=1), expect(absent="W108"), "all requests padded to one length, planned for once"
    ),
    lookalike=Case(
        app("shape_compiler", PLAN_MS=0, LARGE=True),
        expect(absent="W108"),
        "rare lengths are large and take long, every time that they come",
    ),
)

ALWAYS = story(
    "W108", "test", "always",
    fault=Case(
        app("shape_compiler", PLAN_MS=15, LENGTHS=1000, REQUESTS=1000),
        expect("W108", where="preprocess"),
        "every request has a length of its own, and most of its time is planning for it",
    ),
    healthy=Case(
        app("shape_compiler", PLAN_MS=15, LENGTHS=1, REQUESTS=1000),
        expect(absent="W108"),
        "one length: planned for once",
    ),
    lookalike=Case(
        app("shape_compiler", PLAN_MS=15, LENGTHS=1000, REQUESTS=1000, BY_VALUE=True),
        expect("C102", where="preprocess", absent="W108"),
        "as slow the first time, but it is the answer that is remembered: other values of that shape are as slow",
    ),
)  # fmt: skip

PLANTS = (*NOW_AND_THEN, *ALWAYS)

"""M105, memory grows without end: answers that are kept for good, and a cache without a bound.

Latency shows nothing of it: a finding, never the verdict.
"""

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import matmuls
from bench.plants.preparing import app

ANSWERS = story(
    "M105",
    "develop",
    "answers",
    fault=Case(
        app("answer_log", network=matmuls(2, 512), KEEP=-1),
        expect(present="M105"),
        "every answer is appended to a list, 33 kB each",
    ),
    healthy=Case(app("answer_log", network=matmuls(2, 512)), expect(absent="M105"), "answers are given and forgotten"),
    lookalike=Case(
        app("answer_log", network=matmuls(2, 512), KEEP=1000),
        expect(absent="M105"),
        "the last thousand are kept: memory grows at first, and then no more",
    ),
)

CACHE = story(
    "M105", "test", "cache",
    fault=Case(
        app("answer_log", network=matmuls(4, 512), MEMO=-1),
        expect(present="M105"),
        "a cache by customer without a bound, and customers who come once, 16 kB each",
    ),
    healthy=Case(
        app("answer_log", network=matmuls(4, 512), MEMO=500), expect(absent="M105"), "the same cache, of 500 customers",
    ),
    lookalike=Case(
        app("answer_log", network=matmuls(4, 512), SCRATCH_MB=4),
        expect(absent="M105"),
        "4 MB of new memory in each request, all given back",
    ),
)  # fmt: skip

PLANTS = (*ANSWERS, *CACHE)

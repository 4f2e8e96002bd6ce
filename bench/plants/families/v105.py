"""V105, some answers are errors: broken bodies that raise, and an upstream that refuses.

A verdict over such a run mixes two populations; what matters is that the finding is there, whatever else is named.
"""

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import matmuls
from bench.plants.preparing import app

BODIES = story(
    "V105",
    "develop",
    "bodies",
    fault=Case(
        app("flaky", network=matmuls(1, 512)),
        expect(present="V105"),
        "4 of 20 bodies are cut in half and raise",
    ),
    healthy=Case(app("flaky", network=matmuls(1, 512), BROKEN=0), expect(absent="V105"), "all bodies are whole"),
    lookalike=Case(
        app("flaky", network=matmuls(1, 512), BROKEN=0, LONG=4),
        expect(absent="V105"),
        "4 of 20 take far longer, and are answered",
    ),
)

UPSTREAM = story(
    "V105", "test", "upstream",
    fault=Case(
        app("flaky_upstream", network=matmuls(1, 512)),
        expect(present="V105"),
        "one call in twelve is refused, at random, and the coroutine raises",
    ),
    healthy=Case(app("flaky_upstream", network=matmuls(1, 512), EVERY=0), expect(absent="V105"), "none is refused"),
    lookalike=Case(
        app("flaky_upstream", network=matmuls(1, 512), FALLBACK=True),
        expect(absent="V105"),
        "one in twelve is refused, and answered with a default",
    ),
)  # fmt: skip

PLANTS = (*BODIES, *UPSTREAM)

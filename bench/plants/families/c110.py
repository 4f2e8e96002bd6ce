"""C110, idle spinning: pool threads that look for work after each answer, in a model file and in a service.

Latency is as good with it as without: a finding, never the verdict.
"""

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import ALL_THREADS, CORES, convolutions, two_cores
from bench.plants.preparing import app, model

OFF = "--set session.intra_op.allow_spinning=0"

POOL = story(
    "C110",
    "develop",
    "pool",
    fault=Case(
        model(convolutions(3), options=ALL_THREADS),
        expect("C101", where="model", present="C110"),
        "a pool of a thread a CPU, which spins for tens of milliseconds after an answer that took a few",
        two_cores,
    ),
    healthy=Case(
        model(convolutions(3), options=f"{ALL_THREADS} {OFF}"),
        expect("C101", where="model", absent="C110"),
        "the same pool, and its threads sleep",
        two_cores,
    ),
    lookalike=Case(
        model(convolutions(40), options=f"{ALL_THREADS} {OFF}"),
        expect("C101", where="model", absent="C110"),
        "all CPUs as busy, with work, until the answer is there",
        two_cores,
    ),
)

SERVICE = story(
    "C110", "test", "service",
    fault=Case(
        app("spinning_service", network=convolutions(2, 32), THREADS=CORES, SPINNING=True),
        expect(present="C110"),
        "a service whose session has a thread a CPU and the runtime's own defaults",
        two_cores,
    ),
    healthy=Case(
        app("spinning_service", network=convolutions(2, 32), THREADS=CORES, SPINNING=False),
        expect(absent="C110"),
        "the same session with spinning off",
        two_cores,
    ),
    lookalike=Case(
        app("spinning_service", network=convolutions(2, 32), THREADS=1, SPINNING=True, REFRESH=True),
        expect(absent="C110"),
        "a thread of the service's own that is busy all the time, and a pool of one",
        two_cores,
    ),
)  # fmt: skip

PLANTS = (*POOL, *SERVICE)

"""C106, more runnable threads than CPUs: a pool sized for a large host, and pools that multiply.

The threads are the target's own (not C109) and nothing is throttled (not C108): fewer of them answer faster.
"""

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import ALL_THREADS, CORES, ONE_THREAD, convolutions, pinning, quotas
from bench.plants.preparing import app, busy_neighbours, model, quota

POOL = story(
    "C106",
    "develop",
    "pool",
    fault=Case(
        model(convolutions(4), options=f"--set intra_op_threads={CORES * 6}"),
        expect("C106", where="model", absent="C105 C107 C108 C109"),
        "six threads a CPU, which spin while they wait for each other",
    ),
    healthy=Case(
        model(convolutions(4), options=ALL_THREADS),
        expect("C101", where="model", absent="C106 C109"),
        "a thread a CPU",
    ),
    lookalike=Case(
        model(convolutions(4), busy_neighbours(3), options=ONE_THREAD),
        expect("C109", absent="C106 C108"),
        "the run queue is as long, with others in it: one thread of ours and three processes on one CPU",
        pinning,
    ),
)

ENSEMBLE = story(
    "C106", "test", "ensemble",
    fault=Case(
        app("ensemble", network=convolutions(2, 32), MEMBERS=4, THREADS_EACH=CORES * 2, AT_ONCE=4),
        expect("C106", where="model", absent="C107 C108 C109"),
        "four sessions at once, each with two threads a CPU",
    ),
    healthy=Case(
        app("ensemble", network=convolutions(2, 32), MEMBERS=4, THREADS_EACH=1, AT_ONCE=CORES),
        expect(where="model", absent="C106"),
        "as many sessions at once as CPUs, one thread each",
    ),
    lookalike=Case(
        model(convolutions(20), quota(0.4), options=ONE_THREAD),
        expect("C108", absent="C106 C109"),
        "one thread that stands still for more than half of the time, by a quota: fewer threads than one there are not",
        quotas,
    ),
)  # fmt: skip

PLANTS = (*POOL, *ENSEMBLE)

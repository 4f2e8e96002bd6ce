"""C109, CPU taken by others: processes on the target's only CPU, and a heavier group beside its own.

The target has one thread and no quota: neither C106 nor C108.
"""

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import ONE_THREAD, convolutions, pinning, quotas
from bench.plants.graphs import networks
from bench.plants.preparing import app, busy_neighbours, model, one_core, outweighed, quota

ENCODER = (1, 128, 2, 8000, 128)

HOGS = story(
    "C109",
    "develop",
    "hogs",
    fault=Case(
        model(convolutions(6), busy_neighbours(3), options=ONE_THREAD, truth={"starved": 0.75, "cpu": 0.25}),
        expect("C109", absent="C105 C106 C107 C108"),
        "three computing processes on the CPU that the target is bound to",
        pinning,
    ),
    healthy=Case(
        model(convolutions(6), one_core(), options=ONE_THREAD, truth={"starved": 0.0, "cpu": 1.0}),
        expect("C101", where="model", absent="C109 C107"),
        "the CPU to itself",
        pinning,
    ),
    lookalike=Case(
        model(convolutions(4), one_core(), options="--set intra_op_threads=6"),
        expect("C106", where="model", absent="C109 C108"),
        "a long run queue on that CPU, of the target's own threads",
        pinning,
    ),
)

GROUPS = story(
    "C109", "test", "groups",
    fault=Case(
        app(
            "text_service", outweighed(1024, 3072), network=lambda: networks.bert_base(*ENCODER), THREADS=1,
            truth={"starved": 0.75, "cpu": 0.25},
        ),
        expect("C109", absent="C106 C107 C108"),
        "two containers on one CPU, the other with three times the weight and always busy",
        quotas,
    ),
    healthy=Case(
        app("text_service", one_core(-1), network=lambda: networks.bert_base(*ENCODER), THREADS=1, truth={"cpu": 1.0}),
        expect("C102", where="preprocess", absent="C109"),
        "nobody beside it: the tokeniser",
        pinning,
    ),
    lookalike=Case(
        app(
            "text_service", quota(0.25, 0.02), network=lambda: networks.bert_base(*ENCODER), THREADS=1,
            WORDS=9000, truth={"throttled": 0.75},
        ),
        expect("C108", absent="C109 C106"),
        "runs as rarely, by a quota of its own",
        quotas,
    ),
)  # fmt: skip

PLANTS = (*HOGS, *GROUPS)

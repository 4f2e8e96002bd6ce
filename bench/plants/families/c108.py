"""C108, a CPU quota: each request needs more CPU time than a period allows, so that typical requests are throttled.

With 100 ms periods a request shorter than the quota would run through and only every few stand still: a matter of the tail.
"""

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import CORES, ONE_THREAD, convolutions, pinning, quotas
from bench.plants.graphs import networks
from bench.plants.preparing import app, busy_neighbours, model, one_core, quota

CONVOLUTION = story(
    "C108",
    "develop",
    "convolution",
    fault=Case(
        model(convolutions(20), quota(0.4), options=ONE_THREAD, truth={"throttled": 0.6, "cpu": 0.4}),
        expect("C108", absent="C105 C107 C109"),
        "40 ms of CPU time for each request, of which 40 ms are allowed in 100",
        quotas,
    ),
    healthy=Case(
        model(convolutions(20), quota(1.5), one_core(), options=ONE_THREAD, truth={"throttled": 0.0, "cpu": 1.0}),
        expect("C101", where="model", absent="C108 C107"),
        "a quota above what one thread on one CPU can use",
        quotas,
    ),
    lookalike=Case(
        model(convolutions(20), busy_neighbours(3), options=ONE_THREAD, truth={"throttled": 0.0, "starved": 0.75}),
        expect("C109", absent="C108 C106"),
        "the thread is as often not running, by neighbours on its CPU",
        pinning,
    ),
)

TEXT = story(
    "C108", "test", "text",
    fault=Case(
        app(
            "text_service", quota(0.3, 0.02), network=lambda: networks.bert_base(1, 128, 2, 8000, 128), THREADS=1,
            WORDS=9000, truth={"throttled": 0.7, "cpu": 0.3},
        ),
        expect("C108", absent="C106 C109"),
        "tokenising in Python under a quota of 6 ms in 20",
        quotas,
    ),
    healthy=Case(
        app(
            "text_service", quota(CORES * 2), network=lambda: networks.bert_base(1, 128, 2, 8000, 128), THREADS=1,
            WORDS=9000, truth={"throttled": 0.0, "tokenise": 0.9},
        ),
        expect("C102", where="preprocess", absent="C108 C109"),
        "a quota of twice the CPUs there are",
        quotas,
    ),
    lookalike=Case(
        model(convolutions(4), options=f"--set intra_op_threads={CORES * 12}"),
        expect("C106", where="model", absent="C108 C109"),
        "runnable threads wait, but for each other",
    ),
)  # fmt: skip

PLANTS = (*CONVOLUTION, *TEXT)

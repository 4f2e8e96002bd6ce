"""C107, one thread on a machine with idle cores, at work that divides well: a second thread halves the time.

By the rulings C107 leads where one thread is also at its peak (C101 or M101, which may be in `also`).
"""

from functools import partial

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import ALL_THREADS, ONE_THREAD, convolutions, pinning, two_cores
from bench.plants.graphs import networks
from bench.plants.preparing import app, model, one_core

ENCODER = partial(networks.bert_base, 2, 512, 8, 2000, 128)

CONVOLUTION = story(
    "C107",
    "develop",
    "convolution",
    fault=Case(
        model(convolutions(6), options=ONE_THREAD, truth={"gain": 1.95}),
        expect("C107", where="model", absent="C105 C106 C109 M101 W101"),
        "one intra-op thread, the other cores idle",
        two_cores,
    ),
    healthy=Case(
        model(convolutions(6), options=ALL_THREADS),
        expect("C101", where="model", absent="C107"),
        "a thread a core",
    ),
    lookalike=Case(
        model(partial(networks.tiny_operators, 4000), options=ONE_THREAD),
        expect("C105", where="model", absent="C107"),
        "one core busy and the others idle, but operators of 16 numbers do not divide: more threads do nothing",
    ),
)

SERVICE = story(
    "C107", "test", "service",
    fault=Case(
        app("async_service", network=ENCODER, THREADS=1, LENGTH=128, truth={"gain": 1.8}),
        expect("C107", where="model", absent="C105 C106 C109 M101 W101 W105"),
        "a session with one thread in an executor of an asyncio service",
        two_cores,
    ),
    healthy=Case(
        app("async_service", network=ENCODER, LENGTH=128),
        expect("C101", where="model", absent="C107"),
        "the session's default: a thread a core",
    ),
    lookalike=Case(
        app("async_service", one_core(), network=ENCODER, THREADS=1, LENGTH=128),
        expect("C101", where="model", absent="C107 C109"),
        "one thread, but only one CPU may be used: the idle ones are not ours",
        pinning,
    ),
)  # fmt: skip

PLANTS = (*CONVOLUTION, *SERVICE)

"""C105, dispatch: thousands of operators of a fraction of a microsecond, each known only at run time.

Nothing can be folded away (not C112), no bytes are streamed (not M101, M102), and a second thread has nothing to do.
"""

from functools import partial

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import ALL_THREADS, ONE_THREAD, convolutions
from bench.plants.graphs import lstm, networks
from bench.plants.preparing import app, model

CHAIN = story(
    "C105",
    "develop",
    "chain",
    fault=Case(
        model(partial(networks.tiny_operators, 4000), options=ONE_THREAD),
        expect("C105", where="model", absent="C101 C106 C107 C112 C114 M101 M102"),
        "4,000 operators on 16 numbers",
    ),
    healthy=Case(
        model(partial(networks.tiny_operators, 200), options=f"{ONE_THREAD} --batch 4000"),
        expect(where="model", absent="C105"),
        "the same operators on 64,000 numbers each: the kernels, in the cache, are the time (no cause of ours fits well)",
    ),
    lookalike=Case(
        model(partial(networks.elementwise, 8, 16_000_000), options=ALL_THREADS),
        expect("M102", where="model", absent="C105"),
        "the same operators, eight of them, on 64 MB",
    ),
)

LSTM = story(
    "C105", "test", "lstm",
    fault=Case(
        app("model_service", network=partial(lstm, True, 600), THREADS=1),
        expect("C105", where="model", absent="C101 C106 C107 M101 M102"),
        "an LSTM unrolled over 600 steps by a tracing exporter: about 8,000 small operators",
    ),
    healthy=Case(
        app("model_service", network=partial(lstm, False, 600), THREADS=1),
        expect(where="model", absent="C105"),
        "the same LSTM as one operator",
    ),
    lookalike=Case(
        app("model_service", network=convolutions(40, 32, 56)),
        expect("C101", where="model", absent="C105"),
        "80 operators, but each is a convolution worth 60 MFLOP",
    ),
)  # fmt: skip

PLANTS = (*CHAIN, *LSTM)

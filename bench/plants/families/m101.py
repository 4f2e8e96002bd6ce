"""M101, weights streamed from memory: matrices times one vector, far larger than any cache, on all cores.

The batch is nearly free (REFERENCE.md, section 7), which no arithmetic would make it.
"""

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import ALL_THREADS, CORES, convolutions, matmuls
from bench.plants.graphs import decoder
from bench.plants.preparing import app, model

MATMULS = story(
    "M101",
    "develop",
    "matmuls",
    fault=Case(
        model(matmuls(4, 4096), options=ALL_THREADS),
        expect("M101", where="model", absent="C101 C105 C106 C107 M102 M107"),
        "268 MB of weights for one row",
    ),
    healthy=Case(
        model(matmuls(4, 4096), options=f"{ALL_THREADS} --batch 128"),
        expect("C101", where="model", absent="M101"),
        "the same weights for 128 rows: each is used 128 times once it was read",
    ),
    lookalike=Case(
        model(matmuls(600, 16), options=ALL_THREADS),
        expect("C105", where="model", absent="M101 C101"),
        "MatMuls of one row too, 600 of them with 1 kB of weights each",
    ),
)

DECODER = story(
    "M101", "test", "decoder",
    fault=Case(
        app("async_service", network=decoder, THREADS=CORES),
        expect("M101", where="model", absent="C101 C105 C106 C107 M102 M107"),
        "the feed-forward layers of a text decoder, one token at a time: 403 MB of weights",
    ),
    healthy=Case(
        app("async_service", network=decoder, THREADS=CORES, ROWS=96),
        expect("C101", where="model", absent="M101"),
        "96 tokens at a time",
    ),
    lookalike=Case(
        app("async_service", network=convolutions(10, 48), THREADS=CORES),
        expect("C101", where="model", absent="M101 M102"),
        "as long a request on all cores, over weights that fit the cache",
    ),
)  # fmt: skip

PLANTS = (*MATMULS, *DECODER)

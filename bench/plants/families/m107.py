"""M107, random rows of tables of half a gigabyte: a row of 64 bytes a miss, on one CPU with one thread.

The bytes moved are a small part of what the memory can stream (not M101, M102); the same operators on a thousand rows that
stay in the cache are several times faster. One CPU, because a second thread would help and C107 would lead.
"""

from functools import partial

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import ONE_THREAD, matmuls, pinning
from bench.plants.graphs import decoder, networks, tables
from bench.plants.preparing import app, feeds, model, one_core

LOOKUPS = 65_536
TABLE = partial(networks.embedding, 8_000_000, 16, LOOKUPS)

GATHER = story(
    "M107",
    "develop",
    "gather",
    fault=Case(
        model(TABLE, one_core(), options=ONE_THREAD, truth={"gain": 3.5}),
        expect("M107", where="model", absent="C101 C105 M101 M103 I101"),
        "65,536 random rows out of 8 million",
        pinning,
    ),
    healthy=Case(
        model(
            TABLE, one_core(), feeds(16, ids=(LOOKUPS, 1000, 8000)), options=f"{ONE_THREAD} --input @FOLDER/requests"
        ),
        expect(where="model", absent="M107 M103"),
        "as many rows, of a thousand popular ones",
        pinning,
    ),
    lookalike=Case(
        model(matmuls(4, 4096), one_core(), options=ONE_THREAD),
        expect("M101", where="model", absent="M107"),
        "as many bytes as the whole table, read in order",
        pinning,
    ),
)

TABLES = story(
    "M107", "test", "tables",
    fault=Case(
        app("recommender", one_core(), network=tables, truth={"gain": 2}),
        expect("M107", where="model", absent="C101 C105 M101 M103 I101"),
        "eight tables of 64 MB, 8,192 random rows of each",
        pinning,
    ),
    healthy=Case(
        app("recommender", one_core(), network=tables, IDS="popular"),
        expect(where="model", absent="M107 M103"),
        "the same number of rows, of the thousand popular ones of each table",
        pinning,
    ),
    lookalike=Case(
        app("model_service", one_core(), network=partial(decoder, 2), THREADS=1),
        expect("M101", where="model", absent="M107"),
        "weights of 268 MB read in order",
        pinning,
    ),
)  # fmt: skip

PLANTS = (*GATHER, *TABLES)

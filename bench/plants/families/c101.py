"""C101, arithmetic at the speed of the machine: large products whose weights stay in the cache, on every core.

Planted with convolutions and transformer layers that reach the runtime's own GEMM speed, so that neither bytes (M101),
nor dispatch (C105), nor missing threads (C107) are what is paid for.
"""

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import ALL_THREADS, matmuls
from bench.plants.graphs import lstm, networks
from bench.plants.preparing import app, model, service

CONVOLUTION = story(
    "C101",
    "develop",
    "convolution",
    fault=Case(
        model(networks.conv3x3, options=ALL_THREADS),
        expect("C101", where="model", absent="M101 M102 C105 C106 C107 C112 C114"),
        "1.4 GFLOP in convolutions over weights of 0.9 MB, on all cores",
    ),
    healthy=Case(
        app("enrich_http", service(0.015), network=matmuls(1, 1024)),
        expect("I105", absent="C101"),
        "arithmetic is a few per cent of a request that awaits another service",
    ),
    lookalike=Case(
        model(matmuls(4, 4096), options=ALL_THREADS),
        expect("M101", where="model", absent="C101"),
        "the same kind of operator busy all the time, but 268 MB of weights are read for 0.13 GFLOP",
    ),
)

ENCODER = story(
    "C101", "test", "encoder",
    fault=Case(
        app("async_service", network=lambda: networks.bert_base(3, 512, 8, 2000, 256)),
        expect("C101", where="model", absent="M101 M102 C105 C106 C107 C112"),
        "a transformer over 256 tokens, all cores; each weight is used 256 times once it was read",
    ),
    healthy=Case(
        app("search_api", network=matmuls(1, 512)),
        expect("C104", where="serialize", absent="C101"),
        "the model is a small part; numbers are turned into text",
    ),
    lookalike=Case(
        app("model_service", network=lambda: lstm(True, 400), THREADS=1),
        expect("C105", where="model", absent="C101 C107"),
        "the model stage is busy on one core all the time, with operators of a fraction of a microsecond",
    ),
)  # fmt: skip

PLANTS = (*CONVOLUTION, *ENCODER)

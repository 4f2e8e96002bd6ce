"""C102, preprocessing on the CPU: JPEG decoding in C, and word pieces in pure Python.

Both compute all the time (the thread's CPU time is its wall time), before the model, outside any codec of messages.
"""

from bench.plants.contract import Case, expect, story
from bench.plants.disks import needs_slow_disk
from bench.plants.families.shared import matmuls
from bench.plants.graphs import networks, tagger
from bench.plants.preparing import app, disk

PHOTO = story(
    "C102",
    "develop",
    "photo",
    fault=Case(
        app("photo_service", network=lambda: tagger(2), truth={"preprocess": 0.9, "cpu": 1.0}),
        expect("C102", where="preprocess", absent="I101 C103 C104 C106 M101"),
        "a photo of two megapixels is decoded and scaled for a network of a few milliseconds",
    ),
    healthy=Case(
        app("photo_service", network=lambda: tagger(8), PHOTO=(256, 192), truth={"model": 0.9}),
        expect("C101", where="model", absent="C102"),
        "a gateway sends thumbnails: what is left is the network",
    ),
    # 80 kB at 0.8 MB/s: the thread sleeps for the disk inside the very same stage.
    lookalike=Case(
        app(
            "photo_service",
            disk("STORE", "", 64, read_bps=700_000),
            network=lambda: tagger(1),
            PHOTO=(640, 480),
            COUNT=64,
            truth={"preprocess": 0.95, "wait": 0.9},
        ),
        expect("I101", where="preprocess", absent="C102 C104 M103"),
        "the same stage, whose time is reading the photo from a slow disk; decoding is a few milliseconds",
        needs_slow_disk,
    ),
)

TEXT = story(
    "C102", "test", "text",
    fault=Case(
        app("text_service", network=lambda: networks.bert_base(1, 128, 2, 8000, 128), truth={"tokenise": 0.9, "cpu": 1.0}),
        expect("C102", where="preprocess", absent="C103 C104 C106 I101"),
        "greedy word pieces in pure Python, in an unmarked coroutine",
    ),
    healthy=Case(
        app("text_service", network=lambda: networks.bert_base(3, 256, 4, 8000, 128), REMEMBER=True, truth={"tokenise": 0.1}),
        expect(where="model", absent="C102"),
        "words seen before are looked up; the encoder is what is left",
    ),
    lookalike=Case(
        app("embedding_api", network=matmuls(1, 1024), truth={"deserialize": 0.9}),
        expect("C104", where="deserialize", absent="C102"),
        "Python on the CPU before the model as well, but it is the message's codec",
    ),
)  # fmt: skip

PLANTS = (*PHOTO, *TEXT)

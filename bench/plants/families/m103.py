"""M103, out of memory: a table above the memory limit, whose pages come back from swap or from the file on each request.

The truth is in the counts (major faults, the limit's failcnt), and in that the same target without the limit is fast.
"""

from bench.plants.contract import Case, expect, story
from bench.plants.disks import needs_loop, needs_slow_disk
from bench.plants.families.shared import matmuls, random_file
from bench.plants.graphs import tagger
from bench.plants.preparing import app, disk, little_memory, plain_disk
from bench.plants.swap import needs_swap

TABLE = story(
    "M103",
    "develop",
    "table",
    fault=Case(
        app("embedding_ram", little_memory(800, 4000), truth={"system": 0.95}),
        expect("M103", absent="C102 I101 I105"),
        "an embedding table of 1.2 GB in a container of 0.8 GB, with swap",
        needs_swap,
    ),
    healthy=Case(
        app("embedding_ram", truth={"system": 0.0}),
        expect(absent="M103 I101"),
        "the same without the limit",
    ),
    lookalike=Case(
        app(
            "feature_store",
            disk("FILE", "features.bin", 300, random_file(256), read_bps=10 << 20),
            network=matmuls(1, 1024),
            truth={"features": 0.95, "wait": 0.95},
        ),
        expect("I101", absent="M103 M104"),
        "rows that come from a disk as well, but by reads, and memory is plenty",
        needs_slow_disk,
    ),
)

OBJECTS = story(
    "M103",
    "test",
    "objects",
    fault=Case(
        app("profiles", little_memory(800, 4000), truth={"system": 0.9}),
        expect("M103", absent="C102 I101 I105"),
        "1.1 GB of Python objects in a container of 0.8 GB, with swap",
        needs_swap,
    ),
    healthy=Case(
        app("profiles", PROFILES=60_000, FRIENDS=1000, truth={"cpu": 1.0, "system": 0.0}),
        expect(absent="M103 I101"),
        "a fifth of the profiles, without a limit",
    ),
    # Major faults as in the fault, at each request, but no limit is met: the file is cold and its disk slow.
    lookalike=Case(
        app(
            "table_mmap",
            disk("FILE", "table.bin", 300, random_file(256), read_iops=120),
            LOOKUPS=12,
            truth={"gather": 1.0, "wait": 0.95},
        ),
        expect("I101", absent="M103"),
        "a memory-mapped file, read by page faults from a slow disk for the first time; memory is plenty",
        needs_slow_disk,
    ),
)

MAPPED = story(
    "M103", "test", "mapped",
    # I101 would be half an answer: the bytes are read because the limit took them away. No cache can be warmed here, and a
    # larger limit makes it fast, which is how the catalogue tells the two apart.
    fault=Case(
        app("table_mmap", plain_disk("FILE", "table.bin", 1100, random_file(1024)), little_memory(600, 4000)),
        expect("M103", absent="C102 I105"),
        "a mapped table of 1 GB in a container of 0.6 GB: its pages are reclaimed and read again",
        lambda: needs_swap() or needs_loop(),
    ),
    healthy=Case(
        app("table_mmap", plain_disk("FILE", "table.bin", 150, random_file(128)), LOOKUPS=4000),
        expect(absent="M103"),
        "a table that fits; after the first requests all of it is in the page cache",
        needs_loop,
    ),
    lookalike=Case(
        app(
            "photo_service", disk("STORE", "", 64, read_bps=1_000_000), network=lambda: tagger(1),
            PHOTO=(800, 600), COUNT=48,
        ),
        expect("I101", where="preprocess", absent="M103"),
        "files read past the page cache from a slow disk; memory is plenty",
        needs_slow_disk,
    ),
)  # fmt: skip

PLANTS = (*TABLE, *OBJECTS, *MAPPED)

"""I101, reads from a disk on the request path: direct reads of large records, and point queries of a cold database.

The disk is a loop device throttled for the target's group, so each request sleeps about 100 ms for it.
"""

from bench.plants.contract import Case, expect, story
from bench.plants.disks import needs_slow_disk
from bench.plants.families.shared import matmuls, random_file, transactions
from bench.plants.preparing import app, disk, little_memory, service
from bench.plants.swap import needs_swap

DIRECT = story(
    "I101",
    "develop",
    "direct",
    fault=Case(
        app(
            "feature_store",
            disk("FILE", "features.bin", 300, random_file(256), read_bps=10 << 20),
            network=matmuls(1, 1024),
            truth={"features": 0.95, "wait": 0.95},
        ),
        expect("I101", where="preprocess", absent="C102 I105 M103 W104 W110"),
        "two records of 512 kB past the page cache at 10 MB/s",
        needs_slow_disk,
    ),
    healthy=Case(
        app(
            "feature_store",
            disk("FILE", "features.bin", 300, random_file(256), cold=False, read_bps=10 << 20),
            network=matmuls(4, 1024),
            DIRECT=False,
            truth={"wait": 0.0},
        ),
        expect(absent="I101 I105"),
        "the same slow disk, but the file is in the page cache",
        needs_slow_disk,
    ),
    lookalike=Case(
        app("embedding_ram", little_memory(800, 4000)),
        expect("M103", absent="I101"),
        "pages come from a block device as well, but they are swapped-out memory",
        needs_swap,
    ),
)

SQLITE = story(
    "I101", "test", "sqlite",
    fault=Case(
        app(
            "sqlite_features", disk("DATABASE", "transactions.db", 300, transactions, read_iops=120), network=matmuls(1, 512),
            truth={"look_up": 0.97, "wait": 0.95},
        ),
        expect("I101", absent="C102 I105 I106 M103 W104 W110"),
        "twelve point queries on pages that nobody has read before, 120 reads a second",
        needs_slow_disk,
    ),
    healthy=Case(
        app(
            "sqlite_features", disk("DATABASE", "transactions.db", 300, transactions, cold=False, read_iops=120),
            network=matmuls(4, 512), truth={"wait": 0.0},
        ),
        expect(absent="I101 I105"),
        "the same database in the page cache",
        needs_slow_disk,
    ),
    lookalike=Case(
        app("enrich_async", service(0.05), network=matmuls(1, 512), truth={"get": 0.97, "wait": 0.95}),
        expect("I105", absent="I101"),
        "the features come from another service",
    ),
)  # fmt: skip

PLANTS = (*DIRECT, *SQLITE)

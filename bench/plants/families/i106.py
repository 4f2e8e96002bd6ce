"""I106, durable writes on the request path: a log with fsync, and a database commit.

The disk is throttled for writes of the target's group: a request sleeps about 100 ms for it. Nothing is read (not I101).
"""

from bench.plants.contract import Case, expect, story
from bench.plants.disks import needs_slow_disk
from bench.plants.families.shared import matmuls, random_file, transactions
from bench.plants.preparing import app, disk

AUDIT_LOG = disk("LOG", "audit.log", 64, write_iops=120)
AUDIT_DATABASE = disk("DATABASE", "audit.db", 64, write_iops=120)

LOG = story(
    "I106",
    "develop",
    "log",
    fault=Case(
        app("audit_log", AUDIT_LOG, network=matmuls(1, 1024), truth={"note": 0.95, "wait": 0.95}),
        expect("I106", absent="I101 I105 W104 W110"),
        "four log records a request, each with fsync",
        needs_slow_disk,
    ),
    healthy=Case(
        app("audit_log", AUDIT_LOG, network=matmuls(4, 1024), DURABLE=False, truth={"wait": 0.0}),
        expect(absent="I106 I101"),
        "the same log on the same disk, left to the page cache",
        needs_slow_disk,
    ),
    lookalike=Case(
        app(
            "feature_store",
            disk("FILE", "features.bin", 300, random_file(256), read_bps=10 << 20),
            network=matmuls(1, 1024),
            truth={"wait": 0.95},
        ),
        expect("I101", absent="I106"),
        "the same wait for a disk, for reads",
        needs_slow_disk,
    ),
)

COMMIT = story(
    "I106", "test", "commit",
    fault=Case(
        app("audit_sqlite", AUDIT_DATABASE, network=matmuls(1, 512), truth={"remember": 0.95, "wait": 0.95}),
        expect("I106", absent="I101 I105 W104 W110"),
        "a transaction of SQLite with its journal, durable, for each prediction",
        needs_slow_disk,
    ),
    healthy=Case(
        app(
            "audit_sqlite", AUDIT_DATABASE, network=matmuls(12, 512),
            SYNCHRONOUS="OFF", JOURNAL="MEMORY", truth={"wait": 0.0},
        ),
        expect(absent="I106 I101"),
        "the same inserts, made durable by nobody",
        needs_slow_disk,
    ),
    lookalike=Case(
        app("sqlite_features", disk("DATABASE", "transactions.db", 300, transactions, read_iops=120), network=matmuls(1, 512)),
        expect("I101", absent="I106"),
        "SQLite that waits for the same disk, for reads",
        needs_slow_disk,
    ),
)  # fmt: skip

PLANTS = (*LOG, *COMMIT)

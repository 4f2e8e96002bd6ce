"""M106, large inputs copied: scenes of 21 MB and uploads of 25 MB that are copied a few times before little is read of them.

Each copy goes into fresh memory, so page faults come with it: they are the copy's, and not allocation churn (M104).
"""

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import matmuls
from bench.plants.preparing import app

SCENES = story(
    "M106",
    "develop",
    "scenes",
    fault=Case(
        app("tile_server", network=matmuls(1, 512), COPIES=True, truth={"prepare": 0.98}),
        expect("M106", where="preprocess", absent="C102 C103 C104 M104"),
        "four copies of a scene, one in each step",
    ),
    healthy=Case(
        app("tile_server", network=matmuls(12, 512), truth={"model": 0.95}),
        expect(where="model", absent="M104 M106"),
        "views of the bytes that came, and a larger network",
    ),
    lookalike=Case(
        app("tile_server", network=matmuls(1, 512), BASE64=True, truth={"prepare": 0.99}),
        expect("C104", where="deserialize", absent="M106"),
        "the same views of a scene that comes as base64",
    ),
)

UPLOADS = story(
    "M106", "test", "uploads",
    fault=Case(
        app("upload_spool", network=matmuls(1, 512), SPOOL=True, truth={"spooled": 0.9}),
        expect("M106", absent="C104 M104"),
        "into a stream, out of it, and into an array, in an unmarked program",
    ),
    healthy=Case(
        app("upload_spool", network=matmuls(12, 512)),
        expect(where="model", absent="M104 M106"),
        "what is read is read where it is",
    ),
    lookalike=Case(
        app("upload_spool", network=matmuls(1, 512), TEXT=True, truth={"json.loads": 0.85}),
        expect("C104", where="deserialize", absent="M106"),
        "a list of numbers as JSON",
    ),
)  # fmt: skip

PLANTS = (*SCENES, *UPLOADS)

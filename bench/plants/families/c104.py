"""C104, JSON and base64: vectors as text in the request, and as text in the answer.

No bytes wait for a network (I104): client and service share the process. Not C102: the frames are the codec's.
"""

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import matmuls
from bench.plants.preparing import app

REQUEST = story(
    "C104",
    "develop",
    "request",
    fault=Case(
        app("embedding_api", network=matmuls(1, 1024), truth={"deserialize": 0.9, "json.loads": 0.75}),
        expect("C104", where="deserialize", absent="C102 C103 I104"),
        "65,536 numbers as JSON in the request, and the list made an array",
    ),
    healthy=Case(
        app("embedding_api", network=matmuls(8, 1024), FORMAT="raw", truth={"model": 0.95}),
        expect("C101", where="model", absent="C104 C102"),
        "the same numbers as raw float32 for a larger network",
    ),
    lookalike=Case(
        app("embedding_api", network=matmuls(1, 1024), FORMAT="raw", STANDARDISE="python", truth={"preprocess": 0.95}),
        expect("C102", where="preprocess", absent="C104"),
        "the same numbers as raw bytes; the time is standardising them in Python",
    ),
)

ANSWER = story(
    "C104", "test", "answer",
    fault=Case(
        app("search_api", network=matmuls(1, 512), truth={"json.dumps": 0.9}),
        expect("C104", where="serialize", absent="C102 C103 I104"),
        "48 embeddings of 512 numbers as JSON and again as base64, in an unmarked coroutine",
    ),
    healthy=Case(
        app("search_api", network=matmuls(12, 512), ENCODING="bytes"),
        expect(where="model", absent="C104"),
        "the same embeddings as float16 bytes, of a larger network",
    ),
    lookalike=Case(
        app("search_api", network=matmuls(1, 512), RERANK="here", truth={"rerank": 0.95}),
        expect("C103", where="postprocess", absent="C104"),
        "Python after the model again, but it re-ranks; the answer is a line",
    ),
)  # fmt: skip

PLANTS = (*REQUEST, *ANSWER)

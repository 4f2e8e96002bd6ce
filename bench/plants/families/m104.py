"""M104, allocation churn: arrays of 50 MB and a message body of 48 MB made anew for each request.

Above 32 MB the allocator maps and unmaps each time, so that every page is faulted in and cleared by the kernel. numpy asks
for huge pages for its arrays, where the kernel grants them on request: few faults then, each of 2 MB, and the system time is
the better witness. The bytearray gets small pages: 12,000 faults a request. Reusing the buffer is two to three times faster.
"""

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import matmuls
from bench.plants.preparing import app

FRAMES = story(
    "M104",
    "develop",
    "frames",
    fault=Case(
        app("frames", network=matmuls(1, 1024), truth={"preprocess": 0.95, "system": 0.5, "gain": 2.5}),
        expect("M104", where="preprocess", absent="C104 I101 M101 M103"),
        "three temporaries of 53 MB a request",
    ),
    healthy=Case(
        app("frames", network=matmuls(1, 1024), REUSE=True, truth={"preprocess": 0.9, "system": 0.0}),
        expect(absent="M103 M104"),
        "the same arithmetic into one buffer",
    ),
    lookalike=Case(
        app("frames", network=matmuls(1, 1024), REUSE=True, GAMMA=2.2, truth={"preprocess": 0.95, "system": 0.0}),
        expect("C102", where="preprocess", absent="M104"),
        "one buffer, and arithmetic that takes time: a power for each of 13 million numbers",
    ),
)

CLIP = story(
    "M104", "test", "clip",
    fault=Case(
        app("clip_buffer", network=matmuls(1, 512), truth={"assemble": 0.95, "system": 0.7, "gain": 3}),
        expect("M104", absent="C102 C104 I101 M103"),
        "a bytearray of 48 MB for each clip",
    ),
    healthy=Case(
        app("clip_buffer", network=matmuls(1, 512), POOL=True, truth={"system": 0.0}),
        expect(absent="M103 M104"),
        "one bytearray for all requests",
    ),
    lookalike=Case(
        app("clip_buffer", network=matmuls(1, 512), POOL=True, DIGEST=True, truth={"digest": 0.8, "system": 0.0}),
        expect("C102", absent="M104"),
        "one bytearray, and a SHA-256 of it",
    ),
)  # fmt: skip

PLANTS = (*FRAMES, *CLIP)

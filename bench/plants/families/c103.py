"""C103, postprocessing on the CPU: box suppression and nucleus sampling as loops in Python.

Not C104: no codec is at work until the answer, which is short.
"""

from bench.plants.contract import Case, expect, story
from bench.plants.graphs import networks, tagger
from bench.plants.preparing import app

DETECTOR = story(
    "C103",
    "develop",
    "detector",
    fault=Case(
        app("detector_service", network=lambda: tagger(2), truth={"postprocess": 0.8}),
        expect("C103", where="postprocess", absent="C102 C104 C107 I101"),
        "non-maximum suppression over 220 boxes, pair by pair in Python",
    ),
    healthy=Case(
        app("detector_service", network=lambda: tagger(8), SUPPRESS="numpy", truth={"model": 0.75}),
        expect(where="model", absent="C103"),
        "all overlaps at once in numpy",
    ),
    lookalike=Case(
        app("detector_service", network=lambda: tagger(2), SUPPRESS="numpy", MASKS=True, truth={"serialize": 0.8}),
        expect("C104", where="serialize", absent="C103"),
        "also after the model and also Python, but the time is json.dumps of the masks",
    ),
)


def vocabulary() -> networks.onnx.ModelProto:
    """Hidden state to logits over 16 k words, by one MatMul."""
    graph = networks.Graph("vocabulary", 0)
    x = graph.input("x", ("batch", 1024))
    graph.node("MatMul", "logits", x, graph.weight("words", graph.normal((1024, 16384), 0.1)))
    return graph.close(logits=("batch", 16384))


SAMPLER = story(
    "C103", "test", "sampler",
    fault=Case(
        app("next_word", network=vocabulary, truth={"nucleus": 0.95}),
        expect("C103", where="postprocess", absent="C102 C104"),
        "softmax, sort and top-p over the whole vocabulary with lists",
    ),
    healthy=Case(
        app("next_word", network=vocabulary, SAMPLER="arrays"),
        expect(where="model", absent="C103 C104"),
        "the 64 likeliest by partition; the model is what is left",
    ),
    lookalike=Case(
        app("next_word", network=vocabulary, ANSWER="distribution", truth={"json.dumps": 0.9}),
        expect("C104", where="serialize", absent="C103"),
        "the probabilities of all words as JSON in base64",
    ),
)  # fmt: skip

PLANTS = (*DETECTOR, *SAMPLER)

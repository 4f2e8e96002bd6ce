# Suggests the next word for several drafts at once: logits over the vocabulary, then sampling from the likeliest words.
import math
import random
from pathlib import Path

import numpy as np
import onnxruntime as ort

SAMPLER = "lists"  # or "arrays"
ANSWER = "words"  # or "distribution": every probability, for a caller that samples itself
DRAFTS = 4
TOP_P = 0.9

session = ort.InferenceSession(str(Path(__file__).with_name("model.onnx")), providers=["CPUExecutionProvider"])
dice = random.Random(0)


def handle(state: np.ndarray) -> list[int] | bytes:
    """One word number a draft."""
    logits = session.run(None, {"x": state})[0]
    if ANSWER == "distribution":
        import base64
        import json

        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return base64.b64encode(json.dumps(weights.tolist()).encode())
    choose = nucleus if SAMPLER == "lists" else nucleus_of_array
    return [choose(row) for row in logits]


def nucleus(logits: np.ndarray) -> int:
    """Top-p sampling as in the reference implementation: sort everything, add up until p."""
    values = logits.tolist()
    top = max(values)
    weights = [math.exp(value - top) for value in values]
    total = sum(weights)
    ranked = sorted(((weight / total, word) for word, weight in enumerate(weights)), reverse=True)
    mass, kept = 0.0, []
    for share, word in ranked:
        kept.append((share, word))
        mass += share
        if mass >= TOP_P:
            break
    return dice.choices([word for _, word in kept], [share for share, _ in kept])[0]


def nucleus_of_array(logits: np.ndarray) -> int:
    """The same among the 64 likeliest words, with numpy."""
    best = np.argpartition(logits, -64)[-64:]
    weights = np.exp(logits[best] - logits[best].max())
    shares = np.cumsum(weights / weights.sum())
    return int(best[np.searchsorted(shares, dice.random() * TOP_P)])


def example_inputs() -> list[np.ndarray]:
    """Hidden states of five requests."""
    numbers = np.random.default_rng(5)
    return [numbers.standard_normal((DRAFTS, 1024), dtype=np.float32) for _ in range(5)]

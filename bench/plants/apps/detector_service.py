"""Object detection: image array in, boxes out, overlapping boxes suppressed here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pinchpoint.stages import stage

SUPPRESS = "python"  # or numpy
CANDIDATES = 220
OVERLAP = 0.6
MASKS = False  # the answer carries each box's 28 x 28 mask as numbers

Array = NDArray[np.float32]
SESSION = ort.InferenceSession(str(Path(__file__).with_name("model.onnx")), providers=["CPUExecutionProvider"])


def handle(image: Array) -> str:
    """Detect objects."""
    with stage("model"):
        (features,) = SESSION.run(None, {"pixels": image})
    boxes, scores = postprocess(features[0])
    with stage("serialize"):
        answer: dict[str, object] = {"boxes": boxes, "scores": scores}
        if MASKS:
            answer["masks"] = [
                np.abs(np.outer(features[0, k : k + 28], features[0, :28])).tolist() for k in range(len(boxes))
            ]
        return json.dumps(answer)


@stage
def postprocess(features: Array) -> tuple[list[list[float]], list[float]]:
    """Candidate boxes from the network's features, and the ones that survive suppression, best first."""
    place = np.random.default_rng(int(abs(features[0]) * 1e6)).uniform(0, 200, (CANDIDATES, 2)).astype(np.float32)
    size = 8 + 24 * np.abs(np.resize(features, (CANDIDATES, 2))) / (np.abs(features).max() + 1e-6)
    boxes = np.concatenate([place, place + size], axis=1)
    scores = np.resize(features, CANDIDATES)
    order = np.argsort(-scores)
    keep = _by_numpy(boxes[order]) if SUPPRESS == "numpy" else _by_python(boxes[order].tolist())
    kept = order[keep]
    return np.round(boxes[kept], 1).tolist(), np.round(scores[kept], 3).tolist()


def _by_python(boxes: list[list[float]]) -> list[int]:
    keep: list[int] = []
    for i, box in enumerate(boxes):
        if all(_overlap(box, boxes[j]) <= OVERLAP for j in keep):
            keep.append(i)
    return keep


def _overlap(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def _by_numpy(boxes: NDArray[np.float32]) -> list[int]:
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    both = np.prod(np.clip(high - low, 0, None), axis=2)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    suppressed = both > OVERLAP * (area[:, None] + area[None] - both)
    alive = np.ones(len(boxes), bool)
    for i in range(len(boxes)):
        if alive[i]:
            alive[i + 1 :] &= ~suppressed[i, i + 1 :]
    return [int(i) for i in np.flatnonzero(alive)]


def example_inputs() -> list[Array]:
    """Six random images, already decoded upstream."""
    random = np.random.default_rng(0)
    return [random.standard_normal((1, 3, 224, 224), dtype=np.float32) for _ in range(6)]

"""Scores feature vectors that a client sends: as JSON, or as raw little-endian float32."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pinchpoint.stages import stage

FORMAT = "json"  # or "raw"
STANDARDISE = "numpy"  # or "python"
VECTORS, WIDTH = 64, 1024

SESSION = ort.InferenceSession(str(Path(__file__).with_name("model.onnx")), providers=["CPUExecutionProvider"])


@stage("deserialize")
def parse(body: bytes) -> NDArray[np.float32]:
    """The request as an array [VECTORS, WIDTH]."""
    if FORMAT == "raw":
        return np.frombuffer(body, np.float32).reshape(-1, WIDTH)
    return np.array(json.loads(body)["instances"], np.float32)


@stage("preprocess")
def standardise(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each vector with mean 0 and deviation 1."""
    if STANDARDISE == "numpy":
        centred = vectors - vectors.mean(axis=1, keepdims=True)
        return centred / (centred.std(axis=1, keepdims=True) + np.float32(1e-6))
    rows = []
    for row in vectors.tolist():
        mean = sum(row) / len(row)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in row) / len(row)) + 1e-6
        rows.append([(value - mean) / deviation for value in row])
    return np.array(rows, np.float32)


def handle(body: bytes) -> bytes:
    """The mean score."""
    vectors = standardise(parse(body))
    with stage("model"):
        (scores,) = SESSION.run(None, {"x": vectors})
    with stage("serialize"):
        return b'{"score": %.5f}' % float(scores.mean())


def example_inputs() -> list[bytes]:
    """Eight bodies."""
    random = np.random.default_rng(2)
    arrays = [random.standard_normal((VECTORS, WIDTH), dtype=np.float32) for _ in range(8)]
    if FORMAT == "raw":
        return [array.tobytes() for array in arrays]
    return [json.dumps({"instances": array.astype(np.float64).round(6).tolist()}).encode() for array in arrays]

"""Rates large satellite scenes, which arrive as raw bytes: a few pixels of the corner of each band go to the network."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pinchpoint.stages import stage

COPIES = False  # each step hands on a copy of its own
BASE64 = False  # scenes as text
SHAPE = (4, 2048, 2560)

SESSION = ort.InferenceSession(str(Path(__file__).with_name("model.onnx")), providers=["CPUExecutionProvider"])


@stage("preprocess")
def prepare(body: bytes) -> NDArray[np.float32]:
    """Eight rows for the network."""
    raw = base64.b64decode(body) if BASE64 else body
    scene = np.frombuffer(raw, np.uint8).reshape(SHAPE)
    if COPIES:
        scene = np.array(scene)
        scene = np.ascontiguousarray(scene[:, ::-1])
        scene = np.stack([scene])[0].copy()
    return scene[:, :2, :512].reshape(8, 512) / np.float32(255)


def handle(body: bytes) -> float:
    """A rating."""
    rows = prepare(body)
    with stage("model"):
        (answer,) = SESSION.run(None, {"x": rows})
    return float(answer.mean())


def example_inputs() -> list[bytes]:
    """Three scenes of 21 MB."""
    random = np.random.default_rng(0)
    scenes = [random.integers(0, 255, SHAPE, np.uint8).tobytes() for _ in range(3)]
    return [base64.b64encode(scene) for scene in scenes] if BASE64 else scenes

"""An image classification service: JPEG bytes in, the likeliest classes as JSON out.

`handle` is what a web framework would call for each request. The model is the file that IMAGE_CLASSIFIER_MODEL names,
or else build/resnet50.onnx of this repository, which is built on the first import.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

import pinchpoint

HERE = Path(__file__).resolve().parent
DEFAULT_MODEL = HERE.parent / "build" / "resnet50.onnx"
MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet, per colour
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
SHORT_SIDE, CROP = 256, 224


def load(model: Path) -> ort.InferenceSession:
    """Opens a model; the default one is built where it is missing, in another process, which takes its memory along."""
    if model == DEFAULT_MODEL and not model.exists():
        command = [sys.executable, str(HERE / "networks.py"), str(model.parent), "resnet50"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return ort.InferenceSession(model, providers=["CPUExecutionProvider"])


SESSION = load(Path(os.environ.get("IMAGE_CLASSIFIER_MODEL", DEFAULT_MODEL)))


def handle(jpeg: bytes) -> str:
    """Classifies one photo; the answer holds the five likeliest classes, best first."""
    with pinchpoint.stage("deserialize"):
        photo = Image.open(io.BytesIO(jpeg)).convert("RGB")
    pixels = preprocess(photo)
    with pinchpoint.stage("model"):
        (logits,) = SESSION.run(["logits"], {"input": pixels})
    best = likeliest(logits[0])
    with pinchpoint.stage("serialize"):
        return json.dumps({"classes": [{"class": index, "probability": share} for index, share in best]})


@pinchpoint.stage
def preprocess(photo: Image.Image) -> NDArray[np.float32]:
    """Scales the short side to 256, cuts out the middle 224 x 224 and normalises: float32 [1, 3, 224, 224]."""
    scale = SHORT_SIDE / min(photo.size)
    photo = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BILINEAR)
    left, top = (photo.width - CROP) // 2, (photo.height - CROP) // 2
    photo = photo.crop((left, top, left + CROP, top + CROP))
    pixels = (np.asarray(photo, np.float32) / 255 - MEAN) / DEVIATION
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


@pinchpoint.stage("postprocess")
def likeliest(logits: NDArray[np.float32], count: int = 5) -> list[tuple[int, float]]:
    """The `count` classes of highest probability by softmax, best first."""
    odds = np.exp(logits - logits.max())
    shares = odds / odds.sum()
    return [(int(index), round(float(shares[index]), 4)) for index in np.argsort(-shares)[:count]]


def example_inputs(count: int = 8, width: int = 1280, height: int = 960) -> list[bytes]:
    """JPEG files of 200 to 400 kB, as photos of that size: detail at every scale, fainter where finer, and noise."""
    return [_photo(np.random.default_rng(seed), width, height) for seed in range(count)]


def _photo(random: np.random.Generator, width: int, height: int) -> bytes:
    pixels = np.full((height, width, 3), 128.0, np.float32)
    for cells in (2, 4, 8, 16, 32, 64, 128, 256):
        detail = Image.fromarray(random.integers(0, 256, (cells, cells, 3), np.uint8))
        scaled = detail.resize((width, height), Image.Resampling.BICUBIC)
        pixels += (np.asarray(scaled, np.float32) - 128) * (1.2 / cells**0.5)
    pixels += random.normal(0, 4, (height, width, 1))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()

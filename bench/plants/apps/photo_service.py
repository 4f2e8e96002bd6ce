"""Tags photos: JPEG in, the likeliest tags as JSON out. With STORE the request is an id and the photo lies on a disk."""

from __future__ import annotations

import io
import json
import mmap
import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from pinchpoint.stages import stage

PHOTO = (1600, 1200)  # as cameras send them; a gateway that makes thumbnails sends less
COUNT = 8
STORE = ""  # folder with photos by number; read past the page cache, which other tenants fill
THREADS = 0

MEAN, DEVIATION = np.float32(118.0), np.float32(58.0)
OPTIONS = ort.SessionOptions()
OPTIONS.intra_op_num_threads = THREADS
SESSION = ort.InferenceSession(str(Path(__file__).with_name("model.onnx")), OPTIONS, providers=["CPUExecutionProvider"])


def handle(request: bytes | int) -> str:
    """Tag one photo."""
    pixels = preprocess(request)
    with stage("model"):
        (logits,) = SESSION.run(None, {"pixels": pixels})
    with stage("postprocess"):
        best = np.argsort(-logits[0])[:5]
    with stage("serialize"):
        return json.dumps({"tags": [int(tag) for tag in best]})


@stage
def preprocess(request: bytes | int) -> NDArray[np.float32]:
    """Fetch, decode, scale to 224 x 224, normalise."""
    jpeg = request if isinstance(request, bytes) else fetch(request)
    photo = Image.open(io.BytesIO(jpeg)).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    pixels = (np.asarray(photo, np.float32) - MEAN) / DEVIATION
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def fetch(number: int) -> bytes:
    """The photo from the disk, by direct reads."""
    descriptor = os.open(f"{STORE}/{number}.jpg", os.O_RDONLY | os.O_DIRECT)
    try:
        size = os.fstat(descriptor).st_size
        with mmap.mmap(-1, (size + 4095) // 4096 * 4096) as buffer:
            os.preadv(descriptor, [buffer], 0)
            return buffer[:size]
    finally:
        os.close(descriptor)


def example_inputs() -> list[bytes] | list[int]:
    """Photos with detail at all scales, or their numbers in the store."""
    photos = [_photo(seed) for seed in range(COUNT)]
    if not STORE:
        return photos
    for number, jpeg in enumerate(photos):
        with Path(STORE, f"{number}.jpg").open("wb") as file:
            file.write(jpeg)
            file.flush()
            os.fsync(file.fileno())
    return list(range(COUNT))


def _photo(seed: int) -> bytes:
    random = np.random.default_rng(seed)
    width, height = PHOTO
    pixels = np.full((height, width, 3), 128.0, np.float32)
    for cells in (2, 8, 32, 128):
        small = Image.fromarray(random.integers(0, 256, (cells, cells, 3), np.uint8))
        pixels += (np.asarray(small.resize(PHOTO, Image.Resampling.BICUBIC), np.float32) - 128) / cells**0.5
    pixels += random.normal(0, 4, (height, width, 1))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=87)
    return file.getvalue()

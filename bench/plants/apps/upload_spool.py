# Takes uploads in chunks and scores the recording that they are.
import io
import json
from pathlib import Path

import numpy as np
import onnxruntime as ort

SPOOL = False  # chunks are written into a stream, and read from it again
TEXT = False  # a recording is a JSON list of numbers
CHUNKS, CHUNK = 12, 2 << 20

session = ort.InferenceSession(str(Path(__file__).with_name("model.onnx")), providers=["CPUExecutionProvider"])


def spooled(chunks: list[bytes]) -> np.ndarray:
    """The chunks as one array that may be written to."""
    stream = io.BytesIO()
    for chunk in chunks:
        stream.write(chunk)
    stream.seek(4)
    return np.frombuffer(stream.read(), np.int16).copy()


def handle(chunks: list[bytes]) -> float:
    """The score of 8 x 512 samples."""
    if TEXT:
        samples = np.array(json.loads(b"".join(chunks))[: 8 * 512])
    elif SPOOL:
        samples = spooled(chunks)[: 8 * 512]
    else:
        samples = np.frombuffer(chunks[0], np.int16, 8 * 512, 4)
    return float(session.run(None, {"x": samples.astype(np.float32).reshape(8, 512) / 32768})[0].mean())


def example_inputs() -> list[list[bytes]]:
    """Recordings of 25 MB, or fewer samples as text; the chunks of all are the same few."""
    samples = np.random.default_rng(0).integers(-30000, 30000, CHUNK // 2, np.int16)
    if TEXT:
        text = json.dumps(samples[:200_000].tolist()).encode()
        return [[text[at : at + 65536] for at in range(0, len(text), 65536)]] * 2
    return [[samples.tobytes()] * CHUNKS for _ in range(2)]

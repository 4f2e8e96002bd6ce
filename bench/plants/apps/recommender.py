"""Ranking with embedding tables: eight categorical features with thousands of values each, pooled and joined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

IDS = "all"  # or "popular": a thousand rows of each table get all the traffic
ROWS, LOOKUPS, TABLES = 1_000_000, 8192, 8
REQUESTS = 24
POPULAR = 1000

_options = ort.SessionOptions()
_options.intra_op_num_threads = 1
_options.inter_op_num_threads = 1
SESSION = ort.InferenceSession(
    str(Path(__file__).with_name("model.onnx")), _options, providers=["CPUExecutionProvider"]
)


def handle(request: dict[str, np.ndarray]) -> float:
    """The score of one candidate set."""
    return float(SESSION.run(["score"], request)[0][0, 0])


def example_inputs() -> list[dict[str, np.ndarray]]:
    """Requests whose ids are spread over all rows, or over the popular ones."""
    random = np.random.default_rng(0)
    step = ROWS // POPULAR
    ids = [random.integers(0, ROWS, (REQUESTS, 1, LOOKUPS)) for _ in range(TABLES)]
    if IDS == "popular":
        ids = [each // step for each in ids]
    return [{f"ids{table}": ids[table][request] for table in range(TABLES)} for request in range(REQUESTS)]

"""A credit decision service whose every step is logged durably: each record is on the disk before the next step."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pinchpoint.stages import stage

LOG = "audit.log"
DURABLE = True
THREADS = 0


class DurableHandler(logging.FileHandler):
    """Writes a record through to the disk."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write, flush, fsync."""
        super().emit(record)
        os.fsync(self.stream.fileno())


audit = logging.getLogger("audit")
audit.setLevel(logging.INFO)
audit.propagate = False
_handler = DurableHandler(LOG) if DURABLE else logging.FileHandler(LOG)
_handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
audit.addHandler(_handler)

_options = ort.SessionOptions()
_options.intra_op_num_threads = THREADS
SESSION = ort.InferenceSession(
    str(Path(__file__).with_name("model.onnx")), _options, providers=["CPUExecutionProvider"]
)


@stage("audit")
def note(step: str, applicant: int) -> None:
    """One audit record."""
    audit.info("applicant=%d step=%s", applicant, step)


def handle(applicant: int) -> str:
    """Accept or refer."""
    note("received", applicant)
    features = _features(applicant)
    note("features", applicant)
    with stage("model"):
        (scores,) = SESSION.run(None, {"x": features})
    note("scored", applicant)
    decision = "accept" if scores.mean() > 0 else "refer"
    note(decision, applicant)
    return decision


@stage("preprocess")
def _features(applicant: int) -> NDArray[np.float32]:
    return np.random.default_rng(applicant).standard_normal((64, 1024), dtype=np.float32)


def example_inputs() -> list[int]:
    """Twenty applicants."""
    return list(range(20))

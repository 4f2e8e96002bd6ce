# A vector index in memory; a background thread snapshots it (compressed) so that a restart is quick.
import os
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import onnxruntime as ort

SNAPSHOT = "under lock"  # or "copy": copy under the lock, compress outside
BYTES = 600_000
PAUSE_S = 0.0002

options = ort.SessionOptions()
options.intra_op_num_threads = 1  # the other core is the snapshot's
session = ort.InferenceSession(str(Path(__file__).with_name("model.onnx")), options, providers=["CPUExecutionProvider"])


class Index:
    """Vectors and the lock that guards them."""

    def __init__(self) -> None:
        self.guard = threading.RLock()
        self.vectors = np.random.default_rng(1).standard_normal((512, 256), dtype=np.float32)
        self.body = os.urandom(BYTES // 2) + bytes(BYTES // 2)

    def nearest(self, query: np.ndarray) -> int:
        """The vector nearest to a query."""
        with self.guard:
            return int((self.vectors @ query[:256]).argmax())

    def snapshot_forever(self) -> None:
        """Compress, again and again."""
        while True:
            if SNAPSHOT == "under lock":
                with self.guard:
                    zlib.compress(self.body, 6)
            else:
                with self.guard:
                    copy = bytes(self.body)
                zlib.compress(copy, 6)
            time.sleep(PAUSE_S)


index = Index()
threading.Thread(target=index.snapshot_forever, daemon=True).start()


def handle(query: np.ndarray) -> int:
    """Embed the query, then look for its neighbour."""
    embedded = session.run(None, {"x": query})[0][0]
    return index.nearest(embedded)


def example_inputs() -> list[np.ndarray]:
    """Queries."""
    numbers = np.random.default_rng(9)
    return [numbers.standard_normal((16, 512), dtype=np.float32) for _ in range(12)]

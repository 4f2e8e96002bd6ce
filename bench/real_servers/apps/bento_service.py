"""A service of BentoML."""

import os

import bentoml
import numpy as np
import planted

BATCHING = (
    {"batchable": True, "max_batch_size": 8, "max_latency_ms": 1000} if os.environ.get("PLANTED_WINDOW_S") else {}
)


@bentoml.service(workers=int(os.environ["PLANTED_INSTANCES"]), traffic={"timeout": 30}, metrics={"enabled": True})
class Network:
    """`network.onnx`, and what is planted before it."""

    def __init__(self) -> None:
        self.session = planted.session()

    @bentoml.api(**BATCHING)
    def predict(self, x: np.ndarray) -> np.ndarray:
        """Rows of numbers -> rows of numbers."""
        return self.session.run(None, {"x": planted.prepared(x[:, :64].astype("float32"))})[0]

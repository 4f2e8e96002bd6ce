"""A service of BentoML."""

import os

import bentoml
import numpy as np
import planted


@bentoml.service(workers=int(os.environ["PLANTED_INSTANCES"]), traffic={"timeout": 30}, metrics={"enabled": True})
class Network:
    """`network.onnx`, and what is planted before it."""

    def __init__(self) -> None:
        self.session = planted.session()

    def run(self, x: np.ndarray) -> np.ndarray:
        """Rows of numbers -> rows of numbers."""
        return self.session.run(None, {"x": planted.prepared(x[:, :64].astype("float32"))})[0]

    if planted.FAULT == "blocked event loop":

        @bentoml.api
        async def predict(self, x: np.ndarray) -> np.ndarray:
            """Computes in the loop."""
            return self.run(x)
    else:

        @bentoml.api
        def predict(self, x: np.ndarray) -> np.ndarray:
            """Computes in a thread."""
            return self.run(x)

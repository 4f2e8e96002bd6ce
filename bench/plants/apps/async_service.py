"""The same for an asyncio web framework: inference is handed to an executor, as its documentation advises."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pinchpoint.stages import stage

THREADS = 0
OPTIMISE = True
ROWS = 1  # items a request
LENGTH = 256  # tokens an item
VOCABULARY = 2  # whole numbers in a request are ids below this

EXECUTOR = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")


class Predictor:
    """A loaded model."""

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        if THREADS:
            options.intra_op_num_threads = THREADS
        if not OPTIMISE:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    @stage("model")
    def predict(self, feed: dict[str, NDArray[np.generic]]) -> NDArray[np.float32]:
        """Run the network."""
        return self.session.run(None, feed)[0]


PREDICTOR = Predictor(Path(__file__).with_name("model.onnx"))


async def handle(feed: dict[str, NDArray[np.generic]]) -> str:
    """Predict in the executor and name the best class."""
    answer = await asyncio.get_running_loop().run_in_executor(EXECUTOR, PREDICTOR.predict, feed)
    return f"class {int(answer.reshape(-1)[:1000].argmax())}"


def example_inputs() -> list[dict[str, NDArray[np.generic]]]:
    """Four random requests."""
    random = np.random.default_rng(11)
    requests = []
    for _ in range(4):
        feed: dict[str, NDArray[np.generic]] = {}
        for item in PREDICTOR.session.get_inputs():
            shape = [size if isinstance(size, int) else {"batch": ROWS}.get(size, LENGTH) for size in item.shape]
            whole = "int64" in item.type
            feed[item.name] = (
                random.integers(0, VOCABULARY, shape) if whole else random.standard_normal(shape, np.float32)
            )
        requests.append(feed)
    return requests

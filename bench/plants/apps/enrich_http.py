"""Ad ranking: the user's profile comes from another service over HTTP, then the ads are scored."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pinchpoint.stages import stage

PORT = 0  # of the profile service on this machine
CACHE = False
THREADS = 0

_profiles: dict[int, list[float]] = {}
_connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
_options = ort.SessionOptions()
_options.intra_op_num_threads = THREADS
SESSION = ort.InferenceSession(
    str(Path(__file__).with_name("model.onnx")), _options, providers=["CPUExecutionProvider"]
)


@stage("profile")
def profile(user: int) -> list[float]:
    """The profile of a user, from the cache if there is one."""
    if user in _profiles:
        return _profiles[user]
    _connection.request("GET", f"/profiles/{user}")
    found: list[float] = json.loads(_connection.getresponse().read())["profile"]
    if CACHE:
        _profiles[user] = found
    return found


def handle(user: int) -> int:
    """The best ad."""
    features = np.tile(np.array(profile(user), np.float32), (64, 64))
    with stage("model"):
        scores: NDArray[np.float32] = SESSION.run(None, {"x": features})[0]
    return int(scores.sum(axis=0).argmax())


def example_inputs() -> list[int]:
    """Sixteen users."""
    return list(range(16))

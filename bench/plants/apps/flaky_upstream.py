# Calls a feature service that sheds load: one call in EVERY is refused after a short while.
import asyncio
import random
from pathlib import Path

import numpy as np
import onnxruntime as ort

EVERY = 12  # 0: never
FALLBACK = False  # a default instead of an error
CALL_S = 0.003

session = ort.InferenceSession(str(Path(__file__).with_name("model.onnx")), providers=["CPUExecutionProvider"])
dice = random.Random(1)


class Overloaded(Exception):
    """What the feature service answers under load."""


async def features(user: int) -> np.ndarray:
    """The user's features."""
    await asyncio.sleep(CALL_S)
    if EVERY and dice.randrange(EVERY) == 0:
        if not FALLBACK:
            raise Overloaded(f"503 for user {user}")
        return np.zeros((32, 512), np.float32)
    return np.full((32, 512), user / 100, np.float32)


async def handle(user: int) -> float:
    """A score."""
    return float(session.run(None, {"x": await features(user)})[0].mean())


def example_inputs() -> list[int]:
    """Users."""
    return list(range(100))

# Moderation: a result is looked for in a mailbox that a thread fills; while it is not there yet, back off and try again.
import asyncio
import threading
from pathlib import Path

import numpy as np
import onnxruntime as ort

STRATEGY = "retry"  # or "future"
FIRST_DELAY_S = 0.004  # doubled with each attempt

session = ort.InferenceSession(str(Path(__file__).with_name("model.onnx")), providers=["CPUExecutionProvider"])
mailbox: dict[int, float] = {}
work = threading.Semaphore(0)
waiting: list = []


def _score_forever() -> None:
    while True:
        work.acquire()
        number, features, loop, future = waiting.pop(0)
        score = float(session.run(None, {"x": features})[0].mean())
        mailbox[number] = score
        loop.call_soon_threadsafe(future.set_result, score)


threading.Thread(target=_score_forever, daemon=True).start()
numbers = iter(range(1 << 60))


async def handle(features: np.ndarray) -> float:
    """A score between 0 and 1."""
    number, loop = next(numbers), asyncio.get_running_loop()
    future = loop.create_future()
    waiting.append((number, features, loop, future))
    work.release()
    if STRATEGY == "future":
        score = await future
        mailbox.pop(number)
        return score
    delay = FIRST_DELAY_S
    await asyncio.sleep(0)
    while number not in mailbox:
        await asyncio.sleep(delay)
        delay *= 2
    return mailbox.pop(number)


def example_inputs() -> list[np.ndarray]:
    """Feature blocks."""
    random = np.random.default_rng(8)
    return [random.standard_normal((32, 512), dtype=np.float32) for _ in range(8)]

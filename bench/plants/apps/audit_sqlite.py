"""The same duty done with a database: predictions are inserted and committed before the answer leaves."""

import sqlite3
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

DATABASE = "audit.db"
SYNCHRONOUS = "FULL"  # or OFF
JOURNAL = "DELETE"

_session = ort.InferenceSession(str(Path(__file__).with_name("model.onnx")), providers=["CPUExecutionProvider"])
_database = sqlite3.connect(DATABASE, check_same_thread=False, isolation_level=None)
_database.execute(f"PRAGMA journal_mode = {JOURNAL}")
_database.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
_database.execute("CREATE TABLE IF NOT EXISTS answers (at REAL, user TEXT, score REAL)")


async def handle(user: str) -> float:
    """Score, record, answer."""
    features = np.full((8, 512), (hash(user) % 97) / 97, np.float32)
    score = float(_session.run(None, {"x": features})[0].mean())
    remember(user, score)
    return score


def remember(user: str, score: float) -> None:
    """One transaction a prediction."""
    _database.execute("INSERT INTO answers VALUES (?, ?, ?)", (time.time(), user, score))


def example_inputs() -> list[str]:
    """Users."""
    return [f"user{number}" for number in range(30)]

"""Fraud scoring: the last transactions of a card come out of SQLite, one point query each, as the ORM does it."""

import random
import sqlite3
from pathlib import Path

import numpy as np
import onnxruntime as ort

DATABASE = "transactions.db"
QUERIES = 12

connection = sqlite3.connect(f"file:{DATABASE}?mode=ro", uri=True, check_same_thread=False)
connection.execute("PRAGMA cache_size = -2048")
rows_in_table = connection.execute("SELECT max(id) FROM transactions").fetchone()[0]
scorer = ort.InferenceSession(str(Path(__file__).with_name("model.onnx")), providers=["CPUExecutionProvider"])
place = random.Random(0)


def look_up() -> list[bytes]:
    """One query a transaction; which ones a card has is spread over the whole table."""
    ids = [place.randrange(1, rows_in_table + 1) for _ in range(QUERIES)]
    return [connection.execute("SELECT body FROM transactions WHERE id = ?", (number,)).fetchone()[0] for number in ids]


def handle(card: str) -> dict[str, float]:
    """The probability of fraud."""
    bodies = look_up()
    vectors = np.stack([np.frombuffer(body, np.uint8)[:512] for body in bodies]).astype(np.float32) / 255
    score = scorer.run(None, {"x": vectors})[0]
    return {card: float(score.mean())}


def example_inputs() -> list[str]:
    """Fifty cards."""
    return [f"card-{number}" for number in range(50)]

"""Text embeddings for an asyncio server: greedy longest-match word pieces in pure Python, then a small encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

WORDS = 4000
REMEMBER = False  # keep the pieces of words that were seen before
THREADS = 0
LENGTH = 128

_VOWELS, _CONSONANTS = "aeiou", "bcdfghklmnprstvwz"
VOCABULARY = {a + b: i for i, (a, b) in enumerate((a, b) for a in _CONSONANTS for b in _VOWELS)}
VOCABULARY |= {a + b: i + 100 for i, (a, b) in enumerate((a, b) for a in list(VOCABULARY) for b in list(VOCABULARY))}
UNKNOWN = 7999
_seen: dict[str, list[int]] = {}

_options = ort.SessionOptions()
_options.intra_op_num_threads = THREADS
_session = ort.InferenceSession(
    str(Path(__file__).with_name("model.onnx")), _options, providers=["CPUExecutionProvider"]
)


def _pieces(word: str) -> list[int]:
    pieces, start = [], 0
    while start < len(word):
        end = min(len(word), start + 8)
        while end > start and word[start:end] not in VOCABULARY:
            end -= 1
        if end == start:
            pieces.append(UNKNOWN)
            start += 1
        else:
            pieces.append(VOCABULARY[word[start:end]] % UNKNOWN)
            start = end
    return pieces


def tokenise(text: str) -> list[int]:
    """Token ids of all words, case folded."""
    tokens: list[int] = []
    for word in text.lower().split():
        if REMEMBER:
            pieces = _seen.get(word)
            if pieces is None:
                pieces = _seen[word] = _pieces(word)
        else:
            pieces = _pieces(word)
        tokens.extend(pieces)
    return tokens


async def handle(text: str) -> bytes:
    """The embedding of the first LENGTH tokens, the rest folded onto them."""
    tokens = tokenise(text)
    ids = np.zeros((1, LENGTH), np.int64)
    ids[0, : len(tokens)] = tokens[:LENGTH]
    mask = (np.arange(LENGTH)[None] < len(tokens)).astype(np.int64)
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    pooled = _session.run(["pooled"], feed)[0]
    return pooled.astype(np.float16).tobytes()


def example_inputs() -> list[str]:
    """Twelve articles of made-up words."""
    random = np.random.default_rng(3)
    syllables = [a + b for a in _CONSONANTS for b in _VOWELS]
    words = ["".join(random.choice(syllables, random.integers(2, 7))) for _ in range(4000)]
    return [" ".join(str(word).capitalize() for word in random.choice(words, WORDS)) for _ in range(12)]

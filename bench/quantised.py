"""The int8 twins of the benches' networks, by ONNX Runtime's own tools: what "int8 weights" means when it is done."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

CALIBRATING = 2  # random requests: their range is that of any other


def dynamic(model: Path) -> Path:
    """Weights in int8 a channel, activations quantised on the way: MatMulInteger."""
    path = model.with_suffix(".dynamic.onnx")
    if not path.exists():
        with _quietly():
            quantize_dynamic(model, path, per_channel=True, weight_type=QuantType.QInt8)
    return path


def static(model: Path, name: str, shape: tuple[int, ...]) -> Path:
    """Convolutions in int8 throughout (QLinearConv), calibrated on random requests."""
    path = model.with_suffix(".static.onnx")
    if not path.exists():
        with _quietly():
            quantize_static(
                model, path, _Random(name, shape), quant_format=QuantFormat.QOperator, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip
    return path


class _Random(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """A few random requests for one input."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(0)
        self._left: Iterator[dict[str, npt.NDArray[np.float32]]] = iter(
            [{name: rng.standard_normal(shape, dtype=np.float32)} for _ in range(CALIBRATING)]
        )

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        return next(self._left, None)


class _quietly:  # noqa: N801  # reads as a statement
    """No advice from the tools on stderr."""

    def __enter__(self) -> None:
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(logging.NOTSET)

"""Predicted gains beside measured ones: each remedy of `reasons` is carried out on plain ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench import plain, quantised
from bench.cases import ITEMS, LARGE, TOO_MANY, cpus, file_of
from bench.noise import Tried, tried
from pinchpoint.domain.change import Prediction
from pinchpoint.domain.verdict import Diagnosis

CONV_INPUT = (1, 64, 56, 56)
WITHIN = 0.01  # of a measured gain: medians of interleaved runs repeat to about this


@dataclass(frozen=True, slots=True)
class Doing:
    """A remedy of a case, for the finding that proposes it, and how it is done: the gain, measured."""

    case: str
    finding: str
    remedy: str
    how: str
    measure: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Gain:
    """A predicted gain (None where none was predicted) beside the measured one."""

    doing: Doing
    predicted: Prediction | None
    measured: float
    disturbed: bool

    @property
    def error(self) -> float | None:
        """|ln(predicted / measured)|."""
        return None if self.predicted is None else abs(math.log(self.predicted.gain.value / self.measured))

    @property
    def inside(self) -> bool | None:
        """Whether the measured gain, which is known to a hundredth, lies in the predicted interval; a bound is only kept from
        above.
        """
        if self.predicted is None:
            return None
        gain, least, most = self.predicted.gain, self.measured * (1 - WITHIN), self.measured * (1 + WITHIN)
        return least <= gain.high and (self.predicted.change.kind == "bound" or most >= gain.low)


def doings() -> list[Doing]:
    """Every remedy that is carried out."""
    big, many = f"MatMul 4096 batch {LARGE}", f"conv3x3 {TOO_MANY * cpus()} threads"
    return [
        Doing("conv3x3 1 thread", "C107", "more-threads", f"{cpus()} threads", lambda: _threads(1)),
        Doing(many, "C106", "fewer-threads", f"{cpus()} threads", lambda: _threads(TOO_MANY * cpus())),
        Doing("unoptimised, off", "C112", "optimise-graph", "optimisation on", _optimised),
        Doing("600 tiny operators", "C105", "batch-requests", f"batch of {ITEMS}", lambda: _batched("tiny")),
        Doing("MatMul 4096 batch 1", "M101", "batch-requests", f"batch of {ITEMS}", lambda: _batched("matmul")),
        Doing("MatMul 4096 batch 1", "M101", "int8-weights", "int8 dynamic", lambda: _int8_matmul(1)),
        Doing(big, "C101", "lower-precision", "int8 dynamic", lambda: _int8_matmul(LARGE)),
        Doing("conv3x3", "C101", "lower-precision", "int8 static", _int8_conv),
    ]


def gains(diagnoses: Mapping[str, Tried[Diagnosis]], retries: int) -> list[Gain]:
    """Each remedy whose case was diagnosed, done; disturbed where the diagnosis or the doing was."""
    found = []
    for doing in (each for each in doings() if each.case in diagnoses):
        diagnosis = diagnoses[doing.case]
        done = tried(doing.measure, lambda _: "shown", retries)
        foreseen = predicted(diagnosis.value, doing.finding, doing.remedy)
        found.append(Gain(doing, foreseen, done.value, done.noise.loud or diagnosis.noise.loud))
    return found


def predicted(diagnosis: Diagnosis, finding: str, remedy: str) -> Prediction | None:
    """The prediction for a remedy of a finding."""
    mine = (p for p in diagnosis.predictions if p.change.remedy == remedy and p.change.finding == finding)
    return next(mine, None)


def crossover(seconds: tuple[float, float]) -> float:
    """The batch at which the cost of an item has two equal parts, what a run costs once and what an item adds:
    T(1) / (T(512) / 512), from both times.
    """
    one, large = seconds
    return one / (large / LARGE)


def measured_crossover(retries: int) -> Tried[tuple[float, float]]:
    """Seconds of the chain of MatMuls at batch 1 and 512, interleaved."""
    opened = plain.session(file_of("matmul"), threads=cpus())
    arms = plain.runner(opened, 1), plain.runner(opened, LARGE)
    return tried(lambda: plain.medians(*arms), lambda _: "shown", retries)


def _ratio(before: plain.Run, after: plain.Run) -> float:
    first, second = plain.medians(before, after)
    return first / second


def _threads(wrong: int) -> float:
    model = file_of("conv3x3")
    opened = [plain.session(model, threads=count) for count in (wrong, cpus())]
    return _ratio(*(plain.runner(each) for each in opened))


def _optimised() -> float:
    model = file_of("unoptimised")
    opened = [plain.session(model, threads=cpus(), optimise=on) for on in (False, True)]
    return _ratio(*(plain.runner(each) for each in opened))


def _batched(name: str) -> float:
    opened = plain.session(file_of(name), threads=cpus())
    return ITEMS * _ratio(plain.runner(opened), plain.runner(opened, ITEMS))


def _int8_matmul(batch: int) -> float:
    model = file_of("matmul")
    opened = [plain.session(path, threads=cpus()) for path in (model, quantised.dynamic(model))]
    return _ratio(*(plain.runner(each, batch) for each in opened))


def _int8_conv() -> float:
    model = file_of("conv3x3")
    opened = [plain.session(path, threads=cpus()) for path in (model, quantised.static(model, "x", CONV_INPUT))]
    return _ratio(*(plain.runner(each) for each in opened))

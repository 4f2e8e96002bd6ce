"""Planted faults: what a diagnosis said against what it had to say, and what simpler rules would have said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.plants.contract import BOUNDS, Expect, Plant
from pinchpoint import stats
from pinchpoint.domain.quantity import Quantity

# The cause that a person names who looks at the longest stage alone; where it says nothing, a lock is the usual guess.
STAGE_CAUSE = {
    "model": "C101",
    "preprocess": "C102",
    "postprocess": "C103",
    "serialize": "C104",
    "deserialize": "C104",
}
OTHER_STAGE_CAUSE = "W104"
RESOURCE_CAUSE = {"cpu": "C101", "disk": "I101", "memory": "M103"}  # of the resource with the highest utilisation


@dataclass(frozen=True, slots=True)
class Said:
    """What a diagnosis said of a plant; `error` where there was none. The last two are what the simple rules say."""

    cause: str
    bound: str
    where: str
    kind: str
    proof: str
    present: frozenset[str]
    seconds: float
    error: str = ""
    longest: str = ""
    busiest: str = ""


@dataclass(frozen=True, slots=True)
class Scored:
    """A plant with what was said of it."""

    plant: Plant
    said: Said

    @property
    def misses(self) -> tuple[str, ...]:
        """What is not as expected, in a word each; empty if all is."""
        return misses(self.plant.expect, self.said)

    @property
    def asks_cause(self) -> bool:
        """Whether a cause is expected at all: a healthy plant may be limited by whatever it likes."""
        return bool(self.plant.expect.causes - {""})


def misses(expect: Expect, said: Said) -> tuple[str, ...]:
    """What a diagnosis has otherwise than it had to."""
    if said.error:
        return (said.error,)
    found = [
        word
        for word, allowed, value in (
            ("cause", expect.causes, said.cause),
            ("bound", expect.bounds, said.bound),
            ("where", expect.where, said.where),
        )
        if allowed and value not in allowed
    ]
    found += [f"also {code}" for code in sorted(expect.absent & (said.present | {said.cause}))]
    found += [f"no {code}" for code in sorted(expect.present - said.present)]
    return tuple(found)


def false_alarm(scored: Scored) -> bool:
    """Whether a healthy plant was given a defect: its own family's code, or any defect as the verdict that is not due.

    A limit (the hardware doing honest work) is none, and where nothing is expected a defect elsewhere may be true.
    """
    said, plant = scored.said, scored.plant
    family = plant.family.upper()
    if family in said.present or said.cause == family:
        return True
    return scored.asks_cause and said.kind == "defect" and said.cause not in plant.expect.causes


def right_cause(code: str, expect: Expect) -> bool:
    """Whether a rule's code is among those expected."""
    return code in expect.causes


def right_bound(code: str, expect: Expect) -> bool:
    """Whether a rule's code has a bound among those expected."""
    return BOUNDS.get(code[:1], "unknown") in expect.bounds


def share(hits: Sequence[bool]) -> Quantity | None:
    """How many of them, with Wilson's interval; None of nothing."""
    return stats.share_interval(sum(hits), len(hits)) if hits else None


def longest_stage(stages: Mapping[str, float]) -> str:
    """The cause that the longest stage suggests."""
    if not stages:
        return OTHER_STAGE_CAUSE
    return STAGE_CAUSE.get(max(stages, key=lambda stage: stages[stage]), OTHER_STAGE_CAUSE)


def busiest_resource(utilisation: Mapping[str, float]) -> str:
    """The cause that the busiest resource suggests."""
    return RESOURCE_CAUSE[max(utilisation, key=lambda name: utilisation[name])] if utilisation else OTHER_STAGE_CAUSE


def majority(plants: Sequence[Plant]) -> str:
    """The cause that is due most often in the half that one may learn from."""
    counts = Counter(
        code for plant in plants if plant.half == "develop" for code in sorted(plant.expect.causes) if code
    )
    return counts.most_common(1)[0][0] if counts else ""

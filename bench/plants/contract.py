"""What a planted fault is: a target with a bottleneck that we put there, and what a judge may accept as its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["fault", "healthy", "lookalike"]
Half: TypeAlias = Literal["develop", "test"]

BOUNDS = {"C": "cpu", "G": "gpu", "M": "memory", "I": "io", "W": "wait"}


@dataclass(frozen=True, slots=True)
class Expect:
    """What the diagnosis has to say.

    `causes` are the codes that `verdicts.latency.cause` may have, "" standing for null; an empty set asks nothing of it.
    `bounds` and `where` likewise. `absent` are codes that must be neither the verdict nor of status "present".
    `present` are codes of which a finding must have status "present": for V codes, which are never a verdict.
    """

    causes: frozenset[str] = frozenset()
    bounds: frozenset[str] = frozenset()
    where: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    present: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plant that stands ready: start `[*wrapper, PYTHON, -m, pinchpoint, diagnose, target, *options]`.

    `truth` holds the true shares of a request's wall time. Keys are states (`cpu` and `system` of the thread that answers,
    `starved`, `throttled`, `wait`, each measured from the kernel's counters), or names in the app (`preprocess()`, the
    inclusive time of a function or of a marked stage), or `gain`: how many times faster the healthy twin answers.
    """

    target: str
    options: tuple[str, ...] = ()
    wrapper: tuple[str, ...] = ()
    truth: Mapping[str, float] = field(default_factory=dict)


Prepare: TypeAlias = Callable[[Path], AbstractContextManager[Prepared]]
Needs: TypeAlias = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Plant:
    """One case: `family` is the code that it is about, which a healthy twin or a look-alike must not be given.

    Names are FAMILY-STORY-ROLE; the three plants of a story differ in one thing, or in the least that makes the cause
    another. `prepare` makes everything that it needs in the given folder and around it, and removes it, also on errors.
    `needs` says why the plant cannot run here, or None.
    """

    name: str
    family: str
    role: Role
    half: Half
    expect: Expect
    prepare: Prepare
    needs: Needs
    why: str


def expect(*causes: str, where: str = "", absent: str = "", present: str = "", bounds: str = "") -> Expect:
    """An Expect from words: the bounds are those of the causes, unless given."""
    own = {BOUNDS[cause[0]] for cause in causes if cause} | ({"unknown", "none"} if "" in causes else set())
    return Expect(
        frozenset(causes),
        frozenset(bounds.split()) or frozenset(own),
        frozenset(where.split()),
        frozenset(absent.split()),
        frozenset(present.split()),
    )


def always() -> str | None:
    """Nothing special is needed."""
    return None


@dataclass(frozen=True, slots=True)
class Case:
    """One of a story's plants: how it is made, what is expected, and why that is the truth."""

    prepare: Prepare
    expect: Expect
    why: str
    needs: Needs = always


def story(family: str, half: Half, title: str, fault: Case, healthy: Case, lookalike: Case) -> tuple[Plant, ...]:
    """The three plants of a story."""
    cases: tuple[tuple[Role, Case], ...] = (("fault", fault), ("healthy", healthy), ("lookalike", lookalike))
    return tuple(
        Plant(f"{family.lower()}-{title}-{role}", family, role, half, case.expect, case.prepare, case.needs, case.why)
        for role, case in cases
    )

"""Planted faults: targets whose bottleneck is known because we put it there, their healthy twins and their look-alikes.

`PLANTS` are all of them; `python -m bench.plants.verify` measures with clocks of its own that they are what they claim.
"""

from __future__ import annotations

from bench.plants.contract import Expect, Plant, Prepared
from bench.plants.families import (
    c101,
    c102,
    c103,
    c104,
    c105,
    c106,
    c107,
    c108,
    c109,
    c110,
    c111,
    c112,
    c114,
    c116,
    i101,
    i105,
    i106,
    m101,
    m102,
    m103,
    m104,
    m105,
    m106,
    m107,
    v102,
    v105,
    w104,
    w108,
    w110,
)  # fmt: skip

__all__ = ["PLANTS", "Expect", "Plant", "Prepared"]

_FAMILIES = (
    c101, c102, c103, c104, c105, c106, c107, c108, c109, c110, c111, c112, c114, c116,
    m101, m102, m103, m104, m105, m106, m107, i101, i105, i106, w104, w108, w110, v102, v105,
)  # fmt: skip
PLANTS: tuple[Plant, ...] = tuple(plant for family in _FAMILIES for plant in family.PLANTS)

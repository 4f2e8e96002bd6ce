"""Planted faults of the causes that stand beside a request's time, through the command line, with twin and look-alike."""

from __future__ import annotations

import pytest
from bench.plants import PLANTS
from bench.plants.contract import Plant

from end_to_end import decided, diagnose

pytestmark = [pytest.mark.slow, pytest.mark.alone]
FAMILIES = ("C110", "C111", "C116", "M105", "W108")
HALF = "develop"  # the other half is the bench's own, to see how well it does on what nobody looks at
CHOSEN = [plant for plant in PLANTS if plant.family in FAMILIES and plant.half == HALF]


@pytest.mark.parametrize("plant", CHOSEN, ids=lambda plant: plant.name)
def test_a_finding_is_there_where_it_was_planted_and_nowhere_else(plant: Plant, tmp_path) -> None:
    if (reason := plant.needs()) is not None:
        pytest.skip(reason)
    with plant.prepare(tmp_path) as ready:
        found = diagnose(tmp_path, ready.target, *ready.options, budget=14)
    statuses = {finding["code"]: finding["status"] for finding in found["findings"]}
    assert {code for code in plant.expect.absent if statuses[code] == "present"} == set()
    # whether it leads is the bench's to judge
    assert {
        code for code in plant.expect.present | {plant.family} & plant.expect.causes if statuses[code] == "absent"
    } == set()
    for code in plant.expect.present:
        decided(found, code)


def test_spinning_off_saves_what_was_foretold(tmp_path) -> None:
    """The forecast of CPU time a request against the twin's own pauses, on this machine now."""
    twins = {plant.role: plant for plant in PLANTS if plant.name.startswith("c110-pool")}
    if (reason := twins["fault"].needs()) is not None:
        pytest.skip(reason)
    spent = {}
    for role in ("fault", "healthy"):
        with twins[role].prepare(tmp_path / role) as ready:
            found = diagnose(tmp_path / role, ready.target, *ready.options, budget=14)
        decided(found, "C110")
        spent[role] = [p for p in found["predictions"] if p["change"]["remedy"] == "stop-spinning"]
        if role == "healthy":
            after = next(e for f in found["findings"] if f["code"] == "C110" for e in f["evidence"])
    (foretold,) = spent["fault"]
    assert foretold["gain"]["value"] > 1.5
    assert spent["healthy"] == []
    assert after["signal"]["quantity"]["value"] < 0.1

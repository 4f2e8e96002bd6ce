"""Planted copies of large inputs, through the command line: the verdict, on the fault and not on its twin or look-alike."""

from __future__ import annotations

import pytest
from bench.plants import PLANTS
from bench.plants.contract import Plant

from end_to_end import diagnose, named, verdict

pytestmark = [pytest.mark.slow, pytest.mark.alone]
CHOSEN = [plant for plant in PLANTS if plant.family == "M106"]


@pytest.mark.parametrize("plant", CHOSEN, ids=lambda plant: plant.name)
def test_copies_are_named_where_they_were_planted_and_nowhere_else(plant: Plant, tmp_path) -> None:
    with plant.prepare(tmp_path) as ready:
        found = diagnose(tmp_path, ready.target, *ready.options, budget=20)
    statuses = {finding["code"]: finding["status"] for finding in found["findings"]}
    assert {code for code in plant.expect.absent if statuses[code] == "present"} == set()
    if plant.role == "fault":
        named(found, "M106")
        answer = found["verdicts"]["latency"]
        assert (answer["cause"], answer["bound"]) == ("M106", "memory")
        assert answer["gain"]["kind"] == "bound"
        assert answer["gain"]["low"] > 2
        assert found["copies"]["payloads"]["value"] > 2
        assert {site["file"].rpartition("/")[2] for site in found["copies"]["sites"]} == {"app.py"}
    if plant.role == "lookalike":
        assert verdict(found) == (named(found, "C104"), "deserialize")

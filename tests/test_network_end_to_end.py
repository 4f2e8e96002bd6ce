"""Servers at a distance, on a narrow link, or with a fault in how they send, through the command line: the network's causes, their
healthy twins and look-alikes.
"""

from __future__ import annotations

import pytest
from bench.live_servers import HERE, program, serving
from bench.network_plants import PLANTS
from bench.plants.networks import needs_network

from end_to_end import diagnose, status

pytestmark = [pytest.mark.slow, pytest.mark.alone]
BUDGET, BUDGET_HERE = 14, 26  # threads are looked at some hundred times a second at most: that wants time
OF_THE_NETWORK = ("I103", "I104")


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_the_planted_cause_and_no_other(tmp_path, plant):
    if plant.place is not None and (missing := needs_network()):
        pytest.skip(missing)
    with plant.standing() as place, serving(tmp_path / "server", plant.source, program, place=place) as port:
        found = diagnose(tmp_path, f"http://{place.host}:{port}/", budget=BUDGET if plant.place else BUDGET_HERE)
    answer = found["verdicts"]["latency"]
    if place == HERE and any("inside the server" in each for each in found["unobservable"]):
        pytest.skip("the server's processes cannot be looked into here")
    assert abs(sum(row["share"] for row in rows(found) if row["state"] == "unexplained")) <= 0.1
    if plant.latency is None:
        assert answer["cause"] not in OF_THE_NETWORK, answer["sentence"]
    else:
        assert answer["cause"] == plant.latency, answer["sentence"]
    for code in OF_THE_NETWORK:
        assert (status(found, code) == "present") == (code == plant.latency or code in plant.also), code
    for site, (least, most) in plant.milliseconds.items():
        assert least <= 1000 * sum(row["seconds"]["value"] for row in rows(found) if row["site"] == site) <= most, site


def rows(found):
    """The ledger of typical requests."""
    return [row for row in found["ledger"] if (row["question"], row["requests"]) == ("latency", "typical")]

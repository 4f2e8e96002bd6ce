"""The arithmetic of the load bench: ratios, laws, servers' times, and what other clients say."""

import itertools

import numpy as np
import pytest
from bench.load_clients import wrk_said
from bench.load_laws import LAWS, Compared
from bench.load_servers import drawn
from bench.tool import ToolFailed

from bench import queues, ratios
from pinchpoint.domain.quantity import Quantity


@pytest.mark.parametrize(("n", "rank"), [(1, 0), (5, 0), (6, 0), (9, 1), (12, 2), (15, 3), (20, 5)])
def test_which_order_statistics_enclose_a_median(n, rank):
    found = ratios.median_interval(range(n))
    assert (found.low, found.high, found.n) == (rank, n - 1 - rank, n)


def test_the_interval_of_a_median_covers_it():
    generator = np.random.default_rng(0)
    found = [ratios.median_interval(generator.exponential(size=9)) for _ in range(2000)]
    assert np.mean([each.low <= np.log(2) <= each.high for each in found]) == pytest.approx(0.961, abs=0.015)


@pytest.mark.parametrize(("low", "high", "status"), [
    (0.9, 1.2, "holds"), (1.2, 1.3, "inconclusive"), (1.26, 1.3, "violated"),
])  # fmt: skip
def test_a_ratio_is_judged_by_its_whole_interval(low, high, status):
    assert ratios.at_most(1.25, Quantity((low + high) / 2, low, high, 9)) == status


def test_drift_of_the_machine_cancels_in_ratios():
    speed = [1.0, 3.0, 0.5, 2.0, 8.0, 1.5]
    found = ratios.ratio([1.2 * each for each in speed], speed)
    assert (found.low, found.value, found.high) == pytest.approx((1.2, 1.2, 1.2))


@pytest.mark.parametrize(("load", "t", "chance"), [
    (0.5, 0.0, 0.5), (0.5, 1.0, 0.5 * np.exp(0.5)), (0.5, 2.0, 0.5 * (np.e - 0.5 * np.exp(0.5))), (0.8, 0.0, 0.2),
])  # fmt: skip
def test_the_wait_in_md1_by_hand(load, t, chance):
    assert queues.md1_wait(t, load) == pytest.approx(chance)


def test_the_wait_in_md1_stays_a_distribution_as_far_as_it_is_used():
    chances = [queues.md1_wait(t, 0.8) for t in np.arange(0, 15, 0.1)]
    assert np.all(np.diff(chances) > 0)
    assert chances[-1] < 1


@pytest.mark.parametrize("load", [0.5, 0.8])
@pytest.mark.parametrize(("law", "draw"), [
    ("M/M/1", lambda generator, size: generator.exponential(size=size)),
    ("M/D/1", lambda generator, size: np.ones(size)),
    ("two-point", queues.two_point),
])  # fmt: skip
def test_laws_against_a_simulation(load, law, draw):
    (found,) = (each for each in LAWS if each.name == law)
    times = queues.simulated(load, draw, 1_000_000)
    assert times.mean() == pytest.approx(found.mean(load), rel=0.02)
    if law != "two-point":  # whose quantiles are simulated themselves
        for q in (0.5, 0.9, 0.99):
            assert np.quantile(times, q) == pytest.approx(found.quantile(q, load), rel=0.03)


def test_waits_by_hand():
    found = queues.waits(np.array([1.0, 1.0, 5.0]), np.array([3.0, 0.5, 2.0]), before=1.0)
    assert list(found) == [1.0, 3.0, 2.5, 0.0]


@pytest.mark.parametrize(("law", "squared"), [("constant", 1.0), ("exponential", 2.0), ("two_point", 2.5 + 2.5 / 9)])
def test_service_times_are_those_of_their_law(law, squared):
    times = np.array(list(itertools.islice(drawn(law, 0.01, "1"), 100_000))) / 0.01
    assert times.mean() == pytest.approx(1.0, rel=0.02)
    assert (times**2).mean() == pytest.approx(squared, rel=0.04)


def test_two_laws_of_two_points_are_one():
    times = np.array(list(itertools.islice(drawn("two_point", 1.0, "1"), 1000)))
    assert set(np.unique(times)) == set(np.unique(queues.two_point(np.random.default_rng(0), 1000)))


@pytest.mark.parametrize(("found", "log", "law", "misses"), [
    (Quantity(1.019, 1.019, 1.019, 9), 1.0, 1.0, []),
    (Quantity(1.03, 1.025, 1.04, 9), 1.0, 1.0, ["log", "law"]),
    (Quantity(1.03, 0.99, 1.07, 9), 1.0, 1.0, []),           # inside the interval that it states
    (Quantity(1.10, 1.015, 1.20, 9), 1.09, 1.0, []),         # the wires' part beside the interval
    (Quantity(1.10, 1.05, 1.20, 9), 1.02, 1.0, ["log", "law"]),
    (None, 1.0, 1.0, []),                                    # not said
])  # fmt: skip
def test_a_percentile_agrees_within_two_per_cent_or_its_interval(found, log, law, misses):
    assert [each.split()[-1][:3] for each in Compared("p99", found, log, law).misses()] == misses


def test_what_wrk_says():
    said = "  Latency Distribution\n     50%  183.00us\n     99%    1.32ms\n  154421 requests in 5.03s, 22.24MB read\n"
    assert wrk_said(said) == (154421, pytest.approx(183e-6))
    with pytest.raises(ToolFailed):
        wrk_said("unable to connect")

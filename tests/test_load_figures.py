"""From a run of `load` to its report: percentiles, the knee, the promise, and what makes a run count for nothing."""

from __future__ import annotations

import numpy as np
import pytest

from load_runs import CLIENT, a_level, a_run
from pinchpoint import limits, store
from pinchpoint.domain.traffic import CONFIRMED, SOUGHT, Client, Slo, Traffic
from pinchpoint.load import records
from pinchpoint.load.search import BROKEN, KEPT, UNDECIDED
from pinchpoint.load_figures import load_report

LIMITS = limits.shipped()


def report(*levels, **changes):
    return load_report(a_run(*levels, **changes), LIMITS)


def codes(found):
    return [each.code for each in found.reasons]


def latencies(n=4000, seed=0):
    return np.random.default_rng(seed).lognormal(2, 0.3, n)


# --- percentiles ---------------------------------------------------------------------------------------------------
def test_percentiles_are_those_of_the_answers():
    x = latencies(20_000)
    level = report(a_level(x)).levels[0]
    for name, q in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)]:
        found = getattr(level.latency_s, name)
        exact = np.quantile(x, q) / 1e3
        assert found.value == pytest.approx(exact, rel=0.01)
        assert found.low <= found.value <= found.high
        assert found.low <= exact <= found.high
    assert level.latency_s.mean.value == pytest.approx(x.mean() / 1e3, rel=1e-6)
    assert level.unpowered == ()
    assert sum(bar.count for bar in level.distribution) == x.size
    assert all(
        one.high_s <= other.low_s for one, other in zip(level.distribution, level.distribution[1:], strict=False)
    )


@pytest.mark.parametrize(("n", "seen"), [(2, "mean"), (20, "p50"), (100, "p90"), (1000, "p99"), (5000, "p999")])
def test_a_percentile_with_too_few_answers_is_null_and_says_so(n, seen):
    level = report(a_level(latencies(n))).levels[0]
    names = ["mean", "p50", "p90", "p99", "p999"]
    for name in names:
        known = names.index(name) <= names.index(seen)
        assert (getattr(level.latency_s, name) is not None) is known, name
        assert any(each.startswith(f"{name}: {n:,} requests, ") for each in level.unpowered) is not known


def test_three_clocks():
    level = report(a_level(np.full(1000, 10.0), lag_ms=1.0, gap_ms=20.0)).levels[0]
    assert level.latency_s.p50.value == pytest.approx(0.010)
    assert level.service_s.p50.value == pytest.approx(0.009)
    assert level.lag_s.p50.value == pytest.approx(0.001)


def test_throughput_of_a_closed_loop_is_what_was_answered():
    level = report(a_level(np.full(3000, 10.0), concurrency=4)).levels[0]
    assert level.throughput_per_s.value == pytest.approx(400.0, rel=0.01)


def test_a_warm_up_does_not_count():
    x = np.concatenate([np.full(50, 500.0), latencies(3000)])
    found = report(a_level(x), traffic=Traffic((), warmup_s=None)).levels[0]
    assert 50 <= found.warm_up <= 400
    assert found.latency_s.p99.high < 0.2
    asked = report(a_level(np.full(1000, 10.0)), traffic=Traffic((), warmup_s=5.0)).levels[0]
    assert asked.warm_up == 500
    assert asked.latency_s.mean.n == 500


# --- failures ------------------------------------------------------------------------------------------------------
def test_failures_are_counted_and_in_no_latency():
    kinds = [records.STATUS] * 30 + [records.TIMEOUT] * 20 + [records.CUT_OFF] * 10
    found = report(a_level(np.full(1000, 10.0), outcomes=kinds))
    level = found.levels[0]
    assert (level.sent, level.done, level.failed) == (1000, 990, 50)
    assert {each.kind: each.count for each in level.errors} == {"status": 30, "timeout": 20}
    assert level.latency_s.mean.n == 940
    assert codes(found) == ["V105"]  # more than 1 % of them


@pytest.mark.parametrize("kind", [records.REFUSED, records.STATUS, records.TIMEOUT])
def test_a_run_of_failures_does_not_count(kind):
    found = report(a_level(np.full(200, 10.0), outcomes=[kind] * 200))
    assert not found.valid
    assert codes(found) == ["V105"]
    assert records.OUTCOMES[kind] in found.reasons[0].text


def test_nothing_that_ended_does_not_count():
    assert codes(report(a_level([]))) == ["V105"]
    assert codes(report()) == ["ended"]
    assert codes(report(a_level(latencies()), ended="interrupted")) == ["ended"]


def test_records_that_were_lost():
    assert codes(report(a_level(latencies(), lost=5))) == ["V103"]


# --- the client ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("level", "reasons"),
    [
        (a_level(latencies()), []),
        (a_level(np.full(4000, 10.0), concurrency=400), ["V101"]),  # 40,000/s of a ceiling of 50,000/s
        (a_level(np.full(4000, 10.0), concurrency=200), []),  # 20,000/s
        (a_level(np.full(1000, 10.0), cpu_s=8.0), ["V101"]),  # busy for 8 of 10 s
        (a_level(np.full(1000, 10.0), lag_ms=1.0, gap_ms=20.0, rate_per_s=50.0), ["V101"]),  # a tenth of latency
        (a_level(np.full(1000, 10.0), lag_ms=0.1, gap_ms=20.0, rate_per_s=50.0), []),
        (a_level(np.full(1000, 10.0), delay_s=2.0), ["V101"]),
        (a_level(np.full(1000, 10.0), delay_s=0.2), []),
    ],
)
def test_whether_the_client_was_the_limit(level, reasons):
    found = report(level)
    assert codes(found) == reasons
    assert found.valid is not bool(reasons)


def test_a_client_of_unknown_ceiling_still_knows_when_it_was_late():
    assert codes(report(a_level(np.full(1000, 10.0), delay_s=2.0), client=Client(1, reason="no"))) == ["V101"]
    assert report(a_level(latencies()), client=Client(1, reason="no")).client.ceiling_per_s is None


def test_a_server_that_fails_is_not_the_clients_fault():
    """All but one time out; the client waited 20 ms for a CPU in three seconds."""
    kinds = [records.TIMEOUT] * 59
    assert "V101" not in codes(report(a_level([500.0] * 59 + [1.0], outcomes=kinds, delay_s=0.02)))


def test_what_went_wrong_most_is_said_first():
    found = report(a_level(np.full(300, 0.1), outcomes=[records.STATUS] * 300, cpu_s=0.05))
    assert codes(found)[0] == "V105"


# --- over levels ---------------------------------------------------------------------------------------------------
def sweep(*pairs):
    """Levels of so many in flight that give so many answers a second."""
    return [a_level(np.full(2000, 1e3 * load / rate), concurrency=load) for load, rate in pairs]


@pytest.mark.parametrize(
    ("pairs", "knee", "reached"),
    [
        ([(1, 100), (2, 200), (4, 390), (8, 400), (16, 400)], 4, True),
        ([(1, 100), (2, 200), (4, 400)], 4, False),
        ([(1, 400), (2, 400), (4, 390)], 1, True),
        ([(4, 390), (1, 100), (8, 400), (2, 200)], 4, True),  # in any order
        ([(1, 100), (2, 370), (4, 400), (8, 300)], 2, True),
    ],
)
def test_the_knee(pairs, knee, reached):
    found = report(*sweep(*pairs)).knee
    assert (found.concurrency, found.reached) == (knee, reached)
    assert found.highest_per_s.value == pytest.approx(max(rate for _, rate in pairs), rel=0.01)


def test_too_few_levels_have_no_knee():
    assert report(*sweep((1, 100), (2, 200))).knee is None
    spoilt = a_level(np.full(2000, 10.0), concurrency=8, lost=1)
    assert report(*sweep((1, 100), (2, 200)), spoilt).knee is None


def trial(rate, kept, *, again=False):
    purpose = CONFIRMED if again else SOUGHT
    return a_level(latencies(500), rate_per_s=rate, gap_ms=1e3 / rate, purpose=purpose, promise=kept)


def search(*trials, most=0.0):
    alone = a_level(latencies(100), purpose=SOUGHT)
    traffic = Traffic((), slo=Slo(0.9, 0.05), most_per_s=most, warmup_s=0.0)
    return report(alone, *trials, traffic=traffic)


@pytest.mark.parametrize(("looks", "most", "low", "high", "confirmed"), [
    ([(75, KEPT), (100, BROKEN)], 0.0, 75, 100, True),
    ([(75, KEPT)], 0.0, 75, 75, False),                                              # where it breaks was not seen
    ([(75, KEPT), (100, UNDECIDED)], 0.0, 75, 75, False),
    ([(75, BROKEN), (50, KEPT)], 0.0, 50, 75, True),                                 # an end that moved
    ([(75, KEPT), (80, UNDECIDED), (90, BROKEN)], 0.0, 75, 90, True),
    ([(60, BROKEN), (75, KEPT), (50, KEPT), (80, BROKEN)], 0.0, 50, 60, True),       # what breaks below does not hold above
    ([(100, KEPT)], 100.0, 100, 100, True),                                          # the most that was permitted
])  # fmt: skip
def test_the_highest_rate(looks, most, low, high, confirmed):
    found = search(trial(50, KEPT), *(trial(rate, kept, again=True) for rate, kept in looks), most=most)
    rate = found.slo.highest_rate_per_s
    assert (rate.value, rate.low, rate.high, found.slo.confirmed) == (low, low, high, confirmed)
    assert bool(found.slo.reason) is not confirmed
    assert found.valid


def test_a_promise_that_no_rate_keeps():
    found = search(trial(50.0, BROKEN), trial(25.0, BROKEN, again=True))
    assert found.slo.highest_rate_per_s is None
    assert "none down to 25.0/s" in found.slo.reason
    assert codes(found) == ["V104"]
    assert search().slo.highest_rate_per_s is None


# --- again ---------------------------------------------------------------------------------------------------------
def test_a_report_from_the_folder_is_the_one_that_was_given(tmp_path):
    for number, run in enumerate(
        [
            a_run(*sweep((1, 100), (2, 200), (4, 390), (8, 400)), traffic=Traffic((), warmup_s=None)),
            a_run(a_level(latencies(), lost=3, thinned=2, outcomes=[records.RESET] * 7), client=CLIENT),
            a_run(a_level([]), ended="interrupted", client=Client(1, reason="interrupted")),
        ]
    ):
        store.save(run, tmp_path / str(number))
        assert load_report(store.load_traffic(tmp_path / str(number)), LIMITS) == load_report(run, LIMITS)


def test_numbers_to_judge_by_can_be_the_users_own():
    strict = limits.overridden(LIMITS, {"client_used": 1e-6})
    assert codes(load_report(a_run(a_level(latencies())), strict)) == ["V101"]


# --- warm-up -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("slow", [5, 50, 300])
def test_a_slow_start_does_not_count(slow):
    rng = np.random.default_rng(slow)
    latency_ms = 10 * rng.gamma(50, 1 / 50, 2000)
    latency_ms[:slow] *= 3
    found = report(a_level(latency_ms), traffic=Traffic((), warmup_s=None)).levels[0]
    assert slow * 0.8 <= found.warm_up <= slow + 300  # a cut may be late, never early
    assert found.latency_s.mean.value == pytest.approx(0.01, rel=0.03)


def test_a_busy_stretch_of_a_queue_is_no_warm_up():
    cut = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        gaps, service = rng.exponential(1 / 0.8, 1440), rng.exponential(1, 1440)
        walk = np.r_[0, np.cumsum(service - np.r_[gaps[1:], 0])[:-1]]
        wait = walk - np.minimum.accumulate(np.minimum(walk, 0))
        cut.append(report(a_level(wait + service), traffic=Traffic((), warmup_s=None)).levels[0].warm_up)
    assert np.count_nonzero(cut) <= 9  # a twentieth by chance

"""The options of `load`: what they mean, and one clear line for what cannot be meant; nothing is sent."""

from __future__ import annotations

import pytest

from pinchpoint.domain.arrivals import Arrivals
from pinchpoint.domain.traffic import Slo
from pinchpoint.driving import LoadOptions, understood
from pinchpoint.errors import BadInput
from pinchpoint.load.engine import permitted

URL = "http://127.0.0.1:8000/"


def traffic(url=URL, **asked):
    return understood(LoadOptions(url, **asked))[0]


def closed(concurrency, think_s=0.0):
    return Arrivals("closed", concurrency, think_s=think_s)


@pytest.mark.parametrize(
    ("asked", "levels"),
    [
        ({}, (closed(1),)),
        ({"concurrency": "16"}, (closed(16),)),
        ({"concurrency": "1, 2,4"}, (closed(1), closed(2), closed(4))),
        ({"concurrency": "4096", "think_s": 0.01}, (closed(4096, 0.01),)),
        ({"rate": "200"}, (Arrivals("poisson", rate_per_s=200.0),)),
        ({"rate": "200/s, 0.5"}, (Arrivals("poisson", rate_per_s=200.0), Arrivals("poisson", rate_per_s=0.5))),
        ({"rate": "200/s", "arrivals": "constant"}, (Arrivals("constant", rate_per_s=200.0),)),
        ({"rate": "1e3", "arrivals": "burst=8"}, (Arrivals("burst", rate_per_s=1000.0, burst=8),)),
        ({"slo": "p99=50ms"}, ()),
    ],
)
def test_levels(asked, levels):
    assert traffic(**asked).levels == levels


@pytest.mark.parametrize(
    ("text", "quantile", "bound_s"),
    [("p99=50ms", 0.99, 0.05), ("p99.9=2s", 0.999, 2.0), (" p50=1 ", 0.5, 1.0), ("p99.99=0.5ms", 0.9999, 0.0005)],
)
def test_a_promise(text, quantile, bound_s):
    assert traffic(slo=text).slo == Slo(quantile, bound_s)


def test_everything_else():
    found = traffic(
        seconds=3.0, count=7, warmup_s=1.0, timeout_s=2.0, seed=5, workers=3, expect_status="200, 404", expect="a.b=c=d",
        max_rate="50/s", header=("X: secret-value",), method="delete",
    )  # fmt: skip
    assert (found.seconds, found.count, found.warmup_s, found.timeout_s, found.seed) == (3.0, 7, 1.0, 2.0, 5)
    assert (found.workers, found.statuses, found.check) == (3, (200, 404), ("at", "a.b", "c=d"))
    assert (found.most_per_s, found.headers, found.method) == (50.0, ("X",), "DELETE")
    assert "secret-value" not in repr(found)
    assert traffic(expect="same").check == ("same",)
    assert traffic("grpc://127.0.0.1:1/a.B/C").method == ""


@pytest.mark.parametrize(
    ("asked", "where", "words"),
    [
        ({"concurrency": "0"}, "--concurrency", "'0' is no number of requests in flight"),
        ({"concurrency": "-1"}, "--concurrency", "from 1 to 4096"),
        ({"concurrency": "4097"}, "--concurrency", "from 1 to 4096"),
        ({"concurrency": "1,,2"}, "--concurrency", "'' is no number"),
        ({"concurrency": "many"}, "--concurrency", "'many'"),
        ({"concurrency": "1.5"}, "--concurrency", "'1.5'"),
        ({"concurrency": ",".join("1" * 33)}, "--concurrency", "more than 32 levels"),
        ({"rate": "0"}, "--rate", "'0' is no rate"),
        ({"rate": "-5/s"}, "--rate", "is no rate"),
        ({"rate": "nan"}, "--rate", "is no rate"),
        ({"rate": "inf"}, "--rate", "is no rate"),
        ({"rate": "1e8"}, "--rate", "is no rate"),
        ({"rate": "fast"}, "--rate", "such as 200/s"),
        ({"rate": "5/min"}, "--rate", "is no rate"),
        ({"rate": "5", "concurrency": "1"}, "--rate, --concurrency", "Give one of them"),
        ({"rate": "5", "think_s": 0.1}, "--set think", "Use it with --concurrency"),
        ({"think_s": -0.1}, "--set think", "positive"),
        ({"rate": "5", "arrivals": "uniform"}, "--arrivals", "poisson, constant, or burst=8"),
        ({"rate": "5", "arrivals": "burst"}, "--arrivals", "is no kind"),
        ({"rate": "5", "arrivals": "burst=0"}, "--arrivals", "is no kind"),
        ({"rate": "5", "arrivals": "burst=1e3"}, "--arrivals", "is no kind"),
        ({"rate": "5", "arrivals": "poisson=3"}, "--arrivals", "is no kind"),
        ({"rate": "5,200", "max_rate": "100/s"}, "--rate", "more than --max-rate permits (100/s)"),
        ({"max_rate": "0"}, "--max-rate", "is no rate"),
        ({"max_rate": "all"}, "--max-rate", "is no rate"),
        ({"slo": "p99"}, "--slo", "Write it as p99=50ms"),
        ({"slo": "p100=1s"}, "--slo", "is no promise"),
        ({"slo": "p0=1s"}, "--slo", "is no promise"),
        ({"slo": "p99=0"}, "--slo", "is no promise"),
        ({"slo": "p99=-1s"}, "--slo", "is no promise"),
        ({"slo": "p99=soon"}, "--slo", "is no promise"),
        ({"slo": "99=1s"}, "--slo", "is no promise"),
        ({"mix": (1.0, 2.0)}, "--set mix", "2 weights for 1 inputs"),
        ({"slo": "p99=1s", "count": 100}, "--slo", "takes time, not a count"),
        ({"seconds": 0.0}, "--duration", "positive"),
        ({"seconds": float("nan")}, "--duration", "positive"),
        ({"seconds": float("inf")}, "--duration", "positive"),
        ({"timeout_s": 0.0}, "--timeout", "positive"),
        ({"count": 0}, "--count", "1 or more"),
        ({"count": -3}, "--count", "1 or more"),
        ({"workers": 0}, "--workers", "from 1 to 64"),
        ({"workers": 65}, "--workers", "from 1 to 64"),
        ({"expect_status": "ok"}, "--expect-status", "such as 200"),
        ({"expect_status": "100"}, "--expect-status", "from 200 to 599"),
        ({"expect_status": "200,"}, "--expect-status", "is no status"),
        ({"expect": "like"}, "--expect", "Write same"),
        ({"expect": "=x"}, "--expect", "is no expectation"),
        ({"method": "FETCH"}, "--method", "no method 'FETCH'"),
        ({"input": ("/no/such/file",)}, "--input /no/such/file", "No such file"),
        ({"header": ("X",)}, "--header", "'Name: value'"),
        ({"url": "127.0.0.1:8000"}, "127.0.0.1:8000", "load needs a URL"),
        ({"url": "https://h/", "ca": "/no/such.pem"}, "--set ca=/no/such.pem", "No such file"),
        ({"url": "https://h/", "ca": __file__}, "--set ca=", "Give a PEM file"),
    ],
)
def test_what_cannot_be_meant(asked, where, words):
    with pytest.raises(BadInput) as caught:
        understood(LoadOptions(**({"url": URL} | asked)))
    line = str(caught.value)
    assert caught.value.where.startswith(where)
    assert words in line
    assert "\n" not in line
    assert caught.value.todo


@pytest.mark.parametrize("option", ["concurrency", "rate", "slo", "max_rate"])
def test_an_empty_option_is_no_option_left_out(option):
    with pytest.raises(BadInput):
        understood(LoadOptions(URL, **{option: ""}))


@pytest.mark.parametrize("warmup_s", [-1.0, 10.0, 11.0, float("nan")])
def test_a_warm_up_that_leaves_nothing(warmup_s):
    with pytest.raises(BadInput):
        understood(LoadOptions(URL, seconds=10.0, warmup_s=warmup_s))


# --- other machines ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ({}, True),
        ({"count": 100}, True),
        ({"workers": 4}, True),
        ({"concurrency": "2"}, False),
        ({"concurrency": "1,1"}, False),
        ({"rate": "1/s"}, False),
        ({"slo": "p99=1s"}, False),
        ({"concurrency": "64", "max_rate": "10/s"}, True),
        ({"rate": "10/s", "max_rate": "10/s"}, True),
        ({"slo": "p99=1s", "max_rate": "10/s"}, True),
    ],
)
def test_what_another_machine_may_be_sent(asked, allowed):
    made, sending = understood(LoadOptions("http://server.example/", **asked))
    permitted(made, sending.address, ("127.0.0.1", "::1"))
    permitted(made, sending.address, ())
    for hosts in (("192.0.2.1",), ("127.0.0.1", "192.0.2.1"), ("2001:db8::1",)):
        if allowed:
            permitted(made, sending.address, hosts)
            continue
        with pytest.raises(BadInput, match="it is another machine") as caught:
            permitted(made, sending.address, hosts)
        assert "--max-rate" in caught.value.todo

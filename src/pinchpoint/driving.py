"""What a user writes for `load` -> Traffic and what is sent; BadInput in one line for what cannot be meant."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pinchpoint.domain.arrivals import BURST, CLOSED, CONSTANT, POISSON, Arrivals
from pinchpoint.domain.traffic import Slo, Traffic
from pinchpoint.errors import BadInput
from pinchpoint.load import addresses, payloads
from pinchpoint.load.sending import Sending, tls_context
from pinchpoint.units import parse_duration

MOST_IN_FLIGHT, MOST_WORKERS, MOST_LEVELS = 4096, 64, 32
MOST_RATE = 1e7
_SLO = re.compile(r"p(?P<percent>\d{1,2}(\.\d{1,3})?)=(?P<bound>.+)")
_PERCENT = 100


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What to send where. Rates, loads and promises are written as on the command line; times are seconds.

    `concurrency` ("16", "1,2,4") keeps requests in flight; `rate` ("200/s", "100,200") sends them whatever comes back, by
    `arrivals` ("poisson", "constant", "burst=8"). With `slo` ("p99=50ms") alone the highest rate that keeps it is looked for;
    beside a rate or requests in flight it is judged there. `expect` is "same" or "path=value"; `mix` weighs `input`.
    """

    url: str
    concurrency: str | None = None
    rate: str | None = None
    arrivals: str = POISSON
    seconds: float = 10.0
    count: int | None = None
    slo: str | None = None
    input: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    method: str | None = None
    timeout_s: float = 10.0
    expect_status: str | None = None
    expect: str | None = None
    workers: int = 1
    max_rate: str | None = None
    seed: int = 0
    think_s: float = 0.0
    warmup_s: float | None = None
    mix: tuple[float, ...] = ()
    mlperf: bool = False
    ca: str | None = None
    insecure: bool = False


def with_settings(options: LoadOptions, pairs: Mapping[str, str]) -> LoadOptions:
    """The options with those that are rarely needed, as `--set NAME=VALUE` writes them; BadInput for any other."""
    changes: dict[str, Any] = {}
    for name, text in pairs.items():
        if name not in SETTINGS:
            raise _bad(f"no setting {name!r}", "--set", f"Use one of {', '.join(SETTINGS)}")
        field, read, allowed = SETTINGS[name]
        try:
            changes[field] = read(text.strip())
        except ValueError:
            raise _bad(f"{name} cannot be {text.strip()!r}", "--set", f"Write {allowed}") from None
    return replace(options, **changes)


def _flag(text: str) -> bool:
    return {"yes": True, "no": False}[text] if text in ("yes", "no") else _refuse(text)


def _weights(text: str) -> tuple[float, ...]:
    found = tuple(float(each) for each in text.split(","))
    return found if all(0 <= each < math.inf for each in found) and sum(found) > 0 else _refuse(text)


def _refuse(text: str) -> Any:  # noqa: ANN401  # it never returns
    raise ValueError(text)


SETTINGS: Mapping[str, tuple[str, Callable[[str], object], str]] = {
    "think": ("think_s", parse_duration, "a pause such as 10ms"),
    "warmup": ("warmup_s", parse_duration, "a time such as 2s"),
    "mix": ("mix", _weights, "a weight for each input, such as 3,1"),
    "mlperf": ("mlperf", _flag, "yes or no"),
    "ca": ("ca", str, "a PEM file"),
    "insecure": ("insecure", _flag, "yes or no"),
}


OF_TLS = ("ca", "insecure")  # those that a diagnosis takes as well


def understood(asked: LoadOptions) -> tuple[Traffic, Sending]:
    """What is to be sent, with all that can be checked before anything is."""
    address = addresses.parse(asked.url)
    bodies = payloads.read(asked.input)
    headers = payloads.headers(asked.header, address)
    most = _rate(asked.max_rate, "--max-rate") if asked.max_rate is not None else 0.0
    levels = _levels(asked, most)
    slo = _slo(asked.slo) if asked.slo is not None else None
    searching = slo is not None and asked.rate is None and asked.concurrency is None
    if searching and asked.count is not None:
        raise _bad("a search takes time, not a count", "--slo", "Use --duration for its trials, or name a --rate")
    if asked.mix and len(asked.mix) != len(bodies):
        raise _bad(f"{len(asked.mix)} weights for {len(bodies)} inputs", "--set mix", "Give one for each --input")
    if asked.warmup_s is not None and not 0 <= asked.warmup_s < (math.inf if asked.count else asked.seconds):
        raise _bad(
            "a warm-up of all requests, or of less than nothing", "--set warmup", "Let it be shorter than --duration"
        )
    traffic = Traffic(
        levels=() if searching else levels,
        seconds=_positive(asked.seconds, "--duration"),
        count=_whole(asked.count, "--count") if asked.count is not None else 0,
        warmup_s=asked.warmup_s,
        timeout_s=_positive(asked.timeout_s, "--timeout"),
        seed=asked.seed,
        workers=_workers(asked.workers),
        method=payloads.method_of(asked.method, bodies) if address.kind == "http" else "",
        payloads=tuple(each.name for each in bodies if each.name),
        mix=asked.mix,
        headers=tuple(each.name for each in headers),
        statuses=_statuses(asked.expect_status),
        check=_check(asked.expect),
        slo=slo,
        most_per_s=most,
        mlperf=asked.mlperf,
    )
    sending = Sending(address, bodies, headers, asked.ca, asked.insecure)
    tls_context(sending)
    return traffic, sending


def _levels(asked: LoadOptions, most: float) -> tuple[Arrivals, ...]:
    if asked.rate is not None and asked.concurrency is not None:
        raise _bad("either requests in flight or a rate", "--rate, --concurrency", "Give one of them")
    if asked.rate is not None:
        if asked.think_s:
            raise _bad("an open loop waits for nobody", "--set think", "Use it with --concurrency")
        loop, burst = _arrivals(asked.arrivals)
        rates = [_rate(each, "--rate") for each in asked.rate.split(",")]
        if most and max(rates) > most:
            raise _bad(f"more than --max-rate permits ({most:g}/s)", "--rate", "Lower it, or permit more")
        return _few(tuple(Arrivals(loop, rate_per_s=rate, burst=burst) for rate in rates), "--rate")
    if asked.think_s < 0:
        raise _bad("a time is positive", "--set think", "Write it as 10ms")
    loads = [_concurrency(each) for each in ("1" if asked.concurrency is None else asked.concurrency).split(",")]
    return _few(tuple(Arrivals(CLOSED, load, think_s=asked.think_s) for load in loads), "--concurrency")


def _few(levels: tuple[Arrivals, ...], where: str) -> tuple[Arrivals, ...]:
    if len(levels) > MOST_LEVELS:
        raise _bad(f"more than {MOST_LEVELS} levels", where, "Give fewer")
    return levels


def _concurrency(text: str) -> int:
    try:
        found = int(text)
    except ValueError:
        found = 0
    if not 1 <= found <= MOST_IN_FLIGHT:
        what = f"{text.strip()!r} is no number of requests in flight"
        raise _bad(what, "--concurrency", f"Give whole numbers from 1 to {MOST_IN_FLIGHT}, such as 16 or 1,2,4,8")
    return found


def _rate(text: str, where: str) -> float:
    """Requests a second from `200` or `200/s`."""
    try:
        found = float(text.strip().removesuffix("/s"))
    except ValueError:
        found = math.nan
    if not 0 < found <= MOST_RATE:
        raise _bad(f"{text.strip()!r} is no rate", where, "Give requests a second, such as 200/s")
    return found


def _arrivals(text: str) -> tuple[str, int]:
    name, _, size = text.partition("=")
    if name in (POISSON, CONSTANT) and not size:
        return name, 1
    if name == BURST and size.isdecimal() and 1 <= int(size) <= MOST_IN_FLIGHT:
        return BURST, int(size)
    raise _bad(f"{text!r} is no kind of arrivals", "--arrivals", "Use poisson, constant, or burst=8")


def _slo(text: str) -> Slo:
    found = _SLO.fullmatch(text.strip())
    try:
        bound = parse_duration(found["bound"]) if found else 0.0
    except ValueError:
        bound = 0.0
    quantile = float(found["percent"]) / _PERCENT if found else 0.0
    if not 0 < quantile < 1 or not 0 < bound < math.inf:
        raise _bad(f"{text!r} is no promise", "--slo", "Write it as p99=50ms")
    return Slo(round(quantile, 6), bound)


def _statuses(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    parts = [each.strip() for each in text.split(",")]
    if not all(each.isdecimal() and 200 <= int(each) <= 599 for each in parts):
        raise _bad(f"{text!r} is no status", "--expect-status", "Give numbers from 200 to 599, such as 200 or 200,404")
    return tuple(int(each) for each in parts)


def _check(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    if text == "same":
        return ("same",)
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise _bad(
            f"{text!r} is no expectation", "--expect", "Write same, or a path in the answer such as model.name=resnet"
        )
    return ("at", path.strip(), value)


def _workers(number: int) -> int:
    if not 1 <= number <= MOST_WORKERS:
        raise _bad(f"{number} workers", "--workers", f"Give a number from 1 to {MOST_WORKERS}")
    return number


def _whole(number: int, where: str) -> int:
    if number < 1:
        raise _bad(f"{number} requests", where, "Give a number of 1 or more")
    return number


def _positive(seconds: float, where: str) -> float:
    if not 0 < seconds < math.inf:
        raise _bad("a time is positive", where, "Write it as 10s or 500ms")
    return seconds


def _bad(what: str, where: str, todo: str) -> BadInput:
    return BadInput(what=what, where=where, todo=todo)

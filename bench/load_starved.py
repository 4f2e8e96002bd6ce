"""Whether the engine says that it was the limit: with its CPU taken away or asked for too much, and never otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from bench.load_driven import Driven, driven
from bench.load_servers import halves, on, serving
from bench.noise import Status, tried
from bench.report import Claim, Json, Table, percent
from bench.settings import Settings
from bench.tool import ToolFailed
from bench.truth import noise_text

CODE = "V101"
ANSWER_S = 0.005  # after which the server answers
SECONDS = 5.0
HOGS = 3  # busy processes on the one CPU that the client has
HEADINGS = ("client", "V101 due", "said", "of ceiling", "own latency", "noise", "status")


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked, of a server that answers after so long, with how many hogs on the client's CPU; whether V101 is due."""

    name: str
    due: bool
    delay_s: float
    hogs: int
    asked: Mapping[str, object] = field(default_factory=dict)


CASES = (
    Case("open 400/s, 3 hogs", True, ANSWER_S, HOGS, {"rate": "400"}),
    Case("open 400/s", False, ANSWER_S, 0, {"rate": "400"}),
    Case("16 in flight, 3 hogs", True, ANSWER_S, HOGS, {"concurrency": "16"}),
    Case("16 in flight", False, ANSWER_S, 0, {"concurrency": "16"}),
    Case("4 in flight, fast, 3 hogs", True, 0.0, HOGS, {"concurrency": "4"}),
    Case("open 200,000/s", True, 0.0, 0, {"rate": "200000", "seconds": 2.0}),
    Case("open 1,000/s", False, ANSWER_S, 0, {"rate": "1000"}),
)


def run(settings: Settings) -> tuple[list[Table], list[Claim], dict[str, Json]]:
    """Every case."""
    rows, claims, figures = [], [], {}
    for case in (each for each in CASES if settings.wants(f"starved {each.name}")):
        settings.progress(f"load: {case.name}")
        limit = f"{'' if case.due else 'no '}{CODE}"
        try:
            found = tried(partial(measured, case), partial(judged, case), settings.retries)
        except ToolFailed as error:
            claims.append(Claim(case.name, limit, str(error), "violated"))
            continue
        said = " ".join(dict.fromkeys(found.value.codes)) or "valid"
        client = found.value.report.client
        shares = [percent(each, 0) if each is not None else "-" for each in (client.utilization, client.lag_share)]
        rows.append((case.name, "yes" if case.due else "no", said, *shares, noise_text(found.noise), found.status))
        claims.append(Claim(case.name, limit, said, found.status))
        figures[case.name] = {
            "status": found.status, "trials": found.trials, "foreign_cpu": found.noise.foreign, "codes": list(found.value.codes),
            "utilization": client.utilization, "lag_share": client.lag_share,
        }  # fmt: skip
    return [Table(HEADINGS, tuple(rows))] if rows else [], claims, {"starved": figures}


def measured(case: Case) -> Driven:
    """Drive it once."""
    first, rest = halves()
    with serving("http", str(case.delay_s), cpus=first) as port, contextlib.ExitStack() as stack:
        if case.hogs:
            stack.enter_context(_hogs(case.hogs, rest[-1:]))
            stack.enter_context(on(rest[-1:]))
        return driven(port, **{"seconds": SECONDS, **case.asked})


@contextlib.contextmanager
def _hogs(count: int, cpus: tuple[int, ...]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(serving("hog", cpus=cpus))
        yield


def judged(case: Case, found: Driven) -> Status:
    """V101 and invalid where it is due, neither where it is not."""
    told = CODE in found.codes and not found.report.valid
    return "holds" if told == case.due and (case.due or found.report.valid) else "violated"

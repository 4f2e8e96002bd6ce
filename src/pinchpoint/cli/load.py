"""`pinchpoint load`: send requests to a server and say what came of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pinchpoint.cli import configuration, options
from pinchpoint.cli.page import beside
from pinchpoint.cli.progress import Progress
from pinchpoint.cli.streams import STDOUT, checked_json, form_for, results_on_stderr, say, show, write_json
from pinchpoint.errors import Interrupted, interrupts_held

if TYPE_CHECKING:
    from pinchpoint.api import LoadOutcome


def _option(name: str, metavar: str | None, words: str, **more: Any) -> Any:  # noqa: ANN401  # as typer declares it
    return typer.Option(name, metavar=metavar, help=words, show_default=False, **more)


Url = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="http(s)://, http+unix://%2Fsocket/path, grpc(s)://host:port/pkg.Service/Method, oip+grpc(s)://host:port/MODEL.",
    ),
]
Concurrency = Annotated[str | None, _option("--concurrency", "16|1,2,4", "Requests in flight, or levels of it (1).")]
Rate = Annotated[str | None, _option("--rate", "200/s", "Requests a second, whatever comes back; or levels of it.")]
Kind = Annotated[str, _option("--arrivals", "KIND", "Of a --rate: poisson, constant, or burst=8 (poisson).")]
Duration = Annotated[float, _option("--duration", "10s", "Time of each level (10 s).", parser=options.duration)]
Count = Annotated[int | None, _option("--count", "N", "Requests of each level, in place of a time.")]
Slo = Annotated[str | None, _option("--slo", "p99=50ms", "Find the highest rate that keeps this, or judge --rate.")]
Inputs = Annotated[list[str] | None, _option("--input", "FILE", "A body, or a folder of them; repeatable.")]
Timeout = Annotated[float, _option("--timeout", "10s", "Longest wait for an answer (10 s).", parser=options.duration)]
Status = Annotated[str | None, _option("--expect-status", "200", "Statuses that count as answered (any 2xx).")]
Expect = Annotated[str | None, _option("--expect", "same|a.b=1", "Answers: equal to the first, or JSON with a value.")]
Workers = Annotated[int, _option("--workers", "N", "Client processes (1).")]
Set = Annotated[
    list[str] | None, _option("--set", "NAME=VALUE", "think, warmup, mix, mlperf, ca, insecure; see `explain load`.")
]


def load(
    url: Url,
    concurrency: Concurrency = None,
    rate: Rate = None,
    arrivals: Kind = "poisson",
    duration: Duration = 10.0,
    count: Count = None,
    slo: Slo = None,
    input: Inputs = None,  # noqa: A002  # the option's name
    header: options.Headers = None,
    method: options.Method = None,
    timeout: Timeout = 10.0,
    expect_status: Status = None,
    expect: Expect = None,
    workers: Workers = 1,
    max_rate: options.MaxRate = None,
    set: Set = None,  # noqa: A002  # the option's name
    seed: options.Seed = 0,
    json: options.Json = None,
    out: options.Out = None,
    quiet: options.Quiet = False,
) -> int:
    """Send requests to URL and say what came of them.

    Tells throughput, latency with intervals, errors by kind, and whether this
    client was the limit.

    Exits with 0 if valid, 2 on bad input, 3 if the run does not count, 130 if interrupted.
    """
    checked_json(json)
    pairs = options.settings(set or [])
    from pinchpoint import api
    from pinchpoint.driving import LoadOptions, with_settings

    asked = LoadOptions(
        url=url, concurrency=concurrency, rate=rate, arrivals=arrivals, seconds=duration, count=count, slo=slo,
        input=tuple(input or ()), header=tuple(header or ()), method=method, timeout_s=timeout, expect_status=expect_status,
        expect=expect, workers=workers, max_rate=max_rate, seed=seed,
    )  # fmt: skip
    asked = with_settings(asked, pairs)
    with Progress(quiet=quiet) as progress, results_on_stderr(json == STDOUT):
        outcome = api.load(asked, out=out, limits=configuration.read().limits, progress=progress)
    with interrupts_held() as interrupts:
        code = _told(outcome, json, quiet=quiet)
    return Interrupted.exit_code if interrupts.seen else code


def _told(outcome: LoadOutcome, json: str | None, *, quiet: bool) -> int:
    """Write the JSON, show the screen, write the page, and say what went wrong; the exit code."""
    from pinchpoint import api

    stream = sys.stderr if json == STDOUT else sys.stdout
    shown = stream is sys.stdout or not quiet
    try:
        if json is not None:
            write_json(json, api.render_load(outcome.report, "json"))
    finally:
        if shown:
            show(api.render_load(outcome.report, form_for(stream)), stream)
        page = beside(outcome.folder, outcome.report)
        if shown and outcome.folder:
            show(f"Report: {page}" if page else f"Run: {outcome.folder}", stream)
        if outcome.line:
            say(outcome.line)
    return outcome.exit_code

"""`pinchpoint diagnose`: measure a target, or read a run, and say what limits it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinchpoint.cli import configuration, options
from pinchpoint.cli.page import beside
from pinchpoint.cli.progress import Progress
from pinchpoint.cli.streams import STDOUT, checked_json, form_for, results_on_stderr, say, show, write_json
from pinchpoint.errors import Interrupted, interrupts_held

if TYPE_CHECKING:
    from pinchpoint.api import Outcome


def diagnose(
    target: options.Target,
    budget: options.Budget = 60.0,
    json: options.Json = None,
    out: options.Out = None,
    input: options.Input = None,  # noqa: A002  # the option's name
    set: options.Set = None,  # noqa: A002  # the option's name
    python: options.Python = None,
    seed: options.Seed = 0,
    timeout: options.Timeout = 120.0,
    batch: options.Batch = 1,
    length: options.Length = None,
    workers: options.Workers = "threads",
    trust: options.Trust = False,
    header: options.Headers = None,
    method: options.Method = None,
    max_rate: options.MaxRate = None,
    quiet: options.Quiet = False,
) -> int:
    """Measure TARGET and say what limits it, why, and what to do.

    Exits with 0 if answered, 2 on bad input, 3 if the run is invalid or inconclusive, 130 if interrupted.
    """
    checked_json(json)
    settings, configured = options.settings(set or []), configuration.read()
    from pinchpoint import api

    with Progress(quiet=quiet) as progress, results_on_stderr(json == STDOUT):
        outcome = api.diagnose(
            target, budget_s=budget, out=out, input=input, settings=settings, python=python, seed=seed,
            timeout_s=timeout, trust=trust, batch=batch, length=length, workers=workers,
            header=header or (), method=method, max_rate=max_rate, frames=configured.frames, limits=configured.limits,
            progress=progress,
        )  # fmt: skip
    with interrupts_held() as interrupts:
        code = report(outcome, json=json, quiet=quiet)
    if not interrupts.seen:
        return code
    if not outcome.line:
        shown = outcome.diagnosis.target.uri if outcome.diagnosis else target  # a URL may hold a password
        say(f"{shown}: interrupted when everything was done; nothing is lost.")
    return Interrupted.exit_code


def report(outcome: Outcome, *, json: str | None, quiet: bool) -> int:
    """Write the JSON, show the screen, write the page, and say what went wrong with the target; its exit code."""
    from pinchpoint import api

    assert outcome.diagnosis is not None, "diagnose always diagnoses"
    stream = sys.stderr if json == STDOUT else sys.stdout
    shown = stream is sys.stdout or not quiet
    try:
        if json is not None:
            write_json(json, api.render(outcome.diagnosis, "json"))
    finally:
        if shown:
            show(api.render(outcome.diagnosis, form_for(stream)), stream)
        page = beside(outcome.folder, outcome.diagnosis)
        if shown and outcome.folder:
            show(f"Report: {page}" if page else f"Run: {outcome.folder}", stream)
        if outcome.line:
            say(outcome.line)
    return outcome.exit_code

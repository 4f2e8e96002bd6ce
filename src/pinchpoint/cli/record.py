"""`pinchpoint record`: observe a target and keep the run, without a diagnosis."""

from __future__ import annotations

import typer

from pinchpoint.cli import configuration, options
from pinchpoint.cli.progress import Progress
from pinchpoint.cli.streams import say, show


def record(
    target: options.TargetOrNone = None,
    pid: options.Pid = None,
    passive: options.Passive = False,
    budget: options.Budget = 60.0,
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
    """Measure TARGET and keep the run for later.

    With --passive a server that runs is watched under the load that it has: nothing is sent.
    Prints the run's folder; `pinchpoint diagnose FOLDER` reads it, here or on another machine.
    """
    settings = options.settings(set or [])
    if target is None and pid is None:
        raise typer.BadParameter("say what to record: TARGET, or --pid N with --passive")
    from pinchpoint import api

    with Progress(quiet=quiet) as progress:
        outcome = api.record(
            target or "", pid=pid, passive=passive, budget_s=budget, out=out, input=input, settings=settings,
            python=python, seed=seed,
            timeout_s=timeout, trust=trust, batch=batch, length=length, workers=workers,
            header=header or (), method=method, max_rate=max_rate, progress=progress,
            frames=configuration.read().frames,
        )  # fmt: skip
    show(str(outcome.folder))
    if outcome.line:
        say(outcome.line)
    return outcome.exit_code

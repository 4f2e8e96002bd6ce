"""Options that several verbs share, and the readers of their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pinchpoint.domain.workload import PROCESSES, THREADS
from pinchpoint.units import parse_duration


def duration(text: str | float) -> float:
    """Seconds from `60`, `500ms`, `5m`; a usage error that says how to write one otherwise."""
    try:
        return parse_duration(str(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def settings(pairs: list[str]) -> dict[str, str]:
    """The `--set KEY=VALUE` pairs in order; a usage error on one without `=` or a key given twice."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint="'--set'")
        if key.strip() in found:
            raise typer.BadParameter(f"{key.strip()} is set twice", param_hint="'--set'")
        found[key.strip()] = value
    return found


def workers(text: str) -> str:
    """`threads` or `processes`; a usage error otherwise."""
    if text not in (THREADS, PROCESSES):
        raise typer.BadParameter(f"{text!r} is neither {THREADS} nor {PROCESSES}")
    return text


def _option(name: str, metavar: str | None, words: str, **more: Any) -> Any:  # noqa: ANN401  # as typer declares it
    """An option whose help states its default itself."""
    return typer.Option(name, metavar=metavar, help=words, show_default=False, **more)


_TARGET = typer.Argument(
    metavar="TARGET", help="model.onnx, model.pt2, model.py:build, app.py:handle, a server's URL, or a run."
)
Target = Annotated[str, _TARGET]
TargetOrNone = Annotated[str | None, _TARGET]
Pid = Annotated[int | None, _option("--pid", "N", "Watch this process and all that it started.", min=1)]
Passive = Annotated[bool, _option("--passive", None, "Watch a server that runs, and send nothing.")]
Budget = Annotated[float, _option("--budget", "60|5m", "Time to measure for (60 s).", parser=duration)]
Json = Annotated[str | None, _option("--json", "PATH|-", "Write JSON; with - to stdout, and the screen to stderr.")]
Out = Annotated[Path | None, _option("--out", "FOLDER", "Where runs are kept (pinchpoint-runs).")]
Input = Annotated[str | None, _option("--input", "FILE", "Requests: a file, a folder, or module:function.")]
Set = Annotated[list[str] | None, _option("--set", "KEY=VALUE", "A setting of the runtime; repeatable.")]
Python = Annotated[str | None, _option("--python", "PATH", "The interpreter that runs the target.")]
Seed = Annotated[int, _option("--seed", "N", "Seed of random inputs (0).", min=0)]
Timeout = Annotated[float, _option("--timeout", "120|2m", "Longest load or request (120 s).", parser=duration)]
Batch = Annotated[int, _option("--batch", "N", "Items a request, where the model is open (1).", min=1)]
Length = Annotated[int | None, _option("--length", "N", "Sequence length, where the model is open.", min=1)]
Workers = Annotated[
    str, _option("--workers", "threads|processes", "Who serves several requests at once (threads).", parser=workers)
]
Headers = Annotated[
    list[str] | None, _option("--header", "'NAME: VALUE'", "A header; the value env:NAME is read from there.")
]
Method = Annotated[str | None, _option("--method", "POST", "The method (POST with a body, else GET).")]
MaxRate = Annotated[str | None, _option("--max-rate", "R/s", "The most to send; needed for other machines.")]
Trust = Annotated[bool, _option("--trust", None, "Allow the target's files to run code of their own.")]
Quiet = Annotated[bool, _option("--quiet/--no-quiet", None, "Nothing on stderr but errors.")]

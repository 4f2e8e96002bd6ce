"""Load: the client's cost beside others', its punctuality, its percentiles against known laws, and whether it says when it was the limit.

Servers are those of `bench.load_servers`, on a CPU of their own; where there are two, the client has the other one.
"""

from __future__ import annotations

import subprocess
import time
from importlib.metadata import version

from bench import load_costs, load_lateness, load_laws, load_starved
from bench.load_clients import missing
from bench.report import Claim, Json, Report, Table
from bench.settings import Settings

PARTS = (load_costs.run, load_lateness.run, load_laws.run, load_starved.run)
NOTES = (
    "us CPU: user and system time of a request, of all processes of a client, without their start.",
    "off: what the engine says over the truth, less 1; the log is the server's own, the law a closed form.",
)


OTHERS = ("uvloop", "httptools", "aiohttp", "tritonclient", "grpcio", "protobuf")


def versions() -> dict[str, str]:
    """Versions of what is compared."""
    found = {name: version(name) for name in OTHERS if not missing(name)}
    if not missing("wrk"):
        said = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
        found["wrk"] = (said.stdout + said.stderr).partition("wrk ")[2].split(" ")[0]
    return found


def run(settings: Settings) -> Report:
    """All parts."""
    began = time.monotonic()
    tables: list[Table] = []
    claims: list[Claim] = []
    figures: dict[str, Json] = {}
    for part in PARTS:
        shown, found, numbers = part(settings)
        tables += shown
        claims += found
        figures |= numbers
    notes = (*NOTES, ", ".join(f"{name} {of}" for name, of in versions().items()))
    title = "LOAD: CPU a request beside other clients, lag, percentiles against known laws, and V101"
    return Report("load", title, tuple(tables), tuple(claims), figures, time.monotonic() - began, notes)

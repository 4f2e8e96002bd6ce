"""`python -m bench [NAME ...]`: truth, reasons, light, quick, capacity, tails, load and servers, or the ones named.

On request: `verdicts` runs the planted faults, `page` opens reports, `coverage` simulates runs, `real` asks real servers, `peers`
asks Triton beside perf_analyzer.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from bench import report
from bench.noise import RETRIES
from bench.report import Report
from bench.settings import BUDGET_S, Settings

BENCHES = ("truth", "reasons", "light", "quick", "capacity", "tails", "load", "servers")
# An hour; minutes, gigabytes and a browser; minutes of all CPUs; half an hour, and minutes, of what `make servers` installs.
ON_REQUEST = ("verdicts", "page", "coverage", "real", "peers")


def main() -> int:
    """Run the benches that were asked for; 1 if something is clearly not as promised."""
    chosen = _arguments()
    settings = Settings(chosen.budget, chosen.retries, tuple(chosen.only), chosen.half, _told)
    print(report.heading(), flush=True)
    violated = False
    for name in chosen.names or BENCHES:
        found: Report = importlib.import_module(f"bench.{name}").run(settings)
        report.save(found)
        print(f"\n{report.text(found)}", flush=True)
        violated |= found.violated
    return int(violated)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=(*BENCHES, *ON_REQUEST, []), help="which to run")
    parser.add_argument("--budget", type=float, default=BUDGET_S, metavar="S", help="seconds for each diagnosis (12)")
    parser.add_argument("--retries", type=int, default=RETRIES, metavar="N", help="of trials disturbed by others (3)")
    parser.add_argument("--only", action="append", default=[], metavar="PART", help="only cases whose name has it")
    parser.add_argument("--half", choices=("develop", "test"), help="which half of the planted faults (both)")
    return parser.parse_args()


def _told(words: str) -> None:
    """Progress, for a person who watches."""
    if sys.stderr.isatty():
        print(f"\r{words[: report.WIDTH - 1]:<{report.WIDTH - 1}}", end="\r", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""What a bench found, as 80 columns of text and as JSON in build/bench."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeAlias

from bench.noise import Status

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "build" / "bench"
WIDTH = 80
PACKAGES = ("pinchpoint", "onnxruntime", "numpy")  # what the figures depend on most

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | float | int | bool | None"


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that the bench had to show: what, its limit, what was found, and whether it holds."""

    name: str
    limit: str
    found: str
    status: Status


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of short texts under headings; the first column is aligned left, the others right."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A bench's result; `figures` are the raw numbers for the JSON."""

    name: str
    title: str
    tables: tuple[Table, ...]
    claims: tuple[Claim, ...]
    figures: Json
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def violated(self) -> bool:
        """Whether something is clearly not as promised."""
        return any(claim.status == "violated" for claim in self.claims)


def heading() -> str:
    """Machine, date and versions in two lines."""
    return f"{datetime.now().astimezone():%Y-%m-%d %H:%M} on {machine()}\n{', '.join(f'{k} {v}' for k, v in versions().items())}"


def machine() -> str:
    """The CPU, how many of them, and the kernel."""
    lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return f"{model}, {len(os.sched_getaffinity(0))} CPUs, Linux {platform.release()}"


def versions() -> dict[str, str]:
    """Versions of the interpreter and of what the figures depend on."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def text(report: Report) -> str:
    """The report in at most 80 columns."""
    lines = [report.title]
    for table in report.tables:
        lines += ["", *table_lines(table)]
    lines += ["", *(wrapped(note) for note in report.notes)] if report.notes else []
    lines += ["", *(wrapped(line) for line in claim_lines(report.claims)), f"took {report.seconds:.0f} s"]
    return "\n".join(lines)


def claim_lines(claims: Sequence[Claim]) -> list[str]:
    """Every claim that does not simply hold, then how many there are of each kind."""
    shown = [
        f"{c.status.upper()}: {c.name}: {c.found} (limit: {c.limit})"
        for c in claims
        if c.status not in ("holds", "shown")
    ]
    counts = {s: sum(c.status == s for c in claims) for s in ("holds", "inconclusive", "violated", "skipped")}
    words = {"holds": "hold", "inconclusive": "inconclusive", "violated": "violated", "skipped": "skipped"}
    return [*shown, ", ".join(f"{count} {words[s]}" for s, count in counts.items() if count) or "nothing was claimed"]


def table_lines(table: Table) -> list[str]:
    """The table with columns as wide as needed, two spaces between."""
    rows = [table.headings, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.headings))]
    gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= WIDTH else " "
    return [
        gap.join(
            cell.ljust(w) if not i else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def wrapped(line: str) -> str:
    """A long line broken at spaces, continued two columns in."""
    lines, rest = [], line
    while len(rest) > WIDTH and " " in rest[3:WIDTH]:
        at = rest.rindex(" ", 3, WIDTH)
        lines.append(rest[:at])
        rest = "  " + rest[at + 1 :]
    return "\n".join([*lines, rest])


def save(report: Report) -> Path:
    """Write the report as JSON; returns where."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{report.name}.json"
    content = {
        "bench": report.name,
        "date": f"{datetime.now().astimezone():%Y-%m-%dT%H:%M:%S%z}",
        "machine": machine(),
        "versions": versions(),
        "seconds": round(report.seconds, 1),
        "claims": [{"claim": c.name, "limit": c.limit, "found": c.found, "status": c.status} for c in report.claims],
        "figures": report.figures,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    return path


def percent(share: float, decimals: int = 1) -> str:
    """A share as a percentage without a sign of its own, such as `3.2 %`."""
    return f"{share * 100:.{decimals}f} %"


def signed(share: float) -> str:
    """A share as a percentage with its sign, such as `-0.4 %`."""
    return f"{share * 100:+.1f} %"


def milliseconds(seconds: float) -> str:
    """Seconds as milliseconds with three digits."""
    return f"{seconds * 1e3:.3g}"

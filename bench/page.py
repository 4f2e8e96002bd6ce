"""Page: how large the report of a long run is, and how soon a browser shows it."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from bench import million
from bench.noise import tried
from bench.quick import within
from bench.report import REPOSITORY, Claim, Json, Report, Table
from bench.settings import Settings
from bench.tool import ToolFailed, scratch
from bench.truth import noise_text
from pinchpoint import api

OPENS_S, LARGEST_MB, DRAWN_S = 2.0, 3.0, 1.0  # what the project promises
COUNTS = (1_000_000, 10_000_000)
REPEATS = 5
BROWSER_S, DRAW_S = 120, 300
DRAW = """
import sys, time
from pinchpoint import api
outcome = api.diagnose(sys.argv[1])
start = time.perf_counter()
api.write_page(outcome.folder, outcome.diagnosis)
print(time.perf_counter() - start)
"""
MB = 1e6
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--window-size=1200,2400",
)  # fmt: skip
BLANK = "<!doctype html><title>blank</title><p>blank"


def run(settings: Settings) -> Report:
    """Fabricate, diagnose, draw and open runs of each size."""
    began = time.monotonic()
    rows, claims, figures = [], [], {}
    for count in COUNTS:
        name = f"{count / 1e6:g} million requests"
        if not settings.wants(name):
            continue
        with scratch() as folder:
            settings.progress(f"page: {name}")
            try:
                measured = _measured(folder, count, settings)
            except ToolFailed as error:
                claims.append(Claim(name, f"{OPENS_S:g} s", str(error), "inconclusive"))
                continue
        for what, found, limit, unit, noise, status in measured:
            rows.append(
                (f"{name}, {what}", f"{found:.3g} {unit}", f"{limit:g} {unit}", f"{found / limit:.2f}", noise, status)
            )
            claims.append(Claim(f"{name}, {what}", f"{limit:g} {unit}", f"{found:.3g} {unit}", status))
            figures[f"{name}, {what}"] = _figures(found, limit, unit, status)
    table = Table(("", "found", "at most", "of limit", "noise", "status"), tuple(rows))
    title = "PAGE: the report of a long run (drawn by a new process, opened in headless Chromium less a blank page)"
    return Report("page", title, (table,), tuple(claims), figures, time.monotonic() - began)


def _measured(folder: Path, count: int, settings: Settings) -> list[tuple[str, float, float, str, str, str]]:
    """Of a run of this size: seconds to draw the page, its megabytes, and seconds until a browser has painted it."""
    outcome = api.diagnose(str(million.stored(folder, count)))
    assert outcome.folder is not None
    page = folder / "blank.html"
    page.write_text(BLANK, "utf-8")
    drawn = tried(partial(_seconds_to_draw, outcome.folder), partial(within, DRAWN_S), settings.retries)
    report = outcome.folder / api.PAGE
    size = report.stat().st_size / MB
    opened = tried(partial(_seconds_to_open, report, page, folder), partial(within, OPENS_S), settings.retries)
    return [
        ("drawn", drawn.value, DRAWN_S, "s", noise_text(drawn.noise), drawn.status),
        ("size", size, LARGEST_MB, "MB", "-", within(LARGEST_MB, size)),
        ("opened", opened.value, OPENS_S, "s", noise_text(opened.noise), opened.status),
    ]


def _seconds_to_draw(folder: Path) -> float:
    """Seconds that the page adds to a diagnosis, its libraries loaded included: the first page of a process."""
    done = subprocess.run(
        [sys.executable, "-c", DRAW, str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=DRAW_S,
    )
    if done.returncode:
        raise ToolFailed((done.stderr.strip().splitlines() or ["the page was not drawn"])[-1])
    return float(done.stdout)


def _seconds_to_open(page: Path, blank: Path, folder: Path) -> float:
    """Median seconds from a browser's start until the page is painted, less that for a blank page; in turns."""
    spent: dict[Path, list[float]] = {page: [], blank: []}
    for each in (blank, page) * (REPEATS + 1):  # the first only warms the browser's profile
        spent[each].append(_painted(each, folder))
    return max(statistics.median(spent[page][1:]) - statistics.median(spent[blank][1:]), 0.0)


def _painted(page: Path, folder: Path) -> float:
    """Seconds of a browser that loads the page, lays it out, paints it into a file, and ends."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise ToolFailed("no Chromium here")
    picture = folder / "page.png"
    picture.unlink(missing_ok=True)
    start = time.perf_counter()
    done = subprocess.run(
        [browser, *FLAGS, f"--user-data-dir={folder}/profile", f"--screenshot={picture}", page.as_uri()],
        capture_output=True, check=False, timeout=BROWSER_S,
    )  # fmt: skip
    spent = time.perf_counter() - start
    if done.returncode or not picture.exists():
        raise ToolFailed(f"the browser exited with {done.returncode}")
    return spent


def _figures(found: float, limit: float, unit: str, status: str) -> Json:
    return {"found": found, "limit": limit, "of_limit": found / limit, "unit": unit, "status": status}

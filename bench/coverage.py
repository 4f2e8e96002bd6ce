"""Coverage: how often a run's 95 % intervals hold the truth, over 2,000 simulated runs of each process and length.

The truth is the law's where it is known, else that of all runs together. Where at least half of the runs are answered, 92 to
98 % of the answers must hold it; where fewer are, these are the runs that happen to look quiet, and at most 8 % of all runs
may get an answer that does not. A quantile that many requests have to the digit (an atom) has no upper limit: an interval
that ends anywhere among these requests holds it, however narrow its ranks are, so that it is missed on one side at most.

Corrections of open loops were chosen on the first set of processes and lengths. The second one then showed that closed loops
need another law, and rates the times of arrival. The third was looked at once, when nothing was changed any more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.noise import Status
from bench.report import Claim, Report, Table
from bench.settings import Settings
from bench.simulated_runs import DESIGN, EVALUATION, HELD_OUT, Runs, Series
from pinchpoint.domain.quantity import Quantity
from pinchpoint.steady import steady_mean, steady_quantiles, steady_rate

RUNS, CHUNK = 2000, 100
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
FIGURES = ("mean", *QUANTILES, "rate")
LEAST, MOST, WRONG = 0.92, 0.98, 0.08
SURE = 3.0  # standard errors beyond a limit that count as a violation
ATOM = 0.01  # of all requests that take as long as a quantile, to the digit
POOLED = 5000  # values of each run that the truth is taken from
LONG = 30_000  # requests beyond which p99 alone is asked
LENGTHS = {
    "design": (500, 1000, 3000, 10_000, 30_000),
    "design, independent": (500, 3000, 10_000),
    "design, 80 %": (500, 1000, 3000, 10_000, 30_000, 100_000),
    "evaluation": (700, 2000, 6000, 20_000, 50_000),
    "held out": (700, 2000, 6000, 20_000),
}
NOTES = (
    "*: requests take just as long, to the digit (half of those of M/D/1 at 50 %): at least 92 % and no upper limit.",
    "Few runs answered: those that look quiet. Their wrong answers are counted against all runs.",
)
SETS = (("design", DESIGN, 1), ("evaluation", EVALUATION, 2), ("held out", HELD_OUT, 3))


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure of a process at a length: the share of runs that were answered, and of the answers that hold the truth."""

    answered: float
    covered: float
    atom: bool = False

    @property
    def few(self) -> bool:
        """Whether most runs were refused."""
        return self.answered < 0.5

    @property
    def wrong(self) -> float:
        """The share of all runs whose interval misses the truth."""
        return self.answered * (1 - self.covered)


def run(settings: Settings) -> Report:
    """Simulate every process and judge every cell."""
    began = time.monotonic()
    rows, claims, figures = [], [], {}
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for kind, processes, seed in SETS:
            for at, series in enumerate(processes):
                if not settings.wants(series.name):
                    continue
                settings.progress(f"coverage: {series.name}")
                tasks = [(kind, at, lengths(kind, series), (seed, at, part)) for part in range(RUNS // CHUNK)]
                for size, cells in judged(tasks[0][2], list(pool.map(_asked, tasks)), series.law):
                    rows.append((series.name, f"{size:,}", *(_text(cells.get(figure)) for figure in FIGURES)))
                    claims += [_claim(f"{kind}: {series.name} {size:,} {f}", cell) for f, cell in cells.items()]
                    figures[f"{series.name} {size}"] = {f: [c.answered, c.covered] for f, c in cells.items()}
    table = Table(("process", "requests", *FIGURES), tuple(rows))
    title = f"COVERAGE of 95 % intervals over {RUNS:,} runs: % of the answers that hold the truth / % of runs answered"
    return Report("coverage", title, (table,), tuple(claims), figures, time.monotonic() - began, NOTES)


def lengths(kind: str, series: Series) -> tuple[int, ...]:
    """How many requests the runs of a process have."""
    if kind == "design" and "/" not in series.name:
        return LENGTHS["design, independent"]
    return LENGTHS["design, 80 %" if kind == "design" and series.name.startswith(("M/M/1 80", "M/2pt/1 80")) else kind]


# --- asking, in other processes ------------------------------------------------------------------------------------
Asked = tuple[dict[tuple[int, str], list[tuple[float, float] | None]], npt.NDArray[np.float32], float, float]


def _asked(task: tuple[str, int, tuple[int, ...], tuple[int, int, int]]) -> Asked:
    """The intervals of some runs by length and figure; a sample of their latencies, their mean, and their rate."""
    kind, at, sizes, seed = task
    series = next(processes for name, processes, _ in SETS if name == kind)[at]
    runs = series.drawn(np.random.default_rng(seed), CHUNK, max(sizes))
    found: dict[tuple[int, str], list[tuple[float, float] | None]] = {}
    for size in sizes:
        names = FIGURES if size <= LONG or kind == "evaluation" else ("p99",)
        for row in range(CHUNK):
            for figure, quantity in _figures(runs, row, size, names, series.closed).items():
                found.setdefault((size, figure), []).append(quantity and (quantity.low, quantity.high))
    sample = runs.latency_s[:, :: max(1, max(sizes) // POOLED)].astype(np.float32).ravel()
    return found, sample, float(runs.latency_s.mean()), _rate(runs)


def _figures(runs: Runs, row: int, size: int, names: tuple[str, ...], closed: bool) -> dict[str, Quantity | None]:
    """What one run of a length is told."""
    latency, shares = runs.latency_s[row, :size], [name for name in names if name in QUANTILES]
    asked = [QUANTILES[name] for name in shares]
    found = dict(zip(shares, steady_quantiles(latency, asked, closed=closed), strict=True))
    if "mean" in names:
        found["mean"] = steady_mean(latency, closed=closed)
    if "rate" in names and runs.done_s is not None:
        done = runs.done_s[row, :size]
        found["rate"] = steady_rate(done, done - latency)
    return found


def _rate(runs: Runs) -> float:
    """Completions of all runs over the time that they took."""
    if runs.done_s is None:
        return 0.0
    return float((runs.done_s.shape[1] - 1) * len(runs.done_s) / np.ptp(runs.done_s, axis=1).sum())


# --- judging -------------------------------------------------------------------------------------------------------
def judged(
    sizes: tuple[int, ...], parts: list[Asked], law: Callable[[float], float] | None = None
) -> Iterator[tuple[int, dict[str, Cell]]]:
    """Each length with its cells."""
    pooled = np.concatenate([sample for _, sample, _, _ in parts])
    truth = {name: law(q) if law else float(np.quantile(pooled, q)) for name, q in QUANTILES.items()}
    atoms = {name for name, value in truth.items() if np.mean(pooled == np.float32(value)) > ATOM}
    truth["mean"] = float(np.mean([mean for _, _, mean, _ in parts]))
    truth["rate"] = float(np.mean([rate for *_, rate in parts]))
    for size in sizes:
        asked = {figure: [each for part in parts for each in part[0].get((size, figure), [])] for figure in FIGURES}
        yield size, {figure: cell_of(ends, truth[figure], figure in atoms) for figure, ends in asked.items() if ends}


def cell_of(ends: list[tuple[float, float] | None], truth: float, atom: bool = False) -> Cell:
    """The cell of one figure's intervals."""
    answers = [each for each in ends if each is not None]
    covered = float(np.mean([low <= truth <= high for low, high in answers])) if answers else 1.0
    return Cell(len(answers) / len(ends), covered, atom)


def status_of(cell: Cell) -> Status:
    """Against its limits; within three standard errors beyond one of them nothing is said."""
    least, most = _limits(cell)
    share, error = _found(cell)
    beyond = max(least - share, share - most)
    return "holds" if beyond <= 0 else "violated" if beyond > SURE * error else "inconclusive"


def _limits(cell: Cell) -> tuple[float, float]:
    """Between which a cell's share lies."""
    if cell.few:
        return 0.0, WRONG
    return LEAST, 1.0 if cell.atom else MOST


def _found(cell: Cell) -> tuple[float, float]:
    """A cell's share, of wrong answers or of right ones, and its standard error."""
    share, count = (cell.wrong, RUNS) if cell.few else (cell.covered, RUNS * cell.answered)
    return share, float((share * (1 - share) / count) ** 0.5)


def _claim(name: str, cell: Cell) -> Claim:
    (least, most), (share, error) = _limits(cell), _found(cell)
    of = "all wrong" if cell.few else f"{cell.answered:.0%}"
    return Claim(name, f"{least:.0%} to {most:.0%}", f"{share:.1%} +-{error:.1%} of {of}", status_of(cell))


def _text(cell: Cell | None) -> str:
    if cell is None:
        return ""
    return f"{100 * cell.covered:.1f}/{100 * cell.answered:.0f}{'*' if cell.atom else ''}" if cell.answered else "-/0"

"""Run -> what requests leave behind: CPU time in the pauses after them, beyond what the process does by itself."""

from __future__ import annotations

from pinchpoint.domain.run import Run

FEWEST = 3
LAST_STEPS = 4  # of the longest pause, where what a request left behind has ended if it ends at all


def background_cpus(run: Run) -> float:
    """CPUs that are busy long after a request: work of the target's own that no request causes."""
    longest = max(run.aside.pauses, key=lambda pause: len(pause.steps)).steps[-LAST_STEPS:]
    return sum(cpu for _, cpu in longest) / sum(seconds for seconds, _ in longest)


def left_behind(run: Run) -> list[float]:
    """CPU seconds of each pause that the request before it left behind; ValueError without pauses."""
    busy = background_cpus(run)
    return [max(sum(cpu - busy * seconds for seconds, cpu in pause.steps), 0.0) for pause in run.aside.pauses]

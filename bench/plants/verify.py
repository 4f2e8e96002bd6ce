"""Measures that the plants are what they claim: `python -m bench.plants.verify [NAME ...] [--seconds S] [--write FILE]`.

Each target runs by itself under probe.py, with the kernel's counters. Printed are the true shares beside those that the plant
states, and the gain of its healthy twin. A trial during which other processes took more than a twentieth of the machine is
repeated, up to three times, and marked `noisy` if none was quiet.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.plants import PLANTS, Plant

PROBE = Path(__file__).with_name("probe.py")
FOREIGN, TRIALS, QUIET_WITHIN_S = 0.05, 3, 40.0
SHARE_TOLERANCE, GAIN_TOLERANCE = 0.12, 0.35
SHOWN = ("cpu", "system", "starved", "throttled", "wait", "cores")
COUNTS = ("minor/request", "major/request", "forced/request", "read_bytes/request", "write_bytes/request")

Numbers = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return how many plants are not what they claim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="plants whose names contain one of these; all without")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--write", type=Path, help="a JSON file that keeps the numbers by plant, updated")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was set up is taken down
    chosen = [plant for plant in PLANTS if not options.names or any(name in plant.name for name in options.names)]
    measured: dict[str, Numbers] = (
        json.loads(options.write.read_text()) if options.write and options.write.exists() else {}
    )
    for plant in chosen:
        if (reason := plant.needs()) is not None:
            print(f"{plant.name}: cannot run here: {reason}", flush=True)
            continue
        measured[plant.name] = trial(plant, options.seconds)
        print(shown(plant, measured[plant.name]), flush=True)
        if options.write:
            options.write.write_text(json.dumps(measured, indent=1))
    wrong = [line for plant in chosen if plant.name in measured for line in differences(plant, measured)]
    print("\n".join(["", *wrong, f"{len(wrong)} statements do not hold"]))
    return len(wrong)


def trial(plant: Plant, seconds: float) -> Numbers:
    """One quiet measurement of a plant, or the last noisy one."""
    numbers: Numbers = {}
    for _ in range(TRIALS):
        wait_for_quiet()
        numbers = measure(plant, seconds)
        if "failed" in numbers or numbers["foreign"] < FOREIGN:
            break
    return numbers


def measure(plant: Plant, seconds: float) -> Numbers:
    """The probe's numbers, with the share of the machine that others used meanwhile."""
    own, busy, began = _children_s(), _busy_s(), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="plant-") as folder, plant.prepare(Path(folder)) as ready:
        command = [*ready.wrapper, sys.executable, str(PROBE), str(seconds), ready.target, *ready.options]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=_environment())
        truth = dict(ready.truth)
    wall = time.perf_counter() - began
    if done.returncode != 0:
        print(done.stderr[-2000:], file=sys.stderr)
        return {"failed": 1.0}
    numbers: Numbers = json.loads(done.stdout.strip().splitlines()[-1])
    numbers["foreign"] = max(0.0, (_busy_s() - busy) - (_children_s() - own)) / wall
    return numbers | {f"stated {name}": value for name, value in truth.items()}


def differences(plant: Plant, measured: dict[str, Numbers]) -> list[str]:
    """What the plant states and the measurement does not bear out."""
    numbers = measured[plant.name]
    if "failed" in numbers:
        return [f"{plant.name}: does not answer"]
    found = []
    for key, stated in numbers.items():
        if not key.startswith("stated "):
            continue
        name = key.removeprefix("stated ")
        value = _gain(plant, measured) if name == "gain" else numbers.get(name, numbers.get(f"in {name}"))
        tolerance = GAIN_TOLERANCE * stated if name == "gain" else SHARE_TOLERANCE
        if value is None or abs(value - stated) > tolerance:
            found.append(
                f"{plant.name}: {name} is stated as {stated} and is {value if value is None else round(value, 3)}"
            )
    return found


def shown(plant: Plant, numbers: Numbers) -> str:
    """One line on a plant."""
    if "failed" in numbers:
        return f"{plant.name}: FAILED"
    states = " ".join(f"{name} {numbers[name]:.2f}" for name in SHOWN)
    inside = {key[3:]: value for key, value in numbers.items() if key.startswith("in ") and value >= 0.01}
    parts = " ".join(f"{name}={value:.2f}" for name, value in sorted(inside.items(), key=lambda item: -item[1]))
    counts = " ".join(f"{name.split('/')[0]}={numbers[name]:.0f}" for name in COUNTS if numbers[name] >= 1)
    times = "/".join(f"{numbers[name] * 1e3:.2f}" for name in ("p25", "p50", "p75"))
    noise = f" NOISY {numbers['foreign']:.2f}" if numbers["foreign"] >= FOREIGN else ""
    extra = f" drift {numbers['drift']:.2f}" + (f" errors {numbers['errors']:.2f}" if numbers["errors"] else "")
    return f"{plant.name}: {times} ms n={numbers['count']:.0f} | {states} | {parts} | {counts} |{extra}{noise}"


def wait_for_quiet() -> None:
    """Until the machine has been idle for a second, or it is no use to wait longer."""
    deadline = time.monotonic() + QUIET_WITHIN_S
    while time.monotonic() < deadline:
        busy = _busy_s()
        time.sleep(1.0)
        if _busy_s() - busy < FOREIGN:
            return


def _gain(plant: Plant, measured: dict[str, Numbers]) -> float | None:
    twin = measured.get(plant.name.replace("-fault", "-healthy" if plant.role == "fault" else ""))
    return (
        measured[plant.name]["p50"] / twin["p50"]
        if twin and twin is not measured[plant.name] and "p50" in twin
        else None
    )


def _busy_s() -> float:
    """CPU seconds that all processes of the machine have used."""
    fields = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / 100


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime + own.ru_utime + own.ru_stime


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(PROBE.resolve().parents[2])}


if __name__ == "__main__":
    sys.exit(1 if main() else 0)

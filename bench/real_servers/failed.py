"""Programs that an installation runs, and the one line that tells why one failed."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

LONGEST_S = 1200.0
MOST_SHOWN = 200


class Failed(Exception):
    """A server cannot be installed here; in a line, why."""


def run(command: Sequence[str], folder: Path | None = None) -> str:
    """What a program printed; Failed with the last line of its errors where it did not succeed."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise Failed(f"there is no {command[0]} here") from error
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{Path(command[0]).name} took longer than {LONGEST_S:.0f} s") from error
    if done.returncode != 0:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        told = next(
            (line for line in reversed(lines) if line.lower().startswith(("error", "e:"))), lines[-1] if lines else ""
        )
        raise Failed(f"{Path(command[0]).name} said: {told[:MOST_SHOWN]}")
    return done.stdout

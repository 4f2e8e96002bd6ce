"""What a start consists of, from starts in fresh processes."""

from __future__ import annotations

from pinchpoint.contracts import SignalSource, Tables, signal
from pinchpoint.domain.quantity import Quantity, exact

NO_START, ONCE = "no start was recorded", "seen once"


@signal("startup.seconds", unit="s", mechanism="wall clock")
def seconds(tables: Tables) -> Quantity | str:
    """From the begin of the process to the first answer; with the files on disk where that was seen."""
    return NO_START if tables.startup is None else tables.startup.whole


@signal("startup.reading_s", unit="s", mechanism="page cache")
def reading_s(tables: Tables) -> Quantity | str:
    """What a start takes longer with the target's own files on disk than with them in the page cache."""
    found = tables.startup
    if found is None:
        return NO_START
    if found.reading is None:
        return found.cold_reason or found.again_reason or ONCE
    return found.reading if found.reading.n > 1 else ONCE


@signal("startup.reading_share", unit="share", mechanism="page cache")
def reading_share(tables: Tables) -> Quantity | str:
    """The same as a share of the start with the files on disk."""
    return _of_start(tables, reading_s.measure(tables))


@signal("startup.read_bytes", unit="B", mechanism="counter")
def read_bytes(tables: Tables) -> Quantity | str:
    """Bytes from storage in a start with the target's own files on disk."""
    found = tables.startup
    if found is None or found.cold is None:
        return NO_START if found is None else found.cold_reason
    return "the kernel does not tell" if found.read_bytes is None else exact(found.read_bytes, found.cold.n)


@signal("startup.optimising_s", unit="s", mechanism="wall clock")
def optimising_s(tables: Tables) -> Quantity | str:
    """Opening the target's sessions as they are, less opening them without graph optimisation."""
    found = tables.startup
    if found is None:
        return NO_START
    if found.optimising is None:
        return "no session with graph optimisation was opened again"
    return found.optimising if found.optimising.n > 1 else ONCE


@signal("startup.optimising_share", unit="share", mechanism="wall clock")
def optimising_share(tables: Tables) -> Quantity | str:
    """The same as a share of the start."""
    return _of_start(tables, optimising_s.measure(tables))


def _phases(name: str, doc: str, *phases: str) -> SignalSource:
    """Phases of a start as a share of it."""

    def measure(tables: Tables) -> Quantity | str:
        if tables.startup is None:
            return NO_START
        return _of_start(tables, tables.startup.seconds(*phases) or exact(0.0, tables.startup.whole.n))

    measure.__doc__ = doc
    return signal(name, unit="share", mechanism="wall clock")(measure)


def _of_start(tables: Tables, part: Quantity | str) -> Quantity | str:
    if isinstance(part, str) or tables.startup is None:
        return part
    return part.scaled(1 / tables.startup.whole.value).clipped(-1.0, 1.0)


STARTUP_SIGNALS = (
    seconds,
    reading_s,
    reading_share,
    read_bytes,
    optimising_s,
    optimising_share,
    _phases("startup.session_share", "Opening sessions, with the files in the page cache, in a start.", "session"),
    _phases("startup.own_code_share", "Code of the target's own module at import, in a start.", "own code"),
    _phases("startup.libraries_share", "Importing libraries, in a start.", "libraries", "import"),
)

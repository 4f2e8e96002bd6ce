"""The starts of a target in words: how long, how often seen, and what of it could not be seen."""

from __future__ import annotations

from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.startup import PhaseTime, Startup
from pinchpoint.domain.verdict import Diagnosis
from pinchpoint.reporters.figures import seconds
from pinchpoint.reporters.layout import clean, shortened
from pinchpoint.units import amount, digits, duration

_LONGEST = 160
_LEAST_WARM_UP_S, _SLOWER = 0.1, 0.5
_LONGER = 1.25
_SHORTEST_S, _MOST_ROWS, _LONGEST_DETAIL = 0.001, 20, 60


def started(diagnosis: Diagnosis) -> str:
    """Cold and warm starts with intervals and counts, then why there are not more; "" where none was recorded."""
    found = diagnosis.starts
    if found is None:
        return ""
    seen = [f"{name} {counted(each)}" for name, each in (("cold", found.cold), ("warm", found.warm)) if each]
    said = f"{', '.join(seen).capitalize()}." if seen else "Seen once."
    return " ".join(
        filter(
            None, [said, _first(found), _unseen(found), _warm_up(found, diagnosis.measured.latency_s.get("typical"))]
        )
    )


def only_of_a_start(finding: Finding) -> bool:
    """Whether all that was looked at for a finding is the start: no news for requests."""
    return bool(finding.evidence) and all(each.signal.name.startswith("startup.") for each in finding.evidence)


def counted(quantity: Quantity) -> str:
    """A duration with its interval and count, such as `0.41 s (0.39-0.43, n=3)`; of a single one, that it was seen once."""
    value, inside, unit = seconds(quantity)
    around = "seen once" if quantity.n == 1 else ", ".join(filter(None, [inside, f"n={quantity.n}"]))
    return f"{value} {unit} ({around})"


def phase_rows(found: Startup | None) -> list[dict[str, str]]:
    """The phases of a start for a table, the longest first; those that hardly take time in one row less."""
    if found is None:
        return []
    rows = [phase for phase in found.phases if max(phase.seconds.value, _cold(phase)) >= _SHORTEST_S][:_MOST_ROWS]
    return [
        {
            "name": f"{clean(phase.name)} {shortened(clean(phase.detail), _LONGEST_DETAIL)}".strip(),
            "warm": counted(phase.seconds),
            "cold": "-" if phase.cold_seconds is None else counted(phase.cold_seconds),
            "cpu": "-" if phase.cpu_s is None else duration(phase.cpu_s),
            "read": "-" if phase.cold_read_bytes is None else amount(phase.cold_read_bytes, "B"),
            "requested": "-" if phase.requested_bytes is None else amount(phase.requested_bytes, "B"),
            "faults": "-" if phase.major_faults is None else digits(phase.major_faults),
        }
        for phase in rows
    ]


def _cold(phase: PhaseTime) -> float:
    return phase.cold_seconds.value if phase.cold_seconds else 0.0


def _first(found: Startup) -> str:
    """That the very first start took longer than those that followed: the disk, too, has a cache."""
    longer = found.found.value > found.whole.high * _LONGER
    return f"The first of all took {duration(found.found.value)}." if longer else ""


def _unseen(found: Startup) -> str:
    if found.warm is None and found.again_reason:
        return f"Not again: {_short(found.again_reason)}."
    return f"No cold start: {_short(found.cold_reason)}." if found.cold_reason else ""


def _short(reason: str) -> str:
    return shortened(clean(reason), _LONGEST).rstrip(".")


def _warm_up(found: Startup, typical: Quantity | None) -> str:
    """What warming up costs after the first answer, where it is worth a word: a drift of a few per cent is none."""
    if typical is None or found.warm_up_s < max(_LEAST_WARM_UP_S, found.warm_up * typical.value * _SLOWER):
        return ""
    return f"Then {found.warm_up:,} requests warm up, {duration(found.warm_up_s)} slower in all."

"""V103: instruments that must agree do not."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.diagnose import any_of
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="V103",
    title="the laws do not hold",
    question="Do independent instruments contradict each other?",
    bound="measurement",
    cells=(),
    needs=(
        "measurement.clock_disagreement",
        "measurement.group_disagreement",
        "measurement.count_disagreement",
        "measurement.thread_disagreement",
        "measurement.server_count_disagreement",
        "measurement.server_time_disagreement",
    ),
    remedies=("measure-longer",),
)
def contradiction(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """Two instruments that measure the same thing in different ways tell different things.

    **Mechanism.** CPU time is read by the process's own clock, by the kernel's account of the process and by that of
    its control group; requests are counted where they are answered and where they are recorded. A part cannot exceed
    its whole: a thread's CPU time its process's, a process's its group's, what a server counts what its clients wait.
    Where such a law is broken, one of the instruments is wrong, and no figure of the run can be trusted. A live server
    that counts more requests than were sent has other clients: what its processes do is then not ours alone.
    **Looks like it, is not.** Figures that change during the run are a drift (V102), and wide intervals are too few
    requests (V104): the instruments agree there. A clock that ticks every 10 ms differs by a few ticks, which is allowed.
    **Confirm.** Run again: a contradiction that stays is a defect of this tool or of the kernel's accounting, as on some
    sandboxes that emulate /proc.
    **Remedies.** Of a server that others load, ask when they do not, or ask a copy of it. Else measure on a machine whose
    kernel accounts CPU time itself, and report it with the run folder.
    """
    compared = (
        Evidence(signals["measurement.clock_disagreement"], "above", limits.contradiction_share),
        Evidence(signals["measurement.group_disagreement"], "above", limits.contradiction_share),
        Evidence(signals["measurement.count_disagreement"], "above", limits.contradiction_share),
        Evidence(signals["measurement.thread_disagreement"], "above", limits.contradiction_share),
        Evidence(signals["measurement.server_count_disagreement"], "above", limits.contradiction_share),
        Evidence(signals["measurement.server_time_disagreement"], "above", limits.contradiction_share),
    )
    yield from any_of(*(tuple(each for each in compared if each.signal.quantity is not None) or compared))

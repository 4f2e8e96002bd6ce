"""C117: the processor became slower while it was measured."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="C117",
    title="clock lowered",
    question="Did the processor itself become slower during the run?",
    bound="cpu",
    cells=(),
    needs=("cpu.slowdown_share",),
    remedies=("steady-clock",),
)
def clock_lowered(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The same small loop takes more CPU time late in the run than early.

    **Mechanism.** A processor that gets too hot or draws too much power lowers its clock, and so does one on a saving
    profile. Everything that computes then takes longer, whatever it is. A fixed loop of integer operations is run
    before and after each half second of requests and timed on its thread's CPU clock.
    **Looks like it, is not.** A neighbour who takes the CPU makes the loop wait, which that clock does not count (C109).
    One who shares a core's two hardware threads, or a hypervisor that takes time unseen, does slow it: on such machines
    this says that the processor was slower, and not why. A program whose own work grows is a drift (V102).
    **Confirm.** Run again after a pause, and watch the clock and the temperature where the machine shows them.
    **Remedies.** Cool the machine, choose a performance profile, fix the clock for measurements, and compare only runs
    that were made at the same clock.
    """
    yield Evidence(signals["cpu.slowdown_share"], "above", limits.slowdown_share)

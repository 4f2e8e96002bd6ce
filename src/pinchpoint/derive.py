"""Run + ledgers + demands -> Signals."""

from __future__ import annotations

from pinchpoint.contracts import SignalSource, Tables
from pinchpoint.domain.signal import Signal, Signals


def derive(tables: Tables, sources: tuple[SignalSource, ...]) -> Signals:
    """Every signal of the run; one that cannot be measured carries its reason."""
    return Signals({source.name: _one(tables, source) for source in sources})


def _one(tables: Tables, source: SignalSource) -> Signal:
    measured = source.measure(tables)
    if isinstance(measured, str):
        return Signal(source.name, source.unit, source.mechanism, None, measured)
    return Signal(source.name, source.unit, source.mechanism, measured)

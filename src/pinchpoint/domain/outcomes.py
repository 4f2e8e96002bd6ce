"""How requests of `load` end, by number and by name, and how many buckets their latencies are counted in."""

from __future__ import annotations

OUTCOMES = (
    "ok", "status", "unexpected", "timeout", "refused", "reset", "closed", "short", "malformed", "too_large", "tls",
    "no_descriptor", "unreachable", "cut_off", "unsent",
)  # fmt: skip
OCTAVES, FRACTION_BITS = 62, 7  # from half a nanosecond to 2**31 seconds
BUCKETS = OCTAVES << FRACTION_BITS

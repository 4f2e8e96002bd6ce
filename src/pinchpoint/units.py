"""Units: SI inside, words for people outside. Only reporters and messages call the formatters."""

from __future__ import annotations

import math

NS_PER_S = 1_000_000_000
PERCENT = 100

_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_DECIMAL = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_MOST_DECIMALS = 9


def decimals(value: float, significant: int = 3) -> int:
    """How many decimals show `value` with `significant` significant digits; 0 for 0."""
    if value == 0:
        return 0
    exponent = int(f"{value:.{significant - 1}e}".partition("e")[2])  # of the rounded value: 9.999 has that of 10
    return min(max(0, significant - 1 - exponent), _MOST_DECIMALS)


def digits(value: float, significant: int = 3) -> str:
    """`value` with about `significant` significant digits and never an exponent, such as `13.3` or `1,480`."""
    text = f"{value:,.{decimals(value, significant)}f}"
    return text.rstrip("0").rstrip(".") if text.lstrip("-").startswith("0.") else text


def duration(seconds: float) -> str:
    """`seconds` in the unit that suits its size, such as `13.3 ms`."""
    scale, unit = duration_unit(seconds)
    return f"{digits(seconds / scale)} {unit}"


def duration_unit(seconds: float) -> tuple[float, str]:
    """The scale and the name of the unit in which `seconds` reads best; 0 reads best in seconds."""
    if seconds == 0:
        return _SECONDS[0]
    rounded = abs(float(f"{seconds:.2e}"))  # 0.9999 ms reads as 1.00 ms, not as 1,000 us
    return next(((scale, unit) for scale, unit in _SECONDS if rounded >= scale), _SECONDS[-1])


def amount(value: float, unit: str = "") -> str:
    """`value` with a decimal prefix, such as `25.6 M` or `268 MB`."""
    scale, prefix = amount_prefix(value)
    return f"{digits(value / scale)} {prefix}{unit}".strip()


def amount_prefix(value: float) -> tuple[float, str]:
    """The scale and the decimal prefix with which `value` reads best."""
    rounded = abs(float(f"{value:.2e}"))
    return next(((scale, prefix) for scale, prefix in _DECIMAL if rounded >= scale), _DECIMAL[-1])


def percent(share: float) -> str:
    """A share from 0 to 1 as a percentage, such as `73 %`; a small one as `<1 %`, a small negative one as `-0.3 %`."""
    value = share * PERCENT
    if abs(value) >= 1 or value == 0:
        return f"{value:.0f} %"
    return "<1 %" if value > 0 else f"{value:.1f} %".replace("-0.0 %", "0 %")


def parse_duration(text: str) -> float:
    """Seconds from `60`, `60s`, `5m`, `500ms` or `1h`; ValueError if it is none of these or not positive."""
    units = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    stripped = text.strip()
    suffix = next((u for u in ("ms", "h", "m", "s") if stripped.endswith(u)), "")
    try:
        seconds = float(stripped[: len(stripped) - len(suffix)]) * units.get(suffix, 1.0)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValueError(f"{text!r} is not a duration such as 60, 500ms, 5m or 1h")
    return seconds

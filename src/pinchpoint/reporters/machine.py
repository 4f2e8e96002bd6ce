"""A machine on the screen: its CPUs, its ceilings, and what can and cannot be observed here."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.domain.run import Ceiling, Environment
from pinchpoint.domain.words import CEILING_WORDS
from pinchpoint.reporters.figures import value_and_interval
from pinchpoint.reporters.layout import WIDTH, clean, columns, padded, shortened, wrapped
from pinchpoint.units import amount, amount_prefix, duration_unit

_LONGEST_MODEL = 60
_LONGEST_WHAT = 40
_SEEN = "Everything that pinchpoint reads can be observed here."


def render_machine(environment: Environment) -> str:
    """The machine in lines of at most 80 columns."""
    return "\n".join([*_processor(environment), "", *_ceilings(environment.ceilings), "", *_unobservable(environment)])


def _processor(environment: Environment) -> Iterator[str]:
    """The CPUs, and what of them this process may use."""
    model = shortened(clean(environment.cpu_model), _LONGEST_MODEL) or "CPU of unknown model"
    yield f"{model}{', virtual machine' if environment.virtualized else ''}"
    quota = "none" if environment.quota_cpus is None else f"{environment.quota_cpus:g} CPUs"
    memory = "none" if environment.memory_limit_bytes is None else amount(environment.memory_limit_bytes, "B")
    yield from wrapped(
        f"{environment.cpus} CPUs, {environment.affinity} by affinity, quota {quota}: "
        f"{environment.effective_cpus:g} usable. Memory limit {memory}. {clean(environment.kernel)}."
    )


def _ceilings(ceilings: tuple[Ceiling, ...]) -> Iterator[str]:
    """The ceilings as a table."""
    if not ceilings:
        yield "CEILINGS  not measured yet."
        return
    table = [("CEILING", "threads", "value (95 % interval)", "n"), *map(_ceiling, ceilings)]
    wide = [max(columns(row[column]) for row in table) for column in range(4)]
    wide[0] = min(wide[0], WIDTH - sum(wide[1:]) - 2 * 3)
    for what, threads, value, count in table:
        yield f"{padded(what, wide[0])}  {threads:>{wide[1]}}  {padded(value, wide[2])}  {count:>{wide[3]}}"
    yield from wrapped(f"Measured with {', '.join(sorted({clean(c.runtime) for c in ceilings}))}.")


def _ceiling(ceiling: Ceiling) -> tuple[str, str, str, str]:
    """What, at how many threads, how much, from how many measurements."""
    what = CEILING_WORDS.get(ceiling.name) or clean(ceiling.name).replace("_", " ")
    footprint = amount(ceiling.footprint_bytes, "B") if ceiling.footprint_bytes else ""
    narrowed = ", ".join(filter(None, [clean(ceiling.dtype), footprint]))
    if ceiling.unit == "s":
        scale, unit = duration_unit(ceiling.value.value)
    else:
        scale, prefix = amount_prefix(ceiling.value.value)
        unit = prefix + clean(ceiling.unit)
    value, inside = value_and_interval(ceiling.value, scale)
    shown = f"{value} {unit}" + (f" ({inside})" if inside else "")
    name = f"{what} ({narrowed})" if narrowed else what
    return name, str(ceiling.threads), shown, f"{ceiling.value.n:,}"


def _unobservable(environment: Environment) -> Iterator[str]:
    """What cannot be seen here, each with its reason."""
    if not environment.unobservable:
        yield _SEEN
        return
    yield "CANNOT BE SEEN HERE"
    for what, why in environment.unobservable:
        yield from wrapped(clean(why), f"  {shortened(clean(what), _LONGEST_WHAT)}: ", 4)

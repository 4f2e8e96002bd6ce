"""What a reader would call a cell of the ledger: `reading weights`, `preprocess: resize`, `load: waiting`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pinchpoint.domain.ledger import Row
from pinchpoint.domain.words import MEMORY_WORDS, OPERATOR_WORDS, SITE_WORDS, STAGE_WORDS, STATE_WORDS
from pinchpoint.reporters.layout import clean

_SMALL_SHARE = 0.01
_SESSION = re.compile(r"session \d+")


@dataclass(frozen=True, slots=True)
class Setting:
    """What the name of one cell depends on in the others and in what was found.

    `main` is the stage that has all but a per cent of the time, if one has: it need not be named. `divided` are the
    operators whose memory and arithmetic are known apart. `slow` are operators that do not do what arithmetic needs.
    """

    main: str | None
    sessions: int
    divided: frozenset[tuple[str, str | None]]
    memory: str
    slow: frozenset[str]


def setting(cells: Iterable[Row], causes: Iterable[str], slow: Iterable[str] = ()) -> Setting:
    """What the names of these cells depend on; `causes` are the codes found, the verdict's own first."""
    known = [row for row in cells if row.state != "unexplained"]
    shares: dict[str, float] = {}
    for row in known:
        shares[row.stage] = shares.get(row.stage, 0.0) + row.share
    large = [stage for stage, share in shares.items() if abs(share) >= _SMALL_SHARE]
    operators = [row for row in known if row.operator is not None and row.operator not in OPERATOR_WORDS]
    return Setting(
        main=large[0] if len(large) == 1 else None,
        sessions=len({row.label for row in known if _SESSION.fullmatch(row.label)}),
        divided=frozenset((row.label, row.operator) for row in operators if row.state == "memory"),
        memory=next((MEMORY_WORDS[code] for code in causes if code in MEMORY_WORDS), STATE_WORDS["memory"]),
        slow=frozenset(slow),
    )


def cell_name(row: Row, around: Setting) -> str:
    """The name of one cell: its stage or the user's own name for it, and what it does where that says more."""
    doing, label = _doing(row, around), _label(row, around)
    stage = "" if row.stage == around.main else STAGE_WORDS.get(row.stage, clean(row.stage))
    place = label if label and doing else ": ".join(filter(None, [stage, label]))
    return ": ".join(filter(None, [place, doing])) or STATE_WORDS["cpu"]


def _label(row: Row, around: Setting) -> str:
    """The user's own name of the stage, where it adds to the stage's."""
    label = clean(row.label)
    if label.lower() == row.stage or (_SESSION.fullmatch(label) and around.sessions == 1):
        return ""
    return label


def _doing(row: Row, around: Setting) -> str:
    """What the cell's state says beyond its stage; "" for plain computing."""
    if row.state == "memory":
        return {"fault": SITE_WORDS["new memory"], "copy": SITE_WORDS["copy"]}.get(row.site, around.memory)
    if row.state == "cpu" and row.operator is not None:
        if row.operator in OPERATOR_WORDS:
            return OPERATOR_WORDS[row.operator]
        if row.operator in around.slow:
            return f"operator {clean(row.operator)}" if len(around.slow) == 1 else "slow operators"
        return "arithmetic" if (row.label, row.operator) in around.divided else "operators"
    if row.site in SITE_WORDS:
        return SITE_WORDS[row.site]
    return "" if row.state == "cpu" else STATE_WORDS.get(row.state, clean(row.state))

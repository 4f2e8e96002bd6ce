"""As many threads as there are CPUs, for a session that runs with fewer."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pinchpoint import roofline
from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change
from pinchpoint.domain.finding import Finding
from pinchpoint.remedies.operators import whole


@remedy("more-threads", words="as many threads as CPUs")
def more_threads(tables: Tables, finding: Finding) -> Iterator[Change]:
    """Each operator's time by the ratio of its floors at both thread counts; small operators stay as they are."""
    most = max(1, math.floor(tables.run.environment.effective_cpus))
    edits = tuple(
        whole(item, factor)
        for session in tables.sessions
        for item, factor in roofline.thread_factors(tables.run, session)
    )
    if edits:
        yield Change(
            "more-threads",
            finding.code,
            f"{most} threads",
            "estimate",
            edits,
            setting=(("intra_op_threads", str(most)),),
        )

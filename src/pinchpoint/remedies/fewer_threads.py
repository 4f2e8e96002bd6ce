"""No more threads than the container has CPUs."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pinchpoint import roofline
from pinchpoint.contracts import Remedy, Tables, remedy
from pinchpoint.domain.change import Change, Edit
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.remedies.operators import near_floor, told_apart, whole

ALL_OR_NONE = Quantity(0.0, 0.0, 1.0, 1)  # of the waiting remains


def _fitted(name: str, words: str) -> Remedy:
    @remedy(name, words=words)
    def propose(tables: Tables, finding: Finding) -> Iterator[Change]:
        """Waiting to run goes away, and operators come down towards their floors at this many CPUs. A quota below one CPU stops
        even a single thread. What a server's threads do while others wait is not seen from outside: where they spin until these
        are done, all waiting goes away with them; where they do work that remains, none of it does.
        """
        most = math.floor(tables.run.environment.effective_cpus)
        if not most:
            return
        edits = [Edit(exact(0.0) if tables.run.service is None else ALL_OR_NONE, state="starved")]
        for session, item in told_apart(tables):
            on_cpu = item.seconds.value * min(roofline.scale(tables.typical, session), 1.0)
            if item.floors is not None and on_cpu > 0:
                edits.append(whole(item, near_floor(item, on_cpu), anchored=True))
        yield Change(
            name, finding.code, f"{most} thread{'s' if most > 1 else ''}", "estimate", tuple(edits),
            setting=(("intra_op_threads", str(most)),),
        )  # fmt: skip

    return propose


FEWER_THREADS = _fitted("fewer-threads", "no more threads than CPUs")
FIT_THREADS = _fitted("fit-threads-to-quota", "as many threads as the quota grants CPUs")

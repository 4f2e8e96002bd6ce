"""W107: small requests wait behind large ones."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="W107",
    title="head-of-line blocking by large requests",
    question="Do small requests become slow because large ones came before them?",
    bound="wait",
    cells=(),
    needs=("tail.company_ratio", "tail.behind_share"),
    remedies=("size-aware-queue",),
)
def head_of_line(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """With several requests in flight small ones are slow while only large ones are served that came before them.

    **Mechanism.** One line for all requests gives each its turn: who comes behind one that takes a hundred times as long waits
    for all of it. How long a request is, is known from its input asked alone, so it takes several inputs (--input FOLDER) of
    which one takes at least four times as long as most. With as few in flight as serve the most a second, the slowest twentieth
    of the small requests is compared with the typical ones: how much longer these take, and how much of it is time in which
    only large ones were served before them. Where a few workers have connections of their own, a large one may keep small ones
    while another worker serves small ones: that is left open.
    **Looks like it, is not.** Large requests are slow by themselves, and are not counted. A line that is long because there
    are too few workers makes all requests wait alike (W102): slow ones do not differ from typical ones in what was
    served. With many workers a large one is always served somewhere, and keeps nobody.
    **Confirm.** Send the large ones elsewhere, or not at all: the slow ones among the small must go.
    **Remedies.** A line, worker or instance of its own for large requests; the shortest first, with a bound on waiting; a bound
    on the size of a request, or large ones served in parts.
    """
    yield Evidence(signals["tail.company_ratio"], "above", limits.tail_ratio)
    yield Evidence(signals["tail.behind_share"], "above", limits.tail_share)

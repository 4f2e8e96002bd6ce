"""M106: inputs are copied on their way to the work."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="M106",
    title="large inputs copied",
    question="Does copying arrays and buffers take a good part of the request?",
    bound="memory",
    cells=(("*", "memory", "copy"),),
    needs=("copies.share",),
    remedies=("zero-copy",),
    lookalikes=("M103",),
)
def large_inputs_copied(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """Calls that only copy large arrays and buffers take a good part of the request.

    **Mechanism.** An image or tensor of tens of megabytes is copied at the speed of memory, and each copy goes into
    memory that must be got and cleared first. Copies hide in harmless calls: np.array of an array, ascontiguousarray of
    a transposed one, tobytes and back, stacking for a batch of one. In a few requests every call whose job is to copy is
    timed by the thread's own clock, from 64 KiB on, with its page faults.
    **Looks like it, is not.** A codec (JSON, base64, pickle, images) makes other bytes out of the ones it is given:
    what it copies inside is C104 or C102. Converting to another data type computes each number anew (C102). Fresh
    memory that is filled by computing, and not by a copy, is M104. Where memory is full, copies wait for room (M103).
    **Confirm.** Send payloads of at least three sizes: the time must grow in proportion. Hand views on (a slice,
    np.frombuffer, a memoryview, shared memory) instead of the copies at the lines that are named: it must go.
    **Remedies.** Pass views and not copies, write once into the buffer that the model reads (out= arguments, IO
    binding), ask for the layout that is needed where the data is made, send smaller inputs (compressed, cropped, fewer
    bytes a number).
    """
    yield Evidence(signals["copies.share"], "above", limits.copied_share)

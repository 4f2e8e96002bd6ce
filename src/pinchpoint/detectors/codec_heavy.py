"""C104: encoding and decoding data takes the time."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="C104",
    title="serialization heavy",
    question="Does turning bytes into objects and back take a good part of the request?",
    bound="cpu",
    cells=(("deserialize", "cpu"), ("serialize", "cpu")),
    needs=("codec.cpu_share",),
    remedies=("faster-codec",),
)
def codec_heavy(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The request's thread computes in codecs such as JSON, base64 or protobuf.

    **Mechanism.** Text formats write each number as digits and read it back again, at tens to hundreds of nanoseconds
    each; base64 and copies touch every byte once more. The time grows with the payload and hardly with the model. The
    codec's own frames decide, wherever in the request they are called.
    **Looks like it, is not.** A slow network moves the same bytes without using the CPU (I105). Decoding an image is
    preprocessing (C102), sorting results is postprocessing (C103). Large objects that are allocated anew are M104, and
    those that are only copied, outside of a codec, are M106.
    **Confirm.** Send payloads of at least three sizes: the time must grow in proportion. Send the same tensor in
    binary: it must nearly vanish.
    **Remedies.** A binary protocol or raw tensors instead of JSON, a faster codec, a smaller payload (fewer digits,
    compressed images instead of arrays).
    """
    yield Evidence(signals["codec.cpu_share"], "above", limits.leading_share)

"""C118: a model is made ready to run anew in each request."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="C118",
    title="the model is opened in each request",
    question="Does making the model ready to run take a good part of the request?",
    bound="cpu",
    cells=(("model", "cpu", "opening"),),
    needs=("opening.cpu_share",),
    remedies=("open-once",),
)
def model_reopened(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The request's thread computes in what opens a model, which one request could leave to the next.

    **Mechanism.** Opening a model parses its file, copies or converts its weights, optimises its graph and plans its memory;
    that is work for a start. Where it is done inside of a request (a session in the handler, a loader without a cache, a
    cache whose entries live too short), each request pays for it, often more than for the run itself. Loaders of runtimes
    are timed in a program of one's own, and seen as frames in a server: `InferenceSession`, `torch.load`, `from_pretrained`,
    `joblib.load` and their like, and functions of one's own that are called so (`load_model`).
    **Looks like it, is not.** A model that computes for long is C101 or M101, whose time is in its runs. Reading the file
    from a disk each time is I101, a start that takes long I102. Planning for shapes that are new is W108. What is read from
    the request's own bytes is C104.
    **Confirm.** Open it once, when the program starts, and keep it: the latency must fall by the opening's time.
    **Remedies.** Open the model at the start or in the first request and keep it (a module's global, `functools.cache`, the
    framework's start-up hook); of many models keep the ones in use; store the model optimised where it cannot be kept.
    """
    yield Evidence(signals["opening.cpu_share"], "above", limits.leading_share)

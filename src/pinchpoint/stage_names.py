"""Which row of the ledger a span belongs to: by its name, else by its place around the model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pinchpoint.domain.ledger import STAGES
from pinchpoint.domain.run import HANDED, MARKED, WRAPPED

# Words in a user's own stage name that say what the stage is; the first stage with a matching word wins.
WORDS: dict[str, frozenset[str]] = {
    "postprocess": frozenset(
        [
            "postprocess",
            "postprocessing",
            "post",
            "topk",
            "top",
            "softmax",
            "nms",
            "argmax",
            "detokenize",
            "detokenise",
            "rank",
            "rerank",
            "threshold",
            "labels",
        ]
    ),
    "deserialize": frozenset(["deserialize", "deserialise", "parse", "unmarshal", "unpack", "loads"]),
    "serialize": frozenset(["serialize", "serialise", "marshal", "dumps", "respond", "response"]),
    "preprocess": frozenset(
        [
            "preprocess",
            "preprocessing",
            "pre",
            "decode",
            "resize",
            "normalize",
            "normalise",
            "crop",
            "augment",
            "tokenize",
            "tokenise",
            "transform",
            "featurize",
            "featurise",
            "features",
            "prepare",
            "load",
            "image",
            "audio",
            "resample",
            "stft",
            "spectrogram",
            "mel",
            "mfcc",
            "vectorize",
            "vectorise",
            "vectorizer",
            "ngrams",
            "lemmatize",
            "letterbox",
            "standardize",
            "standardise",
        ]
    ),
    "model": frozenset(
        ["model", "infer", "inference", "forward", "predict", "prediction", "embed", "embedding", "generate", "session"]
    ),
    "queue": frozenset(["queue"]),
    "framework": frozenset(["framework", "handler", "route", "auth", "validate"]),
}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# A user's own function or stage that makes a model ready to run, by its name: `load_resnet_model`, not `load_model_input`.
_OPENS = re.compile(
    r"_*(load|open|restore|build|create|make|initiali[sz]e|init)_?.*(model|weights|checkpoint|classifier|predictor|network)s?"
)
OPENING = "opening"  # the site of computing that makes a model ready to run; of the model's stage, and no run of it
CODEC_STAGES = frozenset({"deserialize", "serialize"})
MODEL = "model"
UNPLACED = "framework"
SESSION_SPAN = "model:session "


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns a moment of a request: a ledger stage (None: decided by its place), the name shown, the runtime session
    that runs (-1: none), whether the moment is inside a library call that was wrapped, and whether a model is opened in it.
    """

    stage: str | None
    label: str
    session: int = -1
    inside_library: bool = False
    opens: bool = False

    @property
    def account(self) -> Owner:
        """The owner as the ledger keeps it: being inside a library makes no row of its own."""
        return replace(self, inside_library=False)


def stage_of(name: str, kind: int) -> str | None:
    """The ledger stage that a span's name tells, or None."""
    if kind == HANDED:
        return None
    if opens_a_model((name, kind)):
        return MODEL
    if kind == WRAPPED:
        return name.partition(":")[0]
    lowered = name.strip().lower()
    if lowered in STAGES:
        return lowered
    words = {word.lower() for word in _WORD.findall(name)}
    return next((stage for stage, known in WORDS.items() if words & known), None)


def shown_name(name: str, kind: int) -> str:
    """A span's name without the stage that a wrapped one carries in front."""
    return name if kind == MARKED else name.partition(":")[2] or name


def owner_of(stack: Sequence[tuple[str, int]]) -> Owner:
    """The owner of a moment inside the given spans, outermost first.

    The innermost span that tells its stage wins, but what a library does inside a stage that the user marked belongs to
    the user's stage, unless it is a codec or the model. Where a model is opened, whatever that takes belongs to it.
    """
    opening = next((at for at, span in enumerate(stack) if opens_a_model(span)), None)
    if opening is not None:
        stack = stack[: opening + 1]
    wrapped = any(kind == WRAPPED for _, kind in stack)
    session = next((number for number in map(session_of, stack) if number >= 0), -1)
    marked = next((entry for entry in reversed(stack) if entry[1] == MARKED), None)
    for name, kind in reversed(stack):
        stage = stage_of(name, kind)
        if stage is None:
            continue
        marked_stage = _innermost_marked_stage(stack)
        if kind == WRAPPED and marked_stage is not None and stage != MODEL and stage not in CODEC_STAGES:
            stage = marked_stage
        return Owner(stage, shown_name(*(marked or (name, kind))), session, wrapped, opening is not None)
    label = shown_name(*(marked or stack[-1])) if stack else ""
    return Owner(None, label, session, wrapped)


def session_of(span: tuple[str, int]) -> int:
    """The number of the runtime session that a span is the run of; -1 for any other span."""
    name, kind = span
    number = name.removeprefix(SESSION_SPAN)
    return int(number) if kind == WRAPPED and name.startswith(SESSION_SPAN) and number.isdigit() else -1


def opens_a_model(span: tuple[str, int]) -> bool:
    """Whether a span makes a model ready to run: a runtime's own loader, or a stage of the user's that is called so."""
    name, kind = span
    return name.startswith(f"{OPENING}:") if kind == WRAPPED else kind == MARKED and is_opening(name)


def is_opening(name: str) -> bool:
    """Whether a user's own name says that a model is made ready to run."""
    return _OPENS.fullmatch(name.lower()) is not None


def _innermost_marked_stage(stack: Sequence[tuple[str, int]]) -> str | None:
    stages = (stage_of(name, kind) for name, kind in reversed(stack) if kind == MARKED)
    return next((stage for stage in stages if stage is not None), None)


def placed(owners: Sequence[Owner], *, gaps_are_framework: bool, is_gap: Sequence[bool]) -> list[str]:
    """Stages of a request's consecutive moments with the undecided ones placed: before the model runs is preprocessing, after
    it postprocessing; without a model, and for gaps between stages that the user marked, it is request handling.
    """
    models = [i for i, owner in enumerate(owners) if owner.stage == MODEL and not owner.opens]
    found = []
    for i, owner in enumerate(owners):
        if owner.stage is not None:
            found.append(owner.stage)
        elif not models or (is_gap[i] and gaps_are_framework):
            found.append(UNPLACED)
        elif i < models[0]:
            found.append("preprocess")
        elif i > models[-1]:
            found.append("postprocess")
        else:
            found.append(UNPLACED if is_gap[i] else "postprocess")
    return found

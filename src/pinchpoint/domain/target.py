"""What is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """A target as the user named it, before anything of it is loaded.

    `kind` is `onnx`, `torch` or `python`; `uri` is a path, or `path.py:name` or `package.module:name`.
    `settings` are the user's `--set KEY=VALUE` pairs, in order.
    `python` is the interpreter that runs the target; None is the one that runs pinchpoint.
    """

    kind: str
    uri: str
    settings: tuple[tuple[str, str], ...] = ()
    python: str | None = None
    input: str | None = None
    trust: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """One runtime session that the target opened: where its model is and how it was configured.

    Of torch, a module that is called from outside of any other: `form` is eager, compiled, exported or scripted, and
    `notes` says what of its state costs something or changes its answers.
    """

    runtime: str
    version: str
    model_path: str | None
    intra_op_threads: int
    inter_op_threads: int
    optimization: str
    providers: tuple[str, ...]
    spinning: bool | None = None  # whether its idle threads may spin; None where nobody knows
    form: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What became known of the target when it was read and loaded."""

    kind: str
    uri: str
    parameters: int | None = None
    parameter_bytes: int | None = None
    flops_per_request: float | None = None
    operators: int | None = None
    input_text: str = ""
    interpreter: str = ""
    sessions: tuple[Session, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()

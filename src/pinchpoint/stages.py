"""The marker that users put into their own code: `@stage`, `@stage("name")` or `with stage("name"):`.

Standard library only, and free when nothing listens. Stages may nest, run in threads and in asyncio tasks. Names that
pinchpoint knows are deserialize, preprocess, model, postprocess and serialize; any other name is allowed.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable, Dict, Optional, Protocol, TypeVar, Union, overload

__all__ = ["stage"]

F = TypeVar("F", bound=Callable[..., Any])


class Listener(Protocol):
    """What records stages: the child sets one while it records an observed request."""

    def begin(self, name: str) -> None:
        """A stage begins in the current thread or task."""

    def end(self) -> None:
        """The innermost stage of the current thread or task ends."""


# The one piece of module state: the recorder of the child that runs this code, or None in every other process.
_listener: Optional[Listener] = None


def listen(listener: Optional[Listener]) -> None:
    """Send stages to `listener` from now on; None stops it. For pinchpoint's child only."""
    global _listener  # noqa: PLW0603  # see above
    _listener = listener


class _Stage:
    """A stage by name: a context manager, and a decorator of functions and coroutine functions.

    It holds no state of an entry, so that one object a name serves all threads and tasks.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        if _listener is not None:
            _listener.begin(self.name)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if _listener is not None:
            _listener.end()

    def __call__(self, function: F) -> F:
        return _marked(function, self.name)


_stages: Dict[str, _Stage] = {}  # by name; a program has few, and names made up at run time are not kept
_KEPT = 256


@overload
def stage(name_or_function: str) -> _Stage: ...
@overload
def stage(name_or_function: F) -> F: ...
def stage(name_or_function: Union[str, F]) -> Union[_Stage, F]:
    """Mark a stage of the request, on a function or a block.

    TypeError on a generator function, whose body runs in pieces between its consumer's own work: mark the block.
    """
    try:
        return _stages[name_or_function]  # type: ignore[index]  # a function is never a key
    except KeyError:
        pass
    if not isinstance(name_or_function, str):
        return _marked(name_or_function, name_or_function.__name__)
    made = _Stage(name_or_function)
    if len(_stages) < _KEPT:
        _stages[name_or_function] = made
    return made


def _marked(function: F, name: str) -> F:
    """`function` with its calls recorded as stage `name`."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"stage: {name} is a generator; mark the block inside it with `with stage(...)`")
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def recorded(*args: Any, **kwargs: Any) -> Any:
            if _listener is None:
                return await function(*args, **kwargs)
            with _Stage(name):
                return await function(*args, **kwargs)

        return recorded  # type: ignore[return-value]  # the wrapper has the signature of what it wraps

    @functools.wraps(function)
    def recording(*args: Any, **kwargs: Any) -> Any:
        if _listener is None:
            return function(*args, **kwargs)
        with _Stage(name):
            return function(*args, **kwargs)

    return recording  # type: ignore[return-value]  # the wrapper has the signature of what it wraps

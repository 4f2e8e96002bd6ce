"""Loads a torch module: from a factory in the user's code, an exported program (.pt2), or TorchScript (.pt)."""

from __future__ import annotations

import inspect
import sys
import typing
from typing import Any, Callable, Dict, List, Optional, Tuple

from pinchpoint.child import torch_models
from pinchpoint.child.refusals import CannotLoad
from pinchpoint.child.torch_models import Feed

SETTINGS = ("intra_op_threads", "inter_op_threads", "grad_mode", "compile")
GRAD_MODES = ("inference", "no_grad", "grad")
NAMES_SHOWN = 4


class Ready:
    """A module that is ready: what to call with which inputs, and what is known of it."""

    def __init__(self, call: Callable[[Any], Any], feeds: List[Feed], facts: Dict[str, Any]) -> None:
        self.call, self.feeds, self.facts = call, feeds, facts


def is_module(value: Any) -> bool:
    """Whether a value is a torch module; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def is_factory(function: Any, *, has_requests: bool) -> bool:
    """Whether a callable may be one that makes a module: torch is in use, and it can be called with nothing.

    Where there are requests for it, one that could take them must say what it returns, or be a class of modules.
    """
    torch = sys.modules.get("torch")
    if torch is None or inspect.iscoroutinefunction(function):
        return False
    if inspect.isclass(function):
        return issubclass(function, torch.nn.Module)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return False
    if any(
        p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in signature.parameters.values()
    ):
        return False
    return not signature.parameters or not has_requests or says_module(function)


def says_module(function: Any) -> bool:
    """Whether a function's annotation tells that it returns a module; one kept as text is resolved where that is possible."""
    annotation = getattr(function, "__annotations__", {}).get("return")
    try:
        annotation = typing.get_type_hints(function).get("return", annotation)
    except Exception:  # names that are not there at run time
        return "Module" in str(annotation)
    torch = sys.modules.get("torch")
    if torch is not None and inspect.isclass(annotation):
        return issubclass(annotation, torch.nn.Module)
    return "Module" in str(annotation)


def made(value: Any) -> Optional[Tuple[Any, Any]]:
    """The module and its example inputs (None without) in what a factory returned; None where it is no module."""
    if is_module(value):
        return value, None
    if isinstance(value, (tuple, list)) and len(value) == 2 and is_module(value[0]):
        return value[0], value[1]
    return None


def read(path: str, form: str, uri: str) -> Tuple[Any, Any]:
    """The module of a file, and the example inputs that it holds (None without); only for files that are trusted."""
    import torch

    try:
        if form == "exported":
            program = torch.export.load(path)
            return program.module(), program.example_inputs
        return torch.jit.load(path, map_location="cpu"), None
    except Exception as error:  # torch raises its own kinds; its words are the message
        raise CannotLoad(
            "torch %s cannot open it: %s" % (torch.__version__, _first_line(error)),
            uri,
            "Write it again with this version of torch, or name another interpreter with --python",
        ) from None


def ready(module: Any, requests: List[Any], settings: Dict[str, str], source: str) -> Ready:
    """The call of a module on these requests, under the user's settings."""
    import torch

    _threads(torch, settings)
    grad_mode = settings.get("grad_mode", "inference")
    modes = {"inference": torch.inference_mode, "no_grad": torch.no_grad, "grad": torch.enable_grad}
    mode = modes[grad_mode]
    if settings.get("compile", "off") != "off":
        module = torch.compile(module)
    torch_models.release()
    known = torch_models.known_as(module)
    assert known is not None, "the first module is within the bound"
    known.mode = (grad_mode == "inference", grad_mode == "grad")
    feeds = [feed_of(each) for each in requests]

    def call(feed: Feed) -> Any:
        with mode():
            return module(*feed[0], **feed[1])

    weights = {id(p): p for p in (*module.parameters(), *module.buffers())}.values()
    facts = {
        "kind": "torch",
        "form": known.form,
        "parameters": sum(int(p.numel()) for p in module.parameters()),
        "parameter_bytes": sum(int(p.numel() * p.element_size()) for p in weights),
        "input_text": "%s from %s" % (_shapes(feeds[0]), source),
    }
    return Ready(torch_models.recorded(known, call), feeds, facts)


def check(settings: Dict[str, str]) -> None:
    """CannotLoad names a setting that a torch module does not have."""
    for key, value in settings.items():
        if key not in SETTINGS:
            raise CannotLoad("unknown setting %r" % key, "--set", "A torch module has " + ", ".join(SETTINGS))
        if key.endswith("threads") and not (value.isdigit() and int(value) > 0):
            raise CannotLoad("%s takes a whole number, not %r" % (key, value), "--set", "Give 1 or more")
        if key == "grad_mode" and value not in GRAD_MODES:
            raise CannotLoad("grad_mode is one of %s, not %r" % (", ".join(GRAD_MODES), value), "--set", "Give one")
        if key == "compile" and value not in ("on", "off"):
            raise CannotLoad("compile is on or off, not %r" % value, "--set", "Give one")


def _threads(torch: Any, settings: Dict[str, str]) -> None:
    if "intra_op_threads" in settings:
        torch.set_num_threads(int(settings["intra_op_threads"]))
    if "inter_op_threads" in settings:
        try:
            torch.set_num_interop_threads(int(settings["inter_op_threads"]))
        except RuntimeError as error:
            raise CannotLoad(_first_line(error), "--set", "Leave it out: the target sets or uses them itself") from None


def feed_of(request: Any) -> Feed:
    """Positional and named arguments from a request: a tuple or list, a mapping of names, or the only argument."""
    if isinstance(request, (tuple, list)):
        if len(request) == 2 and isinstance(request[0], (tuple, list)) and isinstance(request[1], dict):
            return tuple(map(_tensor, request[0])), {k: _tensor(v) for k, v in request[1].items()}
        return tuple(map(_tensor, request)), {}
    if isinstance(request, dict) and all(isinstance(key, str) for key in request):
        return (), {key: _tensor(value) for key, value in request.items()}
    return (_tensor(request),), {}


def from_json(content: Any) -> Any:
    """Nested lists of numbers as tensors: of a mapping each value, else the whole."""
    import torch

    if isinstance(content, dict):
        return {
            key: torch.tensor(value) if isinstance(value, (list, int, float)) else value
            for key, value in content.items()
        }
    return torch.tensor(content) if isinstance(content, (list, int, float)) else content


def by_position(module: Any, feed: Dict[str, Any]) -> Any:
    """Arrays by name as arguments: by name where the module's forward has all of these, else in their order."""
    try:
        names = inspect.signature(module.forward).parameters
    except (TypeError, ValueError):
        names = {}  # type: ignore[assignment]
    if all(key in names for key in feed):
        return feed
    return tuple(feed.values())


def requests_of(inputs: Any) -> List[Any]:
    """Requests from the example inputs that came with a module: a list of requests, or the arguments of one."""
    return list(inputs) if isinstance(inputs, list) else [inputs]


def _tensor(value: Any) -> Any:
    """Numpy's arrays as tensors; all else as it is."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        import torch

        return torch.from_numpy(numpy.ascontiguousarray(value))
    return value


def _shapes(feed: Feed) -> str:
    shown = []
    for name, value in (*((None, each) for each in feed[0]), *feed[1].items()):
        size = getattr(value, "shape", None)
        text = type(value).__name__ if size is None else "[%s]" % ",".join(str(int(n)) for n in size)
        shown.append("%s%s" % (name or "", text))
    more = ", ..." if len(shown) > NAMES_SHOWN else ""
    return ", ".join(shown[:NAMES_SHOWN]) + more or "nothing"


def _first_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:300] or type(error).__name__


def torch_or_reason(where: str) -> None:
    """CannotLoad where the interpreter has no torch."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise CannotLoad(
            "%s is not installed for %s" % (error.name or error, sys.executable),
            where,
            "Install it there (pip install torch), or name another interpreter with --python",
        ) from None

"""Loads the target: a callable of the user's own code, or a model file on the user's own runtime."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import sys
import time
from typing import Any, Callable, Dict, List, Tuple

from pinchpoint.child import sessions
from pinchpoint.child.wrapping import wrap_entry_points


class CannotLoad(Exception):
    """The target cannot be used as it was given: what, where, and what to do."""

    def __init__(self, what: str, where: str, todo: str) -> None:
        super().__init__(what)
        self.what, self.where, self.todo = what, where, todo


class Loaded:
    """A target that is ready: what to call, with which payloads, and how long its phases took."""

    def __init__(self, call: Callable[[Any], Any], payloads: List[Any], phases: List[Tuple[str, float]]) -> None:
        self.call, self.payloads, self.phases = call, payloads, phases
        self.second: List[Any] = []


def load_python(spec: Dict[str, Any]) -> Loaded:
    """Import `path.py:name` or `package.module:name` and find its inputs."""
    wrap_entry_points()
    began = time.perf_counter()
    module = _import_module(spec["module"], spec["folder"])
    imported = time.perf_counter()
    function = _attribute(module, spec["name"], spec["uri"])
    payloads, ready = _payloads(module, function, spec)
    return Loaded(ready, payloads, [("import", imported - began), ("inputs", time.perf_counter() - imported)])


def load_onnx(spec: Dict[str, Any]) -> Loaded:
    """Open the model file with the user's onnxruntime and the prepared inputs."""
    began = time.perf_counter()
    try:
        import numpy
        import onnxruntime
    except ImportError as error:
        raise CannotLoad(
            "%s is not installed for %s" % (error.name or error, sys.executable),
            spec["uri"],
            "Install it there (pip install onnxruntime), or name another interpreter with --python",
        ) from None
    sessions.capture(sys.modules[sessions.COLLECTION])
    imported = time.perf_counter()
    try:
        options = sessions.options_from(spec["settings"])
    except ValueError as error:
        raise CannotLoad(str(error), "--set", "See `pinchpoint explain settings`") from None
    providers = spec["settings"].get("providers", "CPUExecutionProvider").split(",")
    try:
        session = onnxruntime.InferenceSession(spec["path"], options, providers=providers)
    except Exception as error:  # the runtime raises its own kinds; its words are the message
        raise CannotLoad(
            "ONNX Runtime %s cannot open it: %s" % (onnxruntime.__version__, _first_line(error)),
            spec["uri"],
            "Check the operators and the opset against this runtime, or name another interpreter with --python",
        ) from None
    opened = time.perf_counter()
    feeds = [_read_feeds(numpy, path) for path in spec["feeds"]]
    second = [_read_feeds(numpy, path) for path in spec.get("second_feeds", ())]
    loaded = Loaded(
        lambda feed: session.run(None, feed), feeds, [("import", imported - began), ("session", opened - imported)]
    )
    loaded.second = second
    return loaded


def _read_feeds(numpy: Any, path: str) -> Dict[str, Any]:
    with numpy.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _import_module(name: str, folder: str) -> Any:
    sys.path.insert(0, folder)
    try:
        if not name.endswith(".py"):
            return importlib.import_module(name)
        stem = os.path.splitext(os.path.basename(name))[0]
        module_spec = importlib.util.spec_from_file_location(stem, name)
        assert module_spec is not None and module_spec.loader is not None, name  # noqa: PT018
        module = importlib.util.module_from_spec(module_spec)
        sys.modules[stem] = module
        module_spec.loader.exec_module(module)
        return module
    except ModuleNotFoundError as error:
        raise CannotLoad(
            "no module named %r" % error.name,
            name,
            "Install it for %s, name another interpreter with --python, or check the spelling" % sys.executable,
        ) from None
    except Exception as error:  # anything can happen in a user's module
        raise CannotLoad(
            "importing it raised %s%s" % (describe(error), innermost_line(error)),
            name,
            "Run it once with python itself",
        ) from None


def _attribute(module: Any, name: str, uri: str) -> Any:
    found = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        public = [key for key, value in vars(module).items() if inspect.isroutine(value) and not key.startswith("_")]
        own = [key for key in public if getattr(vars(module)[key], "__module__", "") == module.__name__]
        offer = "It has: " + ", ".join(own[:8]) if own else "It has no functions"
        raise CannotLoad("there is no %r" % name, uri, offer)
    if not callable(found):
        raise CannotLoad("%r is a %s and cannot be called" % (name, type(found).__name__), uri, "Name a function")
    if inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
        raise CannotLoad("%r is a generator" % name, uri, "Name a function that returns when the answer is complete")
    return found


def _payloads(module: Any, function: Any, spec: Dict[str, Any]) -> Tuple[List[Any], Callable[[Any], Any]]:
    """The requests and the one-argument call: from --input, else `example_inputs` of the module, else none are needed."""
    required = _required_arguments(function)
    if spec.get("input"):
        payloads = _given(module, spec["input"], spec)
    elif hasattr(module, "example_inputs"):
        payloads = _called(module.example_inputs, "example_inputs")
    elif required == 0:
        return [None], _without_payload(function)
    else:
        raise CannotLoad(
            "it takes %d argument%s and no requests were given" % (required, "s" if required > 1 else ""),
            spec["uri"],
            "Add `def example_inputs(): return [request, ...]` to the module, or use --input",
        )
    if not payloads:
        raise CannotLoad("the list of requests is empty", spec["uri"], "Give at least one request")
    if required == 0 and not _takes_argument(function):
        return payloads, _without_payload(function)
    if required > 1 and all(isinstance(p, (tuple, list)) for p in payloads):
        return payloads, _spread(function)
    return payloads, function


def _without_payload(function: Any) -> Callable[[Any], Any]:
    if inspect.iscoroutinefunction(function):

        async def called(_: Any) -> Any:
            return await function()

        return called
    return lambda _: function()


def _spread(function: Any) -> Callable[[Any], Any]:
    if inspect.iscoroutinefunction(function):

        async def called(payload: Any) -> Any:
            return await function(*payload)

        return called
    return lambda payload: function(*payload)


def _required_arguments(function: Any) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(1 for p in parameters if p.kind in positional and p.default is inspect.Parameter.empty)


def _takes_argument(function: Any) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.kind != inspect.Parameter.KEYWORD_ONLY and p.kind != inspect.Parameter.VAR_KEYWORD for p in parameters)


def _called(source: Any, name: str) -> List[Any]:
    try:
        made = source() if callable(source) else source
        return list(made) if not isinstance(made, (bytes, str, dict)) else [made]
    except Exception as error:  # the user's code
        raise CannotLoad(
            "%s raised %s%s" % (name, describe(error), innermost_line(error)), name, "Make it return a list of requests"
        ) from None


def _given(module: Any, text: str, spec: Dict[str, Any]) -> List[Any]:
    """Requests from --input: `module:function`, a JSON file, a file whose bytes are the request, or a folder of them."""
    if not os.path.exists(text):
        where, _, name = text.rpartition(":")
        owner = _import_module(where, spec["folder"]) if where else module
        return _called(_attribute(owner, name, text), name)
    paths = [text] if os.path.isfile(text) else sorted(entry.path for entry in os.scandir(text) if entry.is_file())
    if not paths:
        raise CannotLoad("the folder holds no files", text, "Put one file a request into it")
    return [_read_payload(path, bool(spec.get("trust"))) for path in paths[:1000]]


def _read_payload(path: str, trust: bool) -> Any:
    suffix = os.path.splitext(path)[1].lower()
    with open(path, "rb") as file:
        content = file.read()
    if suffix == ".json":
        try:
            return json.loads(content)
        except ValueError as error:
            raise CannotLoad("it is not valid JSON: %s" % error, path, "Mend the file") from None
    if suffix in (".npy", ".npz"):
        import numpy

        try:
            stored = numpy.load(path, allow_pickle=trust)
        except ValueError as error:
            raise CannotLoad(str(error), path, "Save plain arrays, or use --trust if you trust the file") from None
        return stored if suffix == ".npy" else {name: stored[name] for name in stored.files}
    if suffix in (".pkl", ".pickle"):
        if not trust:
            raise CannotLoad("a pickle can run code when it is read", path, "Use --trust if you trust the file")
        import pickle

        return pickle.loads(content)  # noqa: S301  # only with --trust
    return content


def describe(error: BaseException) -> str:
    """`ValueError: its message` in one short line."""
    text = _first_line(error)
    return "%s: %s" % (type(error).__name__, text) if text else type(error).__name__


def innermost_line(error: BaseException) -> str:
    """` at file:line` of the innermost frame of the user's own code."""
    trace, place = error.__traceback__, ""
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith((own, "<frozen")) and "importlib" not in code.co_filename:
            place = " at %s:%d" % (os.path.basename(code.co_filename), trace.tb_lineno)
        trace = trace.tb_next
    return place


def _first_line(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # a user's exception may not even print
        return ""
    return " ".join(text.split())[:300]

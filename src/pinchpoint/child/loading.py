"""Loads the target: a callable of the user's own code, or a model file on the user's own runtime."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import itertools
import json
import os
import sys
from typing import Any, Callable, Dict, List, Optional, Tuple

from pinchpoint.child import locks, pools, sessions, torch_loading, torch_models
from pinchpoint.child.pacing import is_async
from pinchpoint.child.phases import IMPORT, INPUTS, OWN_CODE, SESSION, phase
from pinchpoint.child.refusals import CannotLoad
from pinchpoint.child.wrapping import wrap_entry_points

MOST_PAYLOADS = 1000
WORDS_KEPT = 300
CPP_SOURCE = "/onnxruntime_src/"
LIBRARIES = os.path.dirname(os.__file__)
STANDARD = frozenset(getattr(sys, "stdlib_module_names", ()))  # from Python 3.10 on


class Loaded:
    """A target that is ready: what to call, and with which payloads."""

    def __init__(self, call: Callable[[Any], Any], payloads: List[Any]) -> None:
        self.call, self.payloads = call, payloads
        self.second: List[Any] = []
        self.facts: Dict[str, Any] = {}


def load_python(spec: Dict[str, Any]) -> Loaded:
    """Import `path.py:name` or `package.module:name` and find its inputs."""
    wrap_entry_points()
    locks.watch()
    pools.watch()
    with phase(OWN_CODE, spec["module"]):
        module = _import_module(spec["module"], spec["folder"])
    function = _attribute(module, spec["name"], spec["uri"])
    with phase(SESSION, spec["name"]):
        built = _built(module, function, spec)
    if built is not None:
        return _module_target(module, *built, spec)
    with phase(INPUTS):
        payloads, ready = _payloads(module, function, spec)
    return Loaded(ready, payloads)


def load_torch(spec: Dict[str, Any]) -> Loaded:
    """Open an exported program or a TorchScript file with the user's torch; only where it is trusted."""
    with phase(IMPORT):
        torch_loading.torch_or_reason(spec["uri"])
    torch_loading.check(spec["settings"])
    with phase(SESSION, spec["path"]):
        module, inputs = torch_loading.read(spec["path"], spec["form"], spec["uri"])
    return _module_target(None, module, inputs, spec)


def _built(owner: Any, function: Any, spec: Dict[str, Any]) -> Optional[Tuple[Any, Any]]:
    """The torch module that the user named or that a factory makes, and its inputs; None for any other callable."""
    settings, uri = spec.get("settings") or {}, spec["uri"]
    if torch_loading.is_module(function):
        torch_loading.check(settings)
        return function, None
    answer, what = None, "it takes a request"
    has_requests = bool(spec.get("input")) or hasattr(owner, "example_inputs")
    if torch_loading.is_factory(function, has_requests=has_requests) and not is_async(function):
        torch_loading.check(settings)
        try:
            answer = function()
        except Exception as error:  # the user's code
            raise CannotLoad(
                "calling it without arguments raised %s%s" % (describe(error), innermost_line(error)),
                uri,
                "Run it once with python itself",
            ) from None
        what = "it returned a %s, not a torch.nn.Module" % type(answer).__name__
        if torch_loading.made(answer) is None and torch_loading.says_module(function):
            raise CannotLoad(what, uri, "Return the module, or (module, example inputs)")
    built = torch_loading.made(answer)
    if built is None and settings:
        raise CannotLoad("--set changes a model, not your code: %s" % what, uri, "Set it in the code itself")
    return built


def _module_target(owner: Any, module: Any, inputs: Any, spec: Dict[str, Any]) -> Loaded:
    """A torch module as the target, on the requests from --input, from where it came from, or from `example_inputs`."""
    if spec.get("input"):
        requests, source = _given(owner, spec["input"], spec), spec["input"]
        requests = [_as_request(module, each, spec["input"]) for each in requests]
    elif inputs is not None:
        requests, source = torch_loading.requests_of(inputs), "its own example inputs"
    elif hasattr(owner, "example_inputs"):
        requests, source = _called(owner.example_inputs, "example_inputs", spec["uri"]), "example_inputs"
    else:
        todo = (
            "Return (module, example inputs) from it, add `def example_inputs(): return [request, ...]`, or use --input"
        )
        raise CannotLoad(
            "%s takes inputs and none were given" % torch_models.name_of(module),
            spec["uri"],
            todo if owner is not None else "Use --input FILE.npz, or --input module:function",
        )
    if not requests:
        raise CannotLoad("the list of requests is empty", spec["uri"], "Give at least one request")
    ready = torch_loading.ready(module, requests, spec.get("settings") or {}, source)
    loaded = Loaded(ready.call, ready.feeds)
    loaded.facts = ready.facts
    return loaded


def _as_request(module: Any, content: Any, path: str) -> Any:
    """What --input gave as a module takes it: arrays and lists of numbers as tensors, names as its arguments."""
    if isinstance(content, bytes):
        raise CannotLoad("a module takes arrays, not these bytes", path, "Give .npz, .npy or .json")
    if path.endswith(".json"):
        content = torch_loading.from_json(content)
    return torch_loading.by_position(module, content) if isinstance(content, dict) else content


def load_onnx(spec: Dict[str, Any]) -> Loaded:
    """Open the model file with the user's onnxruntime and the prepared inputs."""
    try:
        with phase(IMPORT):
            import numpy
            import onnxruntime
    except ImportError as error:
        raise CannotLoad(
            "%s is not installed for %s" % (error.name or error, sys.executable),
            spec["uri"],
            "Install it there (pip install onnxruntime), or name another interpreter with --python",
        ) from None
    sessions.capture(sys.modules[sessions.COLLECTION])
    try:
        options = sessions.options_from(spec["settings"])
    except (ValueError, TypeError, OverflowError) as error:
        raise CannotLoad(_first_line(error), "--set", "See `pinchpoint explain settings`") from None
    providers = spec["settings"].get("providers", "CPUExecutionProvider").split(",")
    try:
        session = onnxruntime.InferenceSession(spec["path"], options, providers=providers)
    except Exception as error:  # the runtime raises its own kinds; its words are the message
        raise CannotLoad(
            "ONNX Runtime %s cannot open it: %s" % (onnxruntime.__version__, _first_line(error)),
            spec["uri"],
            "Check the operators and the opset against this runtime, or name another interpreter with --python",
        ) from None
    missing = [name for name in providers if name not in session.get_providers()]
    if missing:  # the runtime would go on with another one, and something else would be measured
        raise CannotLoad(
            "ONNX Runtime %s has no %s here" % (onnxruntime.__version__, missing[0]),
            "--set providers",
            "It has: " + ", ".join(onnxruntime.get_available_providers()),
        )
    with phase(INPUTS):
        feeds = [_read_feeds(numpy, path) for path in spec["feeds"]]
        second = [_read_feeds(numpy, path) for path in spec.get("second_feeds", ())]
    loaded = Loaded(lambda feed: session.run(None, feed), feeds)
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
        own = _module_name(name)
        if getattr(sys.modules.get(own), "__file__", None) == name:
            return sys.modules[own]
        module_spec = importlib.util.spec_from_file_location(own, name)
        assert module_spec is not None and module_spec.loader is not None, name  # noqa: PT018
        module = importlib.util.module_from_spec(module_spec)
        sys.modules[own] = module
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


def _module_name(path: str) -> str:
    """The name that an import would give to the file; one of our own where that would hide a module of Python's."""
    stem = os.path.splitext(os.path.basename(path))[0]
    known = sys.modules.get(stem)
    if "." in stem or stem in STANDARD or (known is not None and getattr(known, "__file__", None) != path):
        return "pinchpoint_target"
    return stem


def _attribute(module: Any, name: str, uri: str) -> Any:
    found = module
    try:
        for part in name.split("."):
            found = getattr(found, part, None)
    except Exception as error:  # a property of the user's, say
        raise CannotLoad("reading it raised %s%s" % (describe(error), innermost_line(error)), uri, "Mend it") from None
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
        payloads = _called(module.example_inputs, "example_inputs", spec["uri"])
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
    if is_async(function):

        async def called(_: Any) -> Any:
            return await function()

        return called
    return lambda _: function()


def _spread(function: Any) -> Callable[[Any], Any]:
    if is_async(function):

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


def _called(source: Any, name: str, where: str) -> List[Any]:
    try:
        made = source() if callable(source) else source
        if isinstance(made, (bytes, bytearray, memoryview, str, dict)):
            return [made]
        return list(itertools.islice(made, MOST_PAYLOADS))  # of a generator without end, too
    except Exception as error:  # the user's code
        raise CannotLoad(
            "%s raised %s%s" % (name, describe(error), innermost_line(error)),
            where,
            "Make it return a list of requests",
        ) from None


def _given(module: Any, text: str, spec: Dict[str, Any]) -> List[Any]:
    """Requests from --input: `module:function`, a JSON file, a file whose bytes are the request, or a folder of them."""
    if not os.path.exists(text):
        where, _, name = text.rpartition(":")
        owner = _import_module(where, spec["folder"]) if where else module
        return _called(_attribute(owner, name, text), name, text)
    try:
        paths = [text] if os.path.isfile(text) else sorted(entry.path for entry in os.scandir(text) if entry.is_file())
    except OSError as error:
        raise CannotLoad("neither a file nor a folder: %s" % error.strerror, text, "Check --input") from None
    if not paths:
        raise CannotLoad("the folder holds no files", text, "Put one file a request into it")
    return [_read_payload(path, bool(spec.get("trust"))) for path in paths[:MOST_PAYLOADS]]


def _read_payload(path: str, trust: bool) -> Any:
    """What a file holds: JSON, arrays, with `trust` pickled objects, else its bytes."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix in (".pkl", ".pickle") and not trust:
        raise CannotLoad("a pickle can run code when it is read", path, "Use --trust if you trust the file")
    try:
        if suffix in (".npy", ".npz"):
            return _read_arrays(path, trust)
        with open(path, "rb") as file:
            content = file.read()
        if suffix == ".json":
            return json.loads(content)
        if suffix in (".pkl", ".pickle"):
            import pickle

            return pickle.loads(content)  # noqa: S301  # only with --trust
        return content
    except Exception as error:  # a damaged file can raise anything
        todo = "Mend the file"
        if suffix in (".npy", ".npz") and not trust:
            todo += ", or use --trust if it holds Python objects and you trust it"
        raise CannotLoad("it cannot be read: %s" % describe(error), path, todo) from None


def _read_arrays(path: str, trust: bool) -> Any:
    """The array of an .npy file, or those of an .npz file by name."""
    import numpy

    stored = numpy.load(path, allow_pickle=trust)
    if isinstance(stored, numpy.lib.npyio.NpzFile):
        with stored:
            return {name: stored[name] for name in stored.files}
    return stored


def describe(error: BaseException) -> str:
    """`ValueError: its message` in one short line."""
    text = _first_line(error)
    return "%s: %s" % (type(error).__name__, text) if text else type(error).__name__


def innermost_line(error: BaseException) -> str:
    """` at file:line` of the innermost frame of the user's own code, or else of a library that it calls."""
    trace, place, library = error.__traceback__, "", ""
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    while trace is not None:
        file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
        if file.startswith((own, "<frozen")) or "importlib" in file:
            continue
        if file.startswith(LIBRARIES) or "site-packages" in file or "dist-packages" in file:
            library = " at %s:%d" % (os.path.basename(file), line)
        else:
            place = " at %s:%d" % (os.path.basename(file), line)
    return place or library


def _first_line(error: BaseException) -> str:
    """What the error says, on one line; of a long text the end, where C++ says what happened and where is left out."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # a user's exception may not even print
        return ""
    if len(text) <= WORDS_KEPT:
        return text
    return text[:WORDS_KEPT] if CPP_SOURCE not in text else "..." + text[-WORDS_KEPT:]

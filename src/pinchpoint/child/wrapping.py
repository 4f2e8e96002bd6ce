"""Wraps the entry points of runtimes and codecs as their modules are imported, so that their stages are exact."""

from __future__ import annotations

import functools
import importlib
import importlib.abc
import importlib.machinery
import sys
import threading
from types import ModuleType
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from pinchpoint import stages
from pinchpoint.child import sessions, torch_models
from pinchpoint.child.recorder import HANDED, WRAPPED

OPENING, PARSING = sessions.OPENING, "deserialize"
PACKING = (("decompress", PARSING), ("compress", "serialize"))
# module -> (attribute path, stage). Names are the libraries' public entry points; one that is absent is passed over.
ENTRY_POINTS: Dict[str, Tuple[Tuple[str, str], ...]] = {
    "json": (("loads", "deserialize"), ("load", "deserialize"), ("dumps", "serialize"), ("dump", "serialize")),
    "base64": (("b64decode", "deserialize"), ("b64encode", "serialize")),
    "pickle": (("loads", "deserialize"), ("load", "deserialize"), ("dumps", "serialize"), ("dump", "serialize")),
    "orjson": (("loads", "deserialize"), ("dumps", "serialize")),
    "ujson": (("loads", "deserialize"), ("dumps", "serialize")),
    "simplejson": (("loads", "deserialize"), ("dumps", "serialize")),
    "msgpack": (("unpackb", "deserialize"), ("packb", "serialize")),
    "rapidjson": (("loads", "deserialize"), ("load", "deserialize"), ("dumps", "serialize"), ("dump", "serialize")),
    "cbor2": (("loads", "deserialize"), ("dumps", "serialize")),
    "yaml": (("load", "deserialize"), ("safe_load", "deserialize"), ("dump", "serialize"), ("safe_dump", "serialize")),
    "xml.etree.ElementTree": (("fromstring", "deserialize"), ("parse", "deserialize"), ("tostring", "serialize")),
    "zlib": PACKING,
    "gzip": (*PACKING, ("GzipFile.read", "deserialize"), ("GzipFile.write", "serialize")),
    "bz2": (*PACKING, ("BZ2File.read", "deserialize"), ("BZ2File.write", "serialize")),
    "lzma": (*PACKING, ("LZMAFile.read", "deserialize"), ("LZMAFile.write", "serialize")),
    "zstandard": PACKING,
    "brotli": PACKING,
    "lz4.frame": PACKING,
    "lz4.block": PACKING,
    "snappy.snappy": PACKING,
    "msgspec.json": (("decode", "deserialize"), ("encode", "serialize")),
    "msgspec.msgpack": (("decode", "deserialize"), ("encode", "serialize")),
    "PIL.Image": (
        ("open", "preprocess"),
        ("Image.load", "preprocess"),
        ("Image.resize", "preprocess"),
        ("Image.convert", "preprocess"),
        ("Image.crop", "preprocess"),
        ("Image.thumbnail", "preprocess"),
        ("Image.transform", "preprocess"),
        ("Image.save", "serialize"),
    ),
    "cv2": (
        ("imdecode", "preprocess"),
        ("imread", "preprocess"),
        ("resize", "preprocess"),
        ("cvtColor", "preprocess"),
        ("dnn.blobFromImage", "preprocess"),
        ("dnn.NMSBoxes", "postprocess"),
        ("imencode", "serialize"),
    ),
    "torchvision.transforms.transforms": (("Compose.__call__", "preprocess"),),
    "torchvision.ops.boxes": (("nms", "postprocess"), ("batched_nms", "postprocess")),
    "transformers.tokenization_utils_base": (("PreTrainedTokenizerBase.__call__", "preprocess"),),
    "librosa.core.audio": (("load", "preprocess"),),
    "soundfile": (("read", "preprocess"),),
    sessions.COLLECTION: (
        ("Session.run_with_iobinding", "model"),
        ("Session.run_with_ort_values", "model"),
    ),
    torch_models.MODULES: (("Module.load_state_dict", OPENING),),  # every module is a session of its own
    "torch.serialization": (("load", OPENING),),
    "torch.jit._serialization": (("load", OPENING),),
    "safetensors.torch": (("load_file", OPENING), ("load_model", OPENING)),
    "safetensors.numpy": (("load_file", OPENING),),
    "transformers.modeling_utils": (("PreTrainedModel.from_pretrained", OPENING),),
    "transformers.models.auto.auto_factory": (("_BaseAutoModelClass.from_pretrained", OPENING),),
    "joblib.numpy_pickle": (("load", OPENING),),
    "openvino": (("CompiledModel.__call__", "model"), ("InferRequest.infer", "model")),
    "tensorflow.lite.python.interpreter": (("Interpreter.invoke", "model"), ("Interpreter.__init__", OPENING)),
    "ai_edge_litert.interpreter": (("Interpreter.invoke", "model"), ("Interpreter.__init__", OPENING)),
    "keras.src.models.model": (("Model.__call__", "model"),),
    "xgboost.core": (
        ("Booster.predict", "model"),
        ("Booster.inplace_predict", "model"),
        ("Booster.load_model", OPENING),
    ),
    "lightgbm.basic": (("Booster.predict", "model"), ("Booster.__init__", OPENING)),
    "sklearn.pipeline": (("Pipeline.predict", "model"), ("Pipeline.predict_proba", "model")),
    "llama_cpp.llama": (
        ("Llama.__call__", "model"),
        ("Llama.create_completion", "model"),
        ("Llama.__init__", OPENING),
    ),
    "concurrent.futures.thread": (("_WorkItem.run", "handed"),),
    "threading": (("Thread.run", "handed"),),
}
SHORT_NAMES = {sessions.COLLECTION: "onnxruntime"}

_inside = threading.local()


def wrap_entry_points() -> None:
    """Wrap what is imported already or is part of the standard library, and the rest when it is imported."""
    built_in = [name for name in ENTRY_POINTS if name in sys.builtin_module_names]  # zlib, in some distributions
    for name in ("json", "base64", "pickle", "concurrent.futures.thread", "threading", *built_in):
        importlib.import_module(name)
    for name in ENTRY_POINTS:
        if name in sys.modules:
            _wrap_module(sys.modules[name])
    sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds nothing itself; lets a known module be found by the others and wraps it once it has been executed."""

    def find_spec(
        self, fullname: str, path: Optional[Sequence[str]], target: Optional[ModuleType] = None
    ) -> Optional[importlib.machinery.ModuleSpec]:
        if fullname not in ENTRY_POINTS:
            return None
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(fullname, path, target)
                if spec is not None:
                    _wrap_after(spec)
                    return spec
        return None


def _wrap_after(spec: importlib.machinery.ModuleSpec) -> None:
    loader = spec.loader
    execute = getattr(loader, "exec_module", None)
    if execute is None or isinstance(loader, type):
        return  # one loader for all that is frozen or built in: stages of such are inferred by sampling

    def exec_module(module: ModuleType) -> None:
        execute(module)
        _wrap_module(module)

    try:
        loader.exec_module = exec_module  # type: ignore[method-assign, union-attr]  # only this loader instance
    except AttributeError:
        return  # a loader without a dict: its stages are inferred by sampling instead


def _wrap_module(module: ModuleType) -> None:
    if module.__name__ == sessions.COLLECTION:
        sessions.capture(module)
    if module.__name__ == torch_models.MODULES:
        torch_models.capture(module)
    short = SHORT_NAMES.get(module.__name__, module.__name__)
    for path, stage in ENTRY_POINTS[module.__name__]:
        *owners, attribute = path.split(".")
        owner: Any = module
        for name in owners:
            owner = getattr(owner, name, None)
        found = owner.__dict__.get(attribute) if owner is not None else None
        original = found.__func__ if isinstance(found, classmethod) else found
        if callable(original) and not hasattr(original, "_pinchpoint"):
            recorded: Any = _recorded(original, stage, "%s:%s.%s" % (stage, short, path))
            if stage == OPENING:
                recorded = _unless_read(recorded, _recorded(original, PARSING, "%s:%s.%s" % (PARSING, short, path)))
            try:
                setattr(owner, attribute, classmethod(recorded) if isinstance(found, classmethod) else recorded)
            except (AttributeError, TypeError):
                continue  # a type of an extension that cannot be changed


def _recorded(original: Callable[..., Any], stage: str, name: str) -> Callable[..., Any]:
    """`original` with its outermost calls recorded; a call inside a recorded call of the same stage is part of it."""
    kind = HANDED if stage == "handed" else WRAPPED
    inside = name if kind == HANDED else stage  # a pool's worker is itself a thread that was handed over

    @functools.wraps(original)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        listener = stages._listener  # this is the listener's own side
        if listener is None or getattr(_inside, inside, False):
            return original(*args, **kwargs)
        setattr(_inside, inside, True)
        listener.begin(name, kind)  # type: ignore[call-arg]  # the child's recorder takes a kind
        try:
            return original(*args, **kwargs)
        finally:
            listener.end()
            setattr(_inside, inside, False)

    recorded._pinchpoint = True  # type: ignore[attr-defined]
    return recorded


def _unless_read(opening: Callable[..., Any], parsing: Callable[..., Any]) -> Callable[..., Any]:
    """A loader of models, which takes what it reads from a buffer for a part of the request."""

    @functools.wraps(opening)
    def loaded(*args: Any, **kwargs: Any) -> Any:
        return (parsing if args and hasattr(args[0], "getbuffer") else opening)(*args, **kwargs)

    loaded._pinchpoint = True  # type: ignore[attr-defined]
    return loaded

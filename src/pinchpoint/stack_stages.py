"""Which row of the ledger a stack of Python frames belongs to: the innermost frame that says so decides.

The table is small on purpose: who else's library does something else says so in `[tool.pinchpoint]`:

    [tool.pinchpoint.frames]
    "mylib/tokens" = "preprocess"
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pinchpoint.stage_names import MODEL, UNPLACED, WORDS, is_opening

FRAMEWORK = "framework"
OWN = "own"
# The beginning of a frame's path from its package on (a `/` ends a package), and what its function must match, if anything.
TABLE: tuple[tuple[str, str, str], ...] = (
    ("json/decoder.py", "", "deserialize"),
    ("json/scanner.py", "", "deserialize"),
    ("json/encoder.py", "", "serialize"),
    ("json/__init__.py", "load", "deserialize"),
    ("json/__init__.py", "dump", "serialize"),
    ("base64.py", "decode", "deserialize"),
    ("base64.py", "encode", "serialize"),
    *((codec, "decompress|read", "deserialize") for codec in ("gzip.py", "bz2.py", "lzma.py")),
    *((codec, "compress|write|flush", "serialize") for codec in ("gzip.py", "bz2.py", "lzma.py")),
    ("xml/", "parse|XML|feed|fromstring", "deserialize"),
    ("xml/", "write|tostring|serialize", "serialize"),
    ("yaml/", "load|compose|construct|parse|scan", "deserialize"),
    ("yaml/", "dump|represent|serialize|emit", "serialize"),
    ("csv.py", "__next__|reader", "deserialize"),
    ("csv.py", "write", "serialize"),
    ("pickle.py", "load", "deserialize"),
    ("pickle.py", "dump", "serialize"),
    ("multiprocessing/reduction.py", "dumps", "serialize"),
    ("fastapi/encoders.py", "", "serialize"),
    ("fastapi/_compat", "serialize", "serialize"),
    ("starlette/responses.py", "render", "serialize"),
    ("starlette/requests.py", "json", "deserialize"),
    ("starlette/formparsers.py", "", "deserialize"),
    ("multipart/", "", "deserialize"),
    ("python_multipart/", "", "deserialize"),
    ("werkzeug/formparser.py", "", "deserialize"),
    ("flask/json/", "loads", "deserialize"),
    ("flask/json/", "dumps|response", "serialize"),
    ("pydantic/", "validate|parse", "deserialize"),
    ("pydantic/", "dump|json|serialize", "serialize"),
    ("google/protobuf/", "Parse|From|parse", "deserialize"),
    ("google/protobuf/", "Serialize|To", "serialize"),
    ("msgpack/", "unpack", "deserialize"),
    ("msgpack/", "pack", "serialize"),
    ("numpy/lib/", "load|read_array", "deserialize"),
    ("numpy/lib/", "save|write_array", "serialize"),
    ("mlserver/rest/requests.py", "json", "deserialize"),
    ("mlserver/codecs/", "decode", "deserialize"),
    ("mlserver/codecs/", "encode", "serialize"),
    ("PIL/", "", "preprocess"),
    ("cv2/", "", "preprocess"),
    ("imageio/", "", "preprocess"),
    ("skimage/", "", "preprocess"),
    ("torchvision/transforms/", "", "preprocess"),
    ("torchvision/io/", "", "preprocess"),
    ("torchaudio/", "", "preprocess"),
    ("albumentations/", "", "preprocess"),
    ("librosa/", "", "preprocess"),
    ("soundfile.py", "", "preprocess"),
    ("transformers/tokenization", "", "preprocess"),
    ("transformers/image_processing", "", "preprocess"),
    ("transformers/feature_extraction", "", "preprocess"),
    ("transformers/models/", "tokenize|preprocess", "preprocess"),
    ("tokenizers/", "", "preprocess"),
    ("sentencepiece/", "", "preprocess"),
    ("sklearn/preprocessing/", "", "preprocess"),
    ("sklearn/feature_extraction/", "", "preprocess"),
    ("onnxruntime/", "", "model"),
    ("torch/", "", "model"),
    ("transformers/modeling", "", "model"),
    ("transformers/models/", "", "model"),
    ("transformers/generation/", "", "model"),
    ("tensorflow/", "", "model"),
    ("keras/", "", "model"),
    ("jax/", "", "model"),
    ("openvino/", "", "model"),
    ("sklearn/", "", "model"),
    ("xgboost/", "", "model"),
    ("lightgbm/", "", "model"),
    ("catboost/", "", "model"),
    ("llama_cpp/", "", "model"),
    ("ctranslate2/", "", "model"),
    ("vllm/", "", "model"),
    *((package, "", FRAMEWORK) for package in (
        "uvicorn/", "starlette/", "fastapi/", "flask/", "werkzeug/", "gunicorn/", "aiohttp/", "tornado/", "django/", "sanic/",
        "hypercorn/", "waitress/", "bentoml/", "litserve/", "ray/", "mlserver/", "ts/", "grpc/", "anyio/", "h11/", "httptools/",
        "uvloop/", "asyncio/", "http/server.py", "socketserver.py", "selectors.py", "logging/", "wsgiref/", "click/", "typer/",
    )),
)  # fmt: skip
# What makes a model ready to run, by its file and function. All that is done inside of such a frame belongs to it.
OPENS: tuple[tuple[str, str], ...] = (
    ("onnxruntime/capi/onnxruntime_inference_collection.py", "^__init__$|^_create_inference_session$"),
    ("torch/serialization.py", "^load$"),
    ("torch/jit/_serialization.py", "^load$"),
    ("torch/export/", "^load$"),
    ("torch/hub.py", "^load"),
    ("torch/nn/modules/module.py", "^load_state_dict$"),
    ("safetensors/", "^load"),
    ("transformers/", "^from_pretrained$|^pipeline$"),
    ("diffusers/", "^from_pretrained$"),
    ("sentence_transformers/", "^__init__$"),
    ("joblib/numpy_pickle.py", "^load$"),
    ("skops/io/", "^load"),
    ("mlflow/", "^load_model$"),
    ("tensorflow/python/saved_model/load.py", "^load"),
    ("tensorflow/lite/python/interpreter.py", "^__init__$"),
    ("ai_edge_litert/interpreter.py", "^__init__$"),
    ("keras/", "^load_model$|^load_weights$"),
    ("xgboost/", "^load_model$"),
    ("lightgbm/basic.py", "^model_from_string$"),
    ("catboost/core.py", "^load_model$"),
    ("openvino/", "^compile_model$|^read_model$"),
    ("llama_cpp/llama.py", "^__init__$"),
    ("faster_whisper/transcribe.py", "^__init__$"),
    ("whisper/__init__.py", "^load_model$"),
    ("spacy/", "^load"),
)
# What an application is written in, by the package of its frames; the first ones build on the last.
FRAMEWORKS = {
    "mlserver/": "MLServer", "bentoml/": "BentoML", "litserve/": "LitServe", "ray/serve/": "Ray Serve", "ts/": "TorchServe",
    "fastapi/": "FastAPI", "flask/": "Flask", "django/": "Django", "tornado/": "Tornado", "aiohttp/": "aiohttp",
    "sanic/": "Sanic", "starlette/": "Starlette", "http/server.py": "http.server",
}  # fmt: skip
# Words in a name of the user's own function; that it is called `predict` says nothing, every handler is.
TELLING = ("postprocess", "deserialize", "serialize", "preprocess")
INFERRING = frozenset({"forward", "model"})
LOOSE = frozenset(
    {"post", "pre", "load", "image", "audio", "top", "rank", "labels", "features", "transform", "response"}
)
LAUNCHER = "<module>"  # what started the server
LONGEST_NUMBER = 9  # digits of a line's number
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@dataclass(frozen=True, slots=True)
class Place:
    """A ledger stage, what is shown beside it (the line of the user's own code that led there, or the library), and whether a
    model is made ready to run there.
    """

    stage: str
    label: str
    opens: bool = False


def place(frames: Sequence[str], extra: Mapping[str, str] | None = None) -> Place:
    """Where a stack belongs, outermost frame first; request handling where no frame says anything else. What opens a model goes
    before all that is done inside of it.
    """
    split = [each.split("|", 3) for each in frames]
    own = next(
        ((file, line, name) for origin, file, line, name in reversed(split) if origin == OWN and name != LAUNCHER), None
    )
    label = f"{own[0].rpartition('/')[2]}:{own[1]} {own[2]}()" if own else ""
    told = None
    for origin, file, _, name in reversed(split):
        if _opens(origin, file, name):
            return Place(MODEL, label or f"{file} {name}()", opens=True)
        stage = _stage(origin, file, name, extra or {})
        if stage == FRAMEWORK:
            break
        if stage is not None and told is None:
            told = Place(stage, label or f"{file} {name}()")
    return told or Place(UNPLACED, label)


Lines = Mapping[tuple[str, str], tuple[int, int]]


def model_lines(stacks: Iterable[Sequence[str]], extra: Mapping[str, str]) -> Lines:
    """The first and the last line of each function of the user's own, by file and name, from where the model runs."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for frames in stacks:
        where = place(frames, extra)
        if where.stage == MODEL and not where.opens:
            for origin, file, line, name in (each.split("|", 3) for each in frames):
                if origin == OWN and name != LAUNCHER:
                    at = _number(line)
                    first, last = found.get((file, name), (at, at))
                    found[file, name] = min(first, at), max(last, at)
    return found


def beside_model(frames: Sequence[str], lines: Lines) -> str | None:
    """What the user's own code is that no name tells the stage of: preprocessing where it is called before the model, in the
    innermost function that calls both, postprocessing after it; None where no function does, or a framework works for it.
    """
    for origin, file, line, name in (each.split("|", 3) for each in reversed(frames)):
        if origin != OWN and _stage(origin, file, name, {}) == FRAMEWORK:
            return None
        if origin == OWN and (file, name) in lines:
            (first, last), at = lines[file, name], _number(line)
            return "preprocess" if at < first else "postprocess" if at > last else None
    return None


def _number(line: str) -> int:
    """A line's number; 0 of what is none, as a damaged run may have it."""
    return int(line) if line.isdecimal() and len(line) < LONGEST_NUMBER else 0


def _opens(origin: str, file: str, name: str) -> bool:
    """Whether a frame makes a model ready to run."""
    bare = name.rpartition(".")[2]
    if origin == OWN:
        return is_opening(bare)
    return any(file.startswith(path) and re.search(wanted, bare) for path, wanted in OPENS)


def _stage(origin: str, file: str, name: str, extra: Mapping[str, str]) -> str | None:
    """What one frame says: a stage, or None."""
    told = next((stage for path, stage in extra.items() if f"/{path}" in f"/{file}"), None)
    if told is not None:
        return told
    if origin == OWN:
        words = {each.lower() for each in _WORD.findall(name)} - LOOSE
        whole = name.lower().replace("_", "")
        if {
            each.lower() for each in _WORD.findall(name.rpartition(".")[2])
        } & INFERRING:  # a class of a model does more
            return "model"
        return next((stage for stage in TELLING if words & WORDS[stage] or stage in whole), None)
    return next(
        (stage for path, wanted, stage in TABLE if file.startswith(path) and (not wanted or re.search(wanted, name))),
        None,
    )


def frameworks(stacks: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """What an application is written in, as its stacks tell; the most special one first."""
    files = {frame.split("|", 2)[1] for frames in stacks for frame in frames}
    return tuple(name for path, name in FRAMEWORKS.items() if any(file.startswith(path) for file in files))

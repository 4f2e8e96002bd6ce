"""ONNX Runtime sessions of the target: which were opened, and twins of them for the profiled arm.

onnxruntime is the user's own and imported by the user's interpreter; nothing here runs where it is absent.
"""

from __future__ import annotations

import functools
import os
import random
import threading
import time
import weakref
from types import ModuleType
from typing import Any, Dict, List, Optional, Set, Tuple

from pinchpoint import stages
from pinchpoint.child.beside import Beside
from pinchpoint.child.phases import SESSION, phase
from pinchpoint.child.recorder import WRAPPED

_clock, _thread_cpu = time.perf_counter, time.thread_time
COLLECTION = "onnxruntime.capi.onnxruntime_inference_collection"
OPENING = "opening"  # the stage of what makes a model ready to run; stage_names knows it too
OPENING_SPAN = "opening:onnxruntime.InferenceSession"
WARM_RUNS = 2
FEEDS_KEPT, FEEDS_BYTES = 32, 64 << 20
SHAPES_KEPT = 4096
OPTIMIZATION_NAMES = ("disabled", "basic", "extended", "layout", "all")
COPIED_OPTIONS = (
    "enable_cpu_mem_arena",
    "enable_mem_pattern",
    "enable_mem_reuse",
    "execution_mode",
    "execution_order",
    "graph_optimization_level",
    "inter_op_num_threads",
    "intra_op_num_threads",
    "use_deterministic_compute",
)
COPIED_ENTRIES = (
    "session.intra_op.allow_spinning",
    "session.inter_op.allow_spinning",
    "session.force_spinning_stop",
    "session.set_denormal_as_zero",
    "session.disable_prepacking",
    "session.dynamic_block_base",
    "session.intra_op_thread_affinities",
)


class CapturedSession:
    """What is needed to open a session's twin: its model, its options, and inputs that it was run on."""

    def __init__(self, session: Any, model: Any, options: Any, providers: Any) -> None:
        self.session = weakref.ref(session)
        self.model = model if isinstance(model, bytes) else os.path.abspath(os.fspath(model))  # it may change folders
        self.options, self.providers = options, providers
        self.alike = _alike(options, providers)
        self.span = "model:session %d" % len(captured)
        self.feeds: List[Dict[str, Any]] = []  # of its first runs, so that a twin meets as many inputs as it does
        self.outputs: Any = None
        self.room = FEEDS_BYTES
        self.shapes: Set[Any] = set()
        self.opening_s = 0.0

    def keep(self, outputs: Any, feeds: Dict[str, Any]) -> None:
        """Keep the inputs of a run, until there are enough or they take much memory."""
        self.outputs = outputs
        self.feeds.append(dict(feeds))
        self.room -= max(sum(int(getattr(value, "nbytes", 0)) for value in feeds.values()), FEEDS_BYTES // FEEDS_KEPT)

    def note_shapes(self, feeds: Dict[str, Any]) -> None:
        """Count shapes of inputs that this session has not had before."""
        shapes = tuple([getattr(value, "shape", None) for value in feeds.values()])
        if shapes not in self.shapes and len(self.shapes) < SHAPES_KEPT:
            self.shapes.add(shapes)
            fresh[0] += 1

    def facts(self) -> Dict[str, Any]:
        """The session's configuration, as the parent notes it."""
        import onnxruntime

        alive = self.session()
        options = self.options if self.options is not None else onnxruntime.SessionOptions()
        path = self.model if not isinstance(self.model, bytes) else None
        return {
            "runtime": "onnxruntime",
            "version": onnxruntime.__version__,
            "model_path": path,
            "intra_op_threads": options.intra_op_num_threads,
            "inter_op_threads": options.inter_op_num_threads,
            "optimization": _optimization_name(options.graph_optimization_level),
            "providers": list(alive.get_providers()) if alive is not None else [],
            "spinning": _entry(options, "session.intra_op.allow_spinning") != "0",
        }


fresh = [0]  # how often a session of the target got inputs of a new shape
captured: List[CapturedSession] = []  # in the order in which the target opened them
_plain: Dict[str, Any] = {}  # the runtime's own functions
_own = threading.local()  # `opening` while pinchpoint opens a session of its own in this thread


def capture(collection: ModuleType) -> None:
    """Note every InferenceSession that is opened from now on, and the inputs of its first runs."""
    opening = collection.InferenceSession.__init__
    running = collection.Session.run
    _plain.setdefault("run", running)

    @functools.wraps(opening)
    def opened(
        self: Any, path_or_bytes: Any, sess_options: Any = None, providers: Any = None, *rest: Any, **named: Any
    ) -> None:
        if getattr(_own, "opening", False):
            opening(self, path_or_bytes, sess_options, providers, *rest, **named)
            return
        start, listener = _clock(), stages._listener  # this is the listener's own side
        if listener is not None:
            listener.begin(OPENING_SPAN, WRAPPED)  # type: ignore[call-arg]  # the child's recorder takes a kind
        try:
            with phase(SESSION, "" if isinstance(path_or_bytes, bytes) else os.fspath(path_or_bytes)):
                opening(self, path_or_bytes, sess_options, providers, *rest, **named)
        finally:
            if listener is not None:
                listener.end()
        self._pinchpoint = _noted(CapturedSession(self, path_or_bytes, sess_options, providers), _clock() - start)

    @functools.wraps(running)
    def ran(self: Any, output_names: Any, input_feed: Any, *rest: Any, **named: Any) -> Any:
        known = getattr(self, "_pinchpoint", None)
        if known is not None:
            known.note_shapes(input_feed)
            if known.room > 0:
                known.keep(output_names, input_feed)
        listener = stages._listener  # this is the listener's own side
        if listener is None or known is None:
            return running(self, output_names, input_feed, *rest, **named)
        listener.begin(known.span, WRAPPED)  # type: ignore[call-arg]  # the child's recorder takes a kind
        try:
            return running(self, output_names, input_feed, *rest, **named)
        finally:
            listener.end()

    collection.InferenceSession.__init__ = opened
    collection.Session.run = ran


def _noted(opened: CapturedSession, seconds: float) -> CapturedSession:
    """A session that was opened, as it is known from now on: what opens the same model anew in each request has one session."""
    for known in captured:
        same = isinstance(known, CapturedSession) and known.model == opened.model and known.alike == opened.alike
        if same and known.session() is None:
            known.session = opened.session
            return known
    opened.opening_s = seconds
    captured.append(opened)
    return opened


def _alike(options: Any, providers: Any) -> Tuple[str, ...]:
    """What is the same of two sessions that are opened alike."""
    names = [str(getattr(options, name, "")) for name in COPIED_OPTIONS] if options is not None else []
    entries = [_entry(options, name) for name in COPIED_ENTRIES] if options is not None else []
    return (*names, *entries, str(providers))


def options_from(settings: Dict[str, str]) -> Any:
    """SessionOptions from the user's settings; ValueError names what is not understood."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    for key, value in settings.items():
        if key in ("intra_op_threads", "inter_op_threads"):
            setattr(options, key.replace("threads", "num_threads"), _whole(key, value))
        elif key == "graph_optimization":
            options.graph_optimization_level = _optimization_level(value)
        elif key == "execution_mode":
            if value not in ("sequential", "parallel"):
                raise ValueError("execution_mode is sequential or parallel, not %r" % value)
            options.execution_mode = getattr(onnxruntime.ExecutionMode, "ORT_" + value.upper())
        elif key.startswith(("session.", "ep.")):
            options.add_session_config_entry(key, value)
        elif key != "providers":
            raise ValueError("unknown setting %r" % key)
    return options


class ProfiledTwin:
    """A profiled twin of a session, run in several visits between those of the target itself, in a thread of its own."""

    def __init__(self, known: CapturedSession, prefix: str) -> None:
        self._known = known
        self._walls: List[float] = []
        self._cpus: List[float] = []
        self._beside = Beside()
        try:
            self._session: Any = self._beside.do(self._opened, prefix)
        except BaseException:
            self._beside.close()
            raise

    def _opened(self, prefix: str) -> Any:
        session = _twin(self._known, prefix, everything=False)
        for _ in range(WARM_RUNS):
            session.run(self._known.outputs, self._known.feeds[0])
        return session

    def visit(self, seconds: float, most_runs: int) -> None:
        """Run it for `seconds`, or until it has run `most_runs` times in all; at least once a visit."""
        self._beside.do(self._run, seconds, most_runs)

    def _run(self, seconds: float, most_runs: int) -> None:
        deadline = _clock() + seconds
        first = True
        while first or (len(self._walls) < most_runs and _clock() < deadline):
            first = False
            feeds = self._known.feeds[len(self._walls) % len(self._known.feeds)]
            cpu, start = _thread_cpu(), _clock()
            self._session.run(self._known.outputs, feeds)
            self._walls.append(_clock() - start)
            self._cpus.append(_thread_cpu() - cpu)

    def close(self) -> Dict[str, Any]:
        """The path of its profile, and wall and CPU seconds of each run after the warm ones."""
        path = self._beside.do(self._session.end_profiling)
        self._beside.close()
        return {"path": path, "warm_runs": WARM_RUNS, "seconds": self._walls, "cpu_seconds": self._cpus}


def fully_optimised_kinds(known: CapturedSession, prefix: str) -> Optional[str]:
    """The profile of one run of a twin with full graph optimisation; only its operators are of interest."""
    if not known.feeds:
        return None
    twin = _twin(known, prefix, everything=True)
    twin.run(known.outputs, known.feeds[0])
    path: str = twin.end_profiling()
    return path


def reopened(known: CapturedSession) -> Optional[Dict[str, float]]:
    """Seconds to open a twin of a session as it is, and without graph optimisation; None where it has none."""
    import onnxruntime

    found: Dict[str, float] = {}
    for name in random.sample(("as_is", "plain"), 2):
        options = _options_of(known)
        if options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL:
            return None
        if name == "plain":
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        start = _clock()
        _open(known, options)
        found[name] = _clock() - start
    return found


def on_one_thread(known: CapturedSession) -> Any:
    """A session on the same model with the same options but for its pool: it has none."""
    options = _options_of(known)
    options.intra_op_num_threads = 1
    return _open(known, options)


def run(session: Any, known: CapturedSession, number: int) -> None:
    """Run a session on inputs that are kept, unseen by the recording."""
    _plain["run"](session, known.outputs, known.feeds[number % len(known.feeds)])


def dump(known: CapturedSession, path: str) -> None:
    """Write the session's optimised graph to `path`; weights included, so only on demand."""
    options = _options_of(known)
    options.optimized_model_filepath = path
    _open(known, options)


def _twin(known: CapturedSession, prefix: str, *, everything: bool) -> Any:
    """A session on the same model with the same options, profiled; with all graph optimisation if `everything`."""
    import onnxruntime

    options = _options_of(known)
    if everything:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_profiling = True
    options.profile_file_prefix = prefix
    return _open(known, options)


def _open(known: CapturedSession, options: Any) -> Any:
    """A session of our own on the target's model, which is not taken for one of the target's."""
    import onnxruntime

    _own.opening = True
    try:
        return onnxruntime.InferenceSession(known.model, options, providers=known.providers)
    finally:
        _own.opening = False


def _options_of(known: CapturedSession) -> Any:
    """A copy of the options that the target opened the session with, as far as they can be read."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if known.options is not None:
        for name in COPIED_OPTIONS:
            if hasattr(known.options, name):
                setattr(options, name, getattr(known.options, name))
        for entry in COPIED_ENTRIES:
            value = _entry(known.options, entry)
            if value:
                options.add_session_config_entry(entry, value)
    return options


def _entry(options: Any, name: str) -> str:
    try:
        return str(options.get_session_config_entry(name))
    except Exception:  # the runtime's own way to say that it is not set
        return ""


def _whole(key: str, value: str) -> int:
    if not value.isdigit():
        raise ValueError("%s takes a whole number, not %r" % (key, value))
    return int(value)


def _optimization_level(name: str) -> Any:
    import onnxruntime

    if name not in OPTIMIZATION_NAMES:
        raise ValueError("graph_optimization is one of %s, not %r" % (", ".join(OPTIMIZATION_NAMES), name))
    attribute = "ORT_DISABLE_ALL" if name == "disabled" else "ORT_ENABLE_" + name.upper()
    return getattr(onnxruntime.GraphOptimizationLevel, attribute)


def _optimization_name(level: Any) -> str:
    text = str(getattr(level, "name", level)).lower()
    return next((name for name in ("disable", "basic", "extended", "layout") if name in text), "all").replace(
        "disable", "disabled"
    )

"""torch modules of the target: which are called, on what, in which state; and their operators timed in an arm of their own.

Modules are noted beside ONNX Runtime's sessions (`sessions.captured`), with the same commands. There is no twin: a module
of twice the memory may not fit, so the arm calls the target's own module, in between the visits to the target, on inputs
that it was called on. A module that keeps a state from call to call sees these calls too.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import weakref
from json import JSONEncoder
from typing import Any, Callable, Dict, FrozenSet, Iterator, List, Optional, Tuple

from pinchpoint import stages
from pinchpoint.child import sessions
from pinchpoint.child.recorder import WRAPPED
from pinchpoint.child.torch_operators import Structure, page_faults, watching

MODULES = "torch.nn.modules.module"
UNKNOWN_SPAN = "model:torch module"
MOST_MODULES = 16
NOTED = 20_000  # operators a visit
PLAIN = (str, bytes, int, float, bool, type(None))
_clock, _thread_cpu = time.perf_counter, time.thread_time
Feed = Tuple[Tuple[Any, ...], Dict[str, Any]]


class CapturedModule:
    """A module that is called from outside of any other, and its first inputs."""

    def __init__(self, module: Any) -> None:
        self.module = weakref.ref(module)
        self.name = name_of(module)
        self.form = form_of(module)
        self.span = "model:session %d" % len(sessions.captured)
        self.feeds: List[Feed] = []
        self.room = sessions.FEEDS_BYTES
        self.mode: Tuple[bool, bool] = (False, True)
        self.autocast: Any = None

    def keep(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> None:
        """Keep the inputs of a call, until there are enough or they take much memory."""
        if not any(args is known for known, _ in self.feeds) or not args:
            self.feeds.append((args, dict(kwargs)))
        size = _bytes((args, tuple(kwargs.values())))
        self.room -= max(size, sessions.FEEDS_BYTES // sessions.FEEDS_KEPT)

    def note_mode(self) -> None:
        """Note how it is called: with or without autograd, cast or not."""
        import torch

        self.mode = (torch.is_inference_mode_enabled(), torch.is_grad_enabled())
        self.autocast = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None

    def facts(self) -> Dict[str, Any]:
        """The module's configuration, as the parent notes it."""
        import torch

        return {
            "runtime": "torch",
            "version": str(torch.__version__),
            "model_path": None,
            "intra_op_threads": torch.get_num_threads(),
            "inter_op_threads": torch.get_num_interop_threads(),
            "optimization": "all",  # there is no level to raise
            "providers": ["CPU"],
            "form": self.form,
            "notes": self.notes(),
        }

    def notes(self) -> List[str]:
        """What of its state costs something or changes its answers."""
        module, found = self.module(), []
        inference, grad = self.mode
        if self.feeds and grad and not inference:
            found.append("%s runs with autograd on: call it under torch.inference_mode()" % self.name)
        modes = module.modules() if module is not None else ()
        if any(part.training for part in modes if next(iter(part.children()), None) is None and _acts(part)):
            found.append("%s is in training mode (dropout or batch statistics are on): call .eval()" % self.name)
        return found

    @contextlib.contextmanager
    def as_called(self) -> Iterator[None]:
        """Within, calls run as the target's did: with or without autograd, cast or not."""
        import torch

        inference, grad = self.mode
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.inference_mode() if inference else torch.set_grad_enabled(grad))
            if self.autocast is not None:
                stack.enter_context(torch.autocast("cpu", dtype=self.autocast))
            yield


def _acts(part: Any) -> bool:
    """Whether a layer does something else in training."""
    return any(word in type(part).__name__ for word in ("Dropout", "BatchNorm", "InstanceNorm"))


def _bytes(value: Any) -> int:
    if isinstance(value, (tuple, list)):
        return sum(map(_bytes, value))
    return int(getattr(value, "nbytes", 0) or 0)


def name_of(module: Any) -> str:
    """The name of a module's class, as its author wrote it."""
    inner = getattr(module, "_orig_mod", module)
    return str(getattr(inner, "original_name", "") or type(inner).__name__)


def form_of(module: Any) -> str:
    """How a module is run: eager, compiled, exported or scripted."""
    names = {kind.__name__ for kind in type(module).__mro__}
    if "OptimizedModule" in names or getattr(module, "_compiled_call_impl", None) is not None:
        return "compiled"
    if "ScriptModule" in names:
        return "scripted"
    return "exported" if "GraphModule" in names else "eager"


_encoder = JSONEncoder()  # made before the target can change json
_inside = threading.local()  # `calling` while a module's call runs in this thread
_lock = threading.Lock()


def capture(modules: Any) -> None:
    """Note every module that is called from outside of any other, its first inputs, and when it runs."""
    calling = _original["call"] = modules.Module.__call__

    @functools.wraps(calling)
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        listener = stages._listener  # this is the listener's own side
        if (listener is None and not _noticing) or getattr(_inside, "calling", False):
            return calling(self, *args, **kwargs)
        _inside.calling = True
        try:
            known = known_as(self)
            if known is not None and known.room > 0:
                known.keep(args, kwargs)
                known.note_mode()
            if listener is None:
                return calling(self, *args, **kwargs)
            listener.begin(known.span if known is not None else UNKNOWN_SPAN, WRAPPED)  # type: ignore[call-arg]
            try:
                return calling(self, *args, **kwargs)
            finally:
                listener.end()
        finally:
            _inside.calling = False

    called._pinchpoint = True  # type: ignore[attr-defined]
    modules.Module.__call__ = called


def stop_noticing() -> None:
    """From now on note modules only in requests whose stages are recorded: all calls but those stay as they are."""
    _noticing.clear()


def release() -> None:
    """Leave the calls of modules alone again: the target is one module, whose calls are recorded from outside."""
    if "call" in _original:
        from torch.nn.modules import module as modules

        modules.Module.__call__ = _original.pop("call")


_original: Dict[str, Any] = {}
_noticing = [True]  # until the sessions of the first request are asked for
_known: "weakref.WeakKeyDictionary[Any, CapturedModule]" = weakref.WeakKeyDictionary()


def known_as(module: Any) -> Optional[CapturedModule]:
    """The note on this module, made when it is first asked for; None for modules beyond the bound."""
    found = _known.get(module)
    if found is None:
        with _lock:
            if len(_known) >= MOST_MODULES:
                return None
            found = _known[module] = CapturedModule(module)
            sessions.captured.append(found)  # type: ignore[arg-type]  # it answers to the same questions
    return found


def recorded(known: CapturedModule, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`call` of a captured module as the target's model stage."""

    def called(feed: Feed) -> Any:
        if known.room > 0:
            known.keep(*feed)
        listener = stages._listener
        if listener is None:
            return call(feed)
        listener.begin(known.span, WRAPPED)  # type: ignore[call-arg]  # the child's recorder takes a kind
        try:
            return call(feed)
        finally:
            listener.end()

    return called


def likeness(feed: Feed) -> str:
    """What a call's operators are taken to depend on: the shapes and types of tensors, and other values as they are."""
    return repr([_told(value) for value in (*feed[0], *feed[1].items())])


def _told(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_told(each) for each in value]
    if hasattr(value, "shape"):
        return (tuple(value.shape), str(getattr(value, "dtype", "")))
    return value if isinstance(value, PLAIN) else type(value).__name__


class OperatorArm:
    """Calls of a module with its operators timed, in several visits between those of the target itself."""

    def __init__(self, known: CapturedModule, prefix: str, whole: FrozenSet[str]) -> None:
        self._known, self._path, self._whole = known, prefix + ".json", whole
        self._watch = watching(whole)
        self._noted = 0
        self._walls: List[float] = []
        self._cpus: List[float] = []
        self._structures: List[Structure] = []
        self._orders: List[List[Any]] = []
        self._of_feed: Dict[str, int] = {}  # by what inputs look like
        self._runs: List[Tuple[int, List[int], int]] = []

    def visit(self, seconds: float, most_runs: int) -> None:
        """Call it for `seconds`, at least once a visit; in all at most `most_runs` times, or until there is much to note."""
        module = self._known.module()
        if module is None:
            return
        deadline, first = _clock() + seconds, True
        before = self._noted
        with self._known.as_called():
            while first or (len(self._walls) < most_runs and self._noted - before < NOTED and _clock() < deadline):
                first = False
                number = len(self._walls) % len(self._known.feeds)
                alike = likeness(self._known.feeds[number])
                if alike not in self._of_feed:
                    self._of_feed[alike] = self._learn(module, number)
                self._timed(module, number, self._of_feed[alike])

    def _learn(self, module: Any, number: int) -> int:
        """The structure of a call on inputs `number`, from a call that is not timed."""
        args, kwargs = self._known.feeds[number]
        plain = call = getattr(module, "_orig_mod", module)  # what torch.compile compiled
        structure, watch = Structure(plain), watching(self._whole)
        watch.tell = structure.tell
        if self._known.form == "compiled":
            module(*args, **kwargs)  # compiled for these inputs, outside of the clock
            call = plain._call_impl  # as it would run without having been compiled
        with structure.around_modules(), watch:
            call(*args, **kwargs)
        module(*args, **kwargs)  # so that the next call, which is timed, finds all near
        order = watch.kinds
        if order in self._orders:
            mine = self._orders.index(order)
            if [o["in"] for o in self._structures[mine].operators] == [o["in"] for o in structure.operators]:
                return mine
        self._structures.append(structure)
        self._orders.append(order)
        return len(self._structures) - 1

    def _timed(self, module: Any, number: int, mine: int) -> None:
        args, kwargs = self._known.feeds[number]
        watch = self._watch
        compiled = self._known.form == "compiled"
        watch.again()
        with contextlib.nullcontext() if compiled else watch:
            faults, cpu, start = page_faults(), _thread_cpu(), _clock()
            module(*args, **kwargs)
            wall = _clock() - start
            cpu, faults = _thread_cpu() - cpu, page_faults() - faults
        if compiled:
            took = [wall]
        elif watch.kinds == self._orders[mine]:
            took = watch.seconds
        else:  # it went another way than before, which its inputs do not tell
            mine, took = -1, []
        self._noted += len(took) + 1
        self._walls.append(wall)
        self._cpus.append(cpu)
        self._runs.append((mine, [int(each * 1e9) for each in took], faults))

    def close(self) -> Dict[str, Any]:
        """The path of the profile, and wall and CPU seconds of each call."""
        content = {
            "form": self._known.form,
            "structures": [
                {"modules": s.modules, "tensors": s.tensors, "operators": s.operators} for s in self._structures
            ],
            "runs": self._runs,
        }
        with open(self._path, "w", encoding="utf-8") as file:
            file.writelines(_encoder.iterencode(content))
        return {"path": self._path, "warm_runs": 0, "seconds": self._walls, "cpu_seconds": self._cpus}

"""What a torch module's call is made of: each operator with its tensors once, and its seconds in every further call.

Operators are timed from Python, in a TorchDispatchMode, and not by torch's own profiler. Measured with torch 2.13 on small
and large networks: the profiler adds 0.4 us an event, 0.7 us with shapes, but writes an event for each of the three to five
layers of an operator (linear, addmm, expand, ...), gives no outputs and no weights, and prints on the way. The mode adds
4 us an operator between operators, where nothing is timed, and 0.6 us inside of the time that it takes of one; it sees the
tensors themselves, so that weights are told from activations by their storage.

torch is the user's own; nothing here runs where it is absent.
"""

from __future__ import annotations

import contextlib
import resource
import time
from typing import Any, Callable, Dict, FrozenSet, Iterator, List, Optional, Set, Tuple

_clock = time.perf_counter
COMPOSITE = "CompositeImplicitAutograd"
NESTED = 4  # lists of tensors inside of arguments are looked through to this depth
Shapes = List[Dict[str, Any]]


def watching(whole: FrozenSet[str]) -> Any:
    """A mode that notes the operators that run in it: `kinds` and `seconds` in order, and if `shapes` is a list, tensors.

    Composite operators are taken apart as torch does it, but those named in `whole`, whose cost is known as they are.
    """
    from torch.utils._python_dispatch import TorchDispatchMode

    class _Watch(TorchDispatchMode):  # type: ignore[misc]  # torch is not there when this is checked
        def __init__(self) -> None:
            super().__init__()
            self.kinds: List[Any] = []
            self.seconds: List[float] = []
            self.tell: Optional[Callable[[Any, Any, Any, Any, int], None]] = None
            self._apart: Dict[Any, bool] = {}

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            apart = self._apart.get(func)
            if apart is None:
                apart = self._apart[func] = kind_of(func) not in whole and _is_composite(func)
            if apart:
                with self:
                    parts = func.decompose(*args, **(kwargs or {}))
                if parts is not NotImplemented:
                    return parts
            faults = page_faults() if self.tell is not None else 0
            if kwargs:
                start = _clock()
                result = func(*args, **kwargs)
                took = _clock() - start
            else:
                start = _clock()
                result = func(*args)
                took = _clock() - start
            self.kinds.append(func)
            self.seconds.append(took)
            if self.tell is not None:
                self.tell(func, args, kwargs or {}, result, page_faults() - faults)
            return result

        def again(self) -> None:
            self.kinds, self.seconds = [], []

    return _Watch()


def page_faults() -> int:
    """Page faults of this thread so far."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt


def kind_of(func: Any) -> str:
    """`addmm` of `aten::addmm.default`; operators of other libraries keep their library's name: `quantized.linear`."""
    library, _, name = func._schema.name.partition("::")
    return str(name if library == "aten" else "%s.%s" % (library, name))


def _is_composite(func: Any) -> bool:
    import torch

    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), COMPOSITE)) and hasattr(func, "decompose")


class Structure:
    """The operators of one call: their names, kinds and tensors, how many modules were called around them, and how many
    parameters and buffers these hold.
    """

    def __init__(self, module: Any) -> None:
        self.operators: Shapes = []
        self.modules, self.tensors = 0, _fetched(module)
        self._weights = _storages(module)
        self._paths = {id(each): name for name, each in module.named_modules()}
        self._stack: List[str] = []
        self._seen: Dict[str, int] = {}

    def tell(self, func: Any, args: Any, kwargs: Any, result: Any, faults: int) -> None:
        """Note an operator that has just run, and how many page faults this thread had in it."""
        read = list(_tensors((args, tuple(kwargs.values()))))
        written = list(_tensors(result))
        held = {_storage(each) for each in read}
        changes = bool(func._schema.is_mutable)
        kind = kind_of(func)
        path = next((name for name in reversed(self._stack) if name), "")
        name = "%s %s" % (path, kind) if path else kind
        count = self._seen[name] = self._seen.get(name, 0) + 1
        self.operators.append(
            {
                "name": name if count == 1 else "%s %d" % (name, count),
                "kind": kind,
                "in": [self._told(each) for each in read] + _packed(args),
                "out": [self._told(each) for each in written],
                "alias": bool(written) and not changes and all(_storage(each) in held for each in written),
                "faults": faults,
                "scalars": [[at, int(v)] for at, v in enumerate(args) if isinstance(v, (bool, int))],
            }
        )

    def _told(self, tensor: Any) -> List[Any]:
        storage = _storage(tensor)
        held = tensor.numel() * tensor.element_size()
        with contextlib.suppress(Exception):  # a sparse or opaque tensor has no storage to ask
            held = min(held, tensor.untyped_storage().nbytes())
        return [_dtype(tensor), [int(size) for size in tensor.shape], held, storage in self._weights]

    @contextlib.contextmanager
    def around_modules(self) -> Iterator[None]:
        """Within, modules that are called give operators their names."""
        from torch.nn.modules import module as modules

        def entered(module: Any, _: Any) -> None:
            self.modules += 1
            if not hasattr(module, "graph"):
                self.tensors += len(module._parameters) + len(module._buffers)
            self._stack.append(self._paths.get(id(module), ""))

        def left(_module: Any, _args: Any, _result: Any) -> None:
            self._stack.pop()

        before = modules.register_module_forward_pre_hook(entered)
        after = modules.register_module_forward_hook(left)
        try:
            yield
        finally:
            before.remove()
            after.remove()


def _fetched(module: Any) -> int:
    """How many attributes of modules an exported program goes through to fetch its tensors; 0 for other modules."""
    nodes = getattr(getattr(module, "graph", None), "nodes", None)
    try:
        return sum(len(str(node.target).split(".")) for node in nodes or () if node.op == "get_attr")
    except Exception:  # a graph of another kind
        return 0


def _tensors(value: Any, depth: int = NESTED) -> Iterator[Any]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif depth and isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors(each, depth - 1)


def _packed(args: Tuple[Any, ...]) -> List[List[Any]]:
    """The weights that a quantised operator takes packed, as tensors that are weights."""
    found = []
    for each in args:
        if type(each).__name__ == "ScriptObject" and hasattr(each, "unpack"):
            with contextlib.suppress(Exception):  # each kind of packing has its own way
                weight = each.unpack()[0]
                size = weight.numel() * weight.element_size()
                found.append([_dtype(weight), [int(n) for n in weight.shape], size, True])
    return found


def _dtype(tensor: Any) -> str:
    name = str(tensor.dtype).partition(".")[2]
    return {"qint8": "int8", "quint8": "uint8", "qint32": "int32"}.get(name, name)


def _storage(tensor: Any) -> int:
    """Whose memory a tensor is in: the same number for all views of it."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except Exception:  # an opaque tensor is its own
        return id(tensor)


def _storages(module: Any) -> Set[int]:
    """The memory of all that a module holds: parameters, buffers, and tensors that are plain attributes of its parts."""
    found: Set[int] = set()
    for part in module.modules():
        with contextlib.suppress(Exception):  # a scripted part keeps its attributes elsewhere
            for each in vars(part).values():
                found.update(_storage(tensor) for tensor in _tensors(each, 1))
    for tensors in (module.parameters(), module.buffers()):
        found.update(_storage(tensor) for tensor in tensors)
    return found

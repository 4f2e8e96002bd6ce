"""torch's own kernels with known costs, timed: what ceilings are measured with where the target runs on torch."""

from __future__ import annotations

import time
import warnings
from typing import Any, Callable, Dict, FrozenSet, List

from pinchpoint.child.torch_operators import kind_of, watching

CALLS = 50  # of a tiny operator in one timing, so that reading the clock costs nothing of it
SMALL = 16
_clock = time.perf_counter


def kernel(name: str, elements: int, dtype: str) -> Callable[[], Any]:
    """A call of about `elements` elements: product, conv, gemv, maximum, add, or rows (of a table of `elements` floats)."""
    import torch

    kind = getattr(torch, dtype)
    side = max(int(elements**0.5), 1)
    if name == "product" and dtype == "int8":
        left = right = torch.ones(side, side, dtype=kind)
        return lambda: torch._int_mm(left, right)
    if name == "product":
        a, b, out = (torch.full((side, side), v).to(kind) for v in (0.5, 0.25, 0.0))
        return lambda: torch.mm(a, b, out=out)
    if name == "conv":
        image, filters = torch.full((1, 64, 112, 112), 0.5), torch.full((64, 64, 3, 3), 0.25)
        return lambda: torch.conv2d(image, filters, padding=1)
    if name == "gemv":
        vector = torch.full((1, side), 0.5)
        count = max(elements // (side * side), 1)
        layers = [torch.full((side, side), 0.25) for _ in range(count)]
        return lambda: [torch.nn.functional.linear(vector, each) for each in layers]
    if name == "maximum":
        long = torch.full((64, elements // 64), 0.5)
        return lambda: long.amax(1)
    if name == "add":
        c, d, total = (torch.full((elements,), v) for v in (0.5, 0.25, 0.0))
        return lambda: torch.add(c, d, out=total)
    return _rows(torch, elements)


def _rows(torch: Any, elements: int, width: int = 16) -> Callable[[], Any]:
    """Rows at random places of a table: as many as ceilings count with (a quarter of the rows, or 16 times a small table's)."""
    rows = elements // width
    count = rows // 4 if rows > 1 << 16 else rows * 16
    table = torch.ones(rows, width)
    places = torch.randint(0, rows, (count,), generator=torch.Generator().manual_seed(0))
    return lambda: torch.nn.functional.embedding(places, table)


def tiny_operators(torch: Any) -> Dict[str, Callable[[], Any]]:
    """Calls that do next to no work: what is left is what torch charges for starting an operator of that kind."""
    f = torch.nn.functional
    x, y = torch.full((1, SMALL), 0.5), torch.full((1, SMALL), 0.25)
    w, bias = torch.full((SMALL, SMALL), 0.25), torch.full((SMALL,), 0.5)
    cube = torch.full((1, SMALL, SMALL), 0.5)
    heads = torch.full((1, 1, 4, SMALL), 0.5)
    image, filters = torch.full((1, 4, 4, 4), 0.5), torch.full((4, 4, 3, 3), 0.25)
    four = torch.ones(4)
    table, place = torch.ones(SMALL, SMALL), torch.zeros(1, 1, dtype=torch.int64)
    return {
        "": lambda: x + y,
        "relu": lambda: torch.relu(x),
        "gelu": lambda: f.gelu(x),
        "linear": lambda: f.linear(x, w, bias),
        "addmm": lambda: torch.addmm(bias, x, w),
        "mm": lambda: torch.mm(x, w),
        "bmm": lambda: torch.bmm(cube, cube),
        "matmul": lambda: torch.matmul(cube, cube),
        "conv2d": lambda: torch.conv2d(image, filters, padding=1),
        "convolution": lambda: torch.convolution(image, filters, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1),
        "batch_norm": lambda: torch.batch_norm(image, four, four, four, four, False, 0.1, 1e-5, False),
        "native_batch_norm": lambda: torch.native_batch_norm(image, four, four, four, four, False, 0.1, 1e-5),
        "layer_norm": lambda: f.layer_norm(x, (SMALL,), bias, bias),
        "native_layer_norm": lambda: torch.native_layer_norm(x, [SMALL], bias, bias, 1e-5),
        "softmax": lambda: torch.softmax(x, -1),
        "_softmax": lambda: torch._softmax(x, -1, False),
        "scaled_dot_product_attention": lambda: f.scaled_dot_product_attention(heads, heads, heads),
        "max_pool2d": lambda: torch.max_pool2d(image, 2),
        "embedding": lambda: f.embedding(place, table),
        "cat": lambda: torch.cat((x, y)),
        "clone": x.clone,
        "view": lambda: x.view(SMALL, 1),
        "reshape": lambda: x.reshape(SMALL, 1),
        "t": x.t,
        "transpose": lambda: cube.transpose(1, 2),
        "permute": lambda: cube.permute(0, 2, 1),
        "slice": lambda: x[:, 1:],
    }


def times_of_starting(seconds: float, most: int, whole: FrozenSet[str]) -> Dict[str, Dict[str, List[float]]]:
    """By kind of operator: seconds of a tiny one as it is (`plain`), and as it shows when operators are timed (`shown`).

    `scripted` and `exported` are the first kind, an addition, as TorchScript and as exported programs start it.
    """
    import torch

    found: Dict[str, Dict[str, List[float]]] = {}
    for kind, call in tiny_operators(torch).items():
        call()
        plain = [_each(call) for _ in _rounds(seconds, most)]
        shown: List[float] = []
        watch = watching(whole)
        with watch:
            for _ in _rounds(seconds, most):
                watch.again()
                for _ in range(CALLS):
                    call()
                mine = [s for f, s in zip(watch.kinds, watch.seconds) if kind in ("", kind_of(f))]
                shown.append(sum(mine) / max(len(mine), 1))
        found[kind] = {"plain": plain, "shown": shown}
    chain = _scripted_chain(torch)
    chain()
    scripted = [_once(chain) / CALLS for _ in _rounds(seconds, most)]
    x, overload = torch.ones(1, SMALL), torch.ops.aten.add.Tensor
    exported = [_each(lambda: overload(x, x)) for _ in _rounds(seconds, most)]
    found["scripted"] = {"plain": scripted, "shown": found[""]["shown"]}
    found["exported"] = {"plain": exported, "shown": found[""]["shown"]}
    return found


def _scripted_chain(torch: Any) -> Callable[[], Any]:
    """Additions, one on the other, in TorchScript: what starting an operator costs where no Python is between them."""

    def added(x: Any) -> Any:
        y = x
        for _ in range(CALLS):
            y = y + x
        return y

    x = torch.full((1, SMALL), 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(added, (x,), check_trace=False)
    for _ in range(5):  # its own optimisation takes place in the first calls
        traced(x)
    return lambda: traced(x)


def times_of_calling(seconds: float, most: int) -> List[float]:
    """Seconds that a layer of torch's adds to its operator and to reaching its parameters: the call of the module and its
    forward function in Python. From a stack of linear layers and rectifiers, less what these operators cost alone.
    """
    import torch

    pairs = CALLS // 2
    layers = [layer for _ in range(pairs) for layer in (torch.nn.Linear(SMALL, SMALL), torch.nn.ReLU())]
    stack, value = torch.nn.Sequential(*layers).eval(), torch.full((1, SMALL), 0.5)
    linear, first = torch.nn.functional.linear, layers[0]
    weight, bias = first.weight, first.bias
    stack(value)
    found = []
    for _ in _rounds(seconds, most):
        whole = _once(lambda: stack(value))
        alone = _each(lambda: linear(value, weight, bias)) + _each(lambda: torch.relu(value))
        reached = 2 * _each(lambda: first.weight)
        found.append(max(whole - pairs * (alone + reached), 0.0) / len(layers))
    return found


def times_of_reaching(seconds: float, most: int) -> List[float]:
    """Seconds of reaching a parameter as an attribute of its module, which modules do in Python."""
    import torch

    module = torch.nn.Linear(1, 1)
    return [_each(lambda: module.weight) for _ in _rounds(seconds, most)]


def _once(call: Callable[[], Any]) -> float:
    start = _clock()
    call()
    return _clock() - start


def _each(call: Callable[[], Any]) -> float:
    """Seconds of one call, without what calling a function of Python costs."""
    start = _clock()
    for _ in range(CALLS):
        _nothing()
    empty = _clock() - start
    start = _clock()
    for _ in range(CALLS):
        call()
    return max(_clock() - start - empty, 0.0) / CALLS


def _nothing() -> None:
    return None


def _rounds(seconds: float, most: int) -> Any:
    """As many rounds as fit into the seconds, at least three."""
    deadline = _clock() + seconds
    for number in range(most):
        if number >= 3 and _clock() > deadline:
            return
        yield number

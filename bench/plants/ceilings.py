"""What the limits rest on: `python -m bench.plants.ceilings` sets the C101, M101, M102, M107 and C105 plants against
arithmetic, streaming, dispatch and miss times, measured here and now by other means than the runtime's profile.

Arms of a comparison take turns and the best quarter of each counts, so that neighbours disturb all alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from bench.plants.families.shared import CORES, convolutions, matmuls
from bench.plants.graphs import blend, decoder, lstm, networks, one_large_convolution, tables, tagger

Call = Callable[[], Any]
ROUNDS = 12


def main() -> None:
    """Print one comparison a line."""
    gemm, stream, read = _ceilings()
    print(
        f"numpy on {CORES} cores: GEMM {gemm / 1e9:.0f} GFLOP/s, add {stream / 1e9:.1f} GB/s, sum {read / 1e9:.1f} GB/s"
    )
    _arithmetic(gemm)
    _weights(read)
    _activations(stream)
    _dispatch()
    _misses()


def best_s(*calls: Call, rounds: int = ROUNDS) -> list[float]:
    """Seconds of each call: the lower quartile of calls that took turns."""
    times: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    for _ in range(rounds):
        for call, own in zip(calls, times, strict=True):
            began = time.perf_counter()
            call()
            own.append(time.perf_counter() - began)
    return [float(np.quantile(own, 0.25)) for own in times]


def ready(model: onnx.ModelProto, threads: int = CORES, rows: int = 1, ids_below: int = 2, spread: int = 1) -> Call:
    """A run of the model on random input of 256 tokens; ids are below `ids_below`, times `spread`."""
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, threads
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    random, feed = np.random.default_rng(0), {}
    for item in session.get_inputs():
        shape = [size if isinstance(size, int) else {"batch": rows}.get(size, 256) for size in item.shape]
        whole = item.type == "tensor(int64)"
        feed[item.name] = (
            random.integers(0, ids_below, shape) * spread if whole else random.standard_normal(shape, np.float32)
        )
    return partial(session.run, None, feed)


def _ceilings() -> tuple[float, float, float]:
    """FLOP/s and bytes/s of numpy's BLAS, of an addition over 400 MB by threads, and of a sum."""
    from concurrent.futures import ThreadPoolExecutor

    a, b = (np.random.default_rng(0).standard_normal((2048, 2048), dtype=np.float32) for _ in range(2))
    parts = [np.ones(16_000_000, np.float32) for _ in range(3)]
    slices = [slice(k * 16_000_000 // CORES, (k + 1) * 16_000_000 // CORES) for k in range(CORES)]
    with ThreadPoolExecutor(CORES) as pool:
        add = lambda: list(pool.map(lambda s: np.add(parts[0][s], parts[1][s], out=parts[2][s]), slices))  # noqa: E731
        dot = lambda: list(pool.map(lambda s: parts[0][s].sum(), slices))  # noqa: E731
        gemm_s, add_s, sum_s = best_s(lambda: a @ b, add, dot)
    return 2 * 2048**3 / gemm_s, 3 * 64e6 / add_s, 64e6 / sum_s


def _arithmetic(gemm: float) -> None:
    """C101: FLOP/s of the networks that are said to be limited by arithmetic, as a share of GEMM."""
    bert = 2 * 3 * (4 * 512**2 + 2 * 4 * 512**2) * 256 + 3 * 4 * 256**2 * 512
    cases: list[tuple[str, Call, float]] = [
        ("conv3x3 6x64x56", ready(convolutions(6)()), 6 * 18 * (64 * 56) ** 2),
        ("conv3x3 40x32x56", ready(convolutions(40, 32)()), 40 * 18 * (32 * 56) ** 2),
        ("conv3x3 10x48x56", ready(convolutions(10, 48)()), 10 * 18 * (48 * 56) ** 2),
        ("conv3x3 2x64x112", ready(convolutions(2, 64, 112)()), 2 * 18 * (64 * 112) ** 2),
        ("conv9x9 64x56", ready(one_large_convolution()), 2 * 81 * (64 * 56) ** 2),
        ("conv7x7 96x40", ready(one_large_convolution(96, 40, 7)), 2 * 49 * (96 * 40) ** 2),
        ("tagger 8", ready(tagger(8)), 8 * 18 * (64 * 56) ** 2),
        ("matmuls 4x1024, 64 rows", ready(matmuls(4, 1024)(), rows=64), 4 * 2 * 1024**2 * 64),
        ("matmuls 4x4096, 128 rows", ready(matmuls(4, 4096)(), rows=128), 4 * 2 * 4096**2 * 128),
        ("decoder, 96 rows", ready(decoder(), rows=96), 3 * 2 * 8 * 2048**2 * 96),
        ("bert 3x512, 256 tokens", ready(networks.bert_base(3, 512, 8, 2000, 256)), bert),
    ]
    for (name, _, flops), seconds in zip(cases, best_s(*(case[1] for case in cases)), strict=True):
        print(
            f"C101 {name}: {seconds * 1e3:.2f} ms, {flops / seconds / 1e9:.0f} GFLOP/s, {flops / seconds / gemm:.2f} of GEMM"
        )


def _shared_weight(count: int, size: int, columns: int) -> onnx.ModelProto:
    """The same products as a chain of `count` square MatMuls, all with one narrow weight that stays in the cache."""
    graph = networks.Graph("shared_weight", 0)
    x = graph.input("x", ("batch", size))
    weight = graph.weight("weight", graph.normal((size, columns), 0.01))
    for layer in range(count):
        parts = []
        for k in range(size // columns):  # inputs that differ by a factor, or else the runtime merges equal products
            factor = graph.constant(f"factor{layer}.{k}", 1 + k / 99, np.float32)
            parts.append(graph.node("MatMul", f"m{layer}.{k}", graph.node("Mul", f"s{layer}.{k}", x, factor), weight))
        x = graph.node("Concat", "y" if layer == count - 1 else f"c{layer}", *parts, axis=1)
    return graph.close(y=("batch", size))


def _weights(read: float) -> None:
    """M101: bytes/s, the price of eight rows, and of the same products on weights in the cache."""
    cached = ready(_shared_weight(4, 4096, 128))
    for name, model, size in (
        ("matmuls", matmuls(4, 4096)(), 4 * 4096**2 * 4),
        ("decoder", decoder(), 48 * 2048**2 * 4),
    ):
        one, eight, near = best_s(ready(model), ready(model, rows=8), cached)
        print(
            f"M101 {name}: {one * 1e3:.2f} ms, {size / one / read:.2f} of sum's bytes/s; 8 rows {eight / one:.2f}",
            end="",
        )
        print(f", same products on cached weights {near / one:.2f}" if name == "matmuls" else "")


def _activations(stream: float) -> None:
    """M102: bytes/s as a share of an addition's, and the price of the same operators on a hundredth of the numbers."""
    for name, large, small, moved in (
        ("elementwise", networks.elementwise(8, 16_000_000), networks.elementwise(8, 160_000), 4 * (2 + 3) * 64e6),
        ("blend", blend(1080, 1920), blend(108, 192), 4 * (3 + 3 + 3 + 2) * 1080 * 1920 * 12),
    ):
        whole, part = best_s(ready(large), ready(small))
        share, dearer = moved / whole / stream, whole / part / 100
        print(
            f"M102 {name}: {whole * 1e3:.1f} ms, {share:.2f} of add's bytes/s; a number costs {dearer:.2f} of a cached one"
        )


def _dispatch() -> None:
    """C105: nanoseconds an operator, and the price of eight rows."""
    model = networks.tiny_operators(4000)
    one, eight, threads = best_s(ready(model, 1), ready(model, 1, rows=8), ready(model))
    print(
        f"C105 tiny: {one / 4000 * 1e9:.0f} ns an operator; 8 rows {eight / one:.2f}, all threads {threads / one:.2f}"
    )
    unrolled, fused = best_s(ready(lstm(True, 600), 1), ready(lstm(False, 600), 1))
    print(f"C105 lstm: {unrolled / 600 * 1e6:.2f} us a step unrolled, {fused / 600 * 1e6:.2f} as one operator")
    one, eight = best_s(ready(matmuls(600, 16)()), ready(matmuls(600, 16)(), rows=8))
    print(f"C105 matmuls 600x16: {one / 600 * 1e9:.0f} ns an operator; 8 rows {eight / one:.2f}")


def _misses() -> None:
    """M107: nanoseconds a row, random and popular."""
    table = networks.embedding(8_000_000, 16, 65_536)
    far, near = best_s(ready(table, 1, ids_below=8_000_000), ready(table, 1, ids_below=1000, spread=8000))
    print(f"M107 gather: {far / 65_536 * 1e9:.0f} ns a row, {near / 65_536 * 1e9:.0f} of popular ones")
    model = tables()
    far, near = best_s(ready(model, 1, ids_below=1_000_000), ready(model, 1, ids_below=1000))
    print(f"M107 tables: {far / 65_536 * 1e9:.0f} ns a row, {near / 65_536 * 1e9:.0f} of popular ones")


if __name__ == "__main__":
    main()

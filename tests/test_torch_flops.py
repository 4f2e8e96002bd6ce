"""Our FLOP counts by operator against torch's own counter, an independent one, on networks of known shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pinchpoint import torch_profile
from pinchpoint.flop_counts import SOFTMAX
from pinchpoint.torch_costs import WHOLE
from torch_python import needs_torch, run

COUNTED = {
    "mm", "addmm", "bmm", "baddbmm", "matmul", "linear", "convolution", "conv1d", "conv2d", "conv_transpose2d", "_convolution",
    "scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu",
}  # fmt: skip
SCRIPT = """
    import json, sys, torch
    sys.path.insert(0, {tests!r})
    import torch_networks
    from torch.utils.flop_counter import FlopCounterMode
    from pinchpoint.child import torch_loading, torch_models
    module, inputs = getattr(torch_networks, sys.argv[1])()
    if sys.argv[3] == "exported":
        module = torch.export.export(module, (inputs,)).module()
    if sys.argv[3] == "scripted":
        module = torch.jit.trace(module, inputs)
    ready = torch_loading.ready(module, [inputs], {{"grad_mode": sys.argv[2]}}, "the test")
    ready.call(ready.feeds[0])
    arm = torch_models.OperatorArm(torch_models.known_as(module), sys.argv[4], frozenset(sys.argv[5].split()))
    arm.visit(0.0, 3)
    arm.visit(0.0, 3)
    closed = arm.close()
    # torch 2.13 counts nothing for its fused attention on CPUs: it counts the same in its parts
    parts = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), parts:
        module(inputs)
    print(json.dumps({{"flops": counter.get_total_flops(), "runs": len(closed["seconds"]), "path": closed["path"],
                      "weights": sum(p.numel() * p.element_size() for p in module.parameters())}}))
"""


def profiled(tmp_path, network, mode="inference", form="eager"):
    """Operators of a network as our arm tells them, and torch's count of their FLOPs."""
    script = SCRIPT.format(tests=str(Path(__file__).parent))
    found = run(script, network, mode, form, tmp_path / "profile", " ".join(WHOLE))
    read = torch_profile.read(Path(found["path"]), 0, np.ones(found["runs"], bool))
    return read, found


@needs_torch
@pytest.mark.parametrize("network", ["images", "attention", "words", "sounds"])
@pytest.mark.parametrize(
    ("mode", "form"), [("inference", "eager"), ("grad", "eager"), ("inference", "exported"), ("inference", "scripted")]
)
def test_flops_are_those_of_torch_s_counter(tmp_path, network, mode, form):
    read, found = profiled(tmp_path, network, mode, form)
    assert read.operators
    assert not [row.kind for row in read.operators if row.cost is None]
    ours = sum(row.cost.flops for row in read.operators if row.kind in COUNTED)
    scores = 2 * 4 * 24 * 24 * SOFTMAX if network == "attention" else 0  # torch counts no softmax in fused attention
    fused = any("scaled_dot_product" in row.kind for row in read.operators)
    assert ours - (scores if fused else 0) == pytest.approx(found["flops"], rel=0.01)


@needs_torch
@pytest.mark.parametrize("network", ["images", "attention", "sounds"])
def test_every_weight_is_read_once(tmp_path, network):
    read, found = profiled(tmp_path, network)
    weights = sum(row.cost.weight_bytes for row in read.operators)
    assert weights == pytest.approx(found["weights"], rel=0.01)  # batch statistics are buffers, a few bytes


@needs_torch
def test_rows_of_an_embedding_are_look_ups_and_operators_have_their_module_s_name(tmp_path):
    read, _ = profiled(tmp_path, "words")
    row = next(row for row in read.operators if row.kind == "embedding")
    assert (row.cost.lookups, row.cost.lookup_bytes) == (36, 36 * 32 * 4)
    assert row.cost.weight_bytes == 0
    assert row.name == "table embedding"
    assert read.modules == 3

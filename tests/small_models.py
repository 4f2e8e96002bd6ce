"""Small ONNX models of known shape for tests, and ONNX Runtime's profile of a run of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from pinchpoint.domain.operator import Tensor

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
LEVELS = onnxruntime.GraphOptimizationLevel


def save(path, nodes, inputs, outputs, constants=(), domains=(("", 17),)):
    """`inputs` are (name, element type, shape), `outputs` names, `constants` a mapping of arrays."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*item) for item in inputs],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(constants).items()],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return Path(path)


def weights(*shape, seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * 0.1).astype(np.float32)


def one_node(path, kind, feeds, constants=None, domain="", outputs=1, opset=17, **attributes):
    """A model of one node whose inputs are the feeds and constants, in the order in which they are given."""
    names = [*feeds, *(constants or {})]
    node = helper.make_node(kind, names, [f"y{i}" for i in range(outputs)], "node", domain=domain, **attributes)
    inputs = [(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feeds.items()]
    domains = (("", opset),) if domain == "" else (("", opset), (domain, 1))
    return save(path, [node], inputs, node.output, constants or {}, domains)


def conv_net(path):
    """Convolutions (plain, grouped, residual, transposed) on an image [n, 3, 64, 64] with a classifier."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], "conv1", pads=[1] * 4),
        node("BatchNormalization", ["c1", "s", "b1", "b1", "s"], ["n1"], "norm"),
        node("Relu", ["n1"], ["r1"], "relu"),
        node("Conv", ["r1", "w2"], ["c2"], "conv2", pads=[1] * 4, group=4, strides=[2, 2]),
        node("Relu", ["c2"], ["r2"], "relu2"),
        node("Conv", ["r2", "w3"], ["c3"], "conv3", pads=[1] * 4),
        node("Add", ["c3", "r2"], ["a"], "add"),
        node("MaxPool", ["a"], ["p"], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        node("ConvTranspose", ["p", "wt"], ["t"], "up", strides=[2, 2]),
        node("GlobalAveragePool", ["t"], ["g"], "average"),
        node("Flatten", ["g"], ["f"], "flat"),
        node("Gemm", ["f", "wg", "bg"], ["y"], "classify", transB=1),
        node("Softmax", ["y"], ["z"], "softmax"),
    ]
    constants = {
        "w1": weights(64, 3, 3, 3),
        "b1": weights(64),
        "s": np.ones(64, np.float32),
        "w2": weights(128, 16, 3, 3),
        "w3": weights(128, 128, 3, 3),
        "wt": weights(128, 64, 3, 3),
        "wg": weights(1000, 64),
        "bg": weights(1000),
    }
    return save(path, nodes, [("x", FLOAT, ["n", 3, 64, 64])], ["z"], constants)


class _Encoder:
    """Builds a BERT encoder node by node; `generated` weights come from ConstantOfShape, so that the file stays small."""

    def __init__(self, width, heads, layers, words, generated):
        self.width, self.heads, self.layers, self.words, self.generated = width, heads, layers, words, generated
        self.nodes, self.constants = [], {}

    def node(self, kind, inputs, name, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [name], f"{name}_node", **attributes))
        return name

    def constant(self, name, value):
        self.constants[name] = np.asarray(value)
        return name

    def weight(self, name, *shape):
        if not self.generated:
            return self.constant(name, weights(*shape, seed=len(self.constants)))
        shape_name = self.constant(f"{name}_shape", np.array(shape, np.int64))
        value = helper.make_tensor("", FLOAT, [1], [0.02])
        return self.node("ConstantOfShape", [shape_name], name, value=value)

    def normalised(self, x, name):
        mean = self.node("ReduceMean", [x], f"{name}_mean", axes=[-1])
        centred = self.node("Sub", [x, mean], f"{name}_centred")
        square = self.node("Pow", [centred, "two"], f"{name}_square")
        variance = self.node("ReduceMean", [square], f"{name}_variance", axes=[-1])
        safe = self.node("Add", [variance, "epsilon"], f"{name}_safe")
        scaled = self.node("Div", [centred, self.node("Sqrt", [safe], f"{name}_deviation")], f"{name}_scaled")
        scaled = self.node("Mul", [scaled, self.weight(f"{name}_gamma", self.width)], f"{name}_mul")
        return self.node("Add", [scaled, self.weight(f"{name}_beta", self.width)], name)

    def linear(self, x, name, inner, outer):
        product = self.node("MatMul", [x, self.weight(f"{name}_w", inner, outer)], f"{name}_product")
        return self.node("Add", [product, self.weight(f"{name}_b", outer)], name)

    def split(self, x, name, perm):
        return self.node("Transpose", [self.node("Reshape", [x, "split"], f"{name}_split")], name, perm=perm)

    def attention(self, x, p):
        w = self.width
        query = self.split(self.linear(x, f"{p}q", w, w), f"{p}qh", [0, 2, 1, 3])
        key = self.split(self.linear(x, f"{p}k", w, w), f"{p}kh", [0, 2, 3, 1])
        value = self.split(self.linear(x, f"{p}v", w, w), f"{p}vh", [0, 2, 1, 3])
        scores = self.node("Div", [self.node("MatMul", [query, key], f"{p}qk"), "scale"], f"{p}scores")
        masked = self.node("Add", [scores, "mask"], f"{p}masked")
        shares = self.node("Softmax", [masked], f"{p}shares", axis=-1)
        context = self.node("MatMul", [shares, value], f"{p}context")
        context = self.node("Transpose", [context], f"{p}back", perm=[0, 2, 1, 3])
        return self.linear(self.node("Reshape", [context, "join"], f"{p}joined"), f"{p}out", w, w)

    def feed_forward(self, x, p):
        inner = self.linear(x, f"{p}up", self.width, 4 * self.width)
        erf = self.node("Erf", [self.node("Div", [inner, "root2"], f"{p}g1")], f"{p}g2")
        gelu = self.node("Mul", [inner, self.node("Add", [erf, "one"], f"{p}g3")], f"{p}g4")
        return self.linear(self.node("Mul", [gelu, "half"], f"{p}g5"), f"{p}down", 4 * self.width, self.width)

    def save(self, path):
        for name, value in {"two": 2, "epsilon": 1e-12, "half": 0.5, "one": 1, "root2": 2**0.5, "low": -1e4}.items():
            self.constant(name, np.float32(value))
        self.constant("scale", np.float32((self.width / self.heads) ** 0.5))
        self.constant("split", np.array([0, 0, self.heads, self.width // self.heads], np.int64))
        self.constant("join", np.array([0, 0, self.width], np.int64))
        self.constant("axes", np.array([1, 2], np.int64))
        self.constant("first", np.int64(0))
        self.constant("last_axis", np.array([1], np.int64))
        self.constant("zero", np.array([0], np.int64))
        self.constant("positions", np.arange(512, dtype=np.int64)[None])
        x = self.embedded()
        visible = self.node("Cast", ["attention_mask"], "visible", to=FLOAT)
        visible = self.node("Unsqueeze", [visible, "axes"], "visible4")
        self.node("Mul", [self.node("Sub", ["one", visible], "hidden"), "low"], "mask")
        for p in (f"l{i}_" for i in range(self.layers)):
            x = self.normalised(self.node("Add", [self.attention(x, p), x], f"{p}sum1"), f"{p}norm1")
            x = self.normalised(self.node("Add", [self.feed_forward(x, p), x], f"{p}sum2"), f"{p}norm2")
        start = self.node("Gather", [x, "first"], "start", axis=1)
        self.node("Tanh", [self.linear(start, "pool", self.width, self.width)], "pooled")
        inputs = [(n, INT64, ["batch", "sequence"]) for n in ("input_ids", "token_type_ids", "attention_mask")]
        return save(path, self.nodes, inputs, [x, "pooled"], self.constants)

    def embedded(self):
        words = self.node("Gather", [self.weight("words", self.words, self.width), "input_ids"], "word_rows")
        types = self.node("Gather", [self.weight("types", 2, self.width), "token_type_ids"], "type_rows")
        shape = self.node("Shape", ["input_ids"], "ids_shape")
        length = self.node("Slice", [shape, "last_axis", self.constant("end", np.array([2], np.int64))], "length")
        place = self.node("Slice", ["positions", "zero", length, "last_axis"], "place")
        places = self.node("Gather", [self.weight("places", 512, self.width), place], "place_rows")
        both = self.node("Add", [self.node("Add", [words, types], "word_type"), places], "embedding_sum")
        return self.normalised(both, "embedding")


def encoder(path):
    """A small BERT for requests of [batch, sequence]: 2 layers of width 64, 4 heads, 1,000 words."""
    return _Encoder(64, 4, 2, 1000, generated=False).save(path)


def bert_base(path):
    """BERT-base (Devlin et al. 2019) with its pooler: 12 layers of width 768, 12 heads, 30,522 words."""
    return _Encoder(768, 12, 12, 30_522, generated=True).save(path)


def profile(path, feeds, level=LEVELS.ORT_DISABLE_ALL, optimised=None):
    """(name, kind, inputs, outputs, parameter bytes) of each operator of one run, and the run's outputs."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.log_severity_level = True, 3
    options.intra_op_num_threads, options.graph_optimization_level = 1, level
    options.profile_file_prefix = str(Path(path).with_suffix(""))
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    outputs = session.run(None, feeds)
    events = json.loads(Path(session.end_profiling()).read_bytes())
    suffix = "_kernel_time"
    kernels = [e for e in events if e["cat"] == "Node" and e["name"].endswith(suffix)]
    return [
        (
            event["name"].removesuffix(suffix),
            event["args"]["op_name"],
            tuple(Tensor(d, tuple(s)) for item in event["args"]["input_type_shape"] for d, s in item.items()),
            tuple(Tensor(d, tuple(s)) for item in event["args"]["output_type_shape"] for d, s in item.items()),
            int(event["args"]["parameter_size"]),
        )
        for event in kernels
    ], outputs

# REQUIRES: python-numpy, python-onnx
# RUN: %python %s %t | FileCheck %s
"""Experts as one gathered matrix per row, written in the ways exporters do,
against float64. Each way is recognised, and so is no computation that only
looks like one: that goes through its plain operators to the right result."""

import sys

import numpy as np
from onnx import helper, numpy_helper

import moe_reference as ref
import moe_testing


class Graph:
    """An ONNX graph under construction."""

    def __init__(self, dtype, opset):
        self.dtype, self.opset = dtype, opset
        self.element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.nodes, self.initializers, self.outputs = [], [], []
        self.inputs = []
        self.count = 0

    def constant(self, value, dtype=np.int64):
        self.count += 1
        name = "c%d" % self.count
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def __call__(self, op, *inputs, outputs=1, **attributes):
        self.count += 1
        names = ["v%d_%d" % (self.count, i) for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name="n%d" % self.count, **attributes))
        return names[0] if outputs == 1 else names

    def model(self):
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.outputs, self.initializers)
        return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", self.opset)])


def layer(g, x, rng, E, H, I, k, *, router="renorm", score="softmax", torchscript=False, input_major=False,
          parts="split", bias=False, activation="silu", broken=None):
    """Adds one sparse layer on the tokens x [T, H]; returns its result and its
    float64 reference."""
    def array(*shape, scale=1.0):
        return (rng.standard_normal(shape) * scale / np.sqrt(shape[-1])).astype(g.dtype)

    def stack(n, m):
        """Weights of m inputs and n outputs per expert, as the graph has them."""
        return array(E, m, n) if input_major else array(E, n, m)

    def by_output(w):
        return ref.f64(w.transpose(0, 2, 1) if input_major else w)

    minus, one = g.constant([-1]), g.constant([1])
    gate = array(E, H, scale=2.0)
    if torchscript:
        logits = g("MatMul", x, g.constant(gate.T, g.dtype))
    else:
        logits = g("Gemm", x, g.constant(gate, g.dtype), transB=1)
    scores = logits
    if router != "select":
        scores = g("Sigmoid", logits) if score == "sigmoid" else g("Softmax", logits, axis=-1)
    values, ids = g("TopK", scores, g.constant([k]), outputs=2, axis=-1)
    w = values
    if router == "select":
        w = g("Softmax", values, axis=1)
    elif router == "renorm":
        w = g("Div", values, g("ReduceSum", values, minus, keepdims=1))
    elif router == "scaled":
        total = g("Add", g("ReduceSum", values, minus, keepdims=1), g.constant(0.125, g.dtype))
        w = g("Mul", g("Div", values, total), g.constant(2.5, g.dtype))

    x3 = g("Unsqueeze", x, one)
    repeats = g.constant([1, k, 1])
    rows = g("Tile", x3, repeats) if torchscript else g("Expand", x3, repeats)
    rows = g("Flatten", rows, axis=2) if torchscript else g("Reshape", rows, g.constant([-1, H]))
    flat = g("Reshape", ids, minus)
    at = flat if torchscript else g("Unsqueeze", flat, minus)

    def gather(data):
        name = g.constant(data, g.dtype)
        return g("Gather", name, at, axis=0) if torchscript else g("GatherND", name, at)

    def linear(data, b, rows):
        if input_major:
            y = g("Squeeze", g("MatMul", g("Unsqueeze", rows, one), gather(data)), one)
        else:
            y = g("Squeeze", g("MatMul", gather(data), g("Unsqueeze", rows, minus)), minus)
        return y if b is None else g("Add", y, gather(b))

    separate = parts == "separate"
    w1 = stack(I if separate else 2 * I, H)
    w3 = stack(I, H) if separate else None
    w2 = stack(H, I)
    b1 = array(E, I if separate else 2 * I) if bias else None
    b3 = array(E, I) if bias and separate else None
    b2 = array(E, H) if bias else None
    first = linear(w1, b1, rows)
    if separate:
        gated, line = first, linear(w3, b3, rows)
    elif parts == "split":
        gated, line = g("Split", first, outputs=2, axis=1, num_outputs=2)
    elif parts == "slice":
        last = g.constant([1 << 62])
        gated = g("Slice", first, g.constant([0]), g.constant([I]), minus)
        line = g("Slice", first, g.constant([I]), last, minus)
    else:  # interleaved
        last, two = g.constant([1 << 62]), g.constant([2])
        gated = g("Slice", first, g.constant([0]), last, minus, two)
        line = g("Slice", first, g.constant([1]), last, minus, two)
    if activation == "silu":
        acted = g("Mul", gated, g("Sigmoid", gated))
    elif activation == "gelu":
        erf = g("Erf", g("Div", gated, g.constant(np.sqrt(2), g.dtype)))
        acted = g("Mul", g("Mul", gated, g("Add", erf, g.constant(1, g.dtype))), g.constant(0.5, g.dtype))
    else:
        acted = g({"relu": "Relu", "tanh": "Tanh"}[activation], gated)
    hidden = g("Mul", line, acted)
    out = linear(w2, b2, hidden)
    if broken == "residual":  # an expert that adds its own input
        out = g("Add", out, rows)
    column = g("Unsqueeze", g("Reshape", w, minus), minus)
    weighted = g("Mul", out, column)
    grouped = g("Reshape", weighted, g.constant([-1, k, H]))
    y = g("ReduceMax" if broken == "max" else "ReduceSum", grouped, one, keepdims=0)

    gate, b1, b2, b3 = map(ref.f64, (gate, b1, b2, b3))
    w1, w2, w3 = by_output(w1), by_output(w2), by_output(w3) if separate else None

    def expert(e, row):
        def affine(w, b, v):
            return w[e] @ v + (0 if b is None else b[e])
        h = affine(w1, b1, row)
        if separate:
            a, l = h, affine(w3, b3, row)
        elif parts == "interleaved":
            a, l = h[0::2], h[1::2]
        else:
            a, l = np.split(h, 2)
        o = affine(w2, b2, ref.ACTIVATIONS[activation](a) * l)
        return o + row if broken == "residual" else o

    def reference(x):
        logits = x @ gate.T
        weights, experts = ref.route(
            logits, k, score=score, after=router == "select", renormalize=router in ("renorm", "scaled"),
            epsilon=0.125 if router == "scaled" else 0, scale=2.5 if router == "scaled" else 1)
        if broken == "max":
            return np.stack([np.max([u * expert(e, row) for u, e in zip(us, es)], 0)
                             for row, us, es in zip(x, weights, experts)])
        return ref.combine(x, weights, experts, expert)

    return y, reference


def check(name, layers, sizes, dtype=np.float32, opset=20, tolerance=1e-5):
    """One model of several layers side by side, each on the model's input."""
    rng = np.random.default_rng(11)
    g = Graph(dtype, opset)
    E, H, I = sizes
    g.inputs = [helper.make_tensor_value_info("x", g.element, ["b", "s", H])]
    x = g("Reshape", "x", g.constant([-1, H]))
    references = []
    for i, options in enumerate(layers):
        y, reference = layer(g, x, rng, E, H, I, **options)
        # Back to the shape of the residual stream.
        y = g("Reshape", y, g("Shape", "x"))
        g.nodes[-1].output[0] = "y%d" % i
        g.outputs.append(helper.make_tensor_value_info("y%d" % i, g.element, ["b", "s", H]))
        references.append(reference)
    path = moe_testing.save(g.model(), sys.argv[1], name.replace(" ", "-"))
    cases = []
    for batch, sequence in [(1, 1), (1, 2), (2, 9), (1, 64)]:
        tokens = rng.standard_normal((batch, sequence, H)).astype(dtype)
        flat = ref.f64(tokens).reshape(-1, H)
        cases.append(({"x": tokens}, {
            "y%d" % i: reference(flat).reshape(tokens.shape).astype(dtype)
            for i, reference in enumerate(references)}))
    count = moe_testing.count(moe_testing.raised(path), "moe.route")
    checked = moe_testing.check(path, cases, tolerance)
    print("%s: %d of %d layers recognised, %d outputs" % (name, count, len(layers), checked))


# CHECK: every k: 5 of 5 layers recognised, 20 outputs
check("every k", [dict(k=k) for k in range(1, 6)], (5, 19, 13))
# CHECK: routers: 5 of 5 layers recognised, 20 outputs
check("routers", [
    dict(k=2, router="plain"), dict(k=2, router="renorm", score="sigmoid"), dict(k=3, router="scaled"),
    dict(k=2, router="select"), dict(k=1, router="select"),
], (7, 12, 9), opset=18)
# CHECK: experts: 8 of 8 layers recognised, 32 outputs
check("experts", [
    dict(k=2, torchscript=True, parts="slice"), dict(k=2, torchscript=True, parts="separate", bias=True),
    dict(k=2, input_major=True, parts="interleaved", bias=True), dict(k=3, parts="separate", activation="gelu"),
    dict(k=2, parts="interleaved", activation="relu"), dict(k=2, bias=True, activation="tanh"),
    dict(k=2, torchscript=True, input_major=True, parts="slice", bias=True, router="plain"),
    dict(k=1, torchscript=True, parts="split", router="plain"),
], (6, 21, 17), opset=19)
# Weights of at most 1 KiB are constants of the module.
# CHECK: small weights: 3 of 3 layers recognised, 12 outputs
check("small weights", [dict(k=2), dict(k=2, input_major=True, parts="interleaved", bias=True),
                        dict(k=1, parts="separate", bias=True)], (3, 5, 4))
# CHECK: float16: 2 of 2 layers recognised, 8 outputs
check("float16", [dict(k=2), dict(k=2, bias=True, router="select")], (5, 19, 13), np.float16, tolerance=2e-3)
# CHECK: look-alikes: 0 of 2 layers recognised, 8 outputs
check("look-alikes", [dict(k=2, broken="residual"), dict(k=2, broken="max")], (5, 19, 13))

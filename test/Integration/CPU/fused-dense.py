# REQUIRES: python-numpy, python-onnx
# RUN: %python %s %t | FileCheck %s
"""A dense SwiGLU block with biases and a residual: two products are left of it
after `fuse`, and nothing between them, with the values of float64."""

import sys

import numpy as np
from onnx import helper, numpy_helper

import moe_reference as ref
import moe_testing

H, I = 19, 37


def check(dtype, tolerance):
    rng = np.random.default_rng(3)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    shapes = {"gate": (H, I), "up": (H, I), "down": (I, H), "gate_bias": (I,), "up_bias": (I,), "down_bias": (H,)}
    w = {name: (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(dtype) for name, shape in shapes.items()}
    nodes = []

    def node(op, *inputs, output):
        nodes.append(helper.make_node(op, list(inputs), [output]))
        return output

    def linear(name, x):
        return node("Add", node("MatMul", x, name, output=name + "_p"), name + "_bias", output=name + "_y")

    gate = linear("gate", "x")
    silu = node("Mul", gate, node("Sigmoid", gate, output="sigmoid"), output="silu")
    hidden = node("Mul", silu, linear("up", "x"), output="hidden")
    node("Add", "x", linear("down", hidden), output="y")
    values = [helper.make_tensor_value_info(name, element, ["b", "s", H]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:],
                              [numpy_helper.from_array(array, name) for name, array in w.items()])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    path = moe_testing.save(model, sys.argv[1], np.dtype(dtype).name)
    fused = moe_testing.compiled_to(path, "fuse")

    w = {name: ref.f64(array) for name, array in w.items()}
    cases = []
    for shape in [(1, 1), (2, 7), (3, 50)]:
        x = rng.standard_normal(shape + (H,)).astype(dtype)
        v = ref.f64(x)
        hidden = ref.ACTIVATIONS["silu"](v @ w["gate"] + w["gate_bias"]) * (v @ w["up"] + w["up_bias"])
        cases.append(({"x": x}, {"y": (v + hidden @ w["down"] + w["down_bias"]).astype(dtype)}))
    checked = moe_testing.check(path, cases, tolerance)
    print("%s: %d products, %d other operations, %d outputs" % (
        np.dtype(dtype).name, moe_testing.count(fused, "moe.grouped_matmul"),
        moe_testing.count(fused, "linalg.generic"), checked))


# CHECK: float32: 2 products, 0 other operations, 3 outputs
check(np.float32, 1e-5)
# CHECK: float16: 2 products, 0 other operations, 3 outputs
check(np.float16, 2e-3)

# REQUIRES: python-numpy, python-onnx
# RUN: %python %s %t | FileCheck %s
"""com.microsoft.MoE in all forms against float64, every form in one model."""

import itertools
import re
import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import moe_reference
import moe_testing

E, H, I, N = 7, 19, 13, 19
FORMS = [
    {"activation_type": name, "three": three}
    for name, three in itertools.product(["relu", "gelu", "silu", "identity"], [False, True])
] + [
    {"activation_type": "swiglu", "swiglu_fusion": 0, "three": True},
    {"activation_type": "swiglu", "swiglu_fusion": 0, "three": True, "activation_alpha": 1.5, "activation_beta": 0.5, "swiglu_limit": 1.0},
    {"activation_type": "swiglu", "swiglu_fusion": 1},
    {"activation_type": "swiglu", "swiglu_fusion": 1, "activation_alpha": 1.702, "activation_beta": 1.0, "swiglu_limit": 0.7},
    {"activation_type": "swiglu", "swiglu_fusion": 2},
    {"activation_type": "swiglu", "swiglu_fusion": 2, "activation_alpha": 0.5, "swiglu_limit": 2.0},
    {"activation_type": "silu", "three": True, "use_sparse_mixer": 1},
    {"activation_type": "swiglu", "swiglu_fusion": 1, "use_sparse_mixer": 1},
]


def build(dtype, batched, small, turn):
    """A model with one MoE per form. In turns 0 to 3 every form has every k, and is with and without normalisation,
    with and without biases."""
    rng = np.random.default_rng(7)
    e, h, i = (3, 4, 5) if small else (E, H, I)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes, initializers, outputs, references = [], [], [], []

    def weight(name, *shape):
        array = (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(dtype)
        initializers.append(numpy_helper.from_array(array, name))
        return array

    for n, form in enumerate(FORMS):
        form = dict(form)
        three = form.pop("three", False)
        bias = (n + turn // 2) % 2 == 0
        form["k"] = 2 if form.get("use_sparse_mixer") else [1, 2, min(4, e), e][(n + turn) % 4]
        form["normalize_routing_weights"] = (n // 2 + turn) % 2
        wide = 2 * i if form.get("swiglu_fusion") else i
        arrays = [
            weight("fc1_%d" % n, e, wide, h), weight("b1_%d" % n, e, wide) if bias else None,
            weight("fc2_%d" % n, e, h, i), weight("b2_%d" % n, e, h) if bias else None,
            weight("fc3_%d" % n, e, i, h) if three else None,
            weight("b3_%d" % n, e, i) if three and bias else None,
        ]
        names = [prefix % n if array is not None else "" for prefix, array in zip(
            ["fc1_%d", "b1_%d", "fc2_%d", "b2_%d", "fc3_%d", "b3_%d"], arrays)]
        nodes.append(helper.make_node("MoE", ["x", "r"] + names, ["y%d" % n], domain="com.microsoft", **form))
        shape = ["b", "s", h] if batched else ["t", h]
        outputs.append(helper.make_tensor_value_info("y%d" % n, element, shape))
        references.append((arrays, form))
    inputs = [
        helper.make_tensor_value_info("x", element, ["b", "s", h] if batched else ["t", h]),
        helper.make_tensor_value_info("r", element, ["t", e]),
    ]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    model = helper.make_model(graph, ir_version=10, opset_imports=[
        helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)])

    def case(*leading):
        tokens = int(np.prod(leading))
        x = rng.standard_normal(leading + (h,)).astype(dtype)
        r = rng.standard_normal((tokens, e)).astype(dtype)
        r[::3] = np.round(r[::3])  # every third token has equal logits
        r[1::3] = 1 + r[1::3] / 64  # and the next one logits that SparseMixer takes for near
        expected = {
            "y%d" % n: moe_reference.contrib_moe(x, r, *arrays, **form).astype(dtype)
            for n, (arrays, form) in enumerate(references)
        }
        return {"x": x, "r": r}, expected

    return model, case


folder = sys.argv[1]
# CHECK: float32: 16 layers, 64 outputs
# CHECK: float32, turn 1: 16 layers, 64 outputs
# CHECK: float32, turn 2: 16 layers, 64 outputs
# CHECK: float32, turn 3: 16 layers, 64 outputs
# CHECK: float32 small: 16 layers, 32 outputs
# CHECK: float16: 16 layers, 32 outputs
for name, dtype, batched, small, turn, leadings, tolerance in [
    ("float32", np.float32, True, False, 0, [(1, 1), (2, 5), (1, 17), (3, 43)], 1e-5),
    ("float32, turn 1", np.float32, False, False, 1, [(1,), (2,), (17,), (128,)], 1e-5),
    ("float32, turn 2", np.float32, True, False, 2, [(1, 0), (3, 1), (2, 1), (1, 33)], 1e-5),
    ("float32, turn 3", np.float32, False, False, 3, [(0,), (3,), (16,), (65,)], 1e-5),
    ("float32 small", np.float32, False, True, 0, [(1,), (9,)], 1e-5),
    ("float16", np.float16, True, False, 0, [(1, 1), (2, 5)], 2e-3),
]:
    model, case = build(dtype, batched, small, turn)
    path = moe_testing.save(model, folder, re.sub("[ ,]+", "-", name))
    count = moe_testing.count(moe_testing.raised(path), "moe.combine")
    checked = moe_testing.check(path, [case(*leading) for leading in leadings], tolerance)
    print("%s: %d layers, %d outputs" % (name, count, checked))

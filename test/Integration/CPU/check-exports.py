# (Sanitized models load into sanitized programs only.)
# UNSUPPORTED: sanitizer
# REQUIRES: python-numpy, python-onnx, python-ml_dtypes
# RUN: rm -rf %t && %python %s %t
# RUN: env MOE_BUILD=%moe_obj %python %moe_src/utils/check-exports %t/right | FileCheck %s
# RUN: not env MOE_BUILD=%moe_obj %python %moe_src/utils/check-exports %t/wrong > %t/wrong.txt 2> %t/error.txt
# RUN: FileCheck %s --check-prefix=WRONG < %t/wrong.txt
# RUN: FileCheck %s --check-prefix=ERROR < %t/error.txt
# RUN: not env MOE_BUILD=%moe_obj %python %moe_src/utils/check-exports %t 2>&1 | FileCheck %s --check-prefix=NONE
"""utils/check-exports on models whose outputs are right, those of another choice or of other weights, or wrong."""

import os
import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper

import moe_forms
import moe_reference as ref
from quantize import Quantized, pack
from sparse_models import F32, Graph

WIDTH, INTER, EXPERTS, K = 16, 8, 5, 2
random = np.random.default_rng(5)


def save(name, model, **cases):
    """Each case is a pair of dictionaries, inputs and outputs."""
    folder = os.path.join(sys.argv[1], name)
    os.makedirs(folder)
    onnx.save(model, os.path.join(folder, "model.onnx"))
    for case, (inputs, outputs) in cases.items():
        arrays = {"in:" + key: array for key, array in inputs.items()}
        arrays |= {"out:" + key: array for key, array in outputs.items()}
        np.savez(os.path.join(folder, f"case_{case}.npz"), **arrays)


def layer(form, dtype=np.float32, close=None, missing=None):
    """A model y = experts(x), and what all experts, also a missing one, would make of x. Two experts may be as `close` as
    that for all tokens."""
    g = Graph(dtype)
    gate = random.standard_normal((EXPERTS, WIDTH)).astype(dtype)
    if close:
        gate[:, :2] = [[3, 0], [3, close], [4, 0], [0, 0], [0, 0]]
    x = g.input("x", ["tokens", WIDTH], g.element)
    weights, ids = moe_forms.renormalized(g, g("Gemm", x, gate, transB=1), K)
    experts = moe_forms.Experts(random, WIDTH, INTER, EXPERTS, missing=missing, dtype=dtype)
    g.output("y", moe_forms.EXPERTS[form][0](g, x, weights, ids, K, experts), ["tokens", WIDTH], g.element)

    def reference(x):
        experts.missing = None
        return {"y": ref.combine(x, *ref.route(x @ ref.f64(gate).T, K, renormalize=True), experts.reference)}

    return g.model(), lambda x: ({"x": x}, reference(ref.f64(x)))


def tokens(count, dtype=np.float32):
    return random.standard_normal((count, WIDTH)).astype(dtype)


# One compiled model runs all cases. The table is sorted by name.
# CHECK: | model
# CHECK: | integers {{ *}}| {{ *}}`QMoE`, int4 | softmax → 2 of 5, renormalized | {{ *}}1 / 1 / 1 | {{ *}}| {{ *}}– | {{ *}}{{[0-9.e-]+}} of 1e-05 | {{ *}}| ok, 1 of 1 cases explained |
# CHECK: | missing {{ *}}| loop over found rows (NonZero, ScatterElements) | {{ *}}| {{ *}}0 / 0 / 0 | missing-experts | {{ *}}– | {{ *}}{{[0-9.e-]+}} of 1e-05 | {{ *}}| ok, 1 of 1 cases explained |
# CHECK: | plain {{ *}}| {{ *}}loop over found rows (NonZero, ScatterND) | softmax → 2 of 5, renormalized | {{ *}}1 / 1 / 1 | {{ *}}| {{ *}}{{[0-9.e-]+}} of 1e-05 | {{ *}}{{[0-9.e-]+}} of 1e-05 | {{ *}}| {{ *}}ok |
# CHECK: | rounding {{ *}}| {{ *}}rows sorted by expert (TopK) | softmax → 2 of 5, renormalized | {{ *}}1 / 1 / 1 | {{ *}}| {{ *}}{{[0-9.e-]+}} of 2e-03 | {{ *}}{{[0-9.e-]+}} of 2e-03 | {{ *}}1 | ok, 1 of 2 cases explained |
model, case = layer("dynamo")
# CHECK-DAG: - plain: none: the file's outputs decide alone, the graph cannot be evaluated: {{.+}}
save("right/plain", model, some=case(tokens(7)), one=case(tokens(1)), none=case(tokens(0)))

# In f16 the scores of experts 0 and 1 are equal for the second token, and 0 is taken; exactly 1 is better.
model, case = layer("grouped", np.float16, close=2**-10)
# CHECK-DAG: - rounding: tokens whose choice is a matter of rounding: 1; largest gap {{[0-9.]+}}e-05
# CHECK-DAG: - rounding: tie: 0.{{[0-9]+}} from the file's outputs, which chose as the float64 graph does
x = tokens(3, np.float16)
x[1, 0], x[1, 1], x[1, 2:] = 1, 0.25, 0
save("right/rounding", model, tie=case(x), clear=case(tokens(5, np.float16)))

# Tokens reach an expert that is not in the graph.
# CHECK-DAG: - missing: some: 0.{{[0-9]+}} from the file's outputs, the float64 graph is 0.{{[0-9]+}} off
model, case = layer("torchscript", missing=3)
save("right/missing", model, some=case(tokens(17)))

# The file's outputs are those of the weights before they were rounded to integers.
# CHECK-DAG: - integers: some: 0.{{[0-9]+}} from the file's outputs, which are not those of these integers: the float64 graph is 0.{{[0-9]+}} off
weights = [Quantized(random, (EXPERTS, *shape), 4, 0) for shape in ((INTER, WIDTH), (WIDTH, INTER))]
constants = {f"w{i}": pack(q.integers, 4) for i, q in enumerate(weights)}
constants |= {f"s{i}": q.scales[..., 0] for i, q in enumerate(weights)}
node = helper.make_node("QMoE", ["x", "r", "w0", "s0", "", "w1", "s1", ""], ["y"], domain="com.microsoft", k=K,
                        normalize_routing_weights=1, expert_weight_bits=4, activation_type="silu")  # fmt: skip
widths = {"x": WIDTH, "r": EXPERTS, "y": WIDTH}
values = [helper.make_tensor_value_info(name, F32, ["t", width]) for name, width in widths.items()]
graph = helper.make_graph([node], "g", values[:2], values[2:], [numpy_helper.from_array(a, n) for n, a in constants.items()])
model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)])
rows, logits = tokens(4), tokens(4)[:, :EXPERTS]
floats = [q.values() + random.standard_normal(q.integers.shape) / 4 for q in weights]
y = ref.contrib_moe(rows, logits, floats[0], None, floats[1], None, k=K, normalize_routing_weights=1, activation_type="silu")
save("right/integers", model, some=({"x": rows, "r": logits}, {"y": y}))

# Nothing explains a wrong output, and close experts do not explain one of another token.
# WRONG: | empty {{.*}} | {{ *}}– | {{ *}}– | {{ *}}| **failed** |
# WRONG: | off {{.*}} | {{ *}}– | {{ *}}{{[0-9.e-]+}} of 1e-05 | {{ *}}| **failed** |
# WRONG: | rounding {{.*}} | {{ *}}– | {{ *}}{{[0-9.e-]+}} of 2e-03 | {{ *}}1 | **failed** |
# WRONG: - empty: FAILED: no cases: expects case_*.npz beside the model
# WRONG: - off: FAILED: named: expects out:<output> arrays of the model's outputs, found z
# WRONG: - off: FAILED: some: 0.00{{[0-9]+}} from the file's outputs, the float64 graph is 0.00{{[0-9]+}} off
# WRONG: - rounding: FAILED: tie: 0.{{[0-9]+}} from the file's outputs, the float64 graph is 0.{{[0-9]+}} off
model, case = layer("dynamo")
inputs, outputs = case(tokens(7))
outputs["y"][3, 5] += 1e-3
save("wrong/off", model, some=(inputs, outputs), named=(inputs, {"z": outputs["y"]}))
model, case = layer("grouped", np.float16, close=2**-10)
inputs, outputs = case(x)
outputs["y"][0, 0] += 0.5
save("wrong/rounding", model, tie=(inputs, outputs))
os.makedirs(os.path.join(sys.argv[1], "wrong/empty"))
onnx.save(model, os.path.join(sys.argv[1], "wrong/empty/model.onnx"))
# ERROR: 3 of 3 models failed
# NONE: error: no model: expects {{.*}}/NAME/model.onnx

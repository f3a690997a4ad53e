# REQUIRES: python-numpy, python-onnx, python-ml_dtypes
# RUN: %python %s %t | FileCheck %s
"""ONNX's own node tests (onnx.backend.test) of every operator that
`moe-compile --list-operators` claims, and of those that have no converter of
their own but a definition by others. Tests of one operator set version are nodes
of one model, which saves compilations."""

import collections
import os
import sys
import warnings

import ml_dtypes
import numpy as np
import onnx
from onnx import compose, helper, numpy_helper

import moe_testing

# Operands that must be known when a model is compiled, as exporters write them;
# the tests pass them as inputs.
CONSTANT = {"Squeeze": [1], "Unsqueeze": [1], "CumSum": [1], "Slice": [3, 4], "Pad": [3], "Dropout": [2]}
CONSTANT.update({"Reduce" + name: [1] for name in "Sum Mean Max Min Prod L1 L2 SumSquare LogSum LogSumExp".split()})

# Compiled by the standard's definition of them.
DEFINED = set(
    """BlackmanWindow CenterCropPad DepthToSpace DynamicQuantizeLinear FlexAttention GroupNormalization HammingWindow
    HannWindow MeanVarianceNormalization NegativeLogLikelihoodLoss Shrink SoftmaxCrossEntropyLoss SpaceToDepth SwiGLU""".split()
)

# Inference only.
EXCLUDED = ("test_training_dropout",)


def operators():
    lines = moe_testing.run("moe-compile", "--list-operators").split("\n")
    return {line.split()[1] for line in lines if line.startswith("ai.onnx ")}


def usable(case, claimed):
    model = case.model
    if model is None or model.functions or case.name.startswith(EXCLUDED):
        return False
    if any((n.domain or n.op_type not in claimed) and n.op_type not in DEFINED for n in model.graph.node):
        return False
    types = [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 16]
    values = list(model.graph.input) + list(model.graph.output)
    return all(v.type.HasField("tensor_type") and v.type.tensor_type.elem_type in types for v in values)


def as_array(value):
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


class Test:
    def __init__(self, case, prefix):
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        graph = model.graph
        inputs, outputs = case.data_sets[0]
        feed = {v.name: as_array(a) for v, a in zip(graph.input, inputs)}
        for node in graph.node:
            for i in CONSTANT.get(node.op_type, []):
                if i < len(node.input) and node.input[i] in feed:
                    name = node.input[i]
                    graph.initializer.append(numpy_helper.from_array(feed.pop(name), name))
                    graph.input.remove(next(v for v in graph.input if v.name == name))
        self.name, self.rtol, self.atol = case.name, case.rtol, case.atol
        self.feed = {prefix + name: array for name, array in feed.items()}
        self.expected = {prefix + v.name: as_array(a) for v, a in zip(graph.output, outputs)}
        self.model = compose.add_prefix(model, prefix)
        for node in self.model.graph.node:
            node.name = case.name

    def wrong(self, results):
        for name, expected in self.expected.items():
            found = results[name]
            if expected.dtype == ml_dtypes.bfloat16 and found.dtype != expected.dtype:
                found = found.view(ml_dtypes.bfloat16)
            if found.shape != expected.shape or found.dtype != expected.dtype:
                return "%s: %s %s, expected %s %s" % (self.name, found.dtype, found.shape, expected.dtype, expected.shape)
            if expected.dtype.kind in "iub":
                equal = np.array_equal(found, expected)
            else:
                # One rounding of the type, where the test asks for more.
                unit = {np.dtype(np.float16): 2e-3, np.dtype(ml_dtypes.bfloat16): 2e-2}.get(expected.dtype, 0)
                a, b = found.astype(np.float64), expected.astype(np.float64)
                equal = np.allclose(a, b, rtol=max(self.rtol, unit), atol=max(self.atol, 1e-6), equal_nan=True)
            if not equal:
                return "%s: %s, expected %s" % (self.name, found.ravel()[:6], expected.ravel()[:6])
        return None


def run_together(tests, stem):
    """One model of all tests."""
    parts = [t.model.graph for t in tests]
    join = lambda field: [v for g in parts for v in getattr(g, field)]
    graph = helper.make_graph(join("node"), "g", join("input"), join("output"), join("initializer"))
    model = helper.make_model(graph, ir_version=10, opset_imports=tests[0].model.opset_import)
    onnx.save(model, stem + ".onnx")
    moe_testing.run("moe-compile", stem + ".onnx", "-o", stem)
    np.savez(stem + "-in.npz", **{name: a for t in tests for name, a in t.feed.items()})
    arguments = ["--inputs", stem + "-in.npz"] if any(t.feed for t in tests) else []
    moe_testing.run("moe-run", stem + ".so", *arguments, "--outputs", stem + "-out.npz")
    results = np.load(stem + "-out.npz")
    return [message for message in (t.wrong(results) for t in tests) if message]


def main(folder):
    warnings.filterwarnings("ignore")
    import onnx.backend.test.case.node as node_tests

    os.makedirs(folder, exist_ok=True)
    claimed = operators()
    groups, tested = collections.defaultdict(list), set()
    for i, case in enumerate(node_tests.collect_testcases()):
        if not usable(case, claimed):
            continue
        test = Test(case, "t%d_" % i)
        groups[tuple((o.domain, o.version) for o in test.model.opset_import)].append(test)
        tested.update(n.op_type for n in test.model.graph.node)
    wrong, count = [], 0
    for g, tests in enumerate(groups.values()):
        for first in range(0, len(tests), 64):
            some = tests[first : first + 64]
            wrong += run_together(some, os.path.join(folder, "nodes-%d-%d" % (g, first)))
            count += len(some)
    print("untested:", *sorted((claimed | DEFINED) - tested))
    print("%d passed, %d failed" % (count - len(wrong), len(wrong)))
    if wrong:
        sys.exit("\n".join(wrong))


# CHECK: {{1[0-9][0-9][0-9]}} passed, 0 failed
if __name__ == "__main__":
    main(sys.argv[1])

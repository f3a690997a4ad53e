# REQUIRES: python-numpy, python-onnx, python-ml_dtypes
# RUN: %python %s %S/Inputs/onnx-node-tests.txt %t | FileCheck %s
"""ONNX's own node tests (onnx.backend.test). Those that the list names have to pass; they are nodes of a few large models,
which saves compilations. All others have to be refused when they are compiled, with a message about the node or the
input. `--update` writes the list anew: what compiles and passes. Review what it takes out."""

import collections
import concurrent.futures
import os
import subprocess
import sys
import warnings

import ml_dtypes
import numpy as np
import onnx
import onnx.backend.test.case.node as node_tests
from onnx import compose, helper, numpy_helper

import moe_testing

# Operands that must be known when a model is compiled, as exporters write them;
# the tests pass them as inputs.
CONSTANT = {"Squeeze": [1], "Unsqueeze": [1], "CumSum": [1], "Slice": [3, 4], "Pad": [3], "Dropout": [2]}
CONSTANT.update({"Reduce" + name: [1] for name in "Sum Mean Max Min Prod L1 L2 SumSquare LogSum LogSumExp".split()})


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
    """One model of all tests; a message for each that fails."""
    parts = [t.model.graph for t in tests]
    join = lambda field: [v for g in parts for v in getattr(g, field)]
    graph = helper.make_graph(join("node"), "g", join("input"), join("output"), join("initializer"))
    model = helper.make_model(graph, ir_version=10, opset_imports=tests[0].model.opset_import)
    onnx.save(model, stem + ".onnx")
    np.savez(stem + "-in.npz", **{name: a for t in tests for name, a in t.feed.items()})
    arguments = ["--inputs", stem + "-in.npz"] if any(t.feed for t in tests) else []
    try:
        moe_testing.run("moe-compile", stem + ".onnx", "-o", stem)
        moe_testing.run("moe-run", stem + ".so", *arguments, "--outputs", stem + "-out.npz")
    except SystemExit as error:
        if len(tests) == 1:
            return ["%s: %s" % (tests[0].name, error)]
        # Which one it is.
        return [m for i, t in enumerate(tests) for m in run_together([t], "%s-%d" % (stem, i))]
    results = np.load(stem + "-out.npz")
    return [message for message in (t.wrong(results) for t in tests) if message]


def run_groups(tests, folder):
    groups = collections.defaultdict(list)
    for test in tests:
        groups[tuple((o.domain, o.version) for o in test.model.opset_import)].append(test)
    parts = [some[first : first + 64] for some in groups.values() for first in range(0, len(some), 64)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        stems = [os.path.join(folder, "nodes-%d" % i) for i in range(len(parts))]
        return [message for messages in pool.map(run_together, parts, stems) for message in messages]


def refusal(case, folder):
    """What is wrong with how the compiler refuses the case, and whether it does."""
    path = os.path.join(folder, case.name + ".onnx")
    onnx.save(case.model, path)
    # Most are refused early; element types that nothing can be passed in, at the end.
    done = subprocess.run(["moe-compile", path, "--compile-to=raise", "-o", path + ".mlir"], capture_output=True, text=True)
    if done.returncode == 0:
        done = subprocess.run(["moe-compile", path, "-o", path[: -len(".onnx")]], capture_output=True, text=True)
    if done.returncode == 0:
        return case.name + ": compiles, but the list does not name it", False
    lines = done.stderr.splitlines()
    if done.returncode != 1 or not lines or not all(": error: " in line or ": warning: " in line for line in lines):
        return "%s: ends with status %d and\n%s" % (case.name, done.returncode, done.stderr), False
    return None, True


def check_refusals(cases, folder):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(refusal, cases, [folder] * len(cases)))


def main(file, folder, update):
    warnings.filterwarnings("ignore")
    os.makedirs(folder, exist_ok=True)
    cases = {case.name: case for case in node_tests.collect_testcases() if case.model is not None}
    listed = [] if update else open(file).read().split()
    # A case that needs its operands as constants is made so before it is tried.
    others = [case for name, case in cases.items() if name not in set(listed)]
    tests = [Test(cases[name], "t%d_" % i) for i, name in enumerate(listed) if name in cases]
    wrong = run_groups(tests, folder)
    refusals = check_refusals(others, folder)
    if update:
        return write_list(file, folder, others, refusals)
    passed, refused = len(tests) - len(wrong), sum(done for _, done in refusals)
    wrong += [message for message, _ in refusals if message]
    print("%d passed, %d refused, %d failed" % (passed, refused, len(wrong)))
    absent = [name for name in listed if name not in cases]
    if absent:
        wrong.append("the onnx package lacks: " + " ".join(absent))
    if wrong:
        sys.exit("\n".join(wrong))


def write_list(file, folder, cases, refusals):
    """What compiles, perhaps with constant operands, and passes."""
    tests = []
    for i, (case, (_, refused)) in enumerate(zip(cases, refusals)):
        constant = any(n.op_type in CONSTANT for n in case.model.graph.node)
        if refused and not constant:
            continue
        test = Test(case, "t%d_" % i)
        onnx.save(test.model, os.path.join(folder, "constant.onnx"))
        command = ["moe-compile", os.path.join(folder, "constant.onnx"), "--compile-to=raise", "-o", os.path.join(folder, "constant.mlir")]
        if not constant or subprocess.run(command, capture_output=True).returncode == 0:
            tests.append(test)
    wrong = run_groups(tests, folder)
    print("\n".join(wrong))
    failed = {message.split(":")[0] for message in wrong}
    with open(file, "w") as out:
        out.writelines(sorted(test.name + "\n" for test in tests if test.name not in failed))


# CHECK: {{1[0-9][0-9][0-9]}} passed, {{[0-9]+}} refused, 0 failed
if __name__ == "__main__":
    arguments = [a for a in sys.argv[1:] if a != "--update"]
    main(*arguments, update="--update" in sys.argv)

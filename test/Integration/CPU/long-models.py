# Long chains of small nodes compile in near-linear time and run right where the main function is cut into pieces.
# Repeated layers share their code, and errors name the node all the same.
# REQUIRES: python-onnx, python-numpy
# RUN: rm -rf %t && mkdir -p %t && %python %s %t
import os
import re
import resource
import subprocess
import sys
import unittest

import numpy as np
from onnx import TensorProto
from sparse_models import Graph

import moe_mlir

FOLDER = sys.argv.pop()
WIDTH = 8
WEIGHT = np.random.default_rng(0).standard_normal((WIDTH, WIDTH)).astype(np.float32)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def chain(nodes):
    """Softmax and MatMul in turns, all with one weight; at the end the sum of every eighth product, so that values of
    each piece of the code live to its end."""
    g = Graph()
    x, kept = g.input("x", ["tokens", WIDTH]), []
    for i in range(nodes):
        x = g("MatMul", x, WEIGHT) if i % 2 else g("Softmax", x, axis=-1)
        if i % 16 == 15:
            kept.append(x)
    g.output("y", g("Sum", *kept), ["tokens", WIDTH])
    return g.save(os.path.join(FOLDER, f"chain{nodes}.onnx"))


def lookups(layers):
    """Layers that each add rows of a table, at indices of their own, with a factor of their own."""
    g = Graph()
    table, index = g.input("table", [5, WIDTH]), g.input("index", ["layers", "rows"], TensorProto.INT64)
    y = None
    for i in range(layers):
        rows = g("Gather", table, g("Gather", index, np.int64(i)), name=f"lookup_{i}")
        rows = g("Mul", rows, np.full((WIDTH,), i + 1, np.float32))
        y = rows if y is None else g("Add", y, rows)
    g.output("y", y, ["rows", WIDTH])
    return g.save(os.path.join(FOLDER, f"lookups{layers}.onnx"))


def reference(nodes, x):
    total = 0.0
    for i in range(nodes):
        x = x @ WEIGHT.astype(np.float64) if i % 2 else softmax(x)
        if i % 16 == 15:
            total = total + x
    return total


def compile_seconds(path):
    """Seconds of CPU that the compiler takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["moe-compile", path, "-o", os.path.splitext(path)[0]], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime


class LongModels(unittest.TestCase):
    def test_numbers(self):
        model = moe_mlir.Model(moe_mlir.compile(chain(480)), threads=2)
        for tokens in (0, 1, 17):
            x = np.random.default_rng(tokens).standard_normal((tokens, WIDTH)).astype(np.float32)
            got = model.session(2).run({"x": x})["y"]
            want = reference(480, x.astype(np.float64))
            self.assertEqual(got.shape, want.shape)
            self.assertLess(np.abs(got - want).max(initial=0), 1e-5 * max(1, np.abs(want).max(initial=0)))

    def test_layers_share_code(self):
        sizes = {}
        for layers in (8, 32):
            path = lookups(layers)
            library = moe_mlir.compile(path)
            text = subprocess.run(["llvm-readelf", "-SW", library], check=True, capture_output=True, text=True).stdout
            sizes[layers] = int(re.search(r"\.text +PROGBITS +\S+ +\S+ +(\S+)", text)[1], 16)
            model = moe_mlir.Model(library, threads=2)
            random = np.random.default_rng(layers)
            table = random.standard_normal((5, WIDTH)).astype(np.float32)
            index = random.integers(-5, 5, (layers, 3))
            got = model.session(2).run({"table": table, "index": index})["y"]
            want = sum((i + 1) * table[index[i]].astype(np.float64) for i in range(layers))
            self.assertLess(np.abs(got - want).max(), 1e-5 * np.abs(want).max())
            for layer in (0, 1, layers // 2, layers - 1):
                wrong = index.copy()
                wrong[layer, 1] = 5
                with self.assertRaisesRegex(Exception, f"node 'lookup_{layer}' .*axis of size 5, got 5"):
                    model.session(2).run({"table": table, "index": wrong})
        self.assertLess(sizes[32] - sizes[8], 24 * 512, sizes)

    def test_time(self):
        # Four times the nodes took 20 times as long while each kernel was inlined at each of its calls.
        self.assertLess(compile_seconds(chain(640)), 8 * compile_seconds(chain(160)))


unittest.main()

# Long chains of small nodes compile in near-linear time, run right, and keep the order of their values where the main
# function is cut into pieces.
# REQUIRES: python-onnx, python-numpy
# RUN: rm -rf %t && mkdir -p %t && %python %s %t
import os
import resource
import subprocess
import sys
import unittest

import numpy as np
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

    def test_time(self):
        # Four times the nodes took 20 times as long while each kernel was inlined at each of its calls.
        self.assertLess(compile_seconds(chain(640)), 8 * compile_seconds(chain(160)))


unittest.main()

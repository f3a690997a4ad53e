# Bad inputs at moe-run: one line that says it, a status other than 0, no file left behind; and every operator without a
# converter is told at once. (Bad models: test/Import/ONNX/hostile.py.)
# REQUIRES: python-onnx, python-numpy
# RUN: rm -rf %t && mkdir -p %t && %python %s %t
import os
import re
import subprocess
import sys
import unittest

import numpy as np
import onnx
from onnx import TensorProto, helper
from sparse_models import Graph, add_moe, random_moe

FOLDER = sys.argv.pop()
EXPERTS, WIDTH = 4, 24


def layer():
    """One MoE node behind a linear layer, with weights above what lies in the module."""
    random = np.random.default_rng(0)
    graph = Graph()
    x = graph.input("x", ["tokens", WIDTH])
    logits = graph.input("logits", ["tokens", EXPERTS])
    x = graph("MatMul", x, random.standard_normal((WIDTH, WIDTH)), name="front")
    weights = random_moe(random, WIDTH, 16, EXPERTS)
    graph.output("y", add_moe(graph, x, logits, weights, name="layer", k=2), ["tokens", WIDTH])
    return graph.model()


class BadInput(unittest.TestCase):
    def setUp(self):
        self.folder = os.path.join(FOLDER, self._testMethodName)
        os.mkdir(self.folder)
        self.path = os.path.join(self.folder, "model.onnx")

    def refuse(self, command, text, status, before):
        done = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertRegex(done.stderr, rf"\A[^\n]*{text}\n\Z")
        self.assertEqual(sorted(os.listdir(self.folder)), before)

    def test_several_unknown_operators_are_told_at_once(self):
        graph = Graph()
        x = graph.input("x", ["n"])
        for name in ("first", "second"):
            x = graph("Strange", x, name=name, domain="com.example")
        graph.output("y", x, ["n"])
        model = graph.model()
        model.opset_import.append(helper.make_opsetid("com.example", 3))
        onnx.save(model, self.path)
        done = subprocess.run(["moe-compile", self.path, "-o", os.path.join(self.folder, "out")], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        for name in ("first", "second"):
            self.assertRegex(done.stderr, rf"'{name}'.*Strange.*com\.example")
        self.assertEqual(os.listdir(self.folder), ["model.onnx"])

    def test_moe_run(self):
        onnx.save(layer(), self.path)
        library = os.path.join(self.folder, "model.so")
        subprocess.run(["moe-compile", self.path, "-o", library[:-3]], check=True)
        x, logits = np.ones((3, WIDTH), np.float32), np.ones((3, EXPERTS), np.float32)
        case = os.path.join(self.folder, "case.npz")

        def refuse(text, **arrays):
            np.savez(case, **arrays)
            before = sorted(os.listdir(self.folder))
            outputs = [f"--outputs={self.folder}/out.npz", f"--output=y=@{self.folder}/y.npy"]
            self.refuse(["moe-run", library, "--inputs", case, *outputs], re.escape("moe-run: error: ") + text, 2, before)

        refuse(r"unknown input 'z', expects one of: x, logits", x=x, logits=logits, z=x)
        refuse(r"input 'logits' is missing", x=x)
        refuse(r"input 'x' has dtype f64, expected f32", x=x.astype(np.float64), logits=logits)
        refuse(r"input 'x' has rank 3, expected rank 2", x=x[None], logits=logits)
        refuse(r"input 'x' has shape \[3, 23\], expected \[tokens, 24\]", x=x[:, 1:], logits=logits)
        refuse(r"input 'logits' has size 2 .*'tokens'.*, but input 'x' has size 3 .*", x=x, logits=logits[1:])
        np.savez(case, x=x, logits=logits)
        subprocess.run(["moe-run", library, "--inputs", case], check=True, stdout=subprocess.DEVNULL)

    def test_sizes_that_only_a_run_knows(self):
        """What the weights of experts require of operands whose sizes are dynamic, or declared wrongly."""
        random = np.random.default_rng(0)
        graph = Graph()
        x, logits = graph.input("x", ["tokens", "width"]), graph.input("logits", ["tokens", "experts"])
        matrix = graph.input("matrix", ["width", "experts"])
        declared = graph("MatMul", x, matrix, name="declared")
        weights = random_moe(random, WIDTH, 16, EXPERTS)
        graph.output("y", add_moe(graph, x, logits, weights, name="dynamic", k=2), ["tokens", WIDTH])
        graph.output("z", add_moe(graph, x, declared, weights, name="hinted", k=2), ["tokens", WIDTH])
        model = graph.model()
        model.graph.value_info.append(helper.make_tensor_value_info(declared, TensorProto.FLOAT, ["tokens", EXPERTS]))
        onnx.save(model, self.path)
        library = os.path.join(self.folder, "model.so")
        subprocess.run(["moe-compile", self.path, "-o", library[:-3]], check=True)
        case = os.path.join(self.folder, "case.npz")

        def run(width, scored, declared):
            ones = lambda *shape: np.ones(shape, np.float32)
            np.savez(case, x=ones(3, width), logits=ones(3, scored), matrix=ones(width, declared))
            return ["moe-run", library, "--inputs", case]

        before = sorted(os.listdir(self.folder)) + ["case.npz"]
        before.sort()
        expects = r"error: node '%s' \(moe\.%s\): expects %s, got %d"
        for scored in (0, 3, 5):
            text = expects % ("dynamic", "route", "router logits of 4 experts", scored)
            self.refuse(run(WIDTH, scored, scored), text, 2, before)
        self.refuse(run(WIDTH - 1, 4, 4), expects % ("dynamic", "dispatch", "tokens of 24 elements", 23), 2, before)
        # A declared size is checked as well.
        model.graph.input[1].type.tensor_type.shape.dim[1].dim_value = EXPERTS
        onnx.save(model, self.path)
        subprocess.run(["moe-compile", self.path, "-o", library[:-3]], check=True)
        self.refuse(run(WIDTH, 4, 2), expects % ("hinted", "route", "router logits of 4 experts", 2), 2, before)
        subprocess.run(run(WIDTH, 4, 4), check=True, stdout=subprocess.DEVNULL)

    def test_sizes_behind_elementwise_code(self):
        """The static size that a product requires holds for the code in front of it too, once it has been checked."""
        graph = Graph()
        x, matrix = graph.input("x", ["n", "k"]), graph.input("matrix", [16, 3])
        graph.output("y", graph("MatMul", graph("Neg", x), matrix, name="product"), ["n", 3])
        onnx.save(graph.model(), self.path)
        library = os.path.join(self.folder, "model.so")
        subprocess.run(["moe-compile", self.path, "-o", library[:-3]], check=True)
        case = os.path.join(self.folder, "case.npz")
        # With 16 elements each, these rows would reach far beyond what is there.
        np.savez(case, x=np.ones((1 << 20, 1), np.float32), matrix=np.ones((16, 3), np.float32))
        text = r"error: node 'product' \(MatMul\): expects inner dimensions that agree, got 1 and 16"
        self.refuse(["moe-run", library, "--inputs", case], text, 2, sorted(os.listdir(self.folder)))


if __name__ == "__main__":
    unittest.main()

# Bad models at moe-compile and bad inputs at moe-run: one line that says it, a status other than 0, no file left behind.
# (More damaged and hostile files: test/Import/ONNX/hostile.py.)
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


def layer(k=2, width=WIDTH, logits_rank=2, operator="MoE", **attributes):
    """One MoE node behind a linear layer, with weights above what lies in the module."""
    random = np.random.default_rng(0)
    graph = Graph()
    x = graph.input("x", ["tokens", WIDTH])
    logits = graph.input("logits", ["tokens", EXPERTS] if logits_rank == 2 else ["a", "b", EXPERTS])
    x = graph("MatMul", x, random.standard_normal((WIDTH, WIDTH)), name="front")
    weights = random_moe(random, width, 16, EXPERTS)
    graph.output("y", add_moe(graph, x, logits, weights, name="layer", k=k, **attributes), ["tokens", width])
    model = graph.model()
    for node in model.graph.node:
        if node.op_type == "MoE":
            node.op_type = operator
    return model


def external(path, location=None):
    """Saves the model with its weights in a file of its own."""
    model = layer()
    onnx.save(model, path, save_as_external_data=True, location="model.data", size_threshold=0)
    if location is not None:
        model = onnx.load(path, load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = location
        with open(path, "wb") as file:
            file.write(model.SerializeToString())


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

    def compile(self, text, model=None):
        if model is not None:
            onnx.save(model, self.path)
        before = sorted(os.listdir(self.folder))
        output = os.path.join(self.folder, "out")
        self.refuse(["moe-compile", self.path, "-o", output], text, 1, before)

    def test_truncated(self):
        data = layer().SerializeToString()
        for size in (len(data) - 1, len(data) // 2, 1000, 3):
            with open(self.path, "wb") as file:
                file.write(data[:size])
            self.compile(r"model\.onnx: error: .*")

    def test_missing_data(self):
        external(self.path)
        os.remove(os.path.join(self.folder, "model.data"))
        self.compile(r"model\.onnx: error: .*model\.data.*")

    def test_short_data(self):
        external(self.path)
        os.truncate(os.path.join(self.folder, "model.data"), 100)
        self.compile(r"model\.onnx: error: .*(length|offset|bytes).*")

    def test_data_outside(self):
        with open(os.path.join(FOLDER, "elsewhere.data"), "wb") as file:
            file.write(bytes(1 << 20))
        external(self.path, "../elsewhere.data")
        self.compile(r"model\.onnx: error: .*\.\./elsewhere\.data.*")
        external(self.path, os.path.join(os.path.abspath(FOLDER), "elsewhere.data"))
        self.compile(r"model\.onnx: error: .*elsewhere\.data.*")

    def test_unknown_operator(self):
        self.compile(r"error: .*'layer'.*MoEE.*com\.microsoft.*", layer(operator="MoEE"))

    def test_unsupported_attribute(self):
        self.compile(r"error: node 'layer' \(com\.microsoft::MoE\): expects k = 2 .*use_sparse_mixer.*", layer(use_sparse_mixer=1, k=1))
        self.compile(r"error: node 'layer' \(com\.microsoft::MoE\): .*activation_type.*'softplus'.*", layer(activation_type="softplus"))

    def test_too_many_experts(self):
        self.compile(r"error: node 'layer' \(com\.microsoft::MoE\): expects k .*found 5 .*4", layer(k=5))

    def test_ranks_and_sizes(self):
        self.compile(r"error: node 'layer' \(com\.microsoft::MoE\): .*rank 2.*", layer(logits_rank=3))
        self.compile(r"error: node 'layer' \(com\.microsoft::MoE\): .*(24|28).*", layer(width=28))

    def test_types(self):
        graph = Graph()
        a, b = graph.input("a", ["n"]), graph.input("b", ["n"], TensorProto.INT64)
        graph.output("y", graph("Add", a, b, name="sum"), ["n"])
        self.compile(r"error: .*sum.*", graph.model())
        graph = Graph()
        a, b = graph.input("a", ["n", 3]), graph.input("b", [4, "m"])
        graph.output("y", graph("MatMul", a, b, name="product"), ["n", "m"])
        self.compile(r"error: .*product.*", graph.model())

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


if __name__ == "__main__":
    unittest.main()

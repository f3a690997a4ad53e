# One graph, many checkpoints: initializers come from safetensors files, and what does not fit is told all together.
# REQUIRES: python-onnx, python-numpy, python-ml_dtypes
# RUN: rm -rf %t && mkdir -p %t && %python %s moe-compile %t

import json
import os
import subprocess
import sys
import unittest

import ml_dtypes
import moe_mlir
import numpy as np
import onnx
from onnx import TensorProto, helper
from safetensors_files import INDEX, dtype, save, save_folder

ROOT = sys.argv.pop()
TOOL = sys.argv.pop()
N = 37


def save_model(path, kind="float32", missing_data=True):
    """y = x a + b, z = x c, where a and b are parameters, c one whose values the model has, and s is small."""
    code = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}[kind]
    tensors = []
    for name, dims in [("layers.0.a", [N, N + 1]), ("b", [N + 1]), ("s", [1])]:
        tensor = TensorProto(name=name, dims=dims, data_type=code)
        if name == "layers.0.a" and missing_data:
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="not_there.bin")
        else:
            tensor.raw_data = bytes(int(np.prod(dims)) * dtype(kind).itemsize)
        tensors.append(tensor)
    nodes = [
        helper.make_node("MatMul", ["x", "layers.0.a"], ["p"], name="matmul"),
        helper.make_node("Add", ["p", "b"], ["q"], name="add"),
        helper.make_node("Mul", ["q", "s"], ["y"], name="mul"),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", code, ["n", N])],
        [helper.make_tensor_value_info("y", code, ["n", N + 1])], tensors)  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def weights(seed=0, kind="float32"):
    random = np.random.default_rng(seed)
    draw = lambda *shape: random.standard_normal(shape).astype(dtype(kind))
    return {"layers.0.a": draw(N, N + 1), "b": draw(N + 1), "s": draw(1)}


class Checkpoints(unittest.TestCase):
    def setUp(self):
        self.folder = os.path.join(ROOT, self._testMethodName)
        self.at = lambda *path: os.path.join(self.folder, *path)
        os.makedirs(self.at("model"))
        os.makedirs(self.at("checkpoint"))
        self.model = self.at("model", "model.onnx")

    def compile(self, *options, checkpoint="checkpoint", output="out"):
        command = [TOOL, self.model, f"--weights={self.at(checkpoint)}", "-o", self.at(output), *options]
        return subprocess.run(command, capture_output=True, text=True)

    def check(self, tensors, checkpoint="checkpoint", tolerance=1e-5):
        done = self.compile(checkpoint=checkpoint)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        kind = tensors["b"].dtype
        x = np.random.default_rng(9).standard_normal((5, N)).astype(kind)
        y = moe_mlir.Model(self.at("out.so")).run({"x": x})["y"].astype(np.float64)
        a, b, s = (tensors[name].astype(np.float64) for name in ("layers.0.a", "b", "s"))
        want = (x.astype(np.float64) @ a + b) * s
        self.assertLessEqual(np.abs(y - want).max(), tolerance * max(1, np.abs(want).max()))

    def refuse(self, expected, *options, checkpoint="checkpoint", where=None):
        done = self.compile(*options, checkpoint=checkpoint)
        self.assertEqual(done.returncode, 1, done.stderr)
        where = where or self.model
        self.assertEqual(done.stderr.splitlines(), [f"{where}: error: {line}" for line in expected])
        self.assertFalse(os.path.exists(self.at("out.so")))

    def test_one_graph_many_checkpoints(self):
        save_model(self.model)
        for seed, shards in [(1, 1), (2, 2), (3, 3)]:
            tensors = weights(seed)
            save_folder(self.at(f"c{seed}"), tensors, shards)
            self.check(tensors, f"c{seed}")
        self.check(weights(1), os.path.join("c1", "model.safetensors"))
        self.check(weights(2), os.path.join("c2", INDEX))

    def test_types(self):
        for kind, tolerance in [("float16", 2e-3), ("bfloat16", 2e-2)]:
            save_model(self.model, kind)
            tensors = weights(4, kind)
            save_folder(self.at("checkpoint"), tensors)
            self.check(tensors, tolerance=tolerance)

    def test_hub_cache(self):
        """A folder of links into a folder of blobs."""
        save_model(self.model)
        tensors = weights(5)
        save_folder(self.at("plain"), tensors, 2)
        os.makedirs(self.at("hub", "blobs"))
        os.makedirs(self.at("hub", "snapshots", "main"))
        for i, name in enumerate(sorted(os.listdir(self.at("plain")))):
            os.rename(self.at("plain", name), self.at("hub", "blobs", str(i)))
            os.symlink(f"../../blobs/{i}", self.at("hub", "snapshots", "main", name))
        self.check(tensors, os.path.join("hub", "snapshots", "main"))

    def test_no_copy(self):
        """The symbols point into the safetensors file, and the phases' texts go on from there."""
        save_model(self.model)
        tensors = weights(6)
        save_folder(self.at("checkpoint"), tensors)
        text = self.compile("--compile-to=import", output="import.mlir")
        self.assertEqual((text.returncode, text.stderr), (0, ""))
        with open(self.at("import.mlir")) as file:
            text = file.read()
        self.assertIn(f'moe.checkpoint_dir = "{self.at("checkpoint")}"', text)
        self.assertRegex(text, r'moe\.weight @layers\.0\.a \{checkpoint, file = "model\.safetensors", length = 5624')
        moe_mlir.compile(self.at("import.mlir"), self.at("again"))
        x = np.ones((2, N), np.float32)
        y = moe_mlir.Model(self.at("again.so")).run({"x": x})["y"]
        np.testing.assert_allclose(y, (x @ tensors["layers.0.a"] + tensors["b"]) * tensors["s"], 1e-4, 1e-4)

    def test_all_together(self):
        save_model(self.model)
        tensors = weights()
        tensors["b"] = tensors["b"].astype(ml_dtypes.bfloat16)
        tensors["s"] = tensors["s"].reshape(1, 1)
        del tensors["layers.0.a"]
        tensors.update({f"extra{i:02}": np.zeros(1, np.float32) for i in range(12)})
        save_folder(self.at("checkpoint"), tensors)
        extra = ", ".join(f"'extra{i:02}'" for i in range(10))
        wrong = [
            "tensors of the checkpoint do not have the type of the initializer they would replace: "
            "'b' is BF16, expects FLOAT",
            "tensors of the checkpoint do not have the shape of the initializer they would replace "
            "(nothing is transposed): 's' is [1, 1], expects [1]",
        ]
        self.refuse([*wrong, f"tensors of the checkpoint are no initializers of the model: {extra} and 2 more",
                     "initializers are not in the checkpoint: 'layers.0.a'"])  # fmt: skip
        self.refuse(wrong, "--partial-weights")

    def test_partial(self):
        save_model(self.model, missing_data=False)
        tensors = weights(7)
        save_folder(self.at("checkpoint"), {"b": tensors["b"], "s": tensors["s"], "other": tensors["b"]})
        self.assertEqual(self.compile().returncode, 1)
        done = self.compile("--partial-weights")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        y = moe_mlir.Model(self.at("out.so")).run({"x": np.ones((2, N), np.float32)})["y"]
        np.testing.assert_allclose(y, np.tile(tensors["b"] * tensors["s"], (2, 1)), 1e-5)

    def test_folders(self):
        save_model(self.model)
        here = self.at("checkpoint")
        self.refuse(["has no .safetensors file"], where=here)
        save(self.at("checkpoint", "a.safetensors"), weights())
        self.assertEqual(self.compile().returncode, 0)
        os.remove(self.at("out.so"))
        save(self.at("checkpoint", "b.safetensors"), weights())
        self.refuse(["has 2 .safetensors files, expects one, or model.safetensors.index.json"], where=here)
        self.refuse(["cannot be opened: No such file or directory"], checkpoint="nowhere", where=self.at("nowhere"))

    def test_hostile_index(self):
        save_model(self.model)
        save(self.at("good.safetensors"), weights())
        index = self.at("checkpoint", INDEX)
        save(self.at("checkpoint", "good.safetensors"), weights())
        with open(self.at("checkpoint", "short.safetensors"), "wb") as file:
            file.write(b"\x10\0\0\0\0\0\0\0{}")
        os.mkfifo(self.at("checkpoint", "fifo.safetensors"))
        os.symlink("../good.safetensors", self.at("checkpoint", "out.safetensors"))
        os.link(self.at("good.safetensors"), self.at("checkpoint", "hard.safetensors"))
        names = lambda file: {"weight_map": dict.fromkeys(["layers.0.a", "b", "s"], file)}
        cases = [
            (names("../good.safetensors"), "which leaves the model's folder"),
            (names("/etc/passwd"), "which is an absolute path, expects one relative to the model"),
            (names("out.safetensors"), "which is a link that leaves the model's folder"),
            (names("hard.safetensors"), "which is a file with 2 hard links, expects one"),
            (names("fifo.safetensors"), "which is not a regular file"),
            (names("gone.safetensors"), "which cannot be opened: No such file or directory"),
            (names(""), "which has no valid name"),
            (names("short.safetensors"), "which is truncated: its header has 16 bytes, of which 2 are there"),
            ({"weight_map": {"q": "good.safetensors"}}, "which lacks the tensor 'q'"),
            ({"weight_map": {"q": 1}}, "gives no file for tensor 'q'"),
            ({"weight_map": []}, "has no weight_map, expects the index of a checkpoint"),
            ([], "has no weight_map, expects the index of a checkpoint"),
        ]
        for content, expected in cases:
            with open(index, "w") as file:
                json.dump(content, file)
            done = self.compile()
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, r"\A[^\n]*: error: [^\n]*" + expected.replace(".", r"\.") + r"\n\Z")
        for content in ["", "{", "[" * 100000, '{"weight_map": {"a": "x", "a": "y"}}']:
            with open(index, "w") as file:
                file.write(content)
            done = self.compile()
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, r"\A[^\n]*: error: [^\n]*\n\Z")

    def test_options(self):
        save_model(self.model)
        with open(self.at("m.mlir"), "w") as file:
            file.write("")
        done = subprocess.run([TOOL, self.at("m.mlir"), "--weights=x", "-o", self.at("out")], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("--weights expects an ONNX model, got", done.stderr)


unittest.main(argv=["checkpoint"])

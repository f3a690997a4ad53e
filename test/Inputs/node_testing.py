"""Models of one node, compiled and run in this process: its results, or the error that ends the run."""

import os
import unittest

import moe_mlir
import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper


def element(dtype):
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


class NodeTest(unittest.TestCase):
    folder = "."
    count = 0

    def node(self, op, *inputs, rank=1, dtype=np.float32, outputs=1, lists=True, constants=None, before=(), domain="",
             opset=20, declared=(), **attributes):
        """Compiles a model of one node 'n' (behind those `before` it); `inputs` are examples of what it is run with."""
        self.names = [f"x{i}" for i in range(len(inputs))]
        names = [f"y{i}" for i in range(outputs)]
        made = [(n, element(x.dtype), [len(x)] if lists and x.dtype == np.int64 and x.ndim else [None] * x.ndim) for n, x in zip(self.names, inputs)]
        constants = constants or {}
        taken = attributes.pop("taken", self.names + list(constants))
        graph = helper.make_graph(
            [*before, helper.make_node(op, taken, names, name="n", domain=domain, **attributes)],
            "g",
            [helper.make_tensor_value_info(*info) for info in made],
            [helper.make_tensor_value_info(names[0], element(dtype), [None] * rank)] + [helper.make_empty_tensor_value_info(n) for n in names[1:]],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
            value_info=list(declared),
        )
        model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)])
        NodeTest.count += 1
        self.stem = os.path.join(self.folder, f"{op}-{self.count}")
        onnx.save(model, self.stem + ".onnx")
        self.op = f"{domain}::{op}" if domain else op
        self.model = moe_mlir.Model(moe_mlir.compile(self.stem + ".onnx", self.stem))
        self.addCleanup(self.model.close)

    def accept(self, *inputs, expected=None):
        """The result is onnxruntime's, or `expected` where that is wrong."""
        feed = dict(zip(self.names, inputs))
        if expected is None:
            session = onnxruntime.InferenceSession(self.stem + ".onnx", providers=["CPUExecutionProvider"])
            expected = session.run(None, feed)[0]
        found = self.model.run(feed)["y0"]
        self.assertEqual((found.shape, found.dtype), (expected.shape, expected.dtype))
        np.testing.assert_array_equal(found, expected)

    def refuse(self, text, *inputs, subject=None):
        with self.assertRaises(moe_mlir.NodeError) as caught:
            self.model.run(dict(zip(self.names, inputs)))
        subject = subject or f"node 'n' ({self.op})"
        self.assertEqual(str(caught.exception), f"{subject}: {text}")

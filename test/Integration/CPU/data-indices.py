# Indices that are data: what onnxruntime computes; for one that lies outside, an error that names the node, what it
# found and what it requires, however many threads there are and wherever the index stands.
# REQUIRES: python-numpy, python-onnx, python-onnxruntime
# RUN: rm -rf %t && mkdir -p %t && %python %s %t
import sys
import unittest

import moe_mlir
import numpy as np
from node_testing import NodeTest
from onnx import TensorProto, helper

NodeTest.folder = sys.argv.pop()
LEAST, GREATEST = -(2**63), 2**63 - 1
random = np.random.default_rng(0)


def ints(*values, dtype=np.int64):
    return np.array(values, dtype)


def floats(*shape):
    return random.standard_normal(shape).astype(np.float32)


def outside(size, found):
    return f"expects every index to lie in an axis of size {size}, got {found}"


class DataIndices(NodeTest):
    def test_gather(self):
        for dtype in (np.int64, np.int32):
            most = np.iinfo(dtype).max
            for axis in (0, 1):
                self.node("Gather", floats(2, 2), ints([0], dtype=dtype), rank=3, lists=False, axis=axis)
                x = floats(5, 3)
                n = x.shape[axis]
                self.accept(x, ints([0, n - 1], [-n, -1], dtype=dtype))
                self.accept(x, np.zeros((0, 4), dtype))
                for bad in (n, n + 1, -n - 1, most, -most - 1):
                    self.refuse(outside(n, bad), x, ints([0, bad], [0, 0], dtype=dtype))
                    self.refuse(outside(n, bad), x, ints([bad], dtype=dtype))
                # The last of many, which several threads share.
                many = np.zeros((300, 1000), dtype)
                many[-1, -1] = n
                self.refuse(outside(n, n), x, many)
        # Nothing can be read from an empty axis.
        self.node("Gather", floats(2, 2), ints([0]), rank=3, lists=False)
        self.accept(floats(0, 3), np.zeros((0, 2), np.int64))
        self.refuse(outside(0, 0), floats(0, 3), ints([0]))

    def test_gather_by_one(self):
        """An index that is taken for a size."""
        self.node("Gather", floats(2, 2), ints(0), rank=2)
        x = floats(4, 3)
        for at in (0, 3, -4):
            self.accept(x, ints(at))
        for bad in (4, -5, GREATEST, LEAST):
            self.refuse(outside(4, bad), x, ints(bad))

    def test_gather_from_constant(self):
        table = floats(6, 4)
        self.node("Gather", ints([0]), rank=3, lists=False, constants={"table": table}, taken=["table", "x0"])
        self.accept(ints([5, -6]))
        for bad in (6, -7, GREATEST, LEAST):
            self.refuse(outside(6, bad), ints([0, bad]))

    def test_compress(self):
        for axis in (0, -1):
            self.node("Compress", floats(2, 2), np.array([True]), rank=2, axis=axis)
            x = floats(4, 3)
            n = x.shape[axis]
            for size in (0, 1, n):
                self.accept(x, random.random(size) < 0.7)
            self.refuse(f"expects at most {n} conditions, got {n + 1}", x, np.zeros(n + 1, bool))

    def test_constant_index_of_data(self):
        """The axis is data's, the index is not."""
        for index in (ints(3), ints(-4), np.array(3), ints([1, 3])):
            self.node("Gather", floats(2, 2), rank=index.ndim + 1, constants={"i": index})
            self.accept(floats(4, 3))
            bad = 3 if index.max() == 3 else -4
            self.refuse(outside(3, bad), floats(3, 3))
        self.node("GatherND", floats(2, 2), rank=2, constants={"i": ints([3])})
        self.accept(floats(4, 3))
        self.refuse(outside(3, 3), floats(3, 3))
        self.node("ScatterND", floats(2, 2), floats(1, 2), rank=2, constants={"i": ints([3])}, taken=["x0", "i", "x1"])
        self.accept(floats(4, 3), floats(1, 3))
        self.refuse(outside(3, 3), floats(3, 3), floats(1, 3))

    def test_gather_elements(self):
        for axis in (0, -1):
            self.node("GatherElements", floats(2, 2), ints([0]), rank=2, lists=False, axis=axis)
            x, n = floats(4, 4), 4
            self.accept(x, ints([0, 3, -4, 1], [1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]))
            for bad in (4, -5, GREATEST, LEAST):
                self.refuse(outside(n, bad), x, ints([0, 0, 0, 0], [0, 0, bad, 0]))
            shape = (1, 5) if axis == 0 else (5, 1)
            self.refuse("expects at most 4 indices beside the axis, got 5", x, np.zeros(shape, np.int64))

    def test_gather_nd(self):
        for k in (1, 2):
            self.node("GatherND", floats(2, 2), np.zeros((1, k), np.int64), rank=3 - k, lists=False, before=[
                helper.make_node("Reshape", ["x1", "shape"], ["at"], name="r")], constants={"shape": ints(-1, k)}, taken=["x0", "at"])
            x = floats(3, 4)
            self.accept(x, ints([2] * k, [-1] * k))
            for column in range(k):
                n = x.shape[column]
                for bad in (n, -n - 1, GREATEST, LEAST):
                    at = np.zeros((3, k), np.int64)
                    at[2, column] = bad
                    self.refuse(outside(n, bad), x, at)

    def test_scatter(self):
        for reduction in ("none", "add", "max"):
            self.node("ScatterElements", floats(2, 2), ints([0]), floats(2, 2), rank=2, lists=False, axis=1, reduction=reduction)
            x, updates = floats(3, 4), floats(2, 2)
            self.accept(x, ints([0, -1], [3, 1]), updates)
            for bad in (4, -5, GREATEST, LEAST):
                self.refuse(outside(4, bad), x, ints([0, 1], [bad, 1]), updates)
            self.refuse("expects at most 3 indices beside the axis, got 4", x, np.zeros((4, 1), np.int64), floats(4, 1))
            self.refuse("expects updates of the shape of the indices, got size 3 for 2", x, np.zeros((2, 1), np.int64), floats(3, 1))
            self.node("ScatterND", floats(2, 2), ints([0]), floats(2, 2), rank=2, lists=False, reduction=reduction, before=[
                helper.make_node("Reshape", ["x1", "shape"], ["at"], name="r")], constants={"shape": ints(-1, 1)}, taken=["x0", "at", "x2"])
            self.accept(x, ints([0], [-1]), floats(2, 4))
            for bad in (3, -4, GREATEST, LEAST):
                self.refuse(outside(3, bad), x, ints([0], [bad]), floats(2, 4))
            self.refuse("expects updates of the shape of the slices, got size 5 for 4", x, ints([0], [1]), floats(2, 5))

    def test_top_k(self):
        for axis in (0, -1):
            self.node("TopK", floats(2, 2), ints(1), rank=2, outputs=2, axis=axis)
            x = floats(5, 3)
            n = x.shape[axis]
            for k in (0, 1, n):
                self.accept(x, ints(k))
            for bad in (n + 1, GREATEST):
                self.refuse(f"expects k to be at most {n}, the size of the axis, got {bad}", x, ints(bad))
            for bad in (-1, LEAST):
                self.refuse(f"expects k to be at least 0, got {bad}", x, ints(bad))

    def test_one_hot_takes_any_index(self):
        self.node("OneHot", ints([0]), np.array(3), floats(2), rank=3, lists=False, axis=-1)
        values = ints(0, 1).astype(np.float32)
        self.accept(ints([0, 2, -3, 5, -9, GREATEST, LEAST]), np.array(3), values)

    def test_positions(self):
        table = floats(16, 4)
        self.node("RotaryEmbedding", floats(1, 1, 32), ints([0]), rank=3, lists=False, domain="com.microsoft", num_heads=4,
                  constants={"cos": table, "sin": table})
        x = floats(2, 3, 32)
        self.model.run(dict(x0=x, x1=ints([0, 1, 15], [2, 3, 4])))
        for bad in (16, -17, GREATEST, LEAST):
            self.refuse(outside(16, bad), x, ints([0, 1, 2], [3, bad, 4]))

    def test_rows_of_a_cache(self):
        self.node("TensorScatter", floats(1, 2, 1), floats(1, 1, 1), ints(0), rank=3, opset=24, lists=False)
        cache, rows = floats(2, 8, 3), floats(2, 2, 3)
        self.model.run(dict(x0=cache, x1=rows, x2=ints(0, 6)))
        for bad in (7, 8, -1, GREATEST, LEAST):
            self.refuse(f"expects rows inside of a cache of size 8, got index {bad}", cache, rows, ints(0, bad))

    def test_lengths_of_sequences(self):
        """GroupQueryAttention reads and writes as many positions as two of its inputs say."""
        f = lambda *shape: np.zeros(shape, np.float32)
        self.node("GroupQueryAttention", f(1, 1, 32), f(1, 1, 16), f(1, 1, 16), f(1, 2, 1, 8), f(1, 2, 1, 8), ints(0, dtype=np.int32),
                  np.array(0, np.int32), rank=3, lists=False, domain="com.microsoft", num_heads=4, kv_num_heads=2)
        for lens in (-1, -2, 100, 2**31 - 1, -(2**31)):
            for total in (3, 0, -1, 2**31 - 1, -(2**31)):
                feed = [f(2, 1, 32), f(2, 1, 16), f(2, 1, 16), f(2, 2, 2, 8), f(2, 2, 2, 8), ints(0, lens, dtype=np.int32), np.array(total, np.int32)]
                with self.assertRaises(moe_mlir.NodeError, msg=f"{lens} {total}"):
                    self.model.run(dict(zip(self.names, feed)))


class Declarations(NodeTest):
    def test_shape_that_is_declared_but_not_computed(self):
        """The size of a reshaped tensor is data; what the file says it is must not be believed."""
        f = lambda *shape: np.ones(shape, np.float32) / 8
        lie = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 16])
        self.node("MoE", floats(2, 2), ints(1, 1), floats(2, 2), rank=2, domain="com.microsoft", k=2, activation_type="silu",
                  before=[helper.make_node("Reshape", ["x0", "x1"], ["rows"], name="r")], declared=[lie],
                  constants={"fc1": f(4, 8, 16), "fc2": f(4, 16, 8)}, taken=["rows", "x2", "fc1", "", "fc2"])
        x, logits = floats(4, 16), floats(4, 4)
        self.model.run(dict(x0=x, x1=ints(4, 16), x2=logits))
        for shape, rows in (((8, 8), 8), ((2, 32), 2), ((64, 1), 64), ((1, 64), 1)):
            with self.assertRaises(moe_mlir.NodeError, msg=shape):
                self.model.run(dict(x0=x, x1=ints(*shape), x2=floats(rows, 4)))
        self.refuse("expects router logits of 4 experts, got 5", x, ints(4, 16), floats(4, 5), subject="node 'n' (moe.route)")


if __name__ == "__main__":
    unittest.main()

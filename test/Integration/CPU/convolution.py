# Conv in all forms against its definition in float64; every size of the input but the channels is dynamic.
# REQUIRES: python-numpy, python-onnx, python-ml_dtypes
# RUN: rm -rf %t && mkdir -p %t && %python %s %t
import itertools
import os
import sys
import unittest

import ml_dtypes
import moe_mlir
import numpy as np
import onnx
from onnx import helper, numpy_helper

FOLDER = sys.argv.pop()
BF16 = np.dtype(ml_dtypes.bfloat16)
LIMITS = {np.dtype(np.float32): 1e-5, np.dtype(np.float16): 2e-3, BF16: 2e-2, np.dtype(np.float64): 1e-13}


def pads_of(sizes, extents, strides, attributes):
    """Before and after each axis, and the sizes of the output."""
    axes, mode = len(sizes), attributes.get("auto_pad", "NOTSET")
    if mode.startswith("SAME"):
        out = [-(-n // s) for n, s in zip(sizes, strides)]
        total = [max((o - 1) * s + e - n, 0) for o, s, e, n in zip(out, strides, extents, sizes)]
        less, more = [t // 2 for t in total], [t - t // 2 for t in total]
        return (less, more, out) if mode == "SAME_UPPER" else (more, less, out)
    pads = attributes.get("pads", [0] * 2 * axes) if mode == "NOTSET" else [0] * 2 * axes
    before, after = pads[:axes], pads[axes:]
    return before, after, [max((n + b + a - e) // s + 1, 0) for n, b, a, e, s in zip(sizes, before, after, extents, strides)]


def reference(x, w, bias, attributes):
    x, w = x.astype(np.float64), w.astype(np.float64)
    axes, groups = x.ndim - 2, attributes.get("group", 1)
    strides, dilations = attributes.get("strides", [1] * axes), attributes.get("dilations", [1] * axes)
    extents = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilations)]
    before, after, out = pads_of(x.shape[2:], extents, strides, attributes)
    x = np.pad(x, [(0, 0), (0, 0), *zip(before, after)])
    x = x.reshape(x.shape[0], groups, w.shape[1], *x.shape[2:])
    w = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    y = np.zeros((x.shape[0], groups, w.shape[1], *out))
    for tap in itertools.product(*map(range, w.shape[3:])):
        part = x[(slice(None),) * 3 + tuple(slice(t * d, t * d + (o - 1) * s + 1 if o else 0, s) for t, d, o, s in zip(tap, dilations, out, strides))]
        y += np.einsum("ngc...,gmc->ngm...", part, w[(slice(None),) * 3 + tap])
    y = y.reshape(y.shape[0], y.shape[1] * y.shape[2], *out)
    return y if bias is None else y + bias.astype(np.float64).reshape(-1, *[1] * axes)


class Model:
    """One model of many nodes, each with an input of its own."""

    count = 0

    def __init__(self, dtype=np.float32, opset=22):
        self.dtype, self.opset = np.dtype(dtype), opset
        self.element = helper.np_dtype_to_tensor_dtype(self.dtype)
        self.random = np.random.default_rng(7)
        self.nodes, self.inputs, self.outputs, self.weights, self.parts = [], [], [], [], []

    def values(self, *shape):
        return (self.random.standard_normal(shape) / 2).astype(self.dtype)

    def add(self, weight, bias=False, fed=False, **attributes):
        """`fed`: the weight is an input, of unknown sizes."""
        w, b = self.values(*weight), self.values(weight[0]) if bias else None
        axes, number = len(weight) - 2, len(self.nodes)
        self.inputs.append(helper.make_tensor_value_info(f"x{number}", self.element, [None, None if fed else weight[1] * attributes.get("group", 1)] + [None] * axes))
        if fed:
            self.inputs.append(helper.make_tensor_value_info(f"w{number}", self.element, [None] * (axes + 2)))
        else:
            self.weights.append(numpy_helper.from_array(w, f"w{number}"))
        if bias:
            self.weights.append(numpy_helper.from_array(b, f"b{number}"))
        operands = [f"x{number}", f"w{number}"] + [f"b{number}"] * bias
        self.nodes.append(helper.make_node("Conv", operands, [f"y{number}"], name=f"n{number}", **attributes))
        self.outputs.append(helper.make_tensor_value_info(f"y{number}", self.element, [None] * (axes + 2)))
        self.parts.append((w, b, fed, attributes))

    def compile(self):
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.outputs, self.weights)
        Model.count += 1
        stem = os.path.join(FOLDER, f"m{self.count}")
        onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", self.opset)]), stem + ".onnx")
        return moe_mlir.Model(moe_mlir.compile(stem + ".onnx", stem))

    def check(self, *sizes):
        """`sizes`: batch and spatial sizes, as many as any node needs."""
        model = self.compile()
        for batch, *spatial in sizes:
            feed, expected = {}, {}
            for i, (w, b, fed, attributes) in enumerate(self.parts):
                x = self.values(batch, w.shape[1] * attributes.get("group", 1), *spatial[: w.ndim - 2])
                feed[f"x{i}"] = x
                if fed:
                    feed[f"w{i}"] = w
                expected[f"y{i}"] = reference(x, w, b, attributes)
            found = model.run(feed)
            for i, (name, y) in enumerate(expected.items()):
                made = found[name]
                if self.dtype == BF16 and made.dtype != BF16:
                    made = made.view(BF16)
                assert made.shape == y.shape, (name, made.shape, y.shape, self.parts[i][3])
                error = np.abs(made.astype(np.float64) - y).max(initial=0) / max(1, np.abs(y).max(initial=0))
                assert error <= LIMITS[self.dtype], (self.dtype, (batch, *spatial), self.parts[i][0].shape, self.parts[i][3], error)
        model.close()


class ConvolutionTest(unittest.TestCase):
    def test_causal(self):
        # As Mamba, Jamba (4 taps, padded at both ends) and LFM2 (3 taps) have them.
        model = Model()
        model.add((37, 1, 4), True, group=37, pads=[3, 3])
        model.add((16, 1, 3), group=16, pads=[2, 0])
        model.add((300, 1, 4), True, group=300, pads=[3, 0])
        model.add((6, 1, 3), group=3, pads=[2, 2])
        model.check((1, 1), (2, 3), (1, 17), (3, 64), (0, 5), (2, 0))

    def test_one_axis(self):
        model = Model()
        model.add((48, 20, 3), True, pads=[1, 1])
        model.add((48, 20, 3), True, strides=[2], pads=[1, 1])
        model.add((24, 10, 5), group=2, dilations=[2], pads=[4, 4])
        model.add((24, 40, 1))
        model.add((5, 3, 2), True, dilations=[3], strides=[3], pads=[2, 1])
        model.add((3, 2, 40), auto_pad="SAME_LOWER")
        for mode, stride in itertools.product(["SAME_UPPER", "SAME_LOWER", "VALID"], [1, 3]):
            model.add((4, 2, 4), auto_pad=mode, strides=[stride])
            model.add((4, 9, 4), True, auto_pad=mode, strides=[stride])
        model.check((1, 4), (2, 7), (1, 64), (3, 31))

    def test_more_axes(self):
        model = Model()
        model.add((16, 8, 3, 3), True, pads=[1, 1, 1, 1])
        model.add((16, 4, 3, 2), True, group=2, strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2])
        model.add((8, 1, 3, 3), group=8, strides=[2, 2], pads=[1, 1, 1, 1], kernel_shape=[3, 3])
        model.add((6, 2, 2, 3, 2), True, pads=[1, 1, 0, 0, 1, 1], strides=[1, 2, 1])
        model.add((4, 2, 3, 2, 3), group=2, dilations=[1, 2, 1])
        model.add((3, 2, 1, 2, 2, 2), auto_pad="SAME_UPPER", strides=[1, 2, 1, 2])
        model.check((2, 5, 6, 4, 3), (1, 4, 9, 7, 2), (1, 17, 3, 3, 3))

    def test_weights_as_data(self):
        model = Model()
        model.add((6, 2, 3), True, fed=True, group=2, pads=[1, 1])
        model.add((3, 5, 2, 2), fed=True)
        model.check((1, 2, 3), (2, 9, 8))

    def test_types(self):
        for dtype in (np.float16, BF16, np.float64):
            model = Model(dtype)
            model.add((16, 1, 4), True, group=16, pads=[3, 3])
            model.add((12, 6, 8), True, group=2, strides=[2])
            model.add((16, 24, 3), True, pads=[1, 1])
            model.check((1, 8), (2, 33))

    def test_versions(self):
        for opset in (1, 11, 22, 24):
            model = Model(opset=opset)
            model.add((4, 2, 3), True, pads=[1, 1])
            model.check((2, 5))

    def test_too_small_inputs(self):
        model = Model()
        model.add((4, 1, 4), group=4)
        model.check((1, 4), (1, 3))
        with self.assertRaisesRegex(moe_mlir.NodeError, r"node 'n0' \(Conv\): expects a padded input of at least 3 elements along each axis, got 2"):
            model.compile().run({"x0": np.ones((1, 4, 2), np.float32)})

    def refuse(self, text, x, w, bias=None, **attributes):
        info = lambda name, shape: helper.make_tensor_value_info(name, 1, shape)
        values = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in (("w", w), ("b", bias)) if shape]
        node = helper.make_node("Conv", ["x", "w", "b"][: 2 + bool(bias)], ["y"], name="n", **attributes)
        graph = helper.make_graph([node], "g", [info("x", x)], [info("y", None)], values)
        path = os.path.join(FOLDER, "refused.onnx")
        onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 22)]), path)
        with self.assertRaisesRegex(moe_mlir.CompileError, text):
            moe_mlir.compile(path, path[:-5])

    def test_refused(self):
        n = [None]
        self.refuse("expects at least one group, got 0", n + [4] + n, (4, 2, 3), group=0)
        self.refuse("expects numbers of channels that agree, got 5 and 4", n + [5] + n, (4, 2, 3), group=2)
        self.refuse("expects numbers of output channels that agree, got 5 and 4", n + [4] + n, (5, 2, 3), group=2)
        self.refuse("expects kernel sizes that agree, got 3 and 2", n + [2] + n, (4, 2, 3), kernel_shape=[2])
        self.refuse("expects sizes of the bias that agree, got 3 and 4", n + [2] + n, (4, 2, 3), (3,))
        self.refuse("strides must only contain positive values", n + [2] + n, (4, 2, 3), strides=[0])
        self.refuse("dilations must only contain positive values", n + [2] + n, (4, 2, 3), dilations=[-1])
        self.refuse("pads must not contain negative values", n + [2] + n, (4, 2, 3), pads=[-1, 0])
        self.refuse("auto_pad 'SAME' is not supported", n + [2] + n, (4, 2, 3), auto_pad="SAME")


if __name__ == "__main__":
    unittest.main()

# Sequences whose length is known when a model is compiled, against onnxruntime.
# REQUIRES: python-numpy, python-onnx, python-onnxruntime
# RUN: rm -rf %t && mkdir -p %t && %python %s %t
import os
import sys
import unittest

import moe_mlir
import numpy as np
import onnx
import onnx.parser
import onnxruntime

FOLDER = sys.argv.pop()


class Sequences(unittest.TestCase):
    def graph(self, text):
        model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 20]>\n{text}')
        self.stem = os.path.join(FOLDER, self.id().rsplit(".")[-1] + str(len(os.listdir(FOLDER))))
        onnx.save(model, self.stem + ".onnx")
        return [value.name for value in model.graph.input]

    def check(self, text, *feeds):
        names = self.graph(text)
        session = onnxruntime.InferenceSession(self.stem + ".onnx", providers=["CPUExecutionProvider"])
        model = moe_mlir.Model(moe_mlir.compile(self.stem + ".onnx", self.stem))
        for inputs in feeds:
            feed = dict(zip(names, inputs))
            found = model.run(feed)
            for output, expected in zip(session.get_outputs(), session.run(None, feed)):
                self.assertEqual(found[output.name].shape, np.shape(expected))
                np.testing.assert_allclose(found[output.name], expected, rtol=1e-6)
        model.close()

    def refused(self, text, why):
        self.graph(text)
        with self.assertRaisesRegex(moe_mlir.CompileError, why):
            moe_mlir.compile(self.stem + ".onnx", self.stem)

    def x(self, *shape):
        return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)

    def test_construct(self):
        self.check(
            """g (float[A, 3] x, float[B, 3] y) => (float[C, 3] joined, float[A, 3] first, int64 n, float[D, 3] rest) <int64 zero = {0}, int64 last = {-1}> {
              s = SequenceConstruct(x, y)
              t = SequenceInsert(s, x, zero)
              u = SequenceInsert(t, y)
              joined = ConcatFromSequence<axis = 0>(u)
              first = SequenceAt(u, zero)
              n = SequenceLength(u)
              v = SequenceErase(u, last)
              w = SequenceErase(v)
              rest = ConcatFromSequence<axis = 0>(w)
            }""",
            *[(self.x(a, 3), self.x(b, 3)) for a, b in ((1, 2), (0, 4), (5, 1))],
        )

    def test_split(self):
        self.check(
            """g (float[4, A] x) => (float[A, 4] stacked, float[1, A] third, float[4, A] pairs, float[3, A] tail) <int64 two = {2}, int64[2] sizes = {1, 3}, int64 one = {1}> {
              s = SplitToSequence<axis = 0, keepdims = 0>(x)
              stacked = ConcatFromSequence<axis = -1, new_axis = 1>(s)
              t = SplitToSequence<axis = 0>(x)
              third = SequenceAt(t, two)
              u = SplitToSequence<axis = 0>(x, two)
              pairs = ConcatFromSequence<axis = 0>(u)
              v = SplitToSequence<axis = 0>(x, sizes)
              tail = SequenceAt(v, one)
            }""",
            *[(self.x(4, a),) for a in (0, 1, 7)],
        )

    def test_loop(self):
        """A loop of constant length that builds a sequence is unrolled."""
        self.check(
            """g (float[3, A] x) => (float[3, A] y, float[3, A] all) <int64 three = {3}, bool go = {1}> {
              empty = SequenceEmpty<dtype = 1>()
              parts, all = Loop (three, go, empty) <body =
                b (int64 i, bool c, seq(float[A]) s) => (bool c2, seq(float[A]) s2, float[A] row) {
                  c2 = Identity(c)
                  row = Gather(x, i)
                  e = Exp(row)
                  s2 = SequenceInsert(s, e)
                }>
              y = ConcatFromSequence<axis = 0, new_axis = 1>(parts)
            }""",
            *[(self.x(3, a),) for a in (0, 1, 7)],
        )

    def test_unknown_lengths(self):
        self.refused(
            """g (float[N, 3] x) => (int64 n) { s = SplitToSequence<axis = 0>(x) n = SequenceLength(s) }""",
            r"\(SplitToSequence\): expects a static size of the axis, of at most 4096 parts",
        )
        self.refused(
            """g (float[3] x, int64 i) => (float[3] y) { s = SequenceConstruct(x, x) y = SequenceAt(s, i) }""",
            r"\(SequenceAt\): expects a constant position in the sequence",
        )
        self.refused(
            """g (float[3] x, int64 n) => (int64 y) <bool go = {1}> {
              s = SequenceConstruct(x)
              t = Loop (n, go, s) <body = b (int64 i, bool c, seq(float[3]) u) => (bool c2, seq(float[3]) v) { c2 = Identity(c) v = SequenceInsert(u, x) }>
              y = SequenceLength(t)
            }""",
            r"\(Loop\): expects a constant trip count where it carries sequences",
        )
        self.refused(
            """g (float[3] x) => (float[3] y) { s = SequenceConstruct(x) y = Neg(s) }""",
            r"Neg",
        )


if __name__ == "__main__":
    unittest.main()

# If, Loop and Scan: what onnxruntime computes, from one compiled model for all sizes.
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


def number(value, dtype=np.int64):
    return np.array(value, dtype)


def floats(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


class ControlFlow(unittest.TestCase):
    def graph(self, text, opset=20):
        """Compiles a graph in ONNX's textual form."""
        model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]>\n{text}')
        self.stem = os.path.join(FOLDER, self.id().rsplit(".")[-1] + str(len(os.listdir(FOLDER))))
        onnx.save(model, self.stem + ".onnx")
        self.names = [value.name for value in model.graph.input]
        self.session = onnxruntime.InferenceSession(self.stem + ".onnx", providers=["CPUExecutionProvider"])
        self.model = moe_mlir.Model(moe_mlir.compile(self.stem + ".onnx", self.stem))
        self.addCleanup(self.model.close)

    def accept(self, *inputs, expected=None):
        feed = dict(zip(self.names, inputs))
        if expected is None:
            names = [output.name for output in self.session.get_outputs()]
            expected = dict(zip(names, self.session.run(names, feed)))
        found = self.model.run(feed)
        for name, array in expected.items():
            if array.shape[:1] == (0,) and found[name].ndim == array.ndim:
                # onnxruntime does not know the sizes of slices that there are none of.
                self.assertEqual(found[name].size, 0)
                continue
            self.assertEqual((found[name].shape, found[name].dtype), (array.shape, array.dtype), name)
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6, err_msg=name)

    def refuse(self, text, *inputs):
        with self.assertRaises(moe_mlir.NodeError) as caught:
            self.model.run(dict(zip(self.names, inputs)))
        self.assertEqual(str(caught.exception), text)

    def test_if(self):
        """Captures, branches of different sizes, an output that only one branch makes."""
        self.graph(
            """g (bool c, float[N, 4] x, float[M, 4] z) => (float[P, 4] y, float[Q, 4] same, int64[2] s, float[R, S] w) {
              neg = Neg(x)
              y, same, s, w = If (c) <
                then_branch = t () => (float[N, 4] a, float[N, 4] a2, int64[2] a3, float[R, S] a4) {
                  a = Add(neg, x) a2 = Exp(x) a3 = Shape(x) a4 = Transpose(z) },
                else_branch = e () => (float[M, 4] b, float[N, 4] b2, int64[2] b3, float[R, S] b4) {
                  b = Sqrt(z) b2 = Identity(neg) b3 = Shape(z) b4 = Identity(x) }>
            }"""
        )
        for condition in (False, True):
            for n, m in ((3, 5), (0, 2), (1, 1), (7, 0)):
                self.accept(number(condition, bool), floats(n, 4), abs(floats(m, 4)))

    def test_if_of_data_sizes(self):
        """Sizes that only the branches know."""
        self.graph(
            """g (float[N] x, float lim) => (int64[1, P] y, float[Q] v) <int64[1] last = {-1}> {
              total = ReduceSum<keepdims = 0>(x)
              c = Greater(total, lim)
              y, v = If (c) <
                then_branch = t () => (int64[1, P] a, float[Q] a2) {
                  big = Greater(x, lim) a = NonZero(big) a4 = Transpose(a) a3 = Squeeze(a4, last) a2 = Gather(x, a3) },
                else_branch = e () => (int64[1, P] b, float[Q] b2) {
                  small = Less(x, lim) b = NonZero(small) b2 = Identity(x) }>
            }"""
        )
        for n in (0, 1, 6, 17):
            for limit in (-0.5, 0, 3):
                self.accept(floats(n), number(limit, np.float32))

    def test_constant_condition(self):
        """Only the branch that a static shape chooses has to make sense."""
        self.graph(
            """g (float[1, N] x) => (float[N] y) <int64 first = {0}, int64 one = {1}, int64[1] zero = {0}> {
              s = Shape(x)
              d = Gather(s, first)
              c = Equal(d, one)
              y = If (c) <
                then_branch = t () => (float[N] a) { a = Squeeze(x, zero) },
                else_branch = e () => (float[1, N] b) { b = Identity(x) }>
            }"""
        )
        for n in (0, 1, 5):
            self.accept(floats(1, n))

    def test_loop(self):
        """A trip count, carried values of fixed and of growing size, scanned outputs."""
        self.graph(
            """g (int64 n, float[A, 3] x) => (float[A, 3] last, float[G, 3] grown, float[n, A, 3] all, int64[n] count) {
              last, grown, all, count = Loop (n, , x, x) <body =
                b (int64 i, bool c, float[A, 3] v, float[H, 3] g) => (bool c2, float[A, 3] v2, float[I, 3] g2, float[A, 3] slice, int64 j) {
                  c2 = Identity(c)
                  f = Cast<to = 1>(i)
                  v2 = Add(v, f)
                  g2 = Concat<axis = 0>(g, x)
                  slice = Mul(v2, x)
                  j = Add(i, i)
                }>
            }"""
        )
        for trips in (0, 1, 2, 9, -3):
            for rows in (0, 1, 4):
                x = floats(rows, 3)
                none = {"last": x, "grown": x, "all": np.zeros((0, rows, 3), np.float32), "count": np.zeros(0, np.int64)}
                self.accept(number(trips), x, expected=none if trips <= 0 else None)

    def test_while(self):
        """A condition that data ends, with a limit, scanned outputs, and a carried value that grows."""
        self.graph(
            """g (int64 n, bool first, float[A] x, float limit) => (float[A] last, float[B] grown, float[n, A] all, float[n] sums) {
              last, grown, all, sums = Loop (n, first, x, x) <body =
                b (int64 i, bool c, float[A] v, float[H] g) => (bool c2, float[A] v2, float[I] g2, float[A] slice, float s) {
                  v2 = Add(v, x)
                  s = ReduceSum<keepdims = 0>(v2)
                  c2 = Less(s, limit)
                  g2 = Concat<axis = 0>(g, v)
                  slice = Neg(v)
                }>
            }"""
        )
        ones = lambda n: np.ones(n, np.float32)
        for first in (False, True):
            for trips, limit in ((0, 10), (1, 10), (5, 10), (1000, 300), (100, 1), (40, 1e9)):
                self.accept(number(trips), number(first, bool), ones(3), number(limit, np.float32))
        self.accept(number(12), number(True, bool), ones(0), number(1, np.float32))
        self.accept(number(100), number(True, bool), ones(1), number(16, np.float32))

    def test_while_without_limit(self):
        self.graph(
            """g (bool first, int64 x) => (int64 steps, int64 last) <int64 zero = {0}, int64 one = {1}, int64 two = {2}, int64 three = {3}> {
              steps, last = Loop (, first, zero, x) <body =
                b (int64 i, bool c, int64 k, int64 v) => (bool c2, int64 k2, int64 v2) {
                  k2 = Add(k, one)
                  half = Div(v, two)
                  twice = Mul(half, two)
                  even = Equal(twice, v)
                  v2 = If (even) <
                    then_branch = t () => (int64 a) { a = Identity(half) },
                    else_branch = e () => (int64 o) { triple = Mul(v, three) o = Add(triple, one) }>
                  c2 = Greater(v2, one)
                }>
            }"""
        )
        for value, steps in ((27, 111), (97, 118), (2, 1)):
            self.accept(number(True, bool), number(value), expected={"steps": number(steps), "last": number(1)})
        self.accept(number(False, bool), number(5), expected={"steps": number(0), "last": number(5)})

    def test_swapped(self):
        """Carried values that change places, one that is passed on and one that is an input."""
        self.graph(
            """g (int64 n, float[A] x, float[A] y) => (float[A] p, float[A] q, float[A] r, float[A] s) {
              p, q, r, s = Loop (n, , x, y, x, y) <body =
                b (int64 i, bool c, float[A] a, float[A] b, float[A] d, float[A] e) => (bool c2, float[A] b2, float[A] a2, float[A] d2, float[A] e2) {
                  c2 = Identity(c) b2 = Identity(b) a2 = Identity(a) d2 = Identity(d) e2 = Identity(x)
                }>
            }"""
        )
        for trips in (0, 1, 2, 5):
            self.accept(number(trips), floats(4), floats(5)[:4])

    def test_nested(self):
        """Loops and branches in each other, captures through two levels, products with weights."""
        weight = ", ".join(str(v) for v in np.round(floats(8, 8).ravel(), 3))
        self.graph(
            f"""g (int64 n, float[A, 8] x) => (float[A, 8] y, float[n, m, A, 8] all) <float[8, 8] w = {{{weight}}}, int64 three = {{3}}, int64 one = {{1}}> {{
              y, all = Loop (n, , x) <body =
                outer (int64 i, bool c, float[A, 8] v) => (bool c2, float[A, 8] v2, float[m, A, 8] slices) {{
                  c2 = Identity(c)
                  odd = Mod(i, three)
                  even = Equal(odd, one)
                  v1 = If (even) <
                    then_branch = t () => (float[A, 8] a) {{ s = MatMul(v, w) a = Tanh(s) }},
                    else_branch = e () => (float[A, 8] b) {{ b = Sub(v, x) }}>
                  v2, slices = Loop (three, , v1) <body =
                    inner (int64 j, bool d, float[A, 8] u) => (bool d2, float[A, 8] u2, float[A, 8] copy) {{
                      d2 = Identity(d)
                      k = Add(i, j)
                      f = Cast<to = 1>(k)
                      p = MatMul(u, w)
                      h = Add(p, f)
                      u2 = Sigmoid(h)
                      copy = Sub(u2, x)
                    }}>
                }}>
            }}"""
        )
        for trips in (0, 1, 4):
            for rows in (0, 1, 3, 17):
                self.accept(number(trips), floats(rows, 8))

    def test_growing_in_a_loop(self):
        """A loop whose carried value grows, in a loop that carries it, too; sizes that the body finds."""
        self.graph(
            """g (int64 n, float[A] x) => (float[B] y, int64 found) <int64 two = {2}, int64 zero = {0}, float nothing = {0}, int64[1] axis = {0}> {
              y, found = Loop (n, , x, zero) <body =
                outer (int64 i, bool c, float[H] v, int64 t) => (bool c2, float[I] v2, int64 t2) {
                  c2 = Identity(c)
                  v2 = Loop (two, , v) <body =
                    inner (int64 j, bool d, float[J] u) => (bool d2, float[K] u2) {
                      d2 = Identity(d)
                      u2 = Concat<axis = 0>(u, x)
                    }>
                  positive = Greater(v2, nothing)
                  kept = NonZero(positive)
                  size = Size(kept)
                  t2 = Add(t, size)
                }>
            }"""
        )
        for trips in (0, 1, 5, 40):
            for rows in (0, 1, 6):
                self.accept(number(trips), floats(rows))

    def test_index_by_trip(self):
        """The number of the iteration as an index, checked where it is used."""
        self.graph(
            """g (int64 n, float[A, 3] x) => (float[n, 3] y) <bool t = {1}> {
              y = Loop (n, t) <body = b (int64 i, bool c) => (bool c2, float[3] row) { c2 = Identity(c) row = Gather(x, i) }>
            }"""
        )
        for trips in (0, 1, 4):
            self.accept(number(trips), floats(4, 3))
        self.refuse("node 'Gather_row' (Gather): expects every index to lie in an axis of size 4, got 4", number(5), floats(4, 3))
        self.refuse(f"node 'Loop_y' (Loop): expects a shape of at most {2**47} elements beside sizes of 0, got {3 * 2**60}", number(2**60), floats(4, 3))

    def test_slices_of_sizes_that_data_decides(self):
        self.graph(
            """g (int64 n, float[A] x, float[T, B] z) => (int64[n, 1, C] places, float[n, A] rows, float[D, T] kept) <float zero = {0}, bool t = {1}, int64[1] first = {0}> {
              places, rows = Loop (n, t) <body =
                b (int64 i, bool c) => (bool c2, int64[1, C] at, float[A] row) {
                  c2 = Identity(c) positive = Greater(x, zero) at = NonZero(positive) row = Neg(x)
                }>
              kept = Scan <num_scan_inputs = 1, scan_output_axes = [1], scan_output_directions = [1], body =
                s (float[B] u) => (float[D] w) {
                  big = Greater(u, zero) found = NonZero(big) flat = Squeeze(found, first) w = Gather(u, flat)
                }> (z)
            }"""
        )
        z = np.array([[1, -1, 2, 3], [-4, 5, 6, 7], [8, 9, -10, 11]], np.float32)
        kept = np.stack([row[row > 0] for row in z[::-1]], 1)
        for trips in (0, 1, 3):
            x = floats(7)
            places = np.repeat(np.argwhere(x > 0).T[None], trips, 0) if trips else np.zeros((0, 0, 0), np.int64)
            self.accept(number(trips), x, z, expected={"places": places, "rows": np.repeat(-x[None], trips, 0), "kept": kept})
        self.refuse("node 'Scan_kept' (Scan): expects slices of one shape, got size 1 after 2", number(1), floats(3), np.array([[1, 2], [-1, 3]], np.float32))

    def test_scan(self):
        self.graph(
            """g (float[A] first, float[T, A] x, float[A, U] z) => (float[A] last, float[T, A] sums, float[A, T] back) {
              last, sums, back = Scan <num_scan_inputs = 2, scan_input_axes = [0, -1], scan_input_directions = [0, 1],
                                       scan_output_axes = [0, 1], scan_output_directions = [0, 1], body =
                b (float[A] s, float[A] u, float[A] v) => (float[A] s2, float[A] o, float[A] p) {
                  s2 = Add(s, u) o = Identity(s2) p = Mul(s, v)
                }> (first, x, z)
            }"""
        )
        for steps in (0, 1, 2, 17):
            for width in (0, 1, 5):
                # onnxruntime ends the process for sizes of 0.
                first, x, z = floats(width), floats(steps, width), floats(width, steps)
                sums = np.cumsum(np.concatenate([first[None], x]), 0, dtype=np.float32)
                back = sums[:-1].T[:, ::-1] * z
                self.accept(first, x, z, expected={"last": sums[-1], "sums": sums[1:], "back": back})
        self.refuse("node 'Scan_last' (Scan): expects scanned inputs of lengths that agree, got 2 and 3", floats(3), floats(3, 3), floats(3, 2))

    def test_memory(self):
        """What an iteration replaces is freed."""
        self.graph(
            """g (int64 n, float[1, 256] x) => (float[B, 256] y, float[1, 256] z) {
              y, z = Loop (n, , x, x) <body =
                b (int64 i, bool c, float[H, 256] v, float[1, 256] w) => (bool c2, float[I, 256] v2, float[1, 256] w2) {
                  c2 = Identity(c) v2 = Concat<axis = 0>(v, x) a = Add(w, x) w2 = Exp(a)
                }>
            }"""
        )
        x = floats(1, 256) - 3
        session = self.model.session()
        made = session.run({"n": number(500), "x": x})
        np.testing.assert_array_equal(made["y"], np.repeat(x, 501, 0))
        self.assertLess(session.counters().arena_peak_bytes, 8 * made["y"].nbytes)

    def test_types(self):
        for name, dtype in (("float16", np.float16), ("double", np.float64), ("int64", np.int64), ("uint8", np.uint8)):
            self.graph(
                f"""g (int64 n, bool c, {name}[A] x, {name}[A] z) => ({name}[A] y, {name}[B] grown, {name}[n, A] all) {{
                  v = If (c) <then_branch = t () => ({name}[A] a) {{ a = Identity(x) }}, else_branch = e () => ({name}[A] b) {{ b = Identity(z) }}>
                  y, grown, all = Loop (n, , v, z) <body =
                    b (int64 i, bool k, {name}[A] s, {name}[C] g) => (bool k2, {name}[A] s2, {name}[D] g2, {name}[A] slice) {{
                      k2 = Identity(k) m = Less(s, x) s2 = Where(m, z, s) g2 = Concat<axis = 0>(g, s2) slice = Identity(s)
                    }}>
                }}"""
            )
            x, z = (floats(5) * 3).astype(dtype), (floats(6)[:5] * 3).astype(dtype)
            for trips in (0, 1, 3):
                for condition in (False, True):
                    self.accept(number(trips), number(condition, bool), x, z)


if __name__ == "__main__":
    unittest.main()

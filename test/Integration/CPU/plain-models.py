# Models without a sparse layer, and with one of a kind that is not recognised: they go through their plain operators, to
# the right numbers; and of the latter a remark says where recognition stopped.
# REQUIRES: python-onnx, python-numpy, python-onnxruntime
# RUN: rm -rf %t && mkdir -p %t && %python %s %t
import json
import logging
import math
import os
import sys
import unittest

import moe_reference as ref
import numpy as np
import onnxruntime
from sparse_models import F32, I64, Graph

import moe_mlir

FOLDER = sys.argv.pop()


def matrix(random, *shape):
    return (random.standard_normal(shape) / math.sqrt(shape[-1])).astype(np.float32)


class Plain(unittest.TestCase):
    def compile(self, name, graph, opset=20, **options):
        self.path = graph.save(os.path.join(FOLDER, name + ".onnx"), opset)
        return moe_mlir.Model(moe_mlir.compile(self.path, **options), threads=2)

    def check(self, model, cases, reference=None, limit=1e-5):
        """Against onnxruntime and, where there is one, the float64 reference."""
        peer = onnxruntime.InferenceSession(self.path, providers=["CPUExecutionProvider"])
        for inputs in cases:
            outputs = model.run(inputs)
            wanted = [dict(zip(outputs, peer.run(list(outputs), inputs)))]
            wanted += [reference(**inputs)] if reference else []
            for want in wanted:
                for name, array in want.items():
                    self.assertEqual(outputs[name].shape, array.shape)
                    if outputs[name].dtype.kind != "f":
                        np.testing.assert_array_equal(outputs[name], array)
                        continue
                    difference = np.abs(outputs[name] - array).max(initial=0)
                    self.assertLessEqual(difference, limit * max(1, np.abs(array).max(initial=0)), name)

    def test_perceptron(self):
        random = np.random.default_rng(0)
        w1, b1, w2 = matrix(random, 37, 19), matrix(random, 37), matrix(random, 37, 11)
        g = Graph()
        x = g.input("x", ["rows", 19])
        hidden = g("Relu", g("Gemm", x, w1, b1, transB=1))
        g.output("y", g("MatMul", hidden, w2), ["rows", 11])
        g.output("mean", g("ReduceMean", hidden, [1], keepdims=0), ["rows"])

        def reference(x):
            hidden = np.maximum(ref.f64(x) @ ref.f64(w1).T + b1, 0)
            return {"y": hidden @ w2, "mean": hidden.mean(1)}

        model = self.compile("perceptron", g)
        self.assertEqual(model.expert_layers, ())
        cases = [{"x": matrix(random, rows, 19)} for rows in (0, 1, 2, 7, 130)]
        self.check(model, cases, reference)

    def test_matrix_per_head(self):
        """Batches of matrices times as many weights, with none, one and two batch dimensions in front of them."""
        random, heads = np.random.default_rng(3), 5
        w, v = matrix(random, heads, 13, 21), matrix(random, heads, 33, 21)
        g = Graph()
        x = g.input("x", ["b", heads, "s", 13])
        y = g("MatMul", x, w)
        g.output("y", y, ["b", heads, "s", 21])
        g.output("z", g("FusedMatMul", y, v, transB=1, domain="com.microsoft"), ["b", heads, "s", 33])
        three = g.input("three", [heads, "t", 13])
        g.output("threes", g("MatMul", three, w), [heads, "t", 21])
        five = g.input("five", [2, "b", heads, "s", 13])
        g.output("fives", g("MatMul", five, w), [2, "b", heads, "s", 21])
        one = g.input("one", ["b", 1, "s", 13])  # for all weights: broadcast
        g.output("ones", g("MatMul", one, w), ["b", heads, "s", 21])

        def reference(x, three, five, one):
            y = ref.f64(x) @ w
            return {"y": y, "z": y @ v.transpose(0, 2, 1), "threes": ref.f64(three) @ w, "fives": ref.f64(five) @ w,
                    "ones": ref.f64(one) @ w}  # fmt: skip

        model = self.compile("matrix_per_head", g)
        cases = []
        for b, s, t in [(1, 1, 1), (2, 3, 0), (3, 0, 7), (1, 67, 65)]:
            shapes = {"x": (b, heads, s, 13), "three": (heads, t, 13), "five": (2, b, heads, s, 13), "one": (b, 1, s, 13)}
            cases.append({name: matrix(random, *shape) for name, shape in shapes.items()})
        self.check(model, cases, reference)

    def test_attention(self):
        """Masked attention over two inputs of their own lengths."""
        random, depth = np.random.default_rng(1), 16
        weights = [matrix(random, depth, depth) for _ in range(3)]
        g = Graph()
        x, memory = g.input("x", ["batch", "seq", depth]), g.input("memory", ["batch", "length", depth])
        query, key, value = (g("MatMul", v, w) for v, w in zip((x, memory, memory), weights))
        scores = g("Mul", g("MatMul", query, g("Transpose", key, perm=[0, 2, 1])), depth**-0.5)
        rows = g("Unsqueeze", g("Range", 0, g("Squeeze", g("Shape", x, start=1, end=2)), 1), [1])
        columns = g("Unsqueeze", g("Range", 0, g("Squeeze", g("Shape", memory, start=1, end=2)), 1), [0])
        mask = g("Where", g("LessOrEqual", columns, rows), 0.0, -1e30)
        probs = g("Softmax", g("Add", scores, mask), axis=-1)
        g.output("y", g("Add", x, g("MatMul", probs, value)), ["batch", "seq", depth])
        g.output("best", g("ArgMax", probs, axis=-1, keepdims=0), ["batch", "seq"], I64)

        def reference(x, memory):
            query, key, value = (ref.f64(v) @ w for v, w in zip((x, memory, memory), weights))
            scores = query @ key.transpose(0, 2, 1) / math.sqrt(depth)
            seen = np.arange(memory.shape[1]) <= np.arange(x.shape[1])[:, None]
            probs = ref.softmax(np.where(seen, scores, -1e30))
            return {"y": x + probs @ value, "best": probs.argmax(-1)}

        model = self.compile("attention", g)
        shapes = [(1, 1, 1), (2, 3, 5), (1, 33, 17), (4, 1, 40)]
        cases = [{"x": matrix(random, b, s, depth), "memory": matrix(random, b, l, depth)} for b, s, l in shapes]
        self.check(model, cases, reference)

    def test_integers_and_shapes(self):
        """What depends on shapes and on data: slices, gathers, sorting, selection."""
        random = np.random.default_rng(2)
        g = Graph()
        ids, table = g.input("ids", ["n", "m"], I64), g.input("table", ["rows", 6])
        rows = g("Gather", table, ids, axis=0)
        n, m = g("Shape", ids, start=0, end=1), g("Shape", ids, start=1, end=2)
        flat = g("Reshape", rows, g("Concat", g("Mul", n, m), [2, 3], axis=0))
        g.output("flat", g("Transpose", flat, perm=[0, 2, 1]), ["n*m", 3, 2])
        values, places = g("TopK", table, [2], results=2, axis=1, largest=1, sorted=1)
        g.output("values", values, ["rows", 2])
        g.output("places", places, ["rows", 2], I64)
        half = g("Div", m, [2])
        g.output("tail", g("Slice", ids, half, m, [1]), ["n", "tail"], I64)
        g.output("odd", g("Where", g("Equal", g("Mod", ids, 2), 1), ids, -1), ["n", "m"], I64)
        g.output("sums", g("ReduceSum", g("Cast", ids, to=F32), [0], keepdims=1), [1, "m"])

        def reference(ids, table):
            order = np.argsort(-table, axis=1, kind="stable")[:, :2]
            return {
                "flat": table[ids].reshape(-1, 2, 3).transpose(0, 2, 1),
                "values": np.take_along_axis(table, order, 1), "places": order,
                "tail": ids[:, ids.shape[1] // 2 :], "odd": np.where(ids % 2 == 1, ids, -1),
                "sums": ids.sum(0, keepdims=True).astype(np.float32),
            }  # fmt: skip

        model = self.compile("integers", g, 18)
        cases = [
            {"ids": random.integers(0, r, (n, m)), "table": np.round(2 * random.standard_normal((r, 6))).astype(np.float32)}
            for n, m, r in ((1, 1, 1), (2, 3, 7), (5, 8, 4), (3, 0, 2))
        ]
        self.check(model, cases, reference)
        for wrong in (4, -5):
            with self.assertRaisesRegex(moe_mlir.NodeError, rf"^node '.*' \(Gather\): .*{wrong}"):
                model.run({**cases[2], "ids": np.full((1, 1), wrong)})

    def test_sparse_layer_of_another_kind(self):
        """Experts that add their own input, so that they are no product with a matrix; and a selection of the smallest."""
        random, width, experts, k = np.random.default_rng(3), 12, 4, 2
        router = matrix(random, experts, width)
        up, down = matrix(random, experts, 20, width), matrix(random, experts, width, 20)
        for largest in (1, 0):
            g = Graph()
            x = g.input("x", ["tokens", width])
            scores = g("Softmax", g("MatMul", x, router.T), axis=-1)
            values, ids = g("TopK", scores, [k], results=2, axis=-1, largest=largest, sorted=1, name="choose")
            weights = g("Div", values, g("ReduceSum", values, [-1], keepdims=1))
            y = None
            for e in range(experts):
                hidden = g("Relu", g("MatMul", x, up[e].T))
                mine = g("Cast", g("Equal", ids, e), to=F32)
                share = g("ReduceSum", g("Mul", mine, weights), [-1], keepdims=1)
                out = g("MatMul", hidden, down[e].T)
                part = g("Mul", g("Add", out, x) if largest else out, share)
                y = part if y is None else g("Add", y, part)
            g.output("y", y, ["tokens", width])

            def reference(x):
                scores = ref.softmax(ref.f64(x) @ ref.f64(router).T)
                order = ref.top_k(scores if largest else -scores, k)
                weights = np.take_along_axis(scores, order, -1)
                weights /= weights.sum(-1, keepdims=True)

                def expert(e, row):
                    return ref.f64(down[e]) @ np.maximum(ref.f64(up[e]) @ row, 0) + largest * row

                return {"y": ref.combine(ref.f64(x), weights, order, expert)}

            messages = os.path.join(FOLDER, f"masked{largest}.jsonl")
            with self.assertLogs("moe_mlir", logging.INFO) as logs:
                model = self.compile(f"masked{largest}", g, remarks=True, messages=messages)
            (remark,) = logs.output
            self.assertRegex(remark, r"remark: experts chosen by node 'choose' \(TopK\) are not recognised .*stopped at node '.*' \(.*\): expects")
            with open(messages) as lines:
                (record,) = map(json.loads, lines)
            message = record.pop("message")
            self.assertTrue(remark.endswith(f"{record['file']}: remark: {message}"))
            self.assertTrue(message.endswith(f"stopped at node '{record['node']}' ({record['op']}): {record['reason']}"))
            self.assertEqual((record["severity"], record["kind"], record["block"], record["layer"]),
                             ("remark", "not-recognised", "node 'choose' (TopK)", "choose"))
            self.assertEqual((record["reached"], record.get("form")),
                             ("experts", "looped") if largest else ("selection", None))
            self.assertEqual(model.expert_layers, ())
            self.check(model, [{"x": matrix(random, tokens, width)} for tokens in (1, 2, 33)], reference)
            # (onnxruntime takes no empty batch here.)
            self.assertEqual(model.run(np.zeros((0, width), np.float32))[0].shape, (0, width))


if __name__ == "__main__":
    unittest.main()

# What lies between the grouped kernels: elementwise operations, reductions,
# batched products, on any number of threads, with dynamic sizes.
#
# REQUIRES: python-numpy, python-ml_dtypes, x86_64
# RUN: %python %s %t

import sys

import numpy as np
from compiled import compile, function

EXP = "  %c = math.exp %b : f32\n"


def main(folder):
    a3, a2 = "tensor<?x?x?xf32>", "tensor<?x?xf32>"
    maps = "affine_map<(i, j, k) -> (i, j, k)>", "affine_map<(i, j, k) -> (i, j)>"
    body = f"""
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %b = tensor.dim %q, %c0 : {a3}
  %m = tensor.dim %q, %c1 : {a3}
  %d = tensor.dim %q, %c2 : {a3}
  %n = tensor.dim %k, %c2 : {a3}
  %zero = arith.constant 0.0 : f32
  %low = arith.constant 0xFF800000 : f32

  // scores = q k, probabilities = softmax(scores)
  %e0 = tensor.empty(%b, %m, %n) : {a3}
  %z0 = linalg.fill ins(%zero : f32) outs(%e0 : {a3}) -> {a3}
  %out_scores = linalg.batch_matmul ins(%q, %k : {a3}, {a3}) outs(%z0 : {a3}) -> {a3}
  %e1 = tensor.empty(%b, %m) : {a2}
  %z1 = linalg.fill ins(%low : f32) outs(%e1 : {a2}) -> {a2}
  %max = linalg.reduce {{ arith.maximumf }} ins(%out_scores : {a3}) outs(%z1 : {a2}) dimensions = [2]
  %exp = linalg.generic {{indexing_maps = [{maps[0]}, {maps[1]}, {maps[0]}], iterator_types = ["parallel", "parallel", "parallel"]}}
      ins(%out_scores, %max : {a3}, {a2}) outs(%e0 : {a3}) {{
  ^bb0(%x: f32, %y: f32, %o: f32):
    %s = arith.subf %x, %y : f32
    %p = math.exp %s : f32
    linalg.yield %p : f32
  }} -> {a3}
  %z2 = linalg.fill ins(%zero : f32) outs(%e1 : {a2}) -> {a2}
  %sum = linalg.reduce {{ arith.addf }} ins(%exp : {a3}) outs(%z2 : {a2}) dimensions = [2]
  %out_softmax = linalg.generic {{indexing_maps = [{maps[0]}, {maps[1]}, {maps[0]}], iterator_types = ["parallel", "parallel", "parallel"]}}
      ins(%exp, %sum : {a3}, {a2}) outs(%e0 : {a3}) {{
  ^bb0(%x: f32, %y: f32, %o: f32):
    %r = arith.divf %x, %y : f32
    linalg.yield %r : f32
  }} -> {a3}

  // Sums over the first dimension and over everything: reductions outside of
  // parallel loops.
  %e3 = tensor.empty(%m, %n) : {a2}
  %z3 = linalg.fill ins(%zero : f32) outs(%e3 : {a2}) -> {a2}
  %out_first = linalg.reduce {{ arith.addf }} ins(%out_scores : {a3}) outs(%z3 : {a2}) dimensions = [0]
  %e4 = tensor.empty() : tensor<f32>
  %z4 = linalg.fill ins(%zero : f32) outs(%e4 : tensor<f32>) -> tensor<f32>
  %out_all = linalg.reduce {{ arith.addf }} ins(%out_scores : {a3}) outs(%z4 : tensor<f32>) dimensions = [0, 1, 2]
  %e5 = tensor.empty(%n) : tensor<?xf32>
  %z5 = linalg.fill ins(%zero : f32) outs(%e5 : tensor<?xf32>) -> tensor<?xf32>
  %out_columns = linalg.reduce {{ arith.addf }} ins(%out_scores : {a3}) outs(%z5 : tensor<?xf32>) dimensions = [0, 1]

  // Another order of the same elements.
  %e6 = tensor.empty(%n, %b, %m) : {a3}
  %out_turned = linalg.transpose ins(%out_scores : {a3}) outs(%e6 : {a3}) permutation = [2, 0, 1]"""
    names = {"scores": a3, "softmax": a3, "first": a2, "all": "tensor<f32>", "columns": "tensor<?xf32>", "turned": a3}
    model = compile(function([("q", a3), ("k", a3)], list(names.items()), body), folder, "attention")
    random = np.random.default_rng(0)
    for b, m, d, n in ((0, 1, 1, 1), (1, 0, 3, 2), (2, 3, 0, 4), (1, 1, 1, 1), (3, 5, 7, 11), (2, 33, 16, 65), (8, 64, 32, 96), (70000, 1, 2, 3)):
        q = random.standard_normal((b, m, d)).astype(np.float32)
        k = random.standard_normal((b, d, n)).astype(np.float32)
        one, two, three = (model.run(threads, q=q, k=k) for threads in (1, 2, 3))
        where = f"{b}x{m}x{d}x{n}"
        for name in names:
            assert one[name].tobytes() == two[name].tobytes() == three[name].tobytes(), f"{where} {name}: threads"
        scores = q.astype(float) @ k.astype(float)
        sizes = np.abs(q).astype(float) @ np.abs(k).astype(float)
        assert one["scores"].shape == scores.shape, where
        assert (np.abs(one["scores"] - scores) <= sizes * (d + 1) * 2.0**-23).all(), where
        if n:
            e = np.exp(scores - scores.max(axis=2, keepdims=True))
            assert np.allclose(one["softmax"], e / e.sum(axis=2, keepdims=True), rtol=1e-5, atol=1e-7), where
        assert (one["turned"] == one["scores"].transpose(2, 0, 1)).all(), where
        exact, size = one["scores"].astype(float), np.abs(one["scores"]).astype(float)
        for name, axes, count in (("first", 0, b), ("all", None, b * m * n), ("columns", (0, 1), b * m)):
            bound = np.sum(size, axis=axes) * (count + 1) * 2.0**-24
            assert (np.abs(one[name] - np.sum(exact, axis=axes)) <= bound).all(), f"{where} {name}"

    # 16-bit arithmetic outside of kernels: each operation rounds.
    for dtype, bits in (("bf16", 8), ("f16", 11)):
        t = f"tensor<?x{dtype}>"
        text = function([("x", t), ("y", t)], [("z", t)], f"""
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : {t}
  %e = tensor.empty(%n) : {t}
  %out_z = linalg.generic {{indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}}
      ins(%x, %y : {t}, {t}) outs(%e : {t}) {{
  ^bb0(%a: {dtype}, %b: {dtype}, %o: {dtype}):
    %p = arith.mulf %a, %b : {dtype}
    %q = arith.addf %p, %a : {dtype}
    %r = arith.maximumf %q, %b : {dtype}
    linalg.yield %r : {dtype}
  }} -> {t}""")  # fmt: skip
        from compiled import stored

        x, y = (stored(random.standard_normal(1001), dtype) for _ in range(2))
        model = compile(text, folder, dtype)
        f = np.float32
        z = stored(np.maximum(stored(stored(f(x) * f(y), dtype).astype(f) + f(x), dtype), y), dtype)
        for threads in (1, 2):
            assert (model.run(threads, x=x, y=y)["z"] == z).all(), dtype


main(sys.argv[1])

# moe.dispatch and moe.combine with any choice of experts, and what a run says
# about values that no verifier can see (C6, C9, C12, C13, C18 of docs/Spec.md).
#
# REQUIRES: python-numpy, python-ml_dtypes, x86_64
# RUN: %python %s %t

import sys

import moe_mlir
import numpy as np
from compiled import DTYPES, compile, function, stored

E, H, N = 6, 19, 21


def layer(k, dtype, keep):
    """A layer whose experts are an input; with `keep`, its parts as outputs."""
    x, e, w = f"tensor<?x{H}x{dtype}>", f"tensor<?x{k}xi32>", f"tensor<?x{k}xf32>"
    weight, y = f"tensor<{E}x{N}x{H}x{dtype}>", f"tensor<?x{N}x{dtype}>"
    results = [("y", y), ("map", e)] + ([("rows", x), ("sizes", f"tensor<{E}xi64>"), ("h", y)] if keep else [])
    body = f"""  %rows, %sizes, %out_map = moe.dispatch %x, %experts : {x}, {e} -> {x}, tensor<{E}xi64>, {e}
  %h = moe.grouped_matmul %rows, %sizes weights(%w) : {x}, tensor<{E}xi64>, ({weight}) -> {y}
  %out_y = moe.combine %h, %weights, %out_map : {y}, {w}, {e} -> {y}
"""
    text = function([("x", x), ("experts", e), ("weights", w), ("w", weight)], results, body)
    for name in ("rows", "sizes", "h"):
        text = text.replace(f"%out_{name}", f"%{name}")
    return text


def expected_layer(x, experts, weights, w):
    x, w = x.astype(np.float64), w.astype(np.float64)
    result = np.zeros((len(x), N))
    for t, choices in enumerate(experts):
        for j, e in enumerate(choices):
            if e >= 0:
                result[t] += weights[t, j].astype(np.float64) * (w[e] @ x[t])
    return result


def plan(experts):
    """Row map, token per row and group sizes: a stable sort by expert."""
    t, k = experts.shape
    flat = experts.reshape(-1)
    order = [i for e in range(E) for i in np.flatnonzero(flat == e)]
    rows = np.full(t * k, -1, np.int32)
    rows[order] = np.arange(len(order))
    return rows.reshape(t, k), np.array(order, int) // k, np.bincount(flat[flat >= 0], minlength=E)


def choices(random, tokens, k):
    """Random, all to one expert, some experts empty, some choices none, all none."""
    yield "random", random.integers(0, E, (tokens, k))
    yield "one", np.full((tokens, k), E - 1)
    yield "few", random.choice([0, 3], (tokens, k))
    yield "missing", random.integers(-1, E, (tokens, k))
    yield "none", np.full((tokens, k), -1)


def check_layer(folder, k, dtype, keep):
    model = compile(layer(k, dtype, keep), folder, f"layer_{k}_{dtype}_{int(keep)}")
    random = np.random.default_rng(k)
    w = stored(random.standard_normal((E, N, H)) / H**0.5, dtype)
    tolerance = {"f32": 1e-5, "bf16": 2e-2, "f64": 2e-6}[dtype]
    for tokens in (0, 1, 2, 17, 129):
        x = stored(random.standard_normal((tokens, H)), dtype)
        weights = random.standard_normal((tokens, k)).astype(np.float32)
        for kind, experts in choices(random, tokens, k):
            where = f"k={k} {dtype} T={tokens} {kind}"
            inputs = dict(x=x, experts=experts, weights=weights, w=w)
            got, two = model.run(1, **inputs), model.run(2, **inputs)
            for name in got:
                if name not in ("rows", "h"):  # their last rows may be anything
                    assert got[name].tobytes() == two[name].tobytes(), f"{where} {name}: threads"
            rows, token, sizes = plan(experts)
            assert (got["map"] == rows).all(), where
            expected = expected_layer(x, experts, weights, w)
            assert got["y"].shape == expected.shape, where
            assert np.allclose(got["y"], expected, rtol=tolerance, atol=tolerance * 4), where
            if not keep:
                continue
            assert (got["sizes"] == sizes).all(), where
            assert got["rows"].shape == (tokens * k, H), where
            assert (got["rows"][: len(token)] == x[token]).all(), where
            assert got["h"].shape == (tokens * k, N), where
            # Against the weighted rows, in the order that combine promises.
            if dtype != "f32":
                continue
            fused, split = (np.zeros((tokens, N), np.float32) for _ in range(2))
            for j in range(k):
                used = rows[:, j] >= 0
                factor, h = weights[used, j, None], got["h"][rows[used, j]]
                # One rounding per step; two where the CPU has no such multiply-add.
                fused[used] = (factor.astype(np.float64) * h + fused[used]).astype(np.float32)
                split[used] = factor * h + split[used]
            assert (got["y"] == fused).all() or (got["y"] == split).all(), where
    return model, dict(x=x, experts=experts, weights=weights, w=w)


def within_capacity(experts, capacity, segment):
    """-1 for the choices that come too late: first choices in order, then second ones, and so on."""
    kept = np.full(experts.shape, -1)
    for begin in range(0, len(experts), segment):
        taken = np.zeros(E, int)
        part = experts[begin : begin + segment]
        for j, t in np.ndindex(part.shape[::-1]):
            if (e := part[t, j]) >= 0:
                if taken[e] < capacity:
                    kept[begin + t, j] = e
                taken[e] += 1
    return kept


def check_capacity(folder, k, segmented):
    operands = "capacity(%capacity)" + (" segment(%segment)" if segmented else "")
    text = layer(k, "f32", True).replace("%x, %experts :", f"%x, %experts {operands} :")
    given = ["capacity", "segment"][: 1 + segmented]
    sizes = "".join(f"  %{n}64 = tensor.extract %{n}_in[] : tensor<i64>\n  %{n} = arith.index_cast %{n}64 : i64 to index\n" for n in given)
    text = text.replace(") -> (", "".join(f', %{n}_in: tensor<i64> {{moe.name = "{n}"}}' for n in given) + ") -> (", 1)
    text = text.replace("{\n  %rows", "{\n" + sizes + "  %rows", 1)
    model = compile(text, folder, f"capacity_{k}_{int(segmented)}")
    random = np.random.default_rng(k)
    w = (random.standard_normal((E, N, H)) / H**0.5).astype(np.float32)
    for tokens in (0, 1, 2, 17, 64):
        x = random.standard_normal((tokens, H)).astype(np.float32)
        weights = random.standard_normal((tokens, k)).astype(np.float32)
        for kind, experts in choices(random, tokens, k):
            for capacity, segment in ((0, 5), (1, 1), (1, 17), (2, 3), (4, 64), (-7, 2), (10**12, 16), (3, 2**62), (2**62, 2**63 - 1)):
                where = f"k={k} T={tokens} {kind} capacity={capacity} segment={segment if segmented else None}"
                inputs = dict(x=x, experts=experts, weights=weights, w=w, capacity=np.array(capacity), segment=np.array(segment))
                if not segmented:
                    del inputs["segment"]
                got = model.run(2, **inputs)
                kept = within_capacity(experts, capacity, segment if segmented else max(tokens, 1))
                rows, token, sizes = plan(kept)
                assert (got["map"] == rows).all() and (got["sizes"] == sizes).all(), where
                assert (got["rows"][: len(token)] == x[token]).all(), where
                assert np.allclose(got["y"], expected_layer(x, kept, weights, w), rtol=1e-5, atol=4e-5), where
    good = dict(x=x, experts=experts, weights=weights, w=w, capacity=np.array(1), segment=np.array(1))
    if segmented:  # C18
        for wrong in (0, -1):
            refused(model, f"moe.dispatch: expects segments of at least 1 tokens, got {wrong}", **{**good, "segment": np.array(wrong)})
        model.run(1, **{**good, "segment": np.array(0), "x": x[:0], "experts": experts[:0], "weights": weights[:0]})
    else:
        del good["segment"]
    refused(model, f"moe.dispatch: expects expert ids below {E} and at least -1, got {E}", **{**good, "experts": np.full((64, k), E)})
    model.run(2, **good)


def refused(model, words, **inputs):
    for threads in (1, 2):
        try:
            model.run(threads, **inputs)
        except moe_mlir.NodeError as error:
            assert words in str(error), error
        else:
            raise AssertionError(f"expected: {words}")


def main(folder):
    for k, dtype, keep in ((1, "f32", True), (2, "f32", True), (2, "f32", False), (E, "bf16", True), (3, "f64", True)):
        if dtype not in DTYPES:
            continue
        model, good = check_layer(folder, k, dtype, keep)

        # C6: ids outside of [-1, E).
        for wrong in (E, E + 1, -2, 2**31 - 1, -(2**31)):
            for place in ((0, 0), (64, k - 1), (128, 0)):
                experts = np.zeros((129, k), np.int64)
                experts[place] = wrong
                refused(model, f"moe.dispatch: expects expert ids below {E} and at least -1, got {wrong}", **{**good, "experts": experts})
        # C12: tensors of different numbers of tokens.
        refused(model, "moe.dispatch: expects rows of experts as many as tokens, 129, got 128", **{**good, "experts": good["experts"][1:]})
        refused(model, "moe.dispatch: expects rows of experts as many as tokens, 128, got 129", **{**good, "x": good["x"][1:]})
        refused(model, "moe.combine: expects rows of weights as many as of the row map, 129, got 128", **{**good, "weights": good["weights"][1:]})
        model.run(2, **good)  # and the session goes on

    for k, segmented in ((1, True), (2, True), (3, False)):
        check_capacity(folder, k, segmented)

    # C13: a row map from elsewhere.
    y, w, m = f"tensor<?x{N}xf32>", "tensor<?x2xf32>", "tensor<?x2xi32>"
    body = f"  %out_y = moe.combine %rows, %weights, %map : {y}, {w}, {m} -> {y}"
    model = compile(function([("rows", y), ("weights", w), ("map", m)], [("y", y)], body), folder, "combine")
    random = np.random.default_rng(0)
    good = dict(rows=random.standard_normal((7, N)).astype(np.float32), weights=random.standard_normal((5, 2)).astype(np.float32),
                map=random.integers(-1, 7, (5, 2)))  # fmt: skip
    padded = np.concatenate([good["rows"], np.zeros((1, N), np.float32)]).astype(np.float64)  # -1: zeros
    assert np.allclose(model.run(2, **good)["y"], np.einsum("tj,tjn->tn", good["weights"], padded[good["map"]]), atol=1e-5)
    for wrong in (7, 2**31 - 1):
        refused(model, f"moe.combine: expects rows below 7 and at least -1, got {wrong}", **{**good, "map": np.full((5, 2), wrong)})
    for wrong in (-2, -(2**31)):
        refused(model, f"moe.combine: expects rows of at least -1, got {wrong}", **{**good, "map": np.full((5, 2), wrong)})
    refused(model, "moe.combine: expects rows below 0 and at least -1, got 0", **{**good, "rows": np.zeros((0, N)), "map": np.zeros((5, 2))})

    # C9, C12: group sizes, extras and widths from elsewhere; the sizes serve a
    # matmul in a branch and one behind it.
    x, s, weight = "tensor<?x?xf32>", f"tensor<{E}xi64>", f"tensor<{E}x{N}x{H}xf32>"
    body = f"""  %a = scf.if %c -> {y} {{
    %0 = moe.grouped_matmul %x, %sizes weights(%w) : {x}, {s}, ({weight}) -> {y}
    scf.yield %0 : {y}
  }} else {{
    scf.yield %extra : {y}
  }}
  %out_y = moe.grouped_matmul %x, %sizes weights(%w) extras(%a : {y}) : {x}, {s}, ({weight}) -> {y} epilogue {{
  ^bb0(%p: f32, %q: f32):
    %r = arith.addf %p, %q : f32
    moe.yield %r : f32
  }}"""
    arguments = [("x", x), ("sizes", s), ("w", weight), ("extra", y), ("c0", "tensor<i1>")]
    text = function(arguments, [("y", y)], f"  %c = tensor.extract %c0[] : tensor<i1>\n{body}")
    model = compile(text, folder, "sizes")
    sizes = np.array([3, 0, 4, 0, 0, 2])
    x = random.standard_normal((9, H)).astype(np.float32)
    w = random.standard_normal((E, N, H)).astype(np.float32)
    good = dict(x=x, sizes=sizes, w=w, extra=random.standard_normal((9, N)).astype(np.float32), c0=np.array(False))
    product = np.einsum("rk,rnk->rn", x.astype(float), w.astype(float)[np.repeat(np.arange(E), sizes)])
    assert np.allclose(model.run(2, **good)["y"], product + good["extra"], atol=1e-4)
    assert np.allclose(model.run(2, **{**good, "c0": np.array(True)})["y"], 2 * product, atol=1e-4)
    big = 2**31 - 1
    for wrong in ([-1, 0, 0, 0, 0, 10], [10, 0, 0, 0, 0, -1], [2**62, 2**62, 2**62, 2**62, 0, 9], [0, 0, 2**63 - 1, 0, 0, 0]):
        bad = [v for v in wrong if not 0 <= v <= big][-1]
        refused(model, f"moe.grouped_matmul: expects group sizes from 0 to {big}, got {bad}", **{**good, "sizes": np.array(wrong)})
    for wrong in ([9, 1, 0, 0, 0, 0], [8, 0, 0, 0, 0, 0], [0] * E, [big] * E):
        refused(model, f"moe.grouped_matmul: expects group sizes that sum to the number of rows, 9, got {sum(wrong)}", **{**good, "sizes": np.array(wrong)})
    refused(model, "moe.grouped_matmul: expects extra rows as many as rows, 9, got 8", **{**good, "extra": good["extra"][1:]})
    refused(model, f"moe.grouped_matmul: expects rows of width {H}, got {H - 1}", **{**good, "x": x[:, 1:]})


main(sys.argv[1])

# REQUIRES: python-numpy, python-onnx
# RUN: %python %s %t | FileCheck %s
"""Routers beyond softmax and top-k, as exporters write them, against float64: one compiled model per form for every
number of tokens, with scores and groups that are equal."""

import sys

import numpy as np

import moe_forms
import moe_reference as ref
import moe_testing
import sparse_routers
from sparse_models import I64, Graph, batched_experts
from sparse_routers import BOOL

TOKENS = (0, 1, 2, 3, 17, 64)


def check(name, experts, layers, hidden=19, inter=11, ties=True, tolerance=1e-5):
    """Layers side by side on the model's input; each is (function, k, options)."""
    random = np.random.default_rng(experts)
    g = Graph()
    g.input("x", ["b", "s", hidden])
    x = g("Reshape", "x", [-1, hidden], allowzero=1)
    references = []
    for i, (router, k, options) in enumerate(layers):
        gate = (2 * random.standard_normal((experts, hidden)) / np.sqrt(hidden)).astype(np.float32)
        options = dict(options)
        if ties:  # experts with the same row have the same score
            half = experts // 2
            gate[half : 2 * half] = gate[:half]
            gate[-1] = gate[0]
        up = (random.standard_normal((experts, 2 * inter, hidden)) / np.sqrt(hidden)).astype(np.float32)
        down = (random.standard_normal((experts, hidden, inter)) / np.sqrt(inter)).astype(np.float32)
        logits = g("Gemm", x, gate, transB=1)
        if router is not sparse_routers.sparse_mixer:
            options["experts"] = experts
        weights, ids, route = router(g, logits, k=k, **options)
        y = batched_experts(g, x, weights, ids, up, down, k)
        g.output(f"y{i}", g("Reshape", y, g("Shape", "x")), ["b", "s", hidden])

        def expert(e, row, up=up, down=down):
            first, line = np.split(ref.f64(up[e]) @ row, 2)
            return ref.f64(down[e]) @ (ref.ACTIVATIONS["silu"](first) * line)

        references.append(lambda x, gate=gate, route=route, expert=expert:
                          ref.combine(x, *route(x @ ref.f64(gate).T), expert))
    path = moe_testing.save(g.model(), sys.argv[1], name.replace(" ", "-"))
    cases = []
    for tokens in TOKENS:
        rows = random.standard_normal((1, tokens, hidden)).astype(np.float32)
        if tokens > 2:
            rows[0, 1] = 0  # all scores of a token equal
        cases.append(({"x": rows}, {f"y{i}": reference(ref.f64(rows[0]))[None].astype(np.float32)
                                    for i, reference in enumerate(references)}))
    count = moe_testing.count(moe_testing.raised(path), "moe.route")
    checked = moe_testing.check(path, cases, tolerance)
    print(f"{name}: {count} of {len(layers)} layers recognised, {checked} outputs")


def bias(experts, scale=0.3, offset=0.0):
    values = np.random.default_rng(experts).standard_normal(experts) * scale + offset
    values[experts // 2 : 2 * (experts // 2)] = values[: experts // 2]
    values[-1] = values[0]
    return values.astype(np.float32)


groups, mixer = sparse_routers.group_limited, sparse_routers.sparse_mixer
# Experts in groups of two, three, one, and all in one group; sizes that are no multiple of a vector.
# CHECK: group-limited sigmoid: 7 of 7 layers recognised, 42 outputs
check("group-limited sigmoid", 12, [
    (groups, 4, dict(groups=4, kept=2, bias=bias(12), scale=2.5)),
    (groups, 4, dict(groups=6, kept=2, bias=bias(12), scale=2.5, epsilon=1e-20, fill=0.0, computed_shapes=True)),
    (groups, 5, dict(groups=4, kept=3, top=3, bias=bias(12), renormalize=False)),
    (groups, 3, dict(groups=1, kept=1, bias=bias(12), scale=2.5)),
    (groups, 2, dict(groups=12, kept=3, top=1, bias=bias(12))),
    (sparse_routers.biased, 3, dict(bias=bias(12))),
    (sparse_routers.biased, 2, dict(bias=bias(12), floor=1.25)),
])  # fmt: skip
# Biases below the scores: experts of dropped groups, which count as 0, come before those that are kept. What they
# weigh is their score, or 0 where the values of TopK are the weights.
# CHECK: fill: 4 of 4 layers recognised, 24 outputs
check("fill", 15, [
    (groups, 7, dict(groups=5, kept=2, bias=bias(15, offset=-0.6), fill=0.0, epsilon=1e-20)),
    (groups, 7, dict(groups=5, kept=2, bias=bias(15, offset=-0.6), fill=0.0, gathered=False, renormalize=False)),
    (groups, 6, dict(groups=5, kept=3, top=3, bias=bias(15, offset=-0.6), fill=0.25, computed_shapes=True)),
    (groups, 7, dict(groups=5, kept=2, bias=bias(15, offset=-0.6), fill=-1e30)),
])  # fmt: skip
# CHECK: group-limited greedy: 4 of 4 layers recognised, 24 outputs
check("group-limited greedy", 14, [
    (groups, 3, dict(groups=7, kept=2, top=0, score="softmax", fill=0.0, gathered=False, renormalize=False, scale=16.0)),
    (groups, 6, dict(groups=2, kept=1, top=0, score="softmax", fill=0.0, gathered=False, renormalize=False)),
    (groups, 1, dict(groups=14, kept=1, top=0, score="softmax", fill=0.0, gathered=False, renormalize=False)),
    (groups, 4, dict(groups=1, kept=1, top=0, score="softmax", fill=0.0, gathered=False, computed_shapes=True)),
])  # fmt: skip
# CHECK: sparse mixer: 4 of 4 layers recognised, 24 outputs
check("sparse mixer", 9, [(mixer, 2, {}), (mixer, 3, dict(jitter=0.25, casts=True)), (mixer, 9, dict(jitter=0.125)),
                          (mixer, 1, dict(jitter=0.5))])  # fmt: skip
# CHECK: norms: 3 of 3 layers recognised, 18 outputs
check("norms", 11, [(sparse_routers.normed, 3, {}), (sparse_routers.normed, 1, dict(score="Sigmoid")),
                    (sparse_routers.normed, 4, dict(score="Sigmoid"))])  # fmt: skip


def check_switch(name, layers, hidden=13, inter=7, experts=5):
    """Experts with places; each layer is (form, capacity or None for a given one, options)."""
    random = np.random.default_rng(5)
    g = Graph()
    g.input("x", ["b", "s", hidden])
    g.input("places", [], I64)
    references = []
    for i, (form, capacity, flat, options) in enumerate(layers):
        gate = (2 * random.standard_normal((experts, hidden)) / np.sqrt(hidden)).astype(np.float32)
        gate[-1] = gate[0]
        layer = moe_forms.Experts(random, hidden, inter, experts, parts="none", activation="relu")
        rows = g("Reshape", "x", [-1, hidden])
        logits = g("MatMul", rows if flat else "x", gate.T)
        limit = "places" if capacity is None else capacity
        weights, mask, route = sparse_routers.switch(g, logits, experts, limit, **options)
        mask = g("Reshape", mask, [-1, experts])
        weights = g("Reshape", weights, [-1, 1])
        total = None
        for e in range(experts):
            column = g("Gather", mask, e, axis=1)
            if form == "dense":
                gates = g("Mul", g("Cast", g("Unsqueeze", column, [-1]), to=1), weights)
                share = g("Mul", layer.one(g, rows, e), gates)
                total = share if total is None else g("Add", total, share)
            else:
                found = g("Transpose", g("NonZero", column), perm=[1, 0])
                at = g("Unsqueeze", g("Squeeze", g("Slice", found, [0], [1], [1]), [1]), [-1])
                hits = layer.one(g, g("GatherND", rows, at), e)
                share = g("Mul", hits, g("GatherND", weights, at))
                total = g("Expand", 0.0, g("Shape", rows)) if total is None else total
                total = g("ScatterND", total, at, share, reduction="add")
        g.output(f"y{i}", g("Reshape", total, g("Shape", "x")), ["b", "s", hidden])

        def reference(x, places, gate=gate, route=route, layer=layer, capacity=capacity, flat=flat):
            rows = ref.f64(x).reshape(-1, hidden)
            sequence = len(rows) if flat else x.shape[1]
            chosen = route(rows @ ref.f64(gate).T, sequence, places if capacity is None else capacity)
            return ref.combine(rows, *chosen, layer.reference).reshape(x.shape).astype(np.float32)

        references.append(reference)
    path = moe_testing.save(g.model(), sys.argv[1], name.replace(" ", "-"))
    cases = []
    for shape, places in zip([(1, t) for t in TOKENS] + [(4, 16), (3, 1), (0, 3), (7, 9)], [1, 0, 2, 1, 3, 9, 2, 0, 1, -1]):
        x = random.standard_normal((*shape, hidden)).astype(np.float32)
        cases.append(({"x": x, "places": np.array(places)}, {f"y{i}": r(x, places) for i, r in enumerate(references)}))
    raised = moe_testing.raised(path)
    limited = raised.count("capacity(")
    checked = moe_testing.check(path, cases, 1e-5)
    print(f"{name}: {limited} of {len(layers)} layers recognised, {checked} outputs")


# CHECK: capacity: 6 of 6 layers recognised, 60 outputs
check_switch("capacity", [
    ("sparse", 3, False, {}), ("dense", 2, False, dict(strict=True)), ("sparse", None, False, dict(onehot=True)),
    ("dense", None, True, {}), ("sparse", 4, True, dict(strict=True)), ("sparse", 0, False, dict(strict=True, onehot=True)),
])  # fmt: skip


def check_scaled(name, layers, dtype=np.float32, tolerance=1e-5, hidden=18, inter=7):
    """Experts that read scaled tokens; each layer is (experts, k, options)."""
    random = np.random.default_rng(3)
    g = Graph(dtype)
    x = g.input("x", [None, hidden], g.element)
    references = []
    for i, (experts, k, options) in enumerate(layers):
        gate, up, down = ((random.standard_normal(shape) / np.sqrt(shape[-2])).astype(dtype) for shape in
                          ((hidden, experts), (experts, hidden, 2 * inter), (experts, inter, hidden)))  # fmt: skip
        bias = random.standard_normal((experts, hidden)).astype(dtype) if options.get("bias") else None
        y = sparse_routers.scaled_experts(g, x, g("MatMul", x, gate), up, down, k, options.get("early", False), bias)
        g.output(f"y{i}", y, [None, hidden], g.element)

        def reference(x, gate=gate, up=up, down=down, bias=bias, k=k):
            logits = (x @ gate).astype(np.float64)
            scores, x = np.zeros_like(logits), ref.f64(x)
            ids = ref.top_k(logits, k)
            np.put_along_axis(scores, ids, ref.sigmoid(np.take_along_axis(logits, ids, -1)), -1)
            line = np.einsum("teh,ehi->tei", x[:, None] * scores[..., None], ref.f64(up))
            first, second = np.split(line, 2, -1)
            out = np.einsum("tei,eih->teh", ref.ACTIVATIONS["silu"](first) * second, ref.f64(down))
            return (out + (0 if bias is None else ref.f64(bias))).sum(1).astype(dtype)

        references.append(reference)
    path = moe_testing.save(g.model(), sys.argv[1], name.replace(" ", "-"))
    cases = []
    for tokens in TOKENS:
        rows = random.standard_normal((tokens, hidden)).astype(dtype)
        cases.append(({"x": rows}, {f"y{i}": reference(rows) for i, reference in enumerate(references)}))
    count = moe_testing.count(moe_testing.raised(path), "moe.route")
    print(f"{name}: {count} of {len(layers)} layers recognised, {moe_testing.check(path, cases, tolerance)} outputs")


# With a bias an expert has something to say about tokens that it did not get; such a layer stays as it is.
# CHECK: scaled tokens: 4 of 5 layers recognised, 30 outputs
check_scaled("scaled tokens", [(5, 1, {}), (4, 2, {}), (3, 3, dict(early=True)), (16, 1, dict(early=True)), (5, 2, dict(bias=True))])
# CHECK: scaled tokens of 16 bits: 2 of 2 layers recognised, 12 outputs
check_scaled("scaled tokens of 16 bits", [(4, 1, {}), (4, 2, dict(early=True))], np.float16, 4e-3)


def check_choices(name, layers, hidden=12, inter=7, experts=5):
    """Two choices with places; each layer is (form of the experts, options)."""
    random = np.random.default_rng(8)
    g = Graph()
    x = g.input("x", ["t", hidden])
    padding = g.input("padding", ["t"], BOOL)
    references = []
    for i, (form, options) in enumerate(layers):
        gate = (2 * random.standard_normal((hidden, experts)) / np.sqrt(hidden)).astype(np.float32)
        layer = moe_forms.Experts(random, hidden, inter, experts, parts="none", activation="relu")
        options = dict(options)
        padded = options.pop("padded", False)
        gates, route = sparse_routers.two_choices(g, g("MatMul", x, gate), experts, padding if padded else None, **options)
        total = g("Expand", 0.0, g("Shape", x))
        for e in range(experts):
            column = g("Gather", gates, e, axis=1)
            if form == "dense":
                total = g("Add", total, g("Mul", layer.one(g, x, e), g("Unsqueeze", column, [1])))
                continue
            hits = {"equal": lambda: g("Not", g("Equal", column, 0.0)), "cast": lambda: g("Cast", column, to=BOOL),
                    "float": lambda: column, "greater": lambda: g("Greater", column, 0.0)}[form]()  # fmt: skip
            found = g("Transpose", g("NonZero", hits), perm=[1, 0])
            at = g("Unsqueeze", g("Squeeze", g("Slice", found, [0], [1], [1]), [1]), [-1])
            share = g("Mul", layer.one(g, g("GatherND", x, at), e), g("GatherND", g("Unsqueeze", column, [1]), at))
            total = g("ScatterND", total, at, share, reduction="add")
        g.output(f"y{i}", total, ["t", hidden])

        def reference(x, padding, gate=gate, route=route, layer=layer, padded=padded):
            gates = route(x @ ref.f64(gate), padding if padded else None)
            y = [sum((w * layer.reference(e, row) for e, w in enumerate(ws) if w), np.zeros(hidden)) for row, ws in zip(x, gates)]
            return np.array(y).reshape(len(x), hidden).astype(np.float32)

        references.append(reference)
    path = moe_testing.save(g.model(), sys.argv[1], name.replace(" ", "-"))
    cases = []
    for tokens in TOKENS:
        x = random.standard_normal((tokens, hidden)).astype(np.float32)
        padding = random.random(tokens) < 0.3
        cases.append(({"x": x, "padding": padding}, {f"y{i}": r(ref.f64(x), padding) for i, r in enumerate(references)}))
    count = moe_testing.count(moe_testing.raised(path), "moe.route")
    print(f"{name}: {count} of {len(layers)} layers recognised, {moe_testing.check(path, cases, 1e-5)} outputs")


# CHECK: two choices: 8 of 8 layers recognised, 48 outputs
check_choices("two choices", [
    ("equal", {}), ("dense", dict(fraction=0.25)), ("cast", dict(fraction=0.5, padded=True)),
    ("float", dict(padded=True, early=True)), ("greater", dict(fraction=0.3, early=True)),
    ("equal", dict(fraction=0.2, padded=True)), ("cast", dict(onehot=True)),
    ("dense", dict(onehot=True, fraction=0.4, padded=True, early=True)),
])  # fmt: skip

# REQUIRES: python-numpy, python-onnx
# RUN: %python %s %t | FileCheck %s
"""Models that exporters have broken: a warning each, and the results that the graph has. Others get none."""

import json
import sys

import numpy as np

import moe_forms
import moe_reference as ref
import moe_testing
from sparse_models import I64, Graph, add_moe, random_moe

WIDTH, INTER, EXPERTS, K = 19, 13, 5, 2
random = np.random.default_rng(3)


def graph(routed=True):
    """A graph with tokens and their router: x, weights, ids."""
    g = Graph()
    x = g.input("x", ["tokens", WIDTH])
    gate = random.standard_normal((EXPERTS, WIDTH)).astype(np.float32)
    if not routed:
        return g, x, gate
    weights, ids = moe_forms.renormalized(g, g("Gemm", x, gate, transB=1), K)
    return g, x, weights, ids, gate


def check(name, g, reference, width=WIDTH):
    """Compiles, checks, and prints the warnings."""
    path = moe_testing.save(g.model(), sys.argv[1], name.replace(" ", "-"))
    cases = []
    for tokens in (3, 4, 17):
        x = random.standard_normal((tokens, width)).astype(np.float32)
        cases.append(({"x": x}, {"y": reference(ref.f64(x)).astype(np.float32)}))
    messages = path + ".jsonl"
    text = moe_testing.run("moe-compile", path, "--compile-to=raise", "--messages=" + messages, "-o", "-")
    checked = moe_testing.check(path, cases, 1e-5)
    print(f"{name}: {moe_testing.count(text, 'moe.route')} recognised, {checked} outputs")
    for line in open(messages):
        record = json.loads(line)
        print(f"  {record['severity']} {record['kind']} at '{record.get('node', '')}': {record['reason']}")


# ---- Tied experts -----------------------------------------------------------------
def tied(form, pairs, distinct_bias=False, **options):
    g, x, weights, ids, gate = graph()
    layer = moe_forms.Experts(random, WIDTH, INTER, EXPERTS, **options)
    for matrix, bias in filter(None, (layer.first, layer.second, layer.third)):
        for a, b in pairs:
            matrix[b] = matrix[a]
            if bias is not None and not distinct_bias:
                bias[b] = bias[a]
    g.output("y", moe_forms.EXPERTS[form][0](g, x, weights, ids, K, layer), ["tokens", WIDTH])

    def reference(x):
        return ref.combine(x, *ref.route(x @ ref.f64(gate).T, K, renormalize=True), layer.reference)

    return g, reference


# Matrices of their own (equal ones are one initializer), slices of one tensor, and constants in the module.
# CHECK: masked: 1 recognised, 3 outputs
# CHECK-NEXT: warning tied-experts at '{{.+}}': experts 1 and 3 have the same weights: they compute the same
# CHECK: stacked: 1 recognised, 3 outputs
# CHECK-NEXT: warning tied-experts at '{{.+}}': experts 0, 2 and 4; 1 and 3 have the same weights
# CHECK: broadcast: 1 recognised, 3 outputs
# CHECK-NEXT: warning tied-experts at '{{.+}}': experts 3 and 4 have the same weights
# CHECK: grouped: 1 recognised, 3 outputs
# CHECK-NEXT: warning tied-experts at '{{.+}}': experts 0 and 4 have the same weights
# CHECK: dynamo: 1 recognised, 3 outputs
# CHECK-NEXT: warning tied-experts at '{{.+}}': experts 0 and 1 have the same weights
check("masked", *tied("masked", [(1, 3)], bias=True))
check("stacked", *tied("gated", [(0, 2), (2, 4), (1, 3)], stacked=True))
check("broadcast", *tied("broadcast", [(3, 4)]))
check("grouped", *tied("grouped", [(0, 4)], bias=True))
check("dynamo", *tied("dynamo", [(0, 1)], parts="halves"))
# Experts that share no more than a part are none.
# CHECK: biases: 1 recognised, 3 outputs
# CHECK-NEXT: contrib
check("biases", *tied("masked", [(1, 3)], bias=True, distinct_bias=True))

# CHECK-SAME: : 1 recognised, 3 outputs
# CHECK-NEXT: warning tied-experts at 'moe': experts 2 and 3 have the same weights
g, x, gate = graph(routed=False)
arrays = random_moe(random, WIDTH, INTER, EXPERTS, third=True)
for array in arrays:
    if array is not None:
        array[3] = array[2]
y = add_moe(g, x, g("MatMul", x, gate.T), arrays, name="moe", k=K)
g.output("y", y, ["tokens", WIDTH])
check("contrib", g, lambda x: ref.contrib_moe(x, x @ ref.f64(gate).T, *arrays, k=K))


# ---- Routers without influence ----------------------------------------------------
def expert(g, rows, up, down):
    return g("MatMul", g("Relu", g("MatMul", rows, up.T)), down.T)


up, down = (random.standard_normal((2, *s)).astype(np.float32) / 4 for s in ((INTER, WIDTH), (WIDTH, INTER)))


def dense(e, x):
    return np.maximum(x @ ref.f64(up[e]).T, 0) @ ref.f64(down[e]).T


# CHECK: unread: 0 recognised, 3 outputs
# CHECK-NEXT: warning unread-router at 'node_TopK_{{[0-9]+}}': nothing reads what it chooses: whatever the experts do, they do for each token alike. Export with experts that do not depend on the input
g, x, weights, ids, _ = graph()
g.output("y", g("Add", expert(g, x, up[0], down[0]), expert(g, x, up[1], down[1])), ["tokens", WIDTH])
check("unread", g, lambda x: dense(0, x) + dense(1, x))

# The tokens of each expert as lists, with the routing weights that these tokens have.
# CHECK: fixed: 0 recognised, 3 outputs
# CHECK-NEXT: warning fixed-routing at 'node_Gather_{{[0-9]+}}': nothing reads which ones, and node 'node_Gather_{{[0-9]+}}' (Gather) gives an expert the same tokens for each input, those that it got when the model was traced: results are right for that input only
g, x, weights, ids, gate = graph()
total = g("Mul", x, 0.0)
lists = [[0, 2], [1, 2]]
for e, tokens in enumerate(lists):
    rows = g("Gather", x, tokens, axis=0)
    share = g("GatherND", weights, [[t, e] for t in tokens])
    share = g("Mul", expert(g, rows, up[e], down[e]), g("Unsqueeze", share, [-1]))
    total = g("ScatterND", total, [[t] for t in tokens], share, reduction="add")
g.output("y", total, ["tokens", WIDTH])


def fixed(x):
    weights, _ = ref.route(x @ ref.f64(gate).T, K, renormalize=True)
    y = np.zeros_like(x)
    for e, tokens in enumerate(lists):
        y[tokens] += dense(e, x[tokens]) * weights[tokens, e, None]
    return y


check("fixed", g, fixed)

# A threshold at the k-th value, and the first row of the tokens, as samplers and poolers take them: no router.
# CHECK: sampler: 0 recognised, 3 outputs
# CHECK-NOT: warning
g, x, gate = graph(routed=False)
logits = g("MatMul", x, gate.T)
values, _ = g("TopK", logits, [3], results=2, axis=-1)
kept = g("Where", g("Less", logits, g("Slice", values, [2], [3], [1])), 0.0, logits)
g.output("y", kept, ["tokens", EXPERTS])
check("sampler", g, lambda x: (lambda s: np.where(s < -np.sort(-s)[:, 2:3], 0, s))(x @ ref.f64(gate).T))

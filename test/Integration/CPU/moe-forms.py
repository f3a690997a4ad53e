# REQUIRES: python-numpy, python-onnx
# RUN: %python %s %t | FileCheck %s
"""Every router with every form of experts: each layer is recognised, and computes what float64 says, for no token, one
token, and some."""

import itertools
import sys

import numpy as np

import moe_forms as forms
import moe_testing
import sparse_models

SHAPES = [(0, 3), (1, 1), (2, 1), (1, 3), (17, 1), (2, 32)]


def check(name, layers, sizes=(19, 13, 5), dtype=np.float32, tolerance=1e-5):
    random = np.random.default_rng(7)
    width, inter, count = sizes
    g = sparse_models.Graph(dtype)
    g.input("x", ["batch", "sequence", width], g.element)
    references = []
    for i, options in enumerate(layers):
        y, reference = forms.add_layer(g, random, width, inter, count, **options)
        g.output(f"y{i}", y, ["batch", "sequence", width], g.element)
        references.append(reference)
    path = moe_testing.save(g.model(), sys.argv[1], name.replace(" ", "-"))
    cases = []
    for shape in SHAPES:
        tokens = random.standard_normal((*shape, width)).astype(dtype)
        rows = tokens.astype(np.float64).reshape(-1, width)
        outputs = {f"y{i}": reference(rows).reshape(tokens.shape).astype(dtype) for i, reference in enumerate(references)}
        cases.append(({"x": tokens}, outputs))
    raised = moe_testing.raised(path)
    checked = moe_testing.check(path, cases, tolerance)
    warnings = sum("warning: " in line and "is missing from the graph" in line for line in raised.splitlines())
    print(f"{name}: {moe_testing.count(raised, 'moe.route')} of {len(layers)} layers recognised, {checked} outputs"
          + f", {warnings} warnings" * (warnings > 0))


# CHECK-COUNT-8: {{^[a-z]+: 4 of 4 layers recognised, 24 outputs}}
for form in forms.EXPERTS:
    check(form, [dict(router=router, form=form, k=k) for k, router in zip((2, 3, 2, 1), forms.ROUTERS)])
# CHECK: groups: 8 of 8 layers recognised, 48 outputs
# CHECK: biased: 8 of 8 layers recognised, 48 outputs
# CHECK: mixer: 8 of 8 layers recognised, 48 outputs
for router in forms.LIMITED_ROUTERS:
    check(router, [dict(router=router, form=form, k=2) for form in forms.EXPERTS], (19, 13, 8))

LAYOUTS = [
    dict(parts="halves", layout="gemm", bias=True), dict(parts="interleaved", layout="transpose", activation="gelu"),
    dict(parts="none", bias=True, activation="relu"), dict(parts="separate", layout="transpose", bias=True, shared=True),
    dict(parts="halves", layout="matmul", activation="tanh", shared=True),
    dict(parts="interleaved", layout="gemm", bias=True), dict(parts="none", layout="gemm"),
]  # fmt: skip
# CHECK: masked layouts: 7 of 7 layers recognised, 42 outputs
# CHECK: gated layouts: 7 of 7 layers recognised, 42 outputs
# CHECK: stacked layouts: 7 of 7 layers recognised, 42 outputs
# CHECK: torchscript layouts: 7 of 7 layers recognised, 42 outputs
# CHECK: dynamo layouts: 7 of 7 layers recognised, 42 outputs
for form in ("masked", "gated", "stacked", "torchscript", "dynamo"):
    check(form + " layouts", [dict(router="renormalized", form=form, k=2, **layout) for layout in LAYOUTS])
# CHECK: grouped layouts: 5 of 5 layers recognised, 30 outputs
# CHECK: all layouts: 5 of 5 layers recognised, 30 outputs
# CHECK: broadcast layouts: 5 of 5 layers recognised, 30 outputs
for form in ("grouped", "all", "broadcast"):
    layouts = [layout for layout in LAYOUTS if layout.get("layout") != "gemm"]
    layouts.append(dict(parts="interleaved", bias=True))
    check(form + " layouts", [dict(router="selected", form=form, k=3, **layout) for layout in layouts])
# Tokens in two dimensions, one tensor with the matrices of all experts, and weights so small that they are constants.
VARIANTS = [dict(flat=False), dict(flat=False, layout="transpose", bias=True, parts="halves"),
            dict(stacked=True, bias=True), dict(stacked=True, layout="transpose", parts="halves")]
# CHECK: variants: 8 of 8 layers recognised, 48 outputs
# CHECK: small variants: 8 of 8 layers recognised, 48 outputs
# CHECK: one expert: 5 of 5 layers recognised, 30 outputs
for name, sizes in (("variants", (19, 13, 5)), ("small variants", (5, 3, 4))):
    check(name, [dict(router=router, form=form, k=2, **variant) for form, variant in itertools.product(("masked", "gated"), VARIANTS)
                 for router in ["softmax" if form == "masked" else "selected"]], sizes)
check("one expert", [dict(router="renormalized", form=form, k=1) for form in ("masked", "gated", "torchscript", "dynamo", "grouped")],
      (5, 7, 1))
# CHECK: many experts: 3 of 3 layers recognised, 18 outputs
check("many experts", [dict(router="softmax", form=form, k=5, parts="none", activation="relu")
                       for form in ("masked", "torchscript", "grouped")], (7, 5, 130))
# CHECK: halves: 8 of 8 layers recognised, 48 outputs
check("halves", [dict(router="renormalized", form=form, k=2, bias=True) for form in forms.EXPERTS], dtype=np.float16,
      tolerance=2e-3)
# Nothing is done with what is left of a layer but to warn.
# CHECK: missing: 0 of 3 layers recognised, 18 outputs, 3 warnings
check("missing", [dict(router="renormalized", form=form, k=2, missing=e) for e, form in ((0, "masked"), (3, "torchscript"), (4, "dynamo"))])
# So many that all their numbers in order are no small constant.
# CHECK: many experts: 3 of 3 layers recognised, 18 outputs
check("many experts", [dict(router="renormalized", form=form, k=2) for form in ("gated", "dynamo", "grouped")], (3, 2, 270))

# Sparse layers on a GPU against numpy in float64. The simulator executes the very PTX that ptxas would get; a run fails
# when a kernel shows a race, reads a copy that it has not waited for, or leaves its buffers.
#
# REQUIRES: python-numpy, python-ml_dtypes, x86_64
# UNSUPPORTED: sanitizer
# RUN: env MOE_TEST_TARGET=cuda:sm_80 MOE_CUDA_LIBRARY=%moe_obj/lib/libmoe-sim.so %python %s %t

import sys

import numpy as np
from compiled import compile, function, stored

SILU = """    %one = arith.constant 1.0 : f32
    %minus = arith.negf %g : f32
    %exp = math.exp %minus : f32
    %sum = arith.addf %one, %exp : f32
    %silu = arith.divf %g, %sum : f32
    %r = arith.mulf %silu, %u : f32
    moe.yield %r : f32"""
RELU = """    %zero = arith.constant 0.0 : f32
    %r = arith.maximumf %g, %zero : f32
    moe.yield %r : f32"""
TOLERANCE = {"f32": 1e-5, "f16": 4e-3, "bf16": 4e-2}


class Layer:
    """Router logits are an input, so that tests choose who goes where."""

    def __init__(self, experts, k, hidden, inter, dtype, gated=True, bias=False):
        self.__dict__.update(locals())

    def text(self):
        e, k, h, i, t = self.experts, self.k, self.hidden, self.inter, self.dtype
        x, l, w = f"tensor<?x{h}x{t}>", f"tensor<?x{e}x{t}>", f"tensor<?x{k}x{t}>"
        up, down, c = f"tensor<{e}x{i}x{h}x{t}>", f"tensor<{e}x{h}x{i}x{t}>", f"tensor<?x{k}xi32>"
        inner, b1, b2 = f"tensor<?x{i}x{t}>", f"tensor<{e}x{i}x{t}>", f"tensor<{e}x{h}x{t}>"
        s = f"tensor<{e}xi64>"
        weights, region = ("%up", "%g: f32") if not self.gated else ("%gate, %up", "%g: f32, %u: f32")
        types = ", ".join([up] * (1 + self.gated))
        bias1 = bias2 = ""
        if self.bias:
            names = ", ".join(["%b1"] * (1 + self.gated))
            bias1 = f" biases({names} : {', '.join([b1] * (1 + self.gated))})"
            bias2 = f" biases(%b2 : {b2})"
        body = f"""  %w, %e = moe.route %logits {{k = {k} : i64, renormalize}} : {l} -> {w}, {c}
  %rows, %sizes, %map = moe.dispatch %x, %e : {x}, {c} -> {x}, {s}, {c}
  %h = moe.grouped_matmul %rows, %sizes weights({weights}){bias1} : {x}, {s}, ({types}) -> {inner} epilogue {{
  ^bb0({region}):
{SILU if self.gated else RELU}
  }}
  %y = moe.grouped_matmul %h, %sizes weights(%down){bias2} : {inner}, {s}, ({down}) -> {x}
  %out_y = moe.combine %y, %w, %map : {x}, {w}, {c} -> {x}"""
        arguments = [("x", x), ("logits", l), ("gate", up), ("up", up), ("down", down), ("b1", b1), ("b2", b2)]
        return function(arguments, [("y", x)], body)

    def draw(self, random):
        e, h, i, t = self.experts, self.hidden, self.inter, self.dtype
        draw = lambda *shape: stored(random.standard_normal(shape) / shape[-1] ** 0.5, t)
        return dict(gate=draw(e, i, h), up=draw(e, i, h), down=draw(e, h, i), b1=draw(e, i), b2=draw(e, h))

    def expect(self, x, logits, gate, up, down, b1, b2):
        x, logits, gate, up, down, b1, b2 = (a.astype(np.float64) for a in (x, logits, gate, up, down, b1, b2))
        if not self.bias:
            b1, b2 = 0 * b1, 0 * b2
        result = np.zeros_like(x)
        for t, row in enumerate(logits):
            chosen = np.argsort(-row, kind="stable")[: self.k]
            weights = np.exp(row[chosen] - row.max())
            for e, w in zip(chosen, weights / weights.sum()):
                u = up[e] @ x[t] + b1[e]
                g = gate[e] @ x[t] + b1[e]
                h = g / (1 + np.exp(-g)) * u if self.gated else np.maximum(u, 0)
                result[t] += w * (down[e] @ h + b2[e])
        return result


def routings(random, tokens, experts):
    yield "random", random.standard_normal((tokens, experts))
    if tokens > 1:
        one = random.standard_normal((tokens, experts))
        one[:, experts // 2] += 20
        yield "one", one
        yield "ties", random.integers(0, 2, (tokens, experts)).astype(float)


def check(folder, layer, tokens=(0, 1, 2, 17, 64)):
    name = "layer_{experts}_{k}_{hidden}_{inter}_{dtype}_{gated}_{bias}".format(**layer.__dict__)
    model = compile(layer.text(), folder, name)
    random = np.random.default_rng(layer.experts)
    weights = layer.draw(random)
    for count in tokens:
        x = stored(random.standard_normal((count, layer.hidden)), layer.dtype)
        for kind, logits in routings(random, count, layer.experts):
            logits = stored(logits, layer.dtype)
            got = model.run(1, x=x, logits=logits, **weights)["y"].astype(np.float64)
            want = layer.expect(x, logits, **weights)
            assert got.shape == want.shape, name
            wrong = np.abs(got - want) > TOLERANCE[layer.dtype] * max(1, np.abs(want).max(initial=0))
            assert not wrong.any(), f"{name} T={count} {kind}: {got[wrong][:4]} for {want[wrong][:4]} at {np.argwhere(wrong)[:4]}"


def main(folder):
    for dtype in ("f16", "bf16", "f32"):
        check(folder, Layer(8, 2, 64, 48, dtype))
        # Widths whose rows begin anywhere, down to single elements of 16 bits; columns that end inside a panel.
        check(folder, Layer(5, 2, 37, 19, dtype, bias=True), (0, 1, 17))
        check(folder, Layer(3, 1, 22, 50, dtype, gated=False, bias=True), (1, 17))
        # Many rows per expert: the tile of 128 rows.
        check(folder, Layer(2, 2, 72, 40, dtype), (150,))
        check(folder, Layer(1, 1, 37, 19, dtype), (131,))
    check(folder, Layer(64, 8, 32, 16, "f16"), (1, 17, 64))
    check(folder, Layer(33, 5, 32, 16, "bf16", gated=False), (2, 40))


main(sys.argv[1])

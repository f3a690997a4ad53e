# moe.dispatch, moe.grouped_matmul and moe.combine against numpy in float64:
# types, sizes, epilogues, weights as arguments and as files, wrong indices.
#
# REQUIRES: python-numpy, python-ml_dtypes, x86_64
# RUN: %python %s %t

import os
import sys

import numpy as np
from compiled import compile, file_bytes, function, stored

EPS = {"f32": 2.0**-24, "f16": 2.0**-11, "bf16": 2.0**-8, "f64": 2.0**-53}


def dot_errors(magnitude, depth, compute, out):
    """What a chain of `depth` fused multiply-adds and one rounding may lose."""
    return magnitude * (depth + 4) * EPS[compute] + EPS[out] * magnitude


class Case:
    """One grouped_matmul as an output of a module."""

    def __init__(self, name, experts, columns, depth, weights=1, rows="f32", weight="f32", out="f32",
                 bias=None, extra=None, epilogue=None, reference=None, source="argument"):  # fmt: skip
        self.name, self.experts, self.columns, self.depth, self.weights = name, experts, columns, depth, weights
        self.rows, self.weight, self.out, self.bias, self.extra = rows, weight, out, bias, extra
        self.epilogue, self.reference, self.source = epilogue, reference, source
        self.compute = "f64" if out == "f64" else "f32"
        self.tensor = f"tensor<{experts}x{columns}x{depth}x{weight}>"

    def draw(self, random):
        shape = (self.experts, self.columns, self.depth)
        self.w = [stored(random.standard_normal(shape) / max(self.depth, 1) ** 0.5, self.weight) for _ in range(self.weights)]
        self.b = [stored(random.standard_normal(shape[:2]), self.bias) for _ in range(self.weights)] if self.bias else []

    def symbols(self, folder):
        """moe.weight symbols: contiguous, or as strided views of one file."""
        if self.source == "argument":
            return ""
        file, size = os.path.join(folder, self.name + ".bin"), np.dtype("u1").itemsize
        size = len(file_bytes(np.zeros(1), self.weight))
        n, k, e, count = self.columns, self.depth, self.experts, self.weights
        text = []

        def declare(i, offset, strides, last):
            text.append(
                f'moe.weight @{self.name}_{i} {{file = "{self.name}.bin", offset = {offset * size} : i64, '
                f"length = {(last + 1) * size} : i64{strides}}} : {self.tensor}"
            )

        if self.source == "file":
            data = np.stack(self.w)
            for i in range(count):
                declare(i, i * e * n * k, "", e * n * k - 1)
        elif self.source == "transposed":  # [E, K, N] as exporters write it
            data = np.stack([w.transpose(0, 2, 1) for w in self.w])
            for i in range(count):
                declare(i, i * e * n * k, f", strides = array<i64: {n * k}, 1, {n}>", e * n * k - 1)
        elif self.source == "interleaved":  # the columns of all weights take turns
            data = np.stack(self.w, axis=2)  # [E, N, W, K]
            for i in range(count):
                last = (e - 1) * n * count * k + (n - 1) * count * k + k - 1
                declare(i, i * k, f", strides = array<i64: {n * count * k}, {count * k}, 1>", last)
        elif self.source == "halves":  # [E, W * N, K]
            data = np.concatenate(self.w, axis=1)
            for i in range(count):
                last = (e - 1) * n * count * k + n * k - 1
                declare(i, i * n * k, f", strides = array<i64: {n * count * k}, {k}, 1>", last)
        elif self.source == "stack":  # one matrix per expert
            data = np.stack(self.w)
            for i in range(count):
                names = [f"{self.name}_{i}_{x}" for x in range(e)]
                for x, name in enumerate(names):
                    offset = (i * e + x) * n * k * size
                    text.append(
                        f'moe.weight @{name} {{file = "{self.name}.bin", offset = {offset} : i64, '
                        f"length = {n * k * size} : i64}} : tensor<{n}x{k}x{self.weight}>"
                    )
                text.append(f"moe.weight_stack @{self.name}_{i} [{', '.join('@' + name for name in names)}] : {self.tensor}")
        with open(file, "wb") as out:
            out.write(file_bytes(np.ascontiguousarray(data), self.weight))
        return "\n".join(text) + "\n"

    def arguments(self):
        name, result = self.name, []
        if self.source == "argument":
            result += [(f"{name}_w{i}", self.tensor) for i in range(self.weights)]
        if self.bias:
            result += [(f"{name}_b{i}", f"tensor<{self.experts}x{self.columns}x{self.bias}>") for i in range(self.weights)]
        if self.extra:
            result += [(f"{name}_extra", f"tensor<?x{self.columns}x{self.extra}>")]
        return result

    def body(self, rows, sizes, rows_type):
        name, lines = self.name, []
        values = [f"%{name}_w{i}" for i in range(self.weights)]
        if self.source != "argument":
            lines += [f"  {v} = moe.get_weight @{name}_{i} : {self.tensor}" for i, v in enumerate(values)]
        biases = extras = ""
        if self.bias:
            types = ", ".join([f"tensor<{self.experts}x{self.columns}x{self.bias}>"] * self.weights)
            biases = f" biases({', '.join(f'%{name}_b{i}' for i in range(self.weights))} : {types})"
        if self.extra:
            extras = f" extras(%{name}_extra : tensor<?x{self.columns}x{self.extra}>)"
        region = ""
        if self.epilogue:
            names = [f"%a{i}" for i in range(self.weights)] + (["%v"] if self.extra else [])
            region = f" epilogue {{\n  ^bb0({', '.join(f'{n}: {self.compute}' for n in names)}):\n{self.epilogue}\n  }}"
        lines.append(
            f"  %out_{name} = moe.grouped_matmul {rows}, {sizes} weights({', '.join(values)}){biases}{extras} : {rows_type}, "
            f"tensor<{self.experts}xi64>, ({', '.join([self.tensor] * self.weights)}) -> tensor<?x{self.columns}x{self.out}>{region}"
        )
        return "\n".join(lines)

    def expect(self, rows, sizes, extra):
        """The result and the error allowed, per element."""
        groups = np.repeat(np.arange(self.experts), sizes)
        x = rows[: len(groups)].astype(np.float64)
        sums, errors = [], []
        for i in range(self.weights):
            w = self.w[i].astype(np.float64)[groups]
            total = np.einsum("rk,rnk->rn", x, w)
            size = np.einsum("rk,rnk->rn", np.abs(x), np.abs(w))
            if self.bias:
                total = total + self.b[i].astype(np.float64)[groups]
                size = size + np.abs(self.b[i].astype(np.float64)[groups])
            sums.append(total)
            errors.append(size * (self.depth + 4) * EPS[self.compute])
        if self.reference is None:
            value, error = sums[0], errors[0]
        else:
            operands = sums + ([extra[: len(groups)].astype(np.float64)] if self.extra else [])
            value = self.reference(*operands)
            error = np.zeros_like(value)
            for i in range(self.weights):  # the epilogue's slope, numerically
                moved = list(operands)
                moved[i] = moved[i] + errors[i]
                error += np.abs(self.reference(*moved) - value)
            # What the epilogue's own steps round: terms as large as the operands.
            largest = np.maximum.reduce([np.abs(o) for o in operands] + [np.abs(value)])
            error += 8 * EPS[self.compute] * np.maximum(largest, 1e-30)
        return value, error + EPS[self.out] * np.abs(value) + (2.0**-25 if self.out == "f16" else 1e-44)


def close(got, value, error, where):
    assert got.shape == value.shape, f"{where}: {got.shape} for {value.shape}"
    wrong = ~(np.abs(got.astype(np.float64) - value) <= error)
    assert not wrong.any(), f"{where}: {got[wrong][:4]} for {value[wrong][:4]} at {np.argwhere(wrong)[:4]}"


def group_sizes(experts, rows, random, kind):
    if kind == "first":
        return np.array([rows] + [0] * (experts - 1))
    if kind == "last":
        return np.array([0] * (experts - 1) + [rows])
    return np.bincount(random.integers(0, experts, rows), minlength=experts)


def run_cases(folder, name, cases, counts):
    """Cases of equal depth, experts and row type, with group sizes as input."""
    random = np.random.default_rng(len(name))
    rows_type = f"tensor<?x{cases[0].depth}x{cases[0].rows}>"
    arguments = [("x", rows_type), ("sizes", f"tensor<{cases[0].experts}xi64>")]
    os.makedirs(folder, exist_ok=True)
    symbols = ""
    for case in cases:
        case.draw(random)
        symbols += case.symbols(folder)
        arguments += case.arguments()
    results = [(c.name, f"tensor<?x{c.columns}x{c.out}>") for c in cases]
    body = "\n".join(case.body("%x", "%sizes", rows_type) for case in cases)
    model = compile(function(arguments, results, body, symbols), folder, name)
    for count in counts:
        for kind in ("random", "first", "last"):
            sizes = group_sizes(cases[0].experts, count, random, kind)
            x = stored(random.standard_normal((count, cases[0].depth)), cases[0].rows)
            inputs = {"x": x, "sizes": sizes}
            for case in cases:
                if case.source == "argument":
                    inputs |= {f"{case.name}_w{i}": w for i, w in enumerate(case.w)}
                if case.bias:
                    inputs |= {f"{case.name}_b{i}": b for i, b in enumerate(case.b)}
                if case.extra:
                    inputs[f"{case.name}_extra"] = stored(random.standard_normal((count, case.columns)), case.extra)
            one, two = model.run(1, **inputs), model.run(2, **inputs)
            for case in cases:
                where = f"{name} {case.name} rows={count} {kind}"
                assert one[case.name].tobytes() == two[case.name].tobytes(), f"{where}: threads"
                close(one[case.name], *case.expect(x, sizes, inputs.get(f"{case.name}_extra")), where)
            if count > 2:
                # A row alone has the same bits as in its batch.
                row = count // 2
                group = np.repeat(np.arange(cases[0].experts), sizes)[row]
                alone = dict(inputs, x=x[row : row + 1], sizes=np.eye(cases[0].experts)[group])
                for case in cases:
                    if case.extra:
                        alone[f"{case.name}_extra"] = inputs[f"{case.name}_extra"][row : row + 1]
                got = model.run(1, **alone)
                for case in cases:
                    assert got[case.name].tobytes() == one[case.name][row : row + 1].tobytes(), f"{name} {case.name}: alone"
    return model


# ---- Epilogues --------------------------------------------------------------

SILU = """
    %n = arith.negf %a0 : f32
    %e = math.exp %n : f32
    %one = arith.constant 1.0 : f32
    %d = arith.addf %one, %e : f32
    %s = arith.divf %a0, %d : f32
    %r = arith.mulf %s, %a1 : f32
    moe.yield %r : f32"""
TANH = """
    %t = math.tanh %a0 : f32
    moe.yield %t : f32"""
GELU = """
    %h = arith.constant 0.70710678 : f32
    %i = arith.mulf %a0, %h : f32
    %t = math.erf %i : f32
    %one = arith.constant 1.0 : f32
    %u = arith.addf %one, %t : f32
    %half = arith.constant 0.5 : f32
    %v = arith.mulf %u, %half : f32
    %r = arith.mulf %a0, %v : f32
    moe.yield %r : f32"""
THREE = """
    %p = arith.mulf %a0, %a1 : f32
    %q = arith.subf %p, %a2 : f32
    moe.yield %q : f32"""
EXTRA = """
    %r = arith.addf %a0, %v : f32
    %z = arith.constant 0.0 : f32
    %c = arith.cmpf ogt, %r, %z : f32
    %s = arith.select %c, %r, %z : f32
    moe.yield %s : f32"""
WIDE = """
    %r = arith.mulf %a0, %a0 : f64
    moe.yield %r : f64"""


def erf(x):
    from math import erf

    return np.vectorize(erf, otypes=[float])(x)


def main(folder):
    gated = dict(weights=2, epilogue=SILU, reference=lambda a, b: a / (1 + np.exp(-a)) * b)
    # Sizes: one, odd, prime, multiples of nothing, and the ends of tiles.
    for experts, depth, columns in ((1, 1, (1, 17)), (3, 17, (5, 16)), (8, 64, (48, 31)), (5, 300, (33, 97)), (1, 128, (256, 80)), (64, 24, (40, 16))):
        cases = [Case(f"plain{n}", experts, n, depth) for n in columns]
        cases += [
            Case("bias", experts, columns[0], depth, bias="f32"),
            Case("gated", experts, columns[1], depth, bias="f32", **gated),
            Case("three", experts, columns[0], depth, weights=3, epilogue=THREE, reference=lambda a, b, c: a * b - c),
            Case("gelu", experts, columns[1], depth, epilogue=GELU, reference=lambda a: a * 0.5 * (1 + erf(a * np.float32(0.70710678)))),
        ]
        run_cases(folder, f"sizes_{experts}_{depth}", cases, (0, 1, 2, 7, 13, 40, 301))

    # Element types of rows, weights and results, biases and extras.
    for rows in ("f32", "bf16", "f16"):
        cases = []
        for weight in ("f32", "bf16", "f16"):
            for out in ("f32", "bf16", "f16"):
                cases.append(Case(f"{weight}_{out}", 4, 37, 19, rows=rows, weight=weight, out=out))
        cases.append(Case("gated", 4, 37, 19, rows=rows, weight="bf16", out="bf16", bias="bf16", **gated))
        cases.append(Case("tanh", 4, 48, 19, rows=rows, weight="f16", out="f16", bias="f64", epilogue=TANH, reference=np.tanh))
        for extra in ("f32", "bf16", "f64"):
            cases.append(Case("extra_" + extra, 4, 37, 19, rows=rows, extra=extra, epilogue=EXTRA, reference=lambda a, x: np.maximum(a + x, 0)))
        run_cases(folder, f"types_{rows}", cases, (1, 12, 90))
    wide = dict(rows="f64", weight="f64", out="f64")
    cases = [Case("plain", 4, 37, 19, **wide), Case("bias", 4, 37, 19, bias="f32", **wide),
             Case("square", 4, 32, 19, epilogue=WIDE, reference=lambda a: a * a, **wide)]  # fmt: skip
    run_cases(folder, "types_f64", cases, (1, 12, 90))

    # Weights in files, packed by the compiler.
    for weight in ("f32", "bf16", "f16"):
        cases = []
        for source in ("file", "transposed", "interleaved", "halves", "stack"):
            cases.append(Case(source, 3, 21, 35, weight=weight, source=source))
            cases.append(Case(source + "_gated", 3, 21, 35, weight=weight, source=source, **gated))
        run_cases(folder, f"files_{weight}", cases, (1, 9, 70))


main(sys.argv[1])

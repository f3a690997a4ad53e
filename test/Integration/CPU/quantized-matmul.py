# moe.grouped_matmul with quantized weights: the same bits as with the f32
# weights that they stand for, and close to float64. Bits, block sizes, zero
# points, types of the scales, sizes, weights in files and in the module.
#
# REQUIRES: python-numpy, python-ml_dtypes, x86_64
# RUN: %python %s %t

import os
import sys

import numpy as np
from compiled import compile, file_bytes, function, stored
from quantize import MXFP4, Quantized, pack

SILU = """ epilogue {
  ^bb0(%a: f32, %b: f32):
    %n = arith.negf %a : f32
    %e = math.exp %n : f32
    %one = arith.constant 1.0 : f32
    %d = arith.addf %one, %e : f32
    %s = arith.divf %a, %d : f32
    %r = arith.mulf %s, %b : f32
    moe.yield %r : f32
  }"""


class Module:
    """Pairs of outputs: a quantized product and the same with f32 weights."""

    def __init__(self, folder, name, experts, depth, rows):
        self.folder, self.name, self.experts, self.depth, self.rows = folder, name, experts, depth, rows
        self.random = np.random.default_rng(len(name) + depth)
        self.data, self.symbols, self.body, self.results, self.values = b"", [], [], [], {}
        self.constants = 0
        os.makedirs(folder, exist_ok=True)

    def weight(self, data, type, length=None, more="", at=0):
        """A value that reads `data`, from byte `at` of it on."""
        data, name = bytes(data), f"w{len(self.symbols)}"
        length = len(data) - at if length is None else length
        self.symbols.append(
            f'moe.weight @{name} {{file = "{self.name}.bin", offset = {len(self.data) + at} : i64, length = {length} : i64{more}}} : {type}'
        )
        self.data += data
        self.body.append(f"  %{name} = moe.get_weight @{name} : {type}")
        return "%" + name

    def constant(self, integers, type):
        self.constants += 1
        self.body.append(f"  %c{self.constants} = arith.constant dense<{np.array2string(integers, separator=',', threshold=10**9)}> : {type}")
        return f"%c{self.constants}"

    def product(self, name, columns, weights, scales=None, zero_points=None, block_size=None, out="f32", encoding=None):
        """`weights`, `scales`, `zero_points`: lists of (value, type)."""
        parts = "".join(
            f" {key}({', '.join(v for v, _ in values)} : {', '.join(t for _, t in values)})"
            for key, values in (("scales", scales), ("zero_points", zero_points)) if values
        )
        attribute = f" {{block_size = {block_size} : i64" if block_size else ""
        attribute += f", encoding = #moe.encoding<{encoding}>" if encoding else ""
        attribute += "}" if block_size else ""
        self.body.append(
            f"  %out_{name} = moe.grouped_matmul %x, %sizes weights({', '.join(v for v, _ in weights)}){parts}{attribute} : "
            f"tensor<?x{self.depth}x{self.rows}>, tensor<{self.experts}xi64>, ({', '.join(t for _, t in weights)}) "
            f"-> tensor<?x{columns}x{out}>{SILU if len(weights) == 2 else ''}"
        )
        self.results.append((name, f"tensor<?x{columns}x{out}>"))

    def add(self, name, columns, bits, block_size, zero_points=None, scale="f32", source="file", out="f32", signed=False):
        e, n, k = self.experts, columns, self.depth
        count = 2 if source in ("interleaved", "shared") else 1
        q = Quantized(self.random, (e, count * n, k), bits, block_size, zero_points, signed=signed)
        q.scales = stored(q.scales, scale)
        if zero_points == "float":
            q.zero_points = stored(q.zero_points, scale)
        blocks = q.scales.shape[-1]
        type, scale_type = f"tensor<{e}x{n}x{k}xi{bits}>", f"tensor<{e}x{n}x{blocks}x{scale}>"
        zero_type = scale_type if zero_points == "float" else f"tensor<{e}x{n}x{blocks}xi{bits}>"
        packed = pack(q.integers, bits)
        weights, scales, zeros = [], [], []
        for i in range(count):
            if source == "constant":
                weights.append((self.constant(q.integers, type), type))
            else:  # rows of all weights take turns
                row, last = packed.shape[-1], ((e - 1) * n * count + (n - 1) * count + 1) * packed.shape[-1]
                step = row * 8 // bits
                # The last row ends with the byte of its last element.
                length = last - row + -(-k * bits // 8) if e * n * k else 0
                strides = f", strides = array<i64: {n * count * step}, {count * step}, 1>"
                weights.append((self.weight(packed.tobytes(), type, length, strides, at=i * row), type))
            last = (e - 1) * n * count * blocks + (n - 1) * count * blocks + blocks
            size = len(file_bytes(np.zeros(1), scale))
            strides = f", strides = array<i64: {n * count * blocks}, {count * blocks}, 1>"
            scales.append((self.weight(file_bytes(q.scales, scale), scale_type, last * size, strides, at=i * blocks * size), scale_type))
            if zero_points == "float":
                data = file_bytes(q.zero_points, scale)
                zeros.append((self.weight(data, zero_type, last * size, strides, at=i * blocks * size), zero_type))
            elif zero_points and source == "constant":
                zeros.append((self.constant(q.zero_points, zero_type), zero_type))
            elif zero_points and source == "shared":  # [E, ceil(N * bits / 8)]
                data = pack(q.zero_points[..., 0], bits)
                step, first = data.shape[-1] * 8 // bits, i * bits
                end = ((e - 1) * step + (n - 1) * count + i + 1) * bits
                more = f", strides = array<i64: {step}, {count}, 1>" + (f", bit_offset = {first % 8} : i64" if first % 8 else "")
                zeros.append((self.weight(data.tobytes(), zero_type, -(-end // 8) - first // 8, more, at=first // 8), zero_type))
            elif zero_points:
                data = pack(q.zero_points, bits)
                row, step = data.shape[-1], data.shape[-1] * 8 // bits
                length = ((e - 1) * n * count + (n - 1) * count) * row + -(-blocks * bits // 8)
                strides = f", strides = array<i64: {n * count * step}, {count * step}, 1>"
                zeros.append((self.weight(data.tobytes(), zero_type, length, strides, at=i * row), zero_type))
        self.product(name, n, weights, scales, zeros, q.block_size, out, "signed" if signed else None)
        whole = q.values(np.float32)
        floats = f"tensor<{e}x{n}x{k}xf32>"
        self.product(name + "_f32", n, [(self.weight(whole[:, i::count].tobytes(), floats), floats) for i in range(count)], out=out)
        self.values[name] = (count, q.values(), {"f32": 1e-5, "f16": 1e-3, "bf16": 4e-3}[out])

    def add_floats(self, name, columns, block_size, input_major=False):
        """4-bit floats with exponents as scales, the extremes among them."""
        e, n, k = self.experts, columns, self.depth
        q = MXFP4(self.random, (e, n, k), block_size)
        q.scales[..., :: 2] = self.random.choice([0, 1, 120], q.scales[..., ::2].shape).astype(np.uint8)
        type, scale_type = f"tensor<{e}x{n}x{k}xi4>", f"tensor<{e}x{n}x{q.scales.shape[-1]}xi8>"
        if input_major:
            data = pack(q.integers.transpose(0, 2, 1), 4)
            step = 2 * data.shape[-1]
            length = ((e * k - 1) * step + n + 1) // 2
            weight = self.weight(data.tobytes(), type, length, f", strides = array<i64: {k * step}, 1, {step}>")
        else:
            data = pack(q.integers, 4)
            step = 2 * data.shape[-1]
            length = ((e * n - 1) * step + k + 1) // 2
            weight = self.weight(data.tobytes(), type, length, f", strides = array<i64: {n * step}, {step}, 1>")
        scales = self.weight(q.scales.tobytes(), scale_type)
        self.product(name, n, [(weight, type)], [(scales, scale_type)], None, block_size, encoding="e2m1")
        floats = f"tensor<{e}x{n}x{k}xf32>"
        self.product(name + "_f32", n, [(self.weight(q.values(np.float32).tobytes(), floats), floats)])
        self.values[name] = (1, q.values(), 1e-5)

    def run(self, counts):
        rows_type = f"tensor<?x{self.depth}x{self.rows}>"
        with open(os.path.join(self.folder, self.name + ".bin"), "wb") as file:
            file.write(self.data)
        arguments = [("x", rows_type), ("sizes", f"tensor<{self.experts}xi64>")]
        text = function(arguments, self.results, "\n".join(self.body), "\n".join(self.symbols))
        model = compile(text, self.folder, self.name)
        checked = 0
        for count in counts:
            for split in ("random", "one"):
                groups = np.sort(self.random.integers(0, self.experts, count)) if split == "random" else np.full(count, self.experts - 1)
                sizes = np.bincount(groups, minlength=self.experts)
                x = stored(self.random.standard_normal((count, self.depth)), self.rows)
                one, two = model.run(1, x=x, sizes=sizes), model.run(2, x=x, sizes=sizes)
                for name, (weights, values, limit) in self.values.items():
                    where = f"{self.name} {name} rows={count} {split}"
                    got = one[name]
                    assert got.tobytes() == two[name].tobytes(), f"{where}: threads"
                    assert got.tobytes() == one[name + "_f32"].tobytes(), f"{where}: not the bits of the f32 weights"
                    a = np.einsum("rk,rnk->rn", x.astype(np.float64), values[groups])
                    want = a if weights == 1 else a[:, 0::2] / (1 + np.exp(-a[:, 0::2])) * a[:, 1::2]
                    error = np.abs(got - want).max(initial=0)
                    assert error <= limit * max(np.abs(want).max(initial=0), 1), f"{where}: {error}"
                    checked += 1
        print(f"{self.name}: {len(self.values)} products, {checked} results")


def main(folder):
    counts = (0, 1, 2, 3, 7, 64, 101)
    # Depths: one, within a word, primes, whole blocks, several blocks of k.
    for experts, depth, columns in ((1, 1, 1), (1, 19, 17), (3, 64, 33), (8, 131, 16), (2, 1100, 48)):
        module = Module(folder, f"sizes_{experts}_{depth}", experts, depth, "f32")
        for bits in (2, 4, 8):
            for block in (0, 16, 32, 64, 128):
                for zeros in (None, "packed"):
                    module.add(f"i{bits}_b{block}_{zeros or 'half'}", columns, bits, block, zeros)
        for bits, zeros in ((2, "float"), (4, None), (4, "packed"), (8, None), (8, "packed")):
            module.add(f"s{bits}_{zeros or 'zero'}", columns, bits, 32, zeros, signed=True)
        module.add_floats("e2m1_b8", columns, 8)
        module.add_floats("e2m1_b32", columns, 32, input_major=True)
        module.add_floats("e2m1_one", columns, 2048)
        module.run(counts)
    # Types, and where the weights come from.
    for rows in ("f32", "f16", "bf16"):
        module = Module(folder, "types_" + rows, 3, 77, rows)
        for bits in (2, 4, 8):
            for scale in ("f32", "f16", "bf16"):
                for zeros in (None, "packed", "float"):
                    module.add(f"i{bits}_{scale}_{zeros or 'half'}", 21, bits, 16, zeros, scale, out=rows)
        module.run((1, 5, 40))
    module = Module(folder, "sources", 3, 38, "f32")
    for bits in (2, 4, 8):
        for block in (0, 32):
            for zeros in (None, "packed"):
                module.add(f"gated_i{bits}_b{block}_{zeros or 'half'}", 19, bits, block, zeros, source="interleaved")
                module.add(f"constant_i{bits}_b{block}_{zeros or 'half'}", 19, bits, block, zeros, source="constant")
        module.add(f"shared_i{bits}", 19, bits, 0, "packed", source="shared")
    module.run((1, 4, 70))


main(sys.argv[1])

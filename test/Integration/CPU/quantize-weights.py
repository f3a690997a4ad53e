# --quantize: float weights are rounded as moe.quantized_weight defines it, and
# the products are those of what the integers stand for. Bits, block sizes, zero
# points, types of weights and scales, transposed and stacked weights; weights
# that cannot be rounded.
#
# REQUIRES: python-numpy, python-ml_dtypes, x86_64
# RUN: %python %s %t

import itertools
import json
import os
import sys

import moe_mlir
import numpy as np
from compiled import compile, file_bytes, function, stored
from quantize import dequantize

F32 = np.float32


def rounded(weight, bits, block, asymmetric, scale):
    """What the integers of `weight` [E, N, K] stand for, in float64, by the definition."""
    depth, top, half = weight.shape[-1], F32(2**bits - 1), F32(2 ** (bits - 1))
    block = block or depth
    blocks = -(-depth // block)
    padded = np.zeros(weight.shape[:-1] + (blocks * block,), F32)
    padded[..., :depth] = weight
    w = padded.reshape(weight.shape[:-1] + (blocks, block))
    if asymmetric:
        lo, hi = np.minimum(w.min(-1), 0), np.maximum(w.max(-1), 0)
        scales = stored(hi / top - lo / top, scale).astype(F32)
        with np.errstate(all="ignore"):
            zeros = np.where(scales == 0, 0, np.rint(np.clip(-lo / scales, 0, top)))
    else:
        first = np.abs(w).argmax(-1)
        scales = stored(np.take_along_axis(w, first[..., None], -1)[..., 0] / -half, scale).astype(F32)
        zeros = np.full(scales.shape, half)
    with np.errstate(all="ignore"):
        q = np.rint(np.where(scales[..., None] == 0, 0, w / scales[..., None])) + zeros[..., None]
    q = np.clip(q, 0, top).reshape(padded.shape)[..., :depth]
    return dequantize(q, scales, zeros, bits, block), q


class Module:
    """Products with weights in one file, with as many groups as there are experts."""

    def __init__(self, folder, name):
        self.folder, self.name, self.data, self.symbols, self.body, self.products = folder, name, b"", [], [], []
        self.random = np.random.default_rng(len(name))

    def symbol(self, data, type, more=""):
        name = f"w{len(self.symbols)}"
        self.symbols.append(
            f'moe.weight @{name} {{file = "{self.name}.bin", offset = {len(self.data)} : i64, length = {len(data)} : i64{more}}} : {type}'
        )
        self.data += data
        return name

    def add(self, weight, dtype, form="plain"):
        """`weight`: [E, N, K], as `dtype` holds it."""
        (e, n, k), type = weight.shape, f"tensor<{'x'.join(map(str, weight.shape))}x{dtype}>"
        if form == "plain":
            name = self.symbol(file_bytes(weight, dtype), type)
        elif form == "transposed":
            strides = f", strides = array<i64: {n * k}, 1, {n}>"
            name = self.symbol(file_bytes(np.ascontiguousarray(weight.transpose(0, 2, 1)), dtype), type, strides)
        else:  # stacked
            slices = [self.symbol(file_bytes(w, dtype), f"tensor<{n}x{k}x{dtype}>") for w in weight]
            name = f"w{len(self.symbols)}"
            self.symbols.append(f"moe.weight_stack @{name} [{', '.join('@' + s for s in slices)}] : {type}")
        out = f"p{len(self.products)}"
        self.body.append(f"  %{name} = moe.get_weight @{name} : {type}")
        self.body.append(
            f"  %out_{out} = moe.grouped_matmul %x{k}, %sizes{e} weights(%{name}) : "
            f"tensor<?x{k}xf32>, tensor<{e}xi64>, ({type}) -> tensor<?x{n}xf32>"
        )
        self.products.append((out, weight, name))

    def text(self):
        with open(os.path.join(self.folder, self.name + ".bin"), "wb") as file:
            file.write(self.data)
        depths, experts = ({w.shape[i] for _, w, _ in self.products} for i in (2, 0))
        arguments = [(f"x{k}", f"tensor<?x{k}xf32>") for k in sorted(depths)]
        arguments += [(f"sizes{e}", f"tensor<{e}xi64>") for e in sorted(experts)]
        results = [(out, f"tensor<?x{w.shape[1]}xf32>") for out, w, _ in self.products]
        return function(arguments, results, "\n".join(self.body), "\n".join(self.symbols))

    def check(self, text, bits, block, asymmetric, scale):
        options = f"int{bits}:block={block or 'row'}:scales={scale}:dense" + (":asymmetric" if asymmetric else "")
        model = compile(text, self.folder, self.name, quantize=options)
        with open(os.path.join(self.folder, self.name + ".json")) as file:
            reports = {entry["weight"]: entry for entry in json.load(file)["quantized"]}
        assert len(reports) == len(self.products), reports
        for count in (1, 5, 40):
            given, groups = {}, {}
            for _, weight, _ in self.products:
                e, _, k = weight.shape
                given[f"x{k}"] = self.random.standard_normal((count, k)).astype(F32)
                groups[e] = np.sort(self.random.integers(0, e, count))
                given[f"sizes{e}"] = np.bincount(groups[e], minlength=e)
            got = model.run(**given)
            for out, weight, name in self.products:
                e, _, k = weight.shape
                values, _ = rounded(weight, bits, block, asymmetric, scale)
                want = np.einsum("rk,rnk->rn", given[f"x{k}"].astype(np.float64), values[groups[e]])
                error = np.abs(got[out] - want).max(initial=0)
                assert error <= 1e-5 * max(np.abs(want).max(initial=0), 1), f"{options} {name} {weight.shape}: {error}"
                if count == 1:
                    norm = np.linalg.norm(weight.astype(np.float64))
                    relative = np.linalg.norm(values - weight) / norm if norm else 0
                    entry = reports[name]
                    assert abs(entry["relative_error"] - relative) <= 1e-4 * relative + 1e-9, (entry, relative)
                    assert entry["bits"] == bits and entry["block_size"] == (block or k), entry


def main(folder):
    os.makedirs(folder, exist_ok=True)
    module = Module(folder, "products")
    random = np.random.default_rng(7)
    for dtype, form in itertools.product(("f32", "f16", "bf16"), ("plain", "transposed", "stacked")):
        for e, n, k in ((1, 17, 77), (3, 33, 160)):
            module.add(stored(random.standard_normal((e, n, k)) / k**0.5, dtype), dtype, form)
    # Zeros, an element and its opposite, one outlier, only positive elements,
    # subnormal scales of f16.
    special = random.standard_normal((5, 16, 64))
    special[0] = 0
    special[1, :, 3], special[1, :, 9], special[1, ::2] = 7, -7, -special[1, ::2]
    special[2, :, 40] = 1000
    special[3] = np.abs(special[3]) + 1
    special[4] *= 1e-6
    module.add(special.astype(F32), "f32")
    text = module.text()
    for bits, asymmetric in itertools.product((2, 4, 8), (False, True)):
        for block, scale in ((0, "f32"), (32, "bf16"), (16, "f16"), (128, "bf16")):
            module.check(text, bits, block, asymmetric, scale)

    # What cannot be rounded is one line, and leaves nothing behind.
    for value, scale, message in (
        (np.nan, "bf16", "weight 'w0': expects finite elements for quantization"),
        (-np.inf, "bf16", "weight 'w0': expects finite elements for quantization"),
        (3e6, "f16", "weight 'w0': expects scales within the range of their type, got"),
    ):
        bad = Module(folder, "bad")
        weight = random.standard_normal((2, 8, 40)).astype(F32)
        weight[1, 3, 39] = value
        bad.add(weight, "f32")
        try:
            compile(bad.text(), folder, "bad", quantize=f"int4:dense:scales={scale}")
            raise AssertionError(f"{value} was rounded")
        except moe_mlir.CompileError as error:
            assert message in str(error) and len(str(error).strip().splitlines()) == 1, error
        assert sorted(os.listdir(folder)).count("bad.so") == 0 and not os.path.exists(os.path.join(folder, "bad.weights"))


main(sys.argv[1])

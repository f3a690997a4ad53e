# Weights of 8-bit floats with scales for blocks: every code, in matrices and views of any strides, is the f32 product
# with its scale, rounded once to the weight's type; panels and quantized panels are those of such floats.
# REQUIRES: python-numpy, python-ml_dtypes, x86_64
# RUN: %python %s %t

import os
import sys

import ml_dtypes
import numpy as np
from compiled import compile, file_bytes, function, stored

ROWS, COLUMNS, BLOCK = 37, 53, (16, 8)
OFFSET = 5  # of the matrix in the file
random = np.random.default_rng(0)
codes = random.integers(0, 256, (ROWS, COLUMNS)).astype(np.uint8)
codes.flat[:256] = np.arange(256)
raw = codes.view(ml_dtypes.float8_e4m3fn).astype(np.float32)
grid = (-(-ROWS // BLOCK[0]), -(-COLUMNS // BLOCK[1]))


def scaled(scales, raw=raw):
    return raw * np.kron(scales, np.ones(BLOCK, np.float32))[:ROWS, :COLUMNS]


# What a view takes of the matrix, and the same as shape, offset and strides.
VIEWS = {
    "whole": (lambda m: m, (ROWS, COLUMNS), 0, (COLUMNS, 1)),
    "turned": (lambda m: m.T, (COLUMNS, ROWS), 0, (1, COLUMNS)),
    "inner": (lambda m: m[10:30, 7:20], (20, 13), 10 * COLUMNS + 7, (COLUMNS, 1)),
    "every_third": (lambda m: m[:, 1::3], (ROWS, 18), 1, (COLUMNS, 3)),
    "rows": (lambda m: m[1::2, 3].reshape(9, 2, 1), (9, 2, 1), COLUMNS + 3, (4 * COLUMNS, 2 * COLUMNS, 1)),
    "diagonal": (lambda m: m[np.arange(37), np.arange(37)], (37,), 0, (COLUMNS + 1,)),
    "none": (lambda m: m[:0], (0, COLUMNS), 0, (COLUMNS, 1)),
}


def shape_text(shape, kind):
    return f"tensor<{'x'.join(map(str, shape))}x{kind}>"


def declare(name, kind, scales_kind, shape, offset, strides, file="w.bin"):
    last = 0 if 0 in shape else 1 + sum((n - 1) * s for n, s in zip(shape, strides))
    return (f'moe.weight @{name} {{file = "{file}", offset = {OFFSET + offset} : i64, length = {last} : i64, '
            f"strides = array<i64: {', '.join(map(str, strides))}>, scaled = #moe.block_scales<scales = @{scales_kind}, "
            f"offset = {OFFSET}, columns = {COLUMNS}, block_rows = {BLOCK[0]}, block_columns = {BLOCK[1]}>}} "
            f": {shape_text(shape, kind)}\n")  # fmt: skip


def declare_scales(folder, kind):
    scales = stored(random.standard_normal(grid) * 2.0 ** random.integers(-12, 3, grid), kind).astype(np.float32)
    with open(os.path.join(folder, kind + ".bin"), "wb") as file:
        file.write(file_bytes(scales, kind))
        length = file.tell()
    return scales, f'moe.weight @{kind} {{file = "{kind}.bin", offset = 0 : i64, length = {length} : i64}} : {shape_text(grid, kind)}\n'


def check_views(folder):
    with open(os.path.join(folder, "w.bin"), "wb") as file:
        file.write(bytes(OFFSET) + codes.tobytes())
    symbols, body, results, wanted = "", "", [], {}
    for scales_kind in ("f32", "bf16", "f16"):
        scales, text = declare_scales(folder, scales_kind)
        symbols += text
        for kind in ("f32", "bf16", "f16"):
            for view, (take, *layout) in VIEWS.items():
                name = f"{view}_{kind}_{scales_kind}"
                symbols += declare(name, kind, scales_kind, *layout)
                type = shape_text(layout[0], kind)
                body += f"  %{name} = moe.get_weight @{name} : {type}\n  %e_{name} = tensor.empty() : {type}\n"
                body += f"  %out_{name} = linalg.copy ins(%{name} : {type}) outs(%e_{name} : {type}) -> {type}\n"
                results.append((name, type))
                with np.errstate(over="ignore"):
                    wanted[name] = stored(take(scaled(scales)), kind)
    made = compile(function([], results, body, symbols), folder, "views").run()
    for name, want in wanted.items():
        np.testing.assert_array_equal(made[name], want, name)


def check_panels(folder):
    """Products with scaled weights have the bits of those with the floats themselves; so do rounded ones."""
    codes[(codes & 127) == 127] = 0  # NaN cannot be rounded
    finite = codes.view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    with open(os.path.join(folder, "w.bin"), "wb") as file:
        file.write(bytes(OFFSET) + codes.tobytes())
    scales, symbols = declare_scales(folder, "f32")
    floats = scaled(scales, finite)
    with open(os.path.join(folder, "floats.bin"), "wb") as file:
        file.write(file_bytes(floats, "bf16"))
    rows, arguments, results, body = 3, [], [], ""
    for view, shape, strides in [("plain", (1, ROWS, COLUMNS), (1, COLUMNS, 1)), ("turned", (1, COLUMNS, ROWS), (1, 1, COLUMNS))]:
        n, k = shape[1:]
        symbols += declare(view, "bf16", "f32", shape, 0, strides)
        symbols += (f'moe.weight @{view}_floats {{file = "floats.bin", offset = 0 : i64, length = {2 * n * k} : i64, '
                    f"strides = array<i64: {', '.join(map(str, strides))}>}} : {shape_text(shape, 'bf16')}\n")  # fmt: skip
        arguments.append((f"x_{view}", f"tensor<?x{k}xf32>"))
        body += f"  %zero_{view} = arith.constant 0 : index\n  %t_{view} = tensor.dim %x_{view}, %zero_{view} : tensor<?x{k}xf32>\n"
        body += f"  %i_{view} = arith.index_cast %t_{view} : index to i64\n  %g_{view} = tensor.from_elements %i_{view} : tensor<1xi64>\n"
        for name in (view, view + "_floats"):
            body += f"  %w_{name} = moe.get_weight @{name} : {shape_text(shape, 'bf16')}\n"
            body += (f"  %out_{name} = moe.grouped_matmul %x_{view}, %g_{view} weights(%w_{name}) : tensor<?x{k}xf32>, "
                     f"tensor<1xi64>, ({shape_text(shape, 'bf16')}) -> tensor<?x{n}xf32>\n")  # fmt: skip
            results.append((name, f"tensor<?x{n}xf32>"))
    inputs = {"x_plain": random.standard_normal((rows, COLUMNS)), "x_turned": random.standard_normal((rows, ROWS))}
    text = function(arguments, results, body, symbols)
    for name, options in [("panels", {}), ("rounded", {"quantize": "int8:block=16:dense"})]:
        made = compile(text, folder, name, **options).run(**inputs)
        for view in ("plain", "turned"):
            np.testing.assert_array_equal(made[view], made[view + "_floats"], f"{name} {view}")
        if name == "panels":
            np.testing.assert_allclose(made["plain"], inputs["x_plain"] @ stored(floats, "bf16").T.astype(np.float64),
                                       rtol=1e-4, atol=1e-4 * np.abs(floats).max())  # fmt: skip


folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
check_views(folder)
check_panels(folder)

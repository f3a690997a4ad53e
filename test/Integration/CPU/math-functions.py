# exp, erf, tanh and log in compiled code against float64, in units in the last
# place, over all of f32: bit patterns at equal distances, and special values.
#
# REQUIRES: python-numpy, python-ml_dtypes, x86_64
# RUN: %python %s %t

import math
import sys

import numpy as np
from compiled import compile, stored

FUNCTIONS = {
    "exp": np.exp,
    "erf": np.vectorize(math.erf, otypes=[float]),
    "tanh": np.tanh,
    "log": np.log,
}
# Units in the last place of the result, of any f32 argument.
LIMITS = {"exp": 2.0, "erf": 2.0, "tanh": 2.0, "log": 2.0}
MAP = "affine_map<(d0) -> (d0)>"


def module(dtype):
    tensor, body, results = f"tensor<?x{dtype}>", [], []
    for name in FUNCTIONS:
        results.append(name)
        body.append(f"""
  %c_{name} = arith.constant 0 : index
  %d_{name} = tensor.dim %x, %c_{name} : {tensor}
  %e_{name} = tensor.empty(%d_{name}) : {tensor}
  %{name} = linalg.generic {{indexing_maps = [{MAP}, {MAP}], iterator_types = ["parallel"]}}
      ins(%x : {tensor}) outs(%e_{name} : {tensor}) {{
  ^bb0(%a: {dtype}, %b: {dtype}):
    %r = math.{name} %a : {dtype}
    linalg.yield %r : {dtype}
  }} -> {tensor}""")
    made = ", ".join(f'{tensor} {{moe.name = "{n}"}}' for n in results)
    values, types = ", ".join(f"%{n}" for n in results), ", ".join([tensor] * len(results))
    return f'func.func @main(%x: {tensor} {{moe.name = "x"}}) -> ({made}) {{{"".join(body)}\n  return {values} : {types}\n}}\n'


def ulps(got, exact, smallest, mantissa):
    """|got - exact| in units in the last place of a type with `mantissa` bits."""
    with np.errstate(all="ignore"):
        exponent = np.floor(np.log2(np.abs(exact)))
        unit = np.exp2(np.maximum(np.where(np.isfinite(exponent), exponent, -1e4) - mantissa, smallest))
        error = np.abs(got - exact) / unit
    same = (got == exact) | (np.isnan(got) & np.isnan(exact))
    return np.where(same, 0, np.where(np.isnan(error), np.inf, error))


def main(folder):
    patterns = (np.arange(1 << 18, dtype=np.uint64) * (1 << 14) + 5).astype(np.uint32)
    special = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-45, -1e-45, 1.1754944e-38, 3.4028235e38, -3.4028235e38,
         88.72283, 88.722839, 88.73, 89.0, 100.0, -87.33654, -87.4, -88.0, -95.0, -103.27, -103.97, -103.98, -104.0, -150.0],
        np.float32,
    )  # fmt: skip
    dense = np.linspace(-110, 110, 50001, dtype=np.float32)
    x = np.concatenate([special, patterns.view(np.float32), dense, dense / 16, 1 + dense / 1000])

    model = compile(module("f32"), folder, "f32")
    one, two = model.run(1, x=x), model.run(2, x=x)
    report, failed = [], False
    for name, function in FUNCTIONS.items():
        assert one[name].tobytes() == two[name].tobytes(), f"{name}: threads"
        # The same bits whatever the position: vectors and their tails agree.
        shifted = model.run(1, x=x[3:1000])[name]
        assert shifted.tobytes() == one[name][3:1000].tobytes(), f"{name}: position"
        with np.errstate(all="ignore"):
            exact = function(x.astype(np.float64))
            exact = np.where(np.abs(exact) >= float.fromhex("0x1.ffffffp127"), np.sign(exact) * np.inf, exact)
        with np.errstate(all="ignore"):
            error = ulps(one[name].astype(np.float64), exact, -149, 23)
        worst = int(np.argmax(error))
        report.append(f"{name}: {error[worst]:.2f} ulp at {x[worst]!r}: {one[name][worst]!r} for {exact[worst]!r}")
        failed |= not error[worst] <= LIMITS[name]
    print("\n".join(report))
    assert not failed

    # 16-bit types: computed in f32, rounded once. f64: the C library.
    for dtype, smallest, mantissa, limit in (("f16", -24, 10, 0.51), ("bf16", -133, 7, 0.51), ("f64", -1074, 52, 2.0)):
        y = stored(np.concatenate([special[:7], dense[::7], dense[::7] / 64]), dtype)
        out = compile(module(dtype), folder, dtype).run(2, x=y)
        for name, function in FUNCTIONS.items():
            if dtype == "f64" and name == "erf":
                continue  # the reference is the same function
            with np.errstate(all="ignore"):
                exact = function(y.astype(np.float64))
                if dtype != "f64":
                    exact = np.where(np.isfinite(stored(exact, dtype)), exact, stored(exact, dtype)).astype(np.float64)
            error = ulps(out[name].astype(np.float64), exact, smallest, mantissa)
            worst = int(np.argmax(error))
            assert error[worst] <= limit, f"{dtype} {name}: {error[worst]} ulp at {y[worst]}: {out[name][worst]} for {exact[worst]}"


main(sys.argv[1])

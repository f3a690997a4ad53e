# Arithmetic that nvcc compiled, against NumPy: exact where PTX is.
# REQUIRES: python-numpy
# RUN: %python %s | FileCheck %s
import math

import numpy as np

from simulator import Out, bf16, from_bf16, run, scalar

rng = np.random.default_rng(1)
f32, f64 = np.float32, np.float64
n = 300
a = (rng.standard_normal(n) * 10 ** rng.uniform(-3, 1.5, n)).astype(f32)
b = (rng.standard_normal(n) * 10 ** rng.uniform(-3, 1.5, n)).astype(f32)
a[:6] = [0, -0.0, 1, -1, 1e-40, 0.5]
b[:6] = [1, 2, -0.0 + 3, 0.25, 1.5, 1e-39]
np.seterr(over="ignore")
y = run("math.ptx", "float_math", 3, 128, [a, b, Out([28, n]), scalar(n)])
u, v = a.astype(f64), b.astype(f64)


def directed(x, towards):
    """f64 results, rounded to f32 in one direction (exact for + and *)."""
    near = x.astype(f32)
    step = np.nextafter(near, f32(towards))
    wrong = near.astype(f64) > x if towards < 0 else near.astype(f64) < x
    return np.where(wrong, step, near)


def toward_zero(x):
    return np.where(x > 0, directed(x, -np.inf), directed(x, np.inf))


half = lambda x: x.astype(np.float16)
near = lambda x: from_bf16(bf16(x))
exact = {
    0: (u / v).astype(f32),
    1: np.divide(1, v).astype(f32),
    2: np.sqrt(np.abs(a)),
    4: toward_zero(u * v + u),
    5: directed(u + v, -np.inf),
    6: directed(u * v, np.inf),
    14: np.minimum(a, b),
    15: np.maximum(a, b),
    16: np.floor(a),
    17: np.rint(a),
    18: np.trunc(a),
    19: np.clip(a, 0, 1),
    20: np.copysign(a, b),
    21: half(a).astype(f32),
    22: near(a),
    23: (u * v + 1).astype(f32),
    24: np.trunc(a),
    25: np.rint(b),
    26: half(half(a).astype(f64) * half(b).astype(f64) + half(a).astype(f64)).astype(f32),
    27: near(near(a) * near(b)),
}
for row, want in exact.items():
    bad = np.flatnonzero(y[row] != want)
    assert bad.size == 0, (row, a[bad[:3]], b[bad[:3]], y[row][bad[:3]], want[bad[:3]])
# CHECK: exact ok
print("exact ok")

approximate = {
    3: 1 / np.sqrt(np.abs(v)),
    7: np.exp2(u),
    8: np.log2(np.abs(v)),
    9: np.sin(u),
    10: np.cos(u),
    11: np.exp(u),
    12: np.tanh(u),
    13: np.array([math.erf(x) for x in u]),
}
for row, want in approximate.items():
    error = np.abs(y[row] - want) / (1e-3 + np.abs(want))
    assert error.max() < 2e-5, (row, error.max())
# CHECK: approximate ok
print("approximate ok")

a = rng.integers(-(2**31), 2**31, n).astype(np.int32)
b = rng.integers(-(2**31), 2**31, n).astype(np.int32)
a[:50] = rng.integers(-9, 9, 50)
b[20:90] = rng.integers(-9, 9, 70)
y = run("math.ptx", "int_math", 3, 128, [a, b, Out([28, n], "i32"), scalar(n)])
M = 2**32 - 1


def integer(i):
    u, v = int(a[i]), int(b[i])
    U, V = u & M, v & M
    s, both = V & 31, (V << 32) | U
    quotient = abs(u) // abs(v) * (1 if (u < 0) == (v < 0) else -1) if v else 0
    low8 = lambda x: ((x & 255) ^ 128) - 128
    pick = lambda k: both >> 8 * k & 255
    return [
        u + v, u * v, u * v >> 32, U * V >> 32,
        quotient, u - quotient * v if v else 0, U // V if V else 0, U % V if V else 0,
        u * v >> 7, (U * V + U) % 1000003, u >> s, U >> s, u << s,
        bin(U).count("1"), 32 - U.bit_length(), int(format(U, "032b")[::-1], 2),
        (U & -U).bit_length(),
        both << s >> 32, both >> s,
        pick(0) | pick(4) << 8 | pick(2) << 16 | pick(5) << 24,
        (u & v) | (~u & (v >> 3)), min(u, v), max(U, V), abs(u),
        ((U & 0xFFFF) ^ 0x8000) - 0x8000, low8(V),
        sum(low8(u >> 8 * k) * low8(v >> 8 * k) for k in range(4)) + 7,
        ((U + V) & 0xFFFF) | ((U >> 16) + (V >> 16) & 0xFFFF) << 16,
    ]


for i in range(n):
    for row, want in enumerate(integer(i)):
        got = int(y[row, i]) & M
        if row == 9:  # the sum wraps at 64 bits, never here
            want = ((int(a[i]) & M) * (int(b[i]) & M) + (int(a[i]) & M)) % 2**64 % 1000003
        assert got == want & M, (row, a[i], b[i], got, want & M)
# CHECK: integers ok
print("integers ok")

x = rng.integers(-5, 200, 32).astype(np.int32)
y = run("math.ptx", "warp_ops", 1, 32, [x, Out([12, 32], "i32")])
lane = np.arange(32)
ballot = lambda bits: int(sum(int(b) << i for i, b in enumerate(bits)))
i32 = lambda v: np.array(v, np.uint32).astype(np.int32)
want = [
    x[(lane + 5) & 31],
    x[np.where(lane >= 3, lane - 3, lane)],
    x[np.where(lane % 8 + 4 < 8, lane + 4, lane)],
    x[lane ^ 9],
    i32([ballot(x & 1)] * 32),
    [int((x >= 0).all())] * 32,
    [int((x > 100).any())] * 32,
    i32([ballot((x & 3) == (x[i] & 3)) for i in lane]),
    [x.sum()] * 32,
    [x.max()] * 32,
    [np.bitwise_xor.reduce(x)] * 32,
]
for row, expected in enumerate(want):
    assert (y[row] == expected).all(), (row, y[row], expected)
evens = ballot(x[::2] & 2 != 0)
assert (y[11, ::2] == bin(evens).count("1")).all() and (y[11, 1::2] == i32(0xAAAAAAAA)).all()
# CHECK: warp ok
print("warp ok")

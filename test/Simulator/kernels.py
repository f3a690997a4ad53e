# Kernels that nvcc compiled, against NumPy.
# REQUIRES: python-numpy
# RUN: %python %s | FileCheck %s
import numpy as np

from simulator import Out, run, scalar

rng = np.random.default_rng(0)


def close(got, want, tolerance=1e-5):
    want = np.asarray(want, np.float64)
    error = np.max(np.abs(got - want) / (1 + np.abs(want))) if want.size else 0
    assert error <= tolerance, error


# CHECK: vector_add ok
for n in (0, 1, 31, 257, 1000):
    a, b = rng.standard_normal((2, n)).astype(np.float32)
    c = run("basic.ptx", "vector_add", 4, 256, [a, b, Out([n]), scalar(n)])
    assert (c == a + b).all()
print("vector_add ok")

# CHECK: reduce_sum ok
for n, block in ((1, 32), (1000, 128), (4097, 256)):
    x = rng.standard_normal(n).astype(np.float32)
    s = run("basic.ptx", "reduce_sum", 3, block, [x, Out([3]), scalar(n)])
    close(s.astype(np.float64).sum(), x.astype(np.float64).sum(), 1e-4)
print("reduce_sum ok")

# CHECK: matmul_tiled ok
for m, n, k in ((16, 16, 16), (17, 33, 5), (40, 24, 50)):
    a = rng.standard_normal((m, k)).astype(np.float32)
    b = rng.standard_normal((k, n)).astype(np.float32)
    grid = ((n + 15) // 16, (m + 15) // 16)
    args = [a, b, Out([m, n]), scalar(m), scalar(n), scalar(k)]
    c = run("basic.ptx", "matmul_tiled", grid, (16, 16), args)
    close(c, a.astype(np.float64) @ b)
print("matmul_tiled ok")

# CHECK: histogram ok
keys = rng.integers(0, 1000, 3000).astype(np.int32)
bins = run("basic.ptx", "histogram", 5, 128, [keys, Out([64], "i32", zero=True), scalar(3000)])
assert (bins == np.bincount(keys & 63, minlength=64)).all()
print("histogram ok")

# CHECK: collatz ok
x = rng.integers(1, 100000, 100).astype(np.uint32)
steps = run("basic.ptx", "collatz", 4, 32, [x, Out([100], "u32"), scalar(100)])


def collatz(v):
    count = 0
    while v > 1:
        v = 3 * v + 1 if v & 1 else v >> 1
        count += 1
    return count


assert (steps == [collatz(int(v)) for v in x]).all()
print("collatz ok")

# CHECK: named_barriers ok
for rounds, warps in ((1, 2), (5, 4), (8, 3)):
    x = rng.integers(-1000, 1000, (rounds, 32)).astype(np.int32)
    shape = [rounds, warps - 1, 32]
    y = run("basic.ptx", "named_barriers", 2, warps * 32, [x, Out(shape, "i32"), scalar(rounds)],
            options=["--ignore=race"])  # both blocks write the same
    assert (y == x[:, None, ::-1] * np.arange(1, warps)[None, :, None]).all()
    y = run("basic.ptx", "named_barriers", 1, warps * 32, [x, Out(shape, "i32"), scalar(rounds)])
print("named_barriers ok")

# CHECK: last_block ok
x = rng.standard_normal(20 * 32).astype(np.float32)
partial, total = run("basic.ptx", "last_block", 20, 32, [x, Out([20]), Out([1])])
close(total, [x.astype(np.float64).sum()], 1e-4)
print("last_block ok")

# Tensor-core kernels of nvcc and Triton: fragments, ldmatrix, pipelines of
# cp.async; and that no barrier, wait or commit of them can be dropped unnoticed.
# REQUIRES: python-numpy
# RUN: %python %s | FileCheck %s
import re

import numpy as np

from simulator import Out, bf16, from_bf16, read, run, scalar

rng = np.random.default_rng(2)


def gemm(kernel, m, n, k, **how):
    a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
    if kernel == "gemm_f16":
        a, b = a.astype(np.float16), b.astype(np.float16)
        product = a.astype(np.float64) @ b.astype(np.float64)
    else:
        a, b = bf16(a), bf16(b)
        product = from_bf16(a).astype(np.float64) @ from_bf16(b)
    args = [a, b, Out([m, n]), scalar(m), scalar(n), scalar(k)]
    return product, run("gemm_mma.ptx", kernel, (n // 64, m // 64), 128, args, **how)


for kernel in ("gemm_f16", "gemm_bf16"):
    for m, n, k in ((64, 64, 32), (64, 128, 64), (128, 64, 160)):
        want, got = gemm(kernel, m, n, k)
        assert np.abs(got - want).max() < 1e-4 * np.sqrt(k), np.abs(got - want).max()
# CHECK: nvcc gemm ok
print("nvcc gemm ok")

# Swizzled: no bank conflicts and no wasted sector; the FLOPs are the product's.
_, (_, status, _, table) = gemm("gemm_f16", 128, 128, 128, options=["--counters"], check=False)
flops = 0
for line in table.splitlines()[1:]:
    where, _, lanes, sectors, ideal, banks, best, tensor, opcode = line.split()
    if where == "total":
        assert int(tensor) == 2 * 128**3, line
        continue
    if opcode.startswith(("ldmatrix", "cp.async")):
        assert (sectors, banks) == (ideal, best), line
# CHECK: counters ok
print("counters ok")


def triton(m, n, k, **how):
    a, b = (rng.standard_normal(s).astype(np.float16) for s in ((m, k), (k, n)))
    zero = scalar(0, "u64")
    args = [a, b, Out([m, n], "f16")] + [scalar(s) for s in (m, n, k, k, n, n)] + [zero, zero]
    grid = ((m + 63) // 64, (n + 63) // 64)
    got = run("triton_matmul_80.ptx", "matmul_kernel", grid, 128, args, options=["--shared=12288"], **how)
    return a.astype(np.float64) @ b.astype(np.float64), got


for m, n, k in ((64, 64, 32), (128, 64, 128), (80, 96, 64)):
    want, got = triton(m, n, k)
    assert np.abs(got - want).max() < 2e-3 * np.abs(want).max()
# CHECK: triton matmul ok
print("triton matmul ok")

x = rng.standard_normal((3, 700)).astype(np.float32)
zero = scalar(0, "u64")
args = [x, Out([3, 700]), scalar(700), zero, zero]
y = run("triton_softmax.ptx", "softmax_kernel", 3, 128, args, options=["--shared=16"])
e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
assert np.abs(y - e / e.sum(1, keepdims=True)).max() < 1e-7
# CHECK: triton softmax ok
print("triton softmax ok")


def mutants(text, first, last):
    """The text without each synchronization in turn, within a kernel."""
    lines = text.split("\n")
    start = next(i for i, line in enumerate(lines) if first in line)
    end = next((i for i in range(start, len(lines)) if last and last in lines[i]), len(lines))
    sync = re.compile(r"^\s*(bar\.sync|bar\.arrive|cp\.async\.wait|cp\.async\.commit|membar)")
    for i in range(start, end):
        if sync.match(lines[i]):
            yield lines[i].strip(), i + 1, "\n".join(lines[:i] + [""] + lines[i + 1 :])


def survivors(ptx, kernel, last, launch):
    alive = []
    for what, line, text in mutants(read(ptx), ".entry " + kernel + "(", last):
        _, status, stderr, _ = launch(text)
        if status == 0:
            alive.append((what, line))
        else:
            assert re.search(r": (race|unwaited-copy|deadlock|uninitialized|barrier): ", stderr), stderr
    return alive


def dropped(text):
    return gemm("gemm_f16", 64, 64, 160, text=text, check=False)[1]


# CHECK: gemm_f16 survivors: []
print("gemm_f16 survivors:", survivors("gemm_mma.ptx", "gemm_f16", ".entry gemm_bf16", dropped))

x32 = rng.standard_normal(20 * 32).astype(np.float32)
keys = rng.integers(0, 64, 1000).astype(np.int32)
a, b = rng.standard_normal((2, 32, 32)).astype(np.float32)
ints = rng.integers(0, 9, (11, 32)).astype(np.int32)
cases = {
    "reduce_sum": (3, 128, [x32, Out([3]), scalar(640)]),
    "matmul_tiled": (2, (16, 16), [a, b, Out([32, 32]), scalar(32), scalar(32), scalar(32)]),
    "histogram": (5, 128, [keys, Out([64], "i32", zero=True), scalar(1000)]),
    "named_barriers": (1, 96, [ints, Out([11, 2, 32], "i32"), scalar(11)]),
    "last_block": (20, 32, [x32, Out([20]), Out([1])]),
}
for kernel, (grid, block, args) in cases.items():
    alive = survivors("basic.ptx", kernel, "// .globl", lambda text: run(
        "basic.ptx", kernel, grid, block, args, text=text, check=False))
    # CHECK: reduce_sum survivors: []
    # CHECK: matmul_tiled survivors: []
    # CHECK: histogram survivors: []
    # CHECK: named_barriers survivors: []
    # CHECK: last_block survivors: []
    print(kernel, "survivors:", alive)


def dropped(text):
    return triton(64, 64, 160, text=text, check=False)[1]


print("matmul_kernel survivors:", survivors("triton_matmul_80.ptx", "matmul_kernel", None, dropped))

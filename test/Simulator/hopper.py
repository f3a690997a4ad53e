# Kernels of sm_90a through the driver's entry points: TMA, mbarriers, wgmma; and
# that no synchronization of theirs can be dropped unnoticed.
# REQUIRES: python-numpy
# UNSUPPORTED: sanitizer
# RUN: %python %s %moe_obj/lib/libmoe-sim.so 2>&1 | FileCheck %s
import ctypes as c
import os
import re
import subprocess
import sys

import numpy as np

from simulator import Out, read, run, scalar

rng = np.random.default_rng(3)


class Driver:
    def __init__(self, library):
        self.library = c.CDLL(library)
        self("cuInit", 0)

    def __call__(self, name, *args):
        status = getattr(self.library, name)(*args)
        assert status == 0, (name, status)

    def upload(self, array):
        pointer = c.c_uint64()
        self("cuMemAlloc_v2", c.byref(pointer), c.c_size_t(array.nbytes))
        self("cuMemcpyHtoD_v2", pointer, array.ctypes.data_as(c.c_void_p), c.c_size_t(array.nbytes))
        return pointer

    def tensor_map(self, pointer, array, box, swizzle):
        kind = {2: 6, 4: 7}[array.itemsize]
        out = (c.c_uint64 * 16)()
        sizes = (c.c_uint64 * 2)(array.shape[1], array.shape[0])
        strides = (c.c_uint64 * 1)(array.shape[1] * array.itemsize)
        self("cuTensorMapEncodeTiled", out, kind, 2, pointer, sizes, strides,
             (c.c_uint32 * 2)(*box), (c.c_uint32 * 2)(1, 1), 0, swizzle, 0, 0)
        return out

    def launch(self, text, kernel, grid, block, params):
        module, function = c.c_void_p(), c.c_void_p()
        self("cuModuleLoadData", c.byref(module), text.encode())
        self("cuModuleGetFunction", c.byref(function), module, kernel.encode())
        values = (c.c_void_p * len(params))(*[c.cast(c.byref(p), c.c_void_p) for p in params])
        return self.library.cuLaunchKernel(function, *grid, *block, 0, None, values, None)


def download(driver, pointer, shape):
    result = np.empty(shape, np.float32)
    driver("cuMemcpyDtoH_v2", result.ctypes.data_as(c.c_void_p), pointer, c.c_size_t(result.nbytes))
    return result


def gemm(driver, kernel, m, n, k, text):
    a = rng.standard_normal((m, k)).astype(np.float16)
    b = rng.standard_normal((k, n)).astype(np.float16)
    stored = np.ascontiguousarray(b.T) if kernel == "gemm_tma_nt" else b
    pa, pb = driver.upload(a), driver.upload(stored)
    pc = driver.upload(np.zeros((m, n), np.float32))
    maps = [driver.tensor_map(p, x, (64, 64), 3) for p, x in ((pa, a), (pb, stored))]
    params = maps + [pc, c.c_int(n), c.c_int(k)]
    status = driver.launch(text, kernel, (n // 64, m // 64, 1), (160, 1, 1), params)
    if status:
        return status
    want = a.astype(np.float64) @ b.astype(np.float64)
    assert np.abs(download(driver, pc, (m, n)) - want).max() < 1e-4 * np.sqrt(k), kernel
    return 0


def copy(driver, rows, columns, text):
    x = rng.standard_normal((rows, columns)).astype(np.float32)
    p, q = driver.upload(x), driver.upload(np.zeros_like(x))
    maps = [driver.tensor_map(at, x, (64, 16), 0) for at in (p, q)]
    status = driver.launch(text, "copy_tma", ((columns + 63) // 64, (rows + 15) // 16, 1), (128, 1, 1), maps)
    assert status or (download(driver, q, x.shape) == x + 1).all()
    return status


if len(sys.argv) > 2:  # a mutant: in a process of its own, since errors stick
    kernel = sys.argv[2]
    driver = Driver(sys.argv[1])
    text = sys.stdin.read()
    sys.exit(1 if (copy(driver, 16, 64, text) if kernel == "copy_tma" else gemm(driver, kernel, 64, 64, 704, text)) else 0)

driver = Driver(sys.argv[1])
ptx = read("gemm_tma.ptx")
for kernel in ("gemm_tma", "gemm_tma_nt"):
    for m, n, k in ((64, 64, 64), (128, 192, 192)):
        assert gemm(driver, kernel, m, n, k, ptx) == 0
# CHECK: wgmma ok
print("wgmma ok", flush=True)
for rows, columns in ((16, 64), (40, 100)):  # cut at both ends
    assert copy(driver, rows, columns, ptx) == 0
# CHECK: copy ok
print("copy ok", flush=True)

# Triton's, whose operands come by cp.async and need the proxy fence.
m, n, k = 128, 64, 96
a, b = (rng.standard_normal(s).astype(np.float16) for s in ((m, k), (k, n)))
zero = scalar(0, "u64")
args = [a, b, Out([m, n], "f16")] + [scalar(s) for s in (m, n, k, k, n, n)] + [zero, zero]
launch = dict(options=["--shared=16384"])
got = run("triton_matmul_90.ptx", "matmul_kernel", (2, 1), 128, args, **launch)
want = a.astype(np.float64) @ b.astype(np.float64)
assert np.abs(got - want).max() < 2e-3 * np.abs(want).max()
# CHECK: triton ok
print("triton ok", flush=True)

sync = re.compile(r"^\s*(bar\.sync|cp\.async\.(bulk\.)?(wait|commit)|fence|wgmma\.(fence|commit|wait)|mbarrier|.*mbarrier\.try_wait)")


def mutants(text, kernel):
    lines = text.split("\n")
    start = next(i for i, line in enumerate(lines) if ".entry " + kernel + "(" in line)
    end = next((i for i in range(start, len(lines)) if lines[i].startswith("}")), len(lines))
    for i in range(start, end):
        if not sync.match(lines[i]):
            continue
        # A wait that always succeeds at once.
        gone = re.sub(r"mbarrier\.try_wait\S* *(\w+),.*?;", r"setp.eq.b32 \1, 0, 0;", lines[i])
        gone = gone if "setp" in gone else ""
        yield lines[i].strip(), i + 1, "\n".join(lines[:i] + [gone] + lines[i + 1 :])


for kernel in ("gemm_tma", "copy_tma"):
    alive, total = [], 0
    for what, line, text in mutants(ptx, kernel):
        done = subprocess.run([sys.executable, __file__, sys.argv[1], kernel], input=text, text=True, capture_output=True)
        total += 1
        assert "Traceback" not in done.stderr or "AssertionError" in done.stderr, done.stderr
        if "module0.ptx:" not in done.stderr:
            alive.append((what, line))
    # CHECK: gemm_tma survivors: [] of {{[1-9]}}
    # CHECK: copy_tma survivors: [] of {{[1-9]}}
    print(kernel, "survivors:", alive, "of", total, flush=True)

def launch_triton(text):
    return run("triton_matmul_90.ptx", "matmul_kernel", (2, 1), 128, args, text=text, check=False, **launch)[1]


# Triton has a barrier at each end of its loop, of which one would do: either
# may go, not both.
text = read("triton_matmul_90.ptx")
alive = [(what, line) for what, line, mutant in mutants(text, "matmul_kernel") if launch_triton(mutant) == 0]
# CHECK: redundant: ['bar.sync 0;', 'bar.sync 0;']
print("redundant:", [" ".join(what.split()) for what, _ in alive], flush=True)
lines = text.split("\n")
for _, line in alive:
    lines[line - 1] = ""
# CHECK: both: 1
print("both:", launch_triton("\n".join(lines)), flush=True)

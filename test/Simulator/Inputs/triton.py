"""Writes the Triton kernels of this folder, without a GPU: python triton.py 80

Needs triton (3.9 wrote what is here)."""

import sys

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource


@triton.jit
def matmul_kernel(a_ptr, b_ptr, c_ptr, M, N, K, sam, sbk, scm, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    pm = tl.program_id(0); pn = tl.program_id(1)
    rm = pm*BM + tl.arange(0, BM); rn = pn*BN + tl.arange(0, BN); rk = tl.arange(0, BK)
    a = a_ptr + rm[:, None]*sam + rk[None, :]
    b = b_ptr + rk[:, None]*sbk + rn[None, :]
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(0, K, BK):
        x = tl.load(a, mask=(rm[:, None] < M) & (rk[None, :] < K - k), other=0.0)
        y = tl.load(b, mask=(rk[:, None] < K - k) & (rn[None, :] < N), other=0.0)
        acc = tl.dot(x, y, acc)
        a += BK; b += BK*sbk
    c = c_ptr + rm[:, None]*scm + rn[None, :]
    tl.store(c, acc.to(tl.float16), mask=(rm[:, None] < M) & (rn[None, :] < N))
@triton.jit
def softmax_kernel(x_ptr, y_ptr, n, B: tl.constexpr):
    r = tl.program_id(0); c = tl.arange(0, B)
    x = tl.load(x_ptr + r*n + c, mask=c < n, other=-float('inf'))
    x = x - tl.max(x, axis=0)
    e = tl.exp(x)
    tl.store(y_ptr + r*n + c, e / tl.sum(e, axis=0), mask=c < n)


def build(fn, types, constants, aligned, name, capability, **options):
    names = fn.arg_names
    signature = dict(zip(names, types + ["constexpr"] * len(constants)))
    attrs = {(i,): [["tt.divisibility", 16]] for i in aligned}
    source = ASTSource(fn=fn, signature=signature, constexprs=constants, attrs=attrs)
    kernel = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    text = kernel.asm["ptx"]
    with open(name, "w") as file:
        file.write(text[: text.find("\t.file")])
    print(name, "shared", kernel.metadata.shared)


capability = int(sys.argv[1])
pointers = ["*fp16"] * 3
tile = {"BM": 64, "BN": 64, "BK": 32}
aligned = (0, 1, 2, 5, 6, 7, 8)
build(matmul_kernel, pointers + ["i32"] * 6, tile, aligned, "triton_matmul_%d.ptx" % capability, capability,
      num_warps=4, num_stages=3)
if capability == 80:
    build(softmax_kernel, ["*fp32", "*fp32", "i32"], {"B": 1024}, (), "triton_softmax.ptx", capability, num_warps=4)

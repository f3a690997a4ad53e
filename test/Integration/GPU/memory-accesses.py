# What the products' kernels move: no sector of rows or weights more than their bytes fill, no bank conflicts.
#
# REQUIRES: python-numpy, x86_64
# UNSUPPORTED: sanitizer
# RUN: %python %s %t | FileCheck %s

import os
import subprocess
import sys

import numpy as np

MODULE = """func.func @main(%x: tensor<?x448xf16> {moe.name = "x"}, %e: tensor<?x2xi32> {moe.name = "e"}, %w: tensor<2x48x448xf16> {moe.name = "w"})
    -> (tensor<?x48xf16> {moe.name = "y"}) {
  %r, %s, %m = moe.dispatch %x, %e : tensor<?x448xf16>, tensor<?x2xi32> -> tensor<?x448xf16>, tensor<2xi64>, tensor<?x2xi32>
  %y = moe.grouped_matmul %r, %s weights(%w) : tensor<?x448xf16>, tensor<2xi64>, (tensor<2x48x448xf16>) -> tensor<?x48xf16>
  return %y : tensor<?x48xf16>
}
"""


def count(stem, tokens, random):
    x = random.standard_normal((tokens, 448)).astype(np.float16)
    e = random.integers(0, 2, (tokens, 2)).astype(np.int32)
    w = random.standard_normal((2, 48, 448)).astype(np.float16)
    np.savez(stem + ".npz", x=x, e=e, w=w)
    if os.path.exists(stem + ".txt"):
        os.remove(stem + ".txt")
    environment = {**os.environ, "MOE_SIM_COUNTERS": stem + ".txt"}
    subprocess.run(["moe-run", stem + ".so", "--device=sim", "--inputs", stem + ".npz"], check=True, env=environment, stdout=subprocess.DEVNULL)
    sums = {}
    with open(stem + ".txt") as file:
        lines = [line.split() for line in file]
    for line in lines:
        for opcode in ("cp.async", "ldmatrix"):
            if line[-1].startswith(opcode):
                sums[opcode] = sums.get(opcode, 0) + np.array(line[3:7], int)
    for opcode, (sectors, ideal, banks, ideal_banks) in sorted(sums.items()):
        print(f"{tokens} tokens: {opcode}: sectors +{sectors - ideal}, bank cycles {banks} +{banks - ideal_banks}")


def main(folder):
    os.makedirs(folder, exist_ok=True)
    stem = os.path.join(folder, "product")
    with open(stem + ".mlir", "w") as file:
        file.write(MODULE)
    subprocess.run(["moe-compile", stem + ".mlir", "--target=cuda:sm_80", "-o", stem], check=True)
    random = np.random.default_rng(1)
    # CHECK: 12 tokens: cp.async: sectors +0, bank cycles {{[1-9][0-9]*}} +0
    # CHECK: 12 tokens: ldmatrix: sectors +0, bank cycles {{[1-9][0-9]*}} +0
    # CHECK: 60 tokens: cp.async: sectors +0, bank cycles {{[1-9][0-9]*}} +0
    # CHECK: 60 tokens: ldmatrix: sectors +0, bank cycles {{[1-9][0-9]*}} +0
    for tokens in (12, 60):
        count(stem, tokens, random)


main(sys.argv[1])

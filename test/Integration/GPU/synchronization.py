# Every barrier, wait and commit of the kernels is needed: without any one of them the simulator finds a defect, or the
# result is wrong.
#
# REQUIRES: python-numpy, x86_64
# UNSUPPORTED: sanitizer
# RUN: %python %s %t | FileCheck %s

import os
import re
import subprocess
import sys

import numpy as np

SYNC = re.compile(rb"^\t(bar\.(?:warp\.)?sync|cp\.async\.(?:wait|commit)_group)\b[^;]*;", re.M)


def layer(experts, k, hidden, columns):
    """One product over dispatched rows; the sum of a token's rows."""
    t = f"tensor<?x{hidden}xf16>"
    return f"""func.func @main(%x: {t} {{moe.name = "x"}}, %e: tensor<?x{k}xi32> {{moe.name = "e"}}, %g: tensor<?x{k}xf16> {{moe.name = "g"}},
    %w: tensor<{experts}x{columns}x{hidden}xf16> {{moe.name = "w"}}) -> (tensor<?x{columns}xf16> {{moe.name = "y"}}) {{
  %r, %s, %m = moe.dispatch %x, %e : {t}, tensor<?x{k}xi32> -> {t}, tensor<{experts}xi64>, tensor<?x{k}xi32>
  %h = moe.grouped_matmul %r, %s weights(%w) : {t}, tensor<{experts}xi64>, (tensor<{experts}x{columns}x{hidden}xf16>) -> tensor<?x{columns}xf16>
  %y = moe.combine %h, %g, %m : tensor<?x{columns}xf16>, tensor<?x{k}xf16>, tensor<?x{k}xi32> -> tensor<?x{columns}xf16>
  return %y : tensor<?x{columns}xf16>
}}
"""


def capacity(experts, k):
    e = f"tensor<?x{k}xi32>"
    return f"""func.func @main(%x: tensor<?x1xf16> {{moe.name = "x"}}, %e: {e} {{moe.name = "e"}}) -> ({e} {{moe.name = "map"}}) {{
  %c = arith.constant 2 : index
  %s = arith.constant 40 : index
  %r, %n, %map = moe.dispatch %x, %e capacity(%c) segment(%s) : tensor<?x1xf16>, {e} -> tensor<?x1xf16>, tensor<{experts}xi64>, {e}
  return %map : {e}
}}
"""


def kept(experts, chosen):
    result = np.full(chosen.shape, -1)
    for begin in range(0, len(chosen), 40):
        taken = np.zeros(experts, int)
        part = chosen[begin : begin + 40]
        for j, t in np.ndindex(part.shape[::-1]):
            if taken[part[t, j]] < 2:
                result[begin + t, j] = part[t, j]
            taken[part[t, j]] += 1
    flat = result.reshape(-1)
    rows = np.full(flat.shape, -1, np.int32)
    order = np.flatnonzero(flat >= 0)
    order = order[np.argsort(flat[order], kind="stable")]
    rows[order] = np.arange(len(order))
    return rows.reshape(chosen.shape)


class Program:
    def __init__(self, folder, name, text, cases):
        os.makedirs(folder, exist_ok=True)
        stem = os.path.join(folder, name)
        with open(stem + ".mlir", "w") as file:
            file.write(text)
        subprocess.run(["moe-compile", stem + ".mlir", "--target=cuda:sm_80", "-o", stem], check=True)
        self.library, self.mutant = stem + ".so", stem + "-mutant.so"
        self.arguments = []
        for i, (inputs, outputs) in enumerate(cases):
            file = f"{stem}-{i}.npz"
            np.savez(file, **{"in:" + n: a for n, a in inputs.items()}, **{"out:" + n: a for n, a in outputs.items()})
            self.arguments += ["--inputs", file, "--expected-outputs", file]
        with open(self.library, "rb") as file:
            self.bytes = file.read()
        assert self.works(self.library), self.said

    def works(self, library):
        done = subprocess.run(["moe-run", library, "--device=sim", "--tolerance=0.01", *self.arguments], capture_output=True, text=True)
        self.said = done.stdout + done.stderr
        return done.returncode == 0

    def statements(self, kernel):
        """Where the kernel's synchronizations are in the library, whose constant the PTX is."""
        begin = re.search(rb"\.visible \.entry " + kernel, self.bytes).start()
        end = self.bytes.index(b"\n}", begin)
        return [m for m in SYNC.finditer(self.bytes, begin, end)]

    def survives(self, match):
        with open(self.mutant, "wb") as file:
            file.write(self.bytes[: match.start()] + b" " * (match.end() - match.start()) + self.bytes[match.end() :])
        return self.works(self.mutant)


def product(random, experts, k, hidden, columns, tokens):
    x = random.standard_normal((tokens, hidden)).astype(np.float16)
    e = random.integers(0, experts, (tokens, k)).astype(np.int32)
    g = random.random((tokens, k)).astype(np.float16)
    w = (random.standard_normal((experts, columns, hidden)) / hidden**0.5).astype(np.float16)
    shares = ((e[..., None] == np.arange(experts)) * g[..., None].astype(np.float32)).sum(1)
    y = sum(shares[:, i : i + 1] * (x.astype(np.float32) @ w[i].astype(np.float32).T) for i in range(experts))
    return dict(x=x, e=e, g=g, w=w), dict(y=y.astype(np.float16))


def report(name, programs, kernel):
    """What the first program can do without, the others, whose kernels may have fewer stages, must need: the last
    statements are for what follows a tile."""
    first, *others = programs
    found = first.statements(kernel)
    alive = []
    for i, match in enumerate(found):
        if first.survives(match) and not any(not p.survives(p.statements(kernel)[i - len(found)]) for p in others):
            alive.append(match.group(1).decode())
    print(f"{name}: {len(found)} synchronizations, survivors {alive}", flush=True)


def main(folder):
    random = np.random.default_rng(7)
    # More steps than stages; few rows and many.
    for tokens, kernel, name in ((12, rb"matmul_\d+_16x", "16 rows"), (60, rb"matmul_\d+_128x", "128 rows")):
        deep = Program(folder, f"deep{tokens}", layer(2, 2, 448, 48), [product(random, 2, 2, 448, 48, tokens)])
        # So many columns that a block has more than one tile of rows.
        wide = Program(folder, f"wide{tokens}", layer(2, 1, 64, 27776), [product(random, 2, 1, 64, 27776, 24 if tokens == 12 else 260)])
        report(name, [deep, wide], kernel)
    # CHECK: 16 rows: {{[1-9][0-9]*}} synchronizations, survivors []
    # CHECK: 128 rows: {{[1-9][0-9]*}} synchronizations, survivors []
    # More experts than lanes.
    chosen = random.integers(0, 40, (1300, 2)).astype(np.int32)
    plan = Program(folder, "plan", capacity(40, 2), [(dict(x=np.zeros((1300, 1), np.float16), e=chosen), dict(map=kept(40, chosen)))])
    # CHECK: plan: {{[1-9][0-9]*}} synchronizations, survivors []
    report("plan", [plan], rb"plan_")


main(sys.argv[1])

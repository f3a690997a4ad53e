#!/usr/bin/env python3
# Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Time and memory of compilation against the number of nodes.

Models of up to 48 layers of 64 experts each, every expert written out with the nodes that torch exports for a loop
(about 2,600 per layer); the matrices are tiny. Compiles each, phase by phase, and creates a session of onnxruntime for
the same file. With --plot also draws both (matplotlib)."""

import argparse
import json
import os
import re
import resource
import subprocess
import sys

import numpy as np
import onnx
import report

ROOT = report.ROOT
sys.path.insert(0, os.path.join(ROOT, "test/Inputs"))
import moe_forms  # noqa: E402
from sparse_models import Graph  # noqa: E402

EXPERTS, WIDTH, INTER, K = 64, 8, 4, 2
PHASES = ("import", "raise", "fuse", "group", "schedule", "bufferize", "lower", "weights", "translate", "optimize", "codegen", "link")
SESSION_LIMIT = 120  # seconds of CPU
SESSION = 'import onnxruntime, sys; onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])'


def write_model(path, layers):
    """An unrolled decoder without attention. Returns the number of its nodes."""
    random = np.random.default_rng(0)
    g = Graph()
    x = g("Reshape", g.input("x", ["batch", "sequence", WIDTH]), [-1, WIDTH])
    for _ in range(layers):
        logits = g("Gemm", x, random.standard_normal((EXPERTS, WIDTH)).astype(np.float32), transB=1)
        weights, ids = moe_forms.renormalized(g, logits, K)
        experts = moe_forms.Experts(random, WIDTH, INTER, EXPERTS)
        x = g("Add", x, moe_forms.sparse_torchscript(g, x, weights, ids, K, experts))
    g.output("y", g("Reshape", x, g("Shape", "x"), allowzero=1), ["batch", "sequence", WIDTH])
    onnx.save(g.model(), path)
    return len(g.nodes)


def measured(command, limit=None):
    """Seconds of CPU and peak resident MB of a command, with what it printed; None if it needs more than `limit`."""
    log = os.path.join(os.path.dirname(command[-1]), "log")
    with open(log, "w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out,
                                   preexec_fn=limit and (lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))))
        _, status, usage = os.wait4(process.pid, 0)
    with open(log) as out:
        text = out.read()
    if status and limit:
        return limit, usage.ru_maxrss * 1024 / 1e6, None
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{text}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6, text


def measure(compiler, folder, layers):
    path, output = os.path.join(folder, "model.onnx"), os.path.join(folder, "model")
    row = {"layers": layers, "nodes": write_model(path, layers), "load": os.getloadavg()[0]}
    row["seconds"], row["megabytes"], text = measured([compiler, path, "--time", "-o", output])
    row["phases"] = {name: float(seconds) for seconds, name in re.findall(r"([0-9.]+) s  (\w+)", text)}
    row["code"] = os.path.getsize(output + ".so") / 1e6
    row["ort seconds"], row["ort megabytes"], text = measured([sys.executable, "-c", SESSION, path], limit=SESSION_LIMIT)
    row["ort finished"] = text is not None
    return row


def table(rows):
    lines = ["| layers | nodes | compile, s of CPU | s per 1,000 nodes | peak MB | " + " | ".join(PHASES) + " | model.so, MB | onnxruntime session, s of CPU | its peak MB |",
             "|" + "---:|" * (8 + len(PHASES))]
    for r in rows:
        cells = [f"{r['layers']}", f"{r['nodes']:,}", f"{r['seconds']:.1f}", f"{1000 * r['seconds'] / r['nodes']:.2f}", f"{r['megabytes']:.0f}"]
        cells += [f"{r['phases'].get(name, 0):.2f}" for name in PHASES]
        cells += [f"{r['code']:.2f}", f"{'' if r['ort finished'] else '> '}{r['ort seconds']:.1f}", f"{r['ort megabytes']:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(rows, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4))
    nodes = [r["nodes"] for r in rows]
    for axis, keys, unit in ((axes[0], ("seconds", "ort seconds"), "s"), (axes[1], ("megabytes", "ort megabytes"), "MB")):
        for key, name in zip(keys, ("moe-compile", "onnxruntime session")):
            axis.plot(nodes, [r[key] for r in rows], "o-", label=name)
        axis.set(xlabel="nodes", ylabel=unit, xlim=(0, None), ylim=(0, None))
        axis.legend()
    figure.tight_layout()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[3, 6, 12, 24, 48])
    parser.add_argument("--plot", metavar="FILE", help="draw time and memory into FILE (.svg, .png)")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--compiler", default=os.path.join(ROOT, "build/bin/moe-compile"))
    parser.add_argument("--folder", default=os.path.join(ROOT, "build/benchmarks/compile-time"))
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    rows = []
    for layers in options.layers:
        rows.append(measure(options.compiler, options.folder, layers))
        print(table(rows[-1:]).split("\n")[-1], flush=True)
    print(table(rows))
    print(report.cpu_name(), f"load {min(r['load'] for r in rows):.1f} to {max(r['load'] for r in rows):.1f}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"environment": report.environment(), "rows": rows}, file, indent=1)
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()

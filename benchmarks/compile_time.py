#!/usr/bin/env python3
# Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Time and memory of compilation against the number of nodes.

Models of up to 48 layers of 64 experts each, every expert written out with the nodes that torch exports for a loop
(about 2,600 per layer); the matrices are tiny. Compiles each, phase by phase, and creates a session of onnxruntime for
the same file, which may take hours for the largest: --session-limit says when to give up. Memory is what is resident at
the peak."""

import argparse
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import report

ROOT = report.ROOT
sys.path.insert(0, os.path.join(ROOT, "test/Inputs"))
import moe_forms  # noqa: E402
from sparse_models import Graph  # noqa: E402

EXPERTS, WIDTH, INTER, K = 64, 8, 4, 2
PHASES = ("import", "raise", "fuse", "group", "schedule", "bufferize", "lower", "weights", "translate", "optimize", "codegen", "link")
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
        # At the soft limit the signal says why.
        limited = limit and (lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5)))
        process = subprocess.Popen(command, stdout=out, stderr=out, preexec_fn=limited)
        _, status, usage = os.wait4(process.pid, 0)
    with open(log) as out:
        text = out.read()
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return limit, usage.ru_maxrss * 1024 / 1e6, None
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{text}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6, text


def measure(args, layers, sessions):
    path, output = os.path.join(args.dir, "model.onnx"), os.path.join(args.dir, "model")
    row = {"layers": layers, "nodes": write_model(path, layers), "load": os.getloadavg()[0]}
    row["seconds"], row["megabytes"], text = measured([f"{args.build}/bin/moe-compile", path, "--time", "-o", output])
    row["phases"] = {name: float(seconds) for seconds, name in re.findall(r"([0-9.]+) s  (\w+)", text)}
    row["code"] = os.path.getsize(output + ".so") / 1e6
    if sessions:
        limit = args.session_limit
        row["ort seconds"], row["ort megabytes"], text = measured([sys.executable, "-c", SESSION, path], limit=limit)
        row["ort finished"] = text is not None
    os.unlink(path)
    return row


def session(row):
    """The columns of onnxruntime."""
    if "ort seconds" not in row:
        return ["", ""]
    more = "" if row["ort finished"] else "> "
    return [f"{more}{row['ort seconds']:.1f}", f"{more}{row['ort megabytes']:.0f} MB"]


def table(rows):
    """The phases, for those who work on the compiler."""
    cells = [[r["layers"], f"{r['seconds']:.1f}", *(f"{r['phases'].get(name, 0):.2f}" for name in PHASES)] for r in rows]
    return report.table(["layers", "seconds", *PHASES], cells)


def markdown(rows):
    header = ["layers", "nodes", "seconds of CPU", "per 1,000 nodes", "peak resident", "model.so"]
    cells = []
    for r in rows:
        sizes = [f"{r['megabytes']:.0f} MB", f"{r['code']:.2f} MB"]
        times = [f"{r['seconds']:.1f}", f"{1000 * r['seconds'] / r['nodes']:.2f}"]
        cells.append([r["layers"], f"{r['nodes']:,}", *times, *sizes, *session(r)])
    return report.table([*header, "onnxruntime's session, seconds of CPU", "its peak"], cells)


def plot(rows, path):
    nodes, peers = [r["nodes"] for r in rows], [r for r in rows if "ort seconds" in r]
    more = [i for i, r in enumerate(peers) if not r["ort finished"]]
    axes = []
    for key, unit in (("seconds", "seconds of CPU"), ("megabytes", "peak resident, MB")):
        lines = [("moe-compile", nodes, [r[key] for r in rows], [])]
        if peers:
            lines.append(("onnxruntime session", [r["nodes"] for r in peers], [r["ort " + key] for r in peers], more))
        axes.append({"x": "nodes", "y": unit, "lines": lines, "logarithmic": True})
    report.plot(path, axes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 2, 3, 6, 12, 24, 39, 48],
                        help="39 are 100,000 nodes")  # fmt: skip
    parser.add_argument("--session-limit", type=int, default=600, metavar="SECONDS",
                        help="of CPU for a session of onnxruntime (600; 0: no sessions)")  # fmt: skip
    report.add_file_options(parser, "compile_time", "<build>/benchmarks/compile-time")
    report.add_plot_option(parser, "compile-time")
    args = parser.parse_args()
    report.check_plot(args.plot)
    args.dir = os.path.abspath(args.dir or f"{args.build}/benchmarks/compile-time")
    os.makedirs(args.dir, exist_ok=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    rows = []
    for layers in sorted(args.layers):
        # What is larger than a model that took too long would as well.
        rows.append(measure(args, layers, args.session_limit and all(r.get("ort finished") for r in rows)))
        print(markdown(rows).split("\n")[-1], file=sys.stderr, flush=True)
    env = report.environment()
    load = f"load {min(r['load'] for r in rows):.1f} to {max(r['load'] for r in rows):.1f}"
    text = f"{time.strftime('%Y-%m-%d')}: {report.environment_line(env)}; {load}.\n\n{markdown(rows)}"
    print(f"{text}\n\n{table(rows)}")
    with open(args.json or f"{args.dir}/compile_time.json", "w") as file:
        json.dump({"environment": env, "rows": rows}, file, indent=1)
    if args.plot:
        plot(rows, args.plot)
    if args.markdown:
        text += report.image(args.plot, "Time and memory against the number of nodes", args.markdown)
        report.update_markdown(args.markdown, "compile_time", text)


if __name__ == "__main__":
    main()

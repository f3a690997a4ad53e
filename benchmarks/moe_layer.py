#!/usr/bin/env python3
# Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times one f32 MoE layer, router included: compiled by MoE-MLIR, and in onnxruntime.

Each contestant is a process of its own with its threads pinned to the same CPUs. They take turns in rounds; who waits
is stopped (SIGSTOP), so that nobody's spinning threads disturb another. Every contestant is checked against a float64
oracle before it is timed. Printed are medians over all rounds and, as ratio, the median of the rounds' own ratios."""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time

import numpy as np

import report
from layer_models import SHAPES, Layer, Shape

HERE = os.path.dirname(os.path.abspath(__file__))

# Contestant: (form of the layer's graph, who runs it, what tables call it).
CONTESTANTS = {
    "ours": ("contrib", "moe", "MoE-MLIR"),
    "ours_batched": ("batched", "moe", "MoE-MLIR, batched export"),
    "ort_moe": ("contrib", "ort", "onnxruntime `MoE`"),
    "ort_nonzero": ("nonzero", "ort", "onnxruntime NonZero graph"),
    "ort_batched": ("batched", "ort", "onnxruntime batched export"),
}
# Copies the weights of k experts per token: beyond this it only swaps.
BATCHED_LIMIT_BYTES = 3e9
ORACLE_TOKENS = 8


class Failure(Exception):
    pass


class Worker:
    """A process that answers lines of commands with lines of JSON, stopped while it has nothing to do."""

    def __init__(self, command, log, env=None):
        self.log = log
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(log, "w"), text=True, env=env
        )
        self.answer()
        self.stop()

    def answer(self):
        line = self.process.stdout.readline()
        reply = json.loads(line) if line else {"error": self.last_words()}
        if "error" in reply:
            raise Failure(reply["error"])
        return reply

    def last_words(self):
        self.process.wait()
        with open(self.log) as file:
            lines = [line.strip() for line in file if line.strip()]
        return lines[-1] if lines else f"ended with status {self.process.returncode}"

    def ask(self, *words):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        try:
            return self.answer()
        finally:
            self.stop()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)

    def close(self):
        self.process.kill()
        self.process.wait()


def build(name, folder, includes=()):
    """Compiles one of the C++ files beside this one."""
    source, program = f"{HERE}/{name}.cpp", f"{folder}/{name}"
    compiler = os.environ.get("CXX", "c++")
    flags = ["-O3", "-std=c++17", "-march=native", "-ffp-contract=fast", "-pthread", *(f"-I{i}" for i in includes)]
    subprocess.run([compiler, *flags, source, "-o", program, "-ldl"], check=True)
    return program


class Benchmark:
    def __init__(self, args, shape_name, shape):
        self.args, self.name, self.shape = args, shape_name, shape
        self.layer = Layer(shape)
        self.folder = os.path.join(args.dir, "layer-" + shape_name)
        self.cpus = sorted(os.sched_getaffinity(0))[: args.threads]
        self.workers, self.failed, self.times, self.inputs, self.errors = {}, {}, {}, {}, {}
        self.limits = {}
        os.makedirs(self.folder, exist_ok=True)

    def say(self, *text):
        print(*text, file=sys.stderr, flush=True)

    # Preparation ----------------------------------------------------------------------------------------------------

    def model(self, form):
        path = f"{self.folder}/{form}.onnx"
        if not os.path.exists(path):
            self.say(f"writing {path}")
            self.layer.write(form, path)
        return path

    def start(self, contestant):
        form, runner, _ = CONTESTANTS[contestant]
        if form == "batched" and self.shape.activation != "swiglu":
            return
        model = self.model(form)
        log = f"{self.folder}/{contestant}.log"
        common = [self.args.threads, self.shape.hidden]
        env = dict(os.environ)
        if runner == "ort":
            command = [sys.executable, f"{HERE}/ort_worker.py", model, *common, ",".join(map(str, self.cpus))]
        else:
            output = f"{self.folder}/{contestant}"
            self.say(f"compiling {model}")
            compiled = subprocess.run(
                [f"{self.args.build}/bin/moe-compile", model, "-o", output], capture_output=True, text=True
            )
            if compiled.returncode:
                raise Failure(compiled.stderr.strip().splitlines()[-1])
            worker = build("model_worker", self.args.dir, [f"{report.ROOT}/include"])
            command = [worker, output + ".so", *common]
            env |= {
                "OMP_NUM_THREADS": str(self.args.threads),
                "OMP_PROC_BIND": "true",
                "OMP_PLACES": ",".join(f"{{{c}}}" for c in self.cpus),
            }
        pinned = ["taskset", "-c", ",".join(map(str, self.cpus))] if shutil.which("taskset") else []
        self.workers[contestant] = Worker([*pinned, *map(str, command)], log, env)

    def prepare_inputs(self, tokens):
        inputs = self.layer.inputs(tokens)
        path = f"{self.folder}/x{tokens}.bin"
        inputs.tofile(path)
        picked = np.unique(np.linspace(0, tokens - 1, ORACLE_TOKENS).astype(int))
        self.inputs[tokens] = {
            "path": path,
            "experts": self.layer.experts_used(inputs),
            "picked": picked,
            "expected": self.layer.oracle(inputs[0][picked]),
        }

    def runs(self, contestant, tokens):
        if contestant in self.failed or contestant not in self.workers:
            return False
        copied = tokens * self.shape.k * self.shape.expert_bytes
        return contestant != "ort_batched" or copied <= BATCHED_LIMIT_BYTES

    def check(self, contestant, tokens):
        info = self.inputs[tokens]
        output = f"{self.folder}/{contestant}.out"
        self.workers[contestant].ask("check", info["path"], tokens, output)
        result = np.fromfile(output, np.float32).reshape(tokens, self.shape.hidden)[info["picked"]]
        os.unlink(output)
        error = float(np.abs(result - info["expected"]).max() / np.abs(info["expected"]).max())
        self.errors[contestant] = max(error, self.errors.get(contestant, 0))
        if not error <= 1e-4:
            raise Failure(f"relative error {error:.1e} against the float64 oracle at T = {tokens}")

    # Timing ---------------------------------------------------------------------------------------------------------

    def guarded(self, contestant, action):
        try:
            action()
        except Failure as failure:
            self.failed[contestant] = str(failure)
            self.say(f"{contestant}: {failure}")

    def round(self, tokens, contestants):
        path = self.inputs[tokens]["path"]
        limits = {"fma": [], "read": []}

        def probe():
            for what, rates in limits.items():
                rates.extend(self.workers["limits"].ask(what, self.args.seconds / 2)["rates"])

        def one(contestant):
            reply = self.workers[contestant].ask("time", path, tokens, self.args.runs, self.args.seconds)
            self.times.setdefault((contestant, tokens), []).append(reply["times"])

        probe()
        for contestant in contestants:
            if self.runs(contestant, tokens):
                self.guarded(contestant, lambda: one(contestant))
        probe()
        for what, rates in limits.items():
            self.limits.setdefault((tokens, what), []).append(statistics.median(rates))

    def run(self):
        args = self.args
        self.workers["limits"] = Worker(
            [build("limits", args.dir), str(args.threads)], f"{self.folder}/limits.log"
        )
        try:
            for contestant in args.contestants:
                self.guarded(contestant, lambda: self.start(contestant))
            for tokens in args.tokens:
                self.prepare_inputs(tokens)
                for contestant in args.contestants:
                    if self.runs(contestant, tokens):
                        self.guarded(contestant, lambda: self.check(contestant, tokens))
            # Rounds outermost: a slow minute of the machine hits every size.
            for index in range(args.rounds):
                self.say(f"{self.name}: round {index + 1} of {args.rounds}")
                order = args.contestants[index % len(args.contestants) :]
                order += args.contestants[: index % len(args.contestants)]
                for tokens in args.tokens:
                    self.round(tokens, order)
        finally:
            for worker in self.workers.values():
                worker.close()
            if args.clean:
                shutil.rmtree(self.folder)

    # Results --------------------------------------------------------------------------------------------------------

    def median(self, contestant, tokens):
        rounds = self.times.get((contestant, tokens))
        return statistics.median(t for times in rounds for t in times) if rounds else None

    def best_peer(self, tokens):
        peers = [c for c in self.args.contestants if CONTESTANTS[c][1] == "ort"]
        known = [(self.median(c, tokens), c) for c in peers if self.median(c, tokens)]
        return min(known)[1] if known else None

    def ratio(self, contestant, other, tokens):
        """How much faster than `other`: the median of the rounds' ratios."""
        pairs = zip(self.times[contestant, tokens], self.times[other, tokens])
        return statistics.median(statistics.median(theirs) / statistics.median(ours) for ours, theirs in pairs)

    def bounds(self, tokens, fma, read):
        """Milliseconds that operations and weight bytes take at these rates."""
        info = self.inputs[tokens]
        touched = info["experts"] * self.shape.expert_bytes + self.shape.router_bytes
        return self.shape.flops(tokens) / fma * 1e-6, touched / read * 1e-6

    def bound_share(self, contestant, tokens):
        """The median of the rounds' own shares: the machine's limits move with its other tenants."""
        limits = zip(self.limits[tokens, "fma"], self.limits[tokens, "read"])
        return statistics.median(
            max(self.bounds(tokens, fma, read)) / statistics.median(times)
            for (fma, read), times in zip(limits, self.times[contestant, tokens])
        )

    def results(self):
        cells = []
        for tokens in self.args.tokens:
            fma = statistics.median(self.limits[tokens, "fma"])
            read = statistics.median(self.limits[tokens, "read"])
            used = self.inputs[tokens]["experts"]
            touched = used * self.shape.expert_bytes + self.shape.router_bytes
            flops = self.shape.flops(tokens)
            fma_ms, read_ms = self.bounds(tokens, fma, read)
            best = self.best_peer(tokens)
            cell = {
                "tokens": tokens,
                "experts_used": used,
                "flops": flops,
                "weight_bytes": touched,
                "fma_gflops": fma,
                "read_gbps": read,
                "bound": "FMA" if fma_ms > read_ms else "read",
                "bound_ms": max(fma_ms, read_ms),
                "best_peer": best,
                "contestants": {},
            }
            for c in self.args.contestants:
                median = self.median(c, tokens)
                if not median:
                    continue
                cell["contestants"][c] = {
                    "median_ms": median,
                    "min_ms": min(t for times in self.times[c, tokens] for t in times),
                    "runs": sum(map(len, self.times[c, tokens])),
                    "gflops": flops / median * 1e-6,
                    "gbps": touched / median * 1e-6,
                    "bound_share": self.bound_share(c, tokens),
                }
                if best and CONTESTANTS[c][1] == "moe":
                    cell["contestants"][c]["speedup"] = self.ratio(c, best, tokens)
            cells.append(cell)
        return {
            "shape": self.name,
            "description": str(self.shape),
            "threads": self.args.threads,
            "rounds": self.args.rounds,
            "errors": self.errors,
            "failed": self.failed,
            "cells": cells,
        }


def markdown(result):
    ours = next((c for c in ("ours", "ours_batched") if any(c in x["contestants"] for x in result["cells"])), None)
    names = [c for c in CONTESTANTS if any(c in cell["contestants"] for cell in result["cells"])]
    header = ["T", *(f"{CONTESTANTS[c][2]} ms" for c in names), "faster than the best peer", "GFLOP/s", "GB/s"]
    header += ["bound ms", "of the bound"]
    rows = []
    for cell in result["cells"]:
        of = cell["contestants"]
        mine = of.get(ours, {})
        number = lambda key, text: text.format(mine[key]) if key in mine else "–"
        rows.append(
            [
                cell["tokens"],
                *(f"{of[c]['median_ms']:.2f}" if c in of else "–" for c in names),
                number("speedup", "{:.2f} ×"),
                number("gflops", "{:.0f}"),
                number("gbps", "{:.1f}"),
                f"{cell['bound_ms']:.2f} {cell['bound']}",
                number("bound_share", "{:.0%}"),
            ]
        )
    fma = statistics.median(c["fma_gflops"] for c in result["cells"])
    read = statistics.median(c["read_gbps"] for c in result["cells"])
    lines = [
        f"**{result['shape']}**: {result['description']}, f32, {result['threads']} threads. Measured in the same run: "
        f"FMA peak {fma:.0f} GFLOP/s, read bandwidth {read:.1f} GB/s.",
        "",
        report.table(header, rows),
    ]
    errors = ", ".join(f"{CONTESTANTS[c][2]} {e:.0e}" for c, e in result["errors"].items())
    lines += ["", f"Largest relative error against float64: {errors}."]
    for contestant, text in result["failed"].items():
        lines += ["", f"{CONTESTANTS[contestant][2]}: {text}."]
    return "\n".join(lines)


def parse_shape(text):
    """A name, or hidden,ffn,experts,k[,activation[,normalize]]."""
    if text in SHAPES:
        return text, SHAPES[text]
    parts = text.split(",")
    try:
        sizes = list(map(int, parts[:4]))
        activation = parts[4] if len(parts) > 4 else "swiglu"
        if len(sizes) != 4 or activation not in ("swiglu", "relu"):
            raise ValueError
        return text.replace(",", "x"), Shape(*sizes, activation, len(parts) < 6 or parts[5] != "0")
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expects one of {', '.join(SHAPES)} or hidden,ffn,experts,k[,swiglu|relu[,0|1]], got '{text}'"
        )


def raise_priority():
    """For machines that others use too: ahead of them, where the system lets us."""
    try:
        os.setsid()
    except OSError:
        pass  # is a leader already
    try:
        os.nice(-20)
        with open("/proc/self/autogroup", "w") as file:
            file.write("-20")
    except OSError as error:
        print(f"--boost: {error.strerror}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    number_list = lambda text: [int(t) for t in text.split(",")]
    parser.add_argument("--shape", type=parse_shape, action="append", help="%s, or sizes" % ", ".join(SHAPES))
    parser.add_argument("--tokens", type=number_list, default=[1, 8, 32, 128, 512, 2048])
    parser.add_argument("--contestants", type=lambda t: t.split(","), default=["ours", "ort_moe", "ort_nonzero"],
                        help="of " + ", ".join(CONTESTANTS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--runs", type=int, default=3, help="at least so many runs per round")
    parser.add_argument("--seconds", type=float, default=0.3, help="and at least so long")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--boost", action="store_true", help="run at the highest priority (needs root)")
    parser.add_argument("--clean", action="store_true", help="remove the models afterwards")
    report.add_file_options(parser, "moe_layer")
    args = parser.parse_args()
    unknown = [c for c in args.contestants if c not in CONTESTANTS]
    if unknown:
        parser.error(f"unknown contestants {', '.join(unknown)}; there are {', '.join(CONTESTANTS)}")
    cpus = len(os.sched_getaffinity(0))
    if args.threads > cpus:
        parser.error(f"expects at most as many threads as CPUs, {cpus}, got {args.threads}")
    args.dir = os.path.abspath(args.dir or f"{args.build}/benchmarks")
    os.makedirs(args.dir, exist_ok=True)

    if args.boost:
        raise_priority()

    env = report.environment()
    print(report.environment_line(env) + "\n", flush=True)
    results, texts = [], []
    for name, shape in args.shape or [parse_shape("mixtral")]:
        benchmark = Benchmark(args, name, shape)
        benchmark.run()
        results.append(benchmark.results())
        texts.append(markdown(results[-1]))
        print(texts[-1] + "\n", flush=True)
    out = args.json or f"{args.dir}/moe_layer.json"
    with open(out, "w") as file:
        json.dump({"date": time.strftime("%Y-%m-%d"), "environment": env, "results": results}, file, indent=1)
    if args.markdown:
        intro = f"{time.strftime('%Y-%m-%d')}: {report.environment_line(env)}."
        report.update_markdown(args.markdown, "moe_layer", "\n\n".join([intro, *texts]))
    if any(result["failed"] for result in results):
        sys.exit(1)


if __name__ == "__main__":
    main()

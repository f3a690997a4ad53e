#!/usr/bin/env python3
# Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A model of a real size: OLMoE-1B-7B's geometry with random weights, from a Hugging Face folder to text, in 8 GB.

Makes the folder (14 GB of bf16) where there is none, compiles it with int4 weights and writes text with moe-run, both
under a limit of memory. Then times prompts and single steps, next to llama.cpp on the same integers and scales where
llama-cpp-python and gguf are installed (--peer-python names another interpreter that has them). Contestants are
processes that take turns and are stopped while they wait; figures are the best of all rounds, and logits are compared
before anything is timed."""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

import numpy as np

import report
from checkpoint import INDEX, Geometry, write_folder
from compile_memory import MemorySampler, flush
from moe_layer import Failure, Worker, raise_priority

HERE = os.path.dirname(os.path.abspath(__file__))
PROMPT = "The quick brown fox jumps over the lazy dog."
# What is rounded to int4: (moe-compile's option, what tables call it).
MODES = {
    "experts": ("int4:block=32", "experts in int4, the rest in 16 bits"),
    "dense": ("int4:block=32:dense", "all matrices but routers and embeddings in int4"),
}


def say(*text):
    print(*text, file=sys.stderr, flush=True)


class MemoryLimit:
    """A control group whose processes have so many bytes, their part of the page cache included. Without the right to
    make one, processes run without a limit."""

    def __init__(self, size):
        self.path = None
        for root, limit, peak in (
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
            ("/sys/fs/cgroup", "memory.max", "memory.peak"),
        ):
            path = f"{root}/moe-real-size-{os.getpid()}"
            try:
                os.mkdir(path)
                self.path, self.peak_file = path, f"{path}/{peak}"
                with open(f"{path}/{limit}", "w") as file:
                    file.write(str(int(size)))
                return
            except OSError:
                self.close()

    def enter(self):
        if self.path:
            with open(f"{self.path}/cgroup.procs", "w") as file:
                file.write(str(os.getpid()))

    def peak(self):
        """The most that was in use, page cache included; None where the system does not say."""
        try:
            with open(self.peak_file) as file:
                return int(file.read())
        except (OSError, AttributeError):
            return None

    def close(self):
        if self.path:
            with contextlib.suppress(OSError):
                os.rmdir(self.path)
        self.path = None


def run_limited(command, size, env=None):
    """Seconds, peaks of memory, and what it wrote, of a command that has so many bytes."""
    limit = MemoryLimit(size)
    try:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
                                   errors="replace", preexec_fn=limit.enter)  # fmt: skip
        sampler = MemorySampler(process.pid)
        sampler.start()
        out, errors = process.communicate()
        seconds = time.perf_counter() - begin
        sampler.join()
        if process.returncode:
            lines = errors.strip().splitlines() or [f"ended with status {process.returncode}"]
            raise SystemExit(f"{os.path.basename(command[0])}: {lines[-1]}")
        return {
            "seconds": seconds,
            "anonymous": sampler.peaks["RssAnon"],
            "mapped": sampler.peaks["RssFile"],
            "limited": limit.path is not None,
            "group": limit.peak(),
            "out": out,
        }
    finally:
        limit.close()


class Benchmark:
    def __init__(self, args, mode):
        self.args, self.mode = args, mode
        self.quantize, self.title = MODES[mode]
        self.geometry = Geometry.of(args.folder)
        self.cpus = sorted(os.sched_getaffinity(0))[: args.threads]
        self.model = f"{args.dir}/{os.path.basename(args.folder)}-{mode}"
        self.workers, self.failed, self.times, self.result = {}, {}, {}, {"mode": mode}

    # ---- Ours alone ----------------------------------------------------------

    def compile(self):
        say(f"compiling with --quantize={self.quantize}")
        command = [f"{self.args.build}/bin/moe-compile", self.args.folder, f"--quantize={self.quantize}", "--time"]
        run = run_limited([*command, "-o", self.model], self.args.memory * 1e9)
        flush(self.model + ".weights")
        self.result["compile"] = run | {"weights": os.path.getsize(self.model + ".weights")}

    def generate(self):
        """From a cold cache: what moe-run reads is charged to its own control group."""
        say("generating")
        command = [f"{self.args.build}/bin/moe-run", self.model + ".so", "--generate", "--prompt", PROMPT, "--tokenizer",
                   f"{self.args.folder}/tokenizer.json", "--max-tokens", str(self.args.steps), "--stats",
                   "--threads", str(self.args.threads)]  # fmt: skip
        run = run_limited(command, self.args.memory * 1e9)
        figures = next(line for line in run["out"].splitlines() if " tokens of prompt in " in line)
        self.result["generate"] = run | {"figures": figures}

    # ---- Contestants ---------------------------------------------------------

    def start(self, name, python, kind, model):
        sizes = [self.args.threads, self.geometry.vocabulary, max(self.args.prompts) + self.args.steps + 1]
        command = [python, f"{HERE}/decoder_worker.py", kind, model, *sizes]
        places = {"OMP_PROC_BIND": "true", "OMP_PLACES": ",".join(f"{{{c}}}" for c in self.cpus)}
        env = dict(os.environ, OMP_NUM_THREADS=str(self.args.threads)) | (places if kind == "moe" else {})
        pinned = ["taskset", "-c", ",".join(map(str, self.cpus))] if shutil.which("taskset") else []
        worker = Worker([*pinned, *map(str, command)], f"{self.args.dir}/{name}.log", env)
        self.workers[name] = worker

    def start_llama(self):
        python, path = self.args.peer_python, self.model + ".gguf"
        probe = subprocess.run([python, "-c", "import gguf, llama_cpp; print(llama_cpp.__version__)"],
                               capture_output=True, text=True)  # fmt: skip
        if probe.returncode:
            raise Failure("llama-cpp-python and gguf are not installed")
        self.result["llama_version"] = probe.stdout.strip()
        if not os.path.exists(path):
            say(f"writing {path}")
            command = [python, f"{HERE}/gguf_file.py", self.args.folder, path + ".part", self.mode]
            made = subprocess.run(command, capture_output=True, text=True)
            if made.returncode:
                raise Failure(made.stderr.strip().splitlines()[-1])
            os.rename(path + ".part", path)
        self.start("llama.cpp", python, "llama", path)

    def compare(self):
        """The relative error and correlation of the peer's logits: its activations are of 8 bits."""
        ids, files = f"{self.args.dir}/ids.npy", {}
        np.save(ids, np.random.default_rng(1).integers(0, self.geometry.vocabulary, 17))
        for name, worker in self.workers.items():
            files[name] = f"{self.args.dir}/{name}.npy"
            worker.ask("logits", ids, files[name])
        logits = {name: np.load(path) for name, path in files.items()}
        ours = logits["MoE-MLIR"]
        if not np.isfinite(ours).all():
            raise SystemExit("expects finite logits")
        # The last position came once with the others, once as a step.
        if not (ours[-1] == ours[-2]).all():
            raise SystemExit("a step's logits are not those of the whole text")
        if len(logits) == 2:
            theirs = logits["llama.cpp"]
            error = np.abs(ours - theirs).max() / np.abs(theirs).max()
            correlation = min(np.corrcoef(a, b)[0, 1] for a, b in zip(ours, theirs))
            self.result["logits"] = {"error": float(error), "correlation": float(correlation)}

    def measure(self):
        prompts, steps = self.args.prompts, self.args.steps
        tasks = [("prefill", p) for p in prompts] + [("decode", min(prompts))]
        for index in range(self.args.rounds):
            say(f"round {index + 1} of {self.args.rounds}")
            order = list(self.workers)
            for name in order if index % 2 == 0 else order[::-1]:
                for what, tokens in tasks:
                    words = (what, tokens, steps) if what == "decode" else (what, tokens)
                    seconds = self.workers[name].ask(*words)["seconds"]
                    self.times.setdefault((name, what, tokens), []).append(seconds)
        for name, worker in self.workers.items():
            with open(f"/proc/{worker.process.pid}/status") as file:
                fields = dict(line.split(":", 1) for line in file)
            memory = {key: 1024 * int(fields[key].split()[0]) for key in ("RssAnon", "RssFile")}
            figures = {
                f"{what} {tokens}": {"best": min(map(min, rounds)), "median": statistics.median(sum(rounds, []))}
                for (who, what, tokens), rounds in self.times.items()
                if who == name
            }
            self.result.setdefault("contestants", {})[name] = memory | figures

    def run(self):
        if not (self.args.keep_compiled and os.path.exists(self.model + ".so")):
            self.compile()
        self.generate()
        try:
            self.start("MoE-MLIR", sys.executable, "moe", self.model + ".so")
            if self.args.llama:
                try:
                    self.start_llama()
                except Failure as failure:
                    say(f"llama.cpp: {failure}")
                    self.result["llama_failed"] = str(failure)
            self.compare()
            self.measure()
        finally:
            for worker in self.workers.values():
                worker.close()
        return self.result


def megabytes(size):
    return "–" if size is None else f"{size / 1e6:,.0f} MB"


def markdown(result, args):
    lines = [f"**{MODES[result['mode']][1]}** (`--quantize={MODES[result['mode']][0]}`)", ""]
    rows = []
    for name in ("compile", "generate"):
        if run := result.get(name):
            group = megabytes(run["group"]) if run["limited"] else "no limit was possible"
            rows.append([f"moe-{'compile' if name == 'compile' else 'run --generate'}", f"{run['seconds']:.1f} s",
                         megabytes(run["anonymous"]), megabytes(run["mapped"]), group])  # fmt: skip
    header = ["", "time", "anonymous memory", "mapped files", f"control group of {args.memory:g} GB, page cache included"]
    lines += [report.table(header, rows), ""]
    if "compile" in result:
        lines += [f"Weight file: {megabytes(result['compile']['weights'])}.", ""]
    lines += [f"From a cold page cache: {result['generate']['figures']}.", ""]
    contestants = result["contestants"]
    header = ["tokens/s, best of the rounds (median)", *contestants]
    rows = []
    for prompt in args.prompts:
        key = f"prefill {prompt}"
        rates = [f"{prompt / c[key]['best']:.1f} ({prompt / c[key]['median']:.1f})" for c in contestants.values()]
        rows.append([f"prompt of {prompt}", *rates])
    key = f"decode {min(args.prompts)}"
    rates = [f"{1 / c[key]['best']:.1f} ({1 / c[key]['median']:.1f})" for c in contestants.values()]
    rows.append([f"steps after {min(args.prompts)}", *rates])
    rows.append(["anonymous memory", *(megabytes(c["RssAnon"]) for c in contestants.values())])
    rows.append(["mapped files", *(megabytes(c["RssFile"]) for c in contestants.values())])
    if len(contestants) == 2:
        header.append("ratio")
        for row, what in zip(rows, [*(f"prefill {p}" for p in args.prompts), key]):
            ours, theirs = (contestants[name][what]["best"] for name in ("MoE-MLIR", "llama.cpp"))
            row.append(f"{theirs / ours:.2f} ×")
        rows[-2].append("")
        rows[-1].append("")
    lines.append(report.table(header, rows))
    if "logits" in result:
        found = result["logits"]
        lines += ["", f"Logits of 17 tokens against llama.cpp {result['llama_version']} on the same integers and scales "
                  f"(its activations are rounded to 8 bits): largest difference {found['error']:.1%} of the largest "
                  f"logit, correlation at least {found['correlation']:.5f}."]  # fmt: skip
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Geometry()
    for name, help in (("layers", "layers"), ("hidden", "width"), ("ffn", "width of an expert"), ("experts", "experts"),
                       ("k", "experts per token"), ("heads", "heads"), ("vocabulary", "tokens, at least 256")):  # fmt: skip
        value = getattr(default, name)
        parser.add_argument(f"--{name}", type=int, default=value, help=f"of a folder that is made: {help} ({value})")
    parser.add_argument("--folder", help="the folder; one that is there is used as it is (<dir>/olmoe)")
    parser.add_argument("--modes", type=lambda t: t.split(","), default=list(MODES), help="of " + ", ".join(MODES))
    parser.add_argument("--prompts", type=lambda t: [int(n) for n in t.split(",")], default=[128, 512],
                        help="lengths of the prompts that are timed (128,512)")  # fmt: skip
    parser.add_argument("--steps", type=int, default=32, help="single steps per round (32)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=float, default=8, help="limit for compiling and generating, in GB (8)")
    parser.add_argument("--no-llama", dest="llama", action="store_false", help="ours alone")
    parser.add_argument("--peer-python", default=sys.executable, help="an interpreter with llama-cpp-python and gguf")
    parser.add_argument("--keep-compiled", action="store_true", help="use the compiled model of an earlier run")
    parser.add_argument("--boost", action="store_true", help="run at the highest priority (needs root)")
    parser.add_argument("--clean", action="store_true", help="remove what was made, the folder included")
    report.add_file_options(parser, "real_size", "<build>/benchmarks/real-size")
    args = parser.parse_args()
    if unknown := [mode for mode in args.modes if mode not in MODES]:
        parser.error(f"unknown modes {', '.join(unknown)}; there are {', '.join(MODES)}")
    if args.vocabulary < 256:
        parser.error(f"expects a vocabulary of at least 256 tokens, got {args.vocabulary}")
    args.dir = os.path.abspath(args.dir or f"{args.build}/benchmarks/real-size")
    args.folder = os.path.abspath(args.folder or f"{args.dir}/olmoe")
    os.makedirs(args.dir, exist_ok=True)
    if args.boost:
        raise_priority()
    if not os.path.exists(f"{args.folder}/{INDEX}"):
        begin = time.perf_counter()
        say(f"writing {args.folder}")
        geometry = Geometry(*(getattr(args, name) for name in Geometry.__dataclass_fields__))
        write_folder(args.folder, geometry)
        say(f"written in {time.perf_counter() - begin:.0f} s")

    env = report.environment()
    g = Geometry.of(args.folder)
    intro = (f"{time.strftime('%Y-%m-%d')}: {report.environment_line(env)}. {g.layers} layers of {g.experts} experts, "
             f"top-{g.k}, {g.hidden} x {g.ffn}, vocabulary {g.vocabulary}; {args.threads} threads.")  # fmt: skip
    print(intro + "\n", flush=True)
    results, texts = [], [intro]
    for mode in args.modes:
        results.append(Benchmark(args, mode).run())
        texts.append(markdown(results[-1], args))
        print(texts[-1] + "\n", flush=True)
    with open(args.json or f"{args.dir}/real_size.json", "w") as file:
        json.dump({"date": time.strftime("%Y-%m-%d"), "environment": env, "results": results}, file, indent=1)
    if args.markdown:
        report.update_markdown(args.markdown, "real_size", "\n\n".join(texts))
    if args.clean:
        shutil.rmtree(args.dir)


if __name__ == "__main__":
    main()

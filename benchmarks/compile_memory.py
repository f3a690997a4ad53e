#!/usr/bin/env python3
# Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Memory and time that compiling a large model takes.

Makes a decoder of random weights (several GB), compiles it while sampling the compiler's anonymous memory, and holds
both against limits: 500 MB + 1.2 x the largest MoE layer's weights; 2 x the time to copy the weights on the same disk
+ 10 s. Then the compiled model runs: finite output for 1 and 17 tokens, and, for a small model of the same form, the
output of onnxruntime. With --plot models of a half, a quarter and an eighth of the size are measured, too."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import numpy as np

import report
from mixtral_model import Config, write_model

SAMPLE_SECONDS = 0.01


class MemorySampler(threading.Thread):
    """The peak of a process's RssAnon and RssFile."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peaks, self.samples = pid, {"RssAnon": 0, "RssFile": 0}, 0

    def run(self):
        try:
            while True:
                with open(f"/proc/{self.pid}/status") as file:
                    fields = dict(line.split(":", 1) for line in file)
                for name in self.peaks:
                    if name not in fields:  # a zombie has no memory
                        return
                    self.peaks[name] = max(self.peaks[name], 1024 * int(fields[name].split()[0]))
                self.samples += 1
                time.sleep(SAMPLE_SECONDS)
        except (FileNotFoundError, ProcessLookupError):
            pass


def flush(path):
    """Out of the page cache: what is read next comes from the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def time_copy(source, target):
    begin = time.perf_counter()
    subprocess.run(["cp", source, target], check=True)
    with open(target, "rb") as file:
        os.fsync(file.fileno())
    seconds = time.perf_counter() - begin
    os.unlink(target)
    return seconds


def compile_model(build, model, output):
    command = [f"{build}/bin/moe-compile", model, "-o", output, "--time"]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    sampler = MemorySampler(process.pid)
    sampler.start()
    _, text = process.communicate()
    seconds = time.perf_counter() - begin
    if process.returncode:
        raise SystemExit(f"moe-compile failed:\n{text}")
    sampler.join()
    return seconds, sampler, text


def run_model(build, folder, model, tokens, vocabulary, expected=None):
    """The logits of `tokens` token ids."""
    ids = np.random.default_rng(tokens).integers(0, vocabulary, (1, tokens))
    np.savez(f"{folder}/in.npz", input_ids=ids)
    output = f"{folder}/out.npz"
    command = [f"{build}/bin/moe-run", model, "--inputs", f"{folder}/in.npz", "--outputs", output]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"moe-run failed: {run.stderr.strip()}")
    logits = np.load(output)["logits"]
    if logits.shape != (1, tokens, vocabulary) or not np.isfinite(logits).all():
        raise SystemExit(f"T = {tokens}: expects finite logits [1, {tokens}, {vocabulary}], got {logits.shape}")
    return ids, logits


def measure(args, config, inline):
    folder = f"{args.dir}/compile-memory"
    os.makedirs(folder, exist_ok=True)
    model = f"{folder}/model.onnx"
    try:
        begin = time.perf_counter()
        write_model(model, config, inline)
        data = model if inline else model + ".data"
        size = os.path.getsize(data)
        print(f"model of {size / 1e9:.2f} GB written in {time.perf_counter() - begin:.0f} s", file=sys.stderr)
        flush(data)
        copies = [time_copy(data, f"{folder}/copy")]
        flush(data)
        seconds, sampler, times = compile_model(args.build, model, f"{folder}/compiled")
        flush(data)
        copies.append(time_copy(data, f"{folder}/copy"))
        copy = sum(copies) / len(copies)
        checked = []
        for tokens in (1, 17):
            run_model(args.build, folder, f"{folder}/compiled.so", tokens, config.vocabulary)
            checked.append(tokens)
        memory_limit = 500e6 + 1.2 * config.moe_layer_bytes
        time_limit = 2 * copy + 10
        return {
            "weights": "inline" if inline else "external",
            "model_bytes": size,
            "layers": config.layers,
            "moe_layer_bytes": config.moe_layer_bytes,
            "peak_anonymous_bytes": sampler.peaks["RssAnon"],
            "peak_file_bytes": sampler.peaks["RssFile"],
            "samples": sampler.samples,
            "memory_limit_bytes": memory_limit,
            "compile_seconds": seconds,
            "copy_seconds": copies,
            "time_limit_seconds": time_limit,
            "phases": times.strip(),
            "checked_tokens": checked,
            "passed": sampler.peaks["RssAnon"] <= memory_limit and seconds <= time_limit,
        }
    finally:
        if not args.keep:
            shutil.rmtree(folder)


def compare_small(args, inline):
    """The largest difference to onnxruntime over the largest logit, for a model small enough for both."""
    import onnxruntime

    config = Config(layers=2, hidden=256, ffn=448, heads=4, kv_heads=2, vocabulary=1000)
    folder = f"{args.dir}/compile-memory-small"
    os.makedirs(folder, exist_ok=True)
    model = f"{folder}/model.onnx"
    try:
        write_model(model, config, inline)
        compile_model(args.build, model, f"{folder}/compiled")
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        worst = 0.0
        for tokens in (1, 2, 17, 128):
            ids, logits = run_model(args.build, folder, f"{folder}/compiled.so", tokens, config.vocabulary)
            expected = session.run(None, {"input_ids": ids})[0]
            worst = max(worst, float(np.abs(logits - expected).max() / max(1, np.abs(expected).max())))
        return worst
    finally:
        shutil.rmtree(folder)


def markdown(results):
    rows = []
    for r in results:
        anonymous, limit = r["peak_anonymous_bytes"] / 1e6, r["memory_limit_bytes"] / 1e6
        copy = "–".join(sorted({f"{s:.1f}" for s in r["copy_seconds"]}))
        rows.append(
            [
                f"{r['model_bytes'] / 1e9:.2f} GB {r['weights']}, {r['layers']} layers",
                f"{anonymous:.0f} MB",
                f"{limit:.0f} MB",
                f"{r['compile_seconds']:.1f} s",
                f"{r['time_limit_seconds']:.1f} s",
                f"{copy} s",
                f"{r['difference']:.0e}",
            ]
        )
    header = ["model", "peak anonymous memory", "limit", "compile time", "limit", "copying the weights"]
    return report.table([*header, "small model against onnxruntime"], rows)


def plot(results, path):
    """Those with external data, by their size."""
    rows = sorted((r for r in results if r["weights"] == "external"), key=lambda r: r["model_bytes"])
    sizes = [r["model_bytes"] / 1e9 for r in rows]

    def line(name, value):
        return name, sizes, [value(r) for r in rows], []

    time = [line("moe-compile", lambda r: r["compile_seconds"]), line("cp, fsync", lambda r: np.mean(r["copy_seconds"]))]
    memory = [line("moe-compile", lambda r: r["peak_anonymous_bytes"] / 1e6)]
    memory.append(line("limit", lambda r: r["memory_limit_bytes"] / 1e6))
    label = "weights, GB"
    axes = [{"x": label, "y": "seconds", "lines": time}, {"x": label, "y": "peak anonymous memory, MB", "lines": memory}]
    report.plot(path, axes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=4.0, help="weights of the model with external data")
    parser.add_argument("--inline-gb", type=float, default=2.0, help="and of the one without; below 2 GiB")
    parser.add_argument("--only", choices=["external", "inline"])
    parser.add_argument("--keep", action="store_true", help="keep the models")
    report.add_file_options(parser, "compile_memory")
    report.add_plot_option(parser, "compile-memory")
    args = parser.parse_args()
    report.check_plot(args.plot)
    args.dir = os.path.abspath(args.dir or f"{args.build}/benchmarks")

    def config(gigabytes, most=float("inf")):
        one, two = Config(layers=1).bytes, Config(layers=2).bytes
        layers = max(round((gigabytes * 1e9 - one) / (two - one)) + 1, 1)
        while Config(layers=layers).bytes > most:
            layers -= 1
        return Config(layers=layers)

    models = [(False, config(args.gb)), (True, config(args.inline_gb, most=(1 << 31) - (1 << 20)))]
    if args.plot:
        layers = {config(args.gb / part).layers for part in (2, 4, 8)} - {models[0][1].layers}
        models += [(False, Config(layers=n)) for n in sorted(layers, reverse=True)]
    results, differences = [], {}
    for inline, chosen in models:
        if args.only and args.only != ("inline" if inline else "external"):
            continue
        result = measure(args, chosen, inline)
        if inline not in differences:
            differences[inline] = compare_small(args, inline)
        result["difference"] = differences[inline]
        result["passed"] &= result["difference"] <= 1e-5
        results.append(result)
        print(f"## {result['weights']}\n{result['phases']}")
        print(f"mapped files peaked at {result['peak_file_bytes'] / 1e6:.0f} MB", flush=True)
    text = markdown(results)
    print(text)
    env = report.environment()
    with open(args.json or f"{args.dir}/compile_memory.json", "w") as file:
        json.dump({"date": time.strftime("%Y-%m-%d"), "environment": env, "results": results}, file, indent=1)
    if args.plot:
        plot(results, args.plot)
    if args.markdown:
        text += report.image(args.plot, "Time and memory against the size of the weights", args.markdown)
        report.update_markdown(args.markdown, "compile_memory", text)
    if not all(r["passed"] for r in results):
        sys.exit("a limit is exceeded")


if __name__ == "__main__":
    main()

"""Runs the compiled example model: checks it against onnxruntime, writes text, measures, shows the routing.

    moe-compile model.onnx -o mixtral_tiny
    python demo.py --model mixtral_tiny.so --prompt "ROMEO:"

(utils/demo does both.) Exit status 0: the logits agree; 1: they do not; 2: it could not be found out.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
CONTEXT = 256  # characters the model was trained on; what follows has never been seen
PREFILL = 128  # characters whose prefill is timed
LIMIT = 1e-4  # of |Δlogit|, float32
VOCABULARY = json.loads((HERE / "vocab.json").read_text())


def encode(text):
    tokens = {character: token for token, character in enumerate(VOCABULARY)}
    if unknown := sorted(set(text) - set(tokens)):
        raise SystemExit(f"error: expects a prompt of printable ASCII characters and newlines, got {unknown[0]!r}")
    return np.array([[tokens[character] for character in text]], np.int64)


# ---- One interface to both: prefill or decode, state inside ------------------
class Compiled:
    def __init__(self, model, threads):
        self.model = model
        self.session = model.session(threads)
        self.cache = model.cache(4 * CONTEXT)

    def reset(self):
        self.cache.reset()

    def step(self, ids):
        """Logits [batch, seq, vocabulary] of `ids` [batch, seq], which follow all ids since reset()."""
        return self.session.run_with_cache(self.cache, ids, outputs=["logits"])[0]


class Peer:
    """onnxruntime, with a cache that never leaves its own tensors."""

    def __init__(self, onnxruntime, path, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.value = onnxruntime.OrtValue.ortvalue_from_numpy
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.past = [i for i in self.session.get_inputs() if i.name.startswith("past_key_values.")]
        self.present = [i.name.replace("past_key_values", "present") for i in self.past]
        self.reset()

    def reset(self):
        self.kept = None

    def step(self, ids):
        if self.kept is None:
            empty = lambda i: np.zeros((ids.shape[0], i.shape[1], 0, i.shape[3]), np.float32)
            self.kept = {i.name: self.value(empty(i)) for i in self.past}
        feeds = {"input_ids": self.value(ids), **self.kept}
        results = dict(zip(self.outputs, self.session.run_with_ort_values(self.outputs, feeds)))
        self.kept = {i.name: results[name] for i, name in zip(self.past, self.present)}
        return results["logits"].numpy()


# ---- Are the numbers right? --------------------------------------------------
def largest(got, want):
    """max |got - want|; infinite when the shapes differ or one is not a number."""
    if got.shape != want.shape:
        return np.inf
    difference = np.abs(got.astype(np.float64) - want)
    return float(np.nan_to_num(difference, nan=np.inf, posinf=np.inf).max(initial=0))


def check(ours, peer, text):
    """Compares logits on real text; yields (what was compared, max |Δlogit|)."""

    def rows(batch, length):
        return np.concatenate([text[:, 11 * row : 11 * row + length] for row in range(batch)])

    def compare(steps):
        ours.reset()
        peer.reset()
        return max(largest(ours.step(ids), peer.step(ids)) for ids in steps)

    for batch, length in ((1, 1), (1, 2), (1, 17), (1, 128), (3, 33)):
        yield f"{batch} x {length} characters at once", compare([rows(batch, length)])
    for batch, first, count in ((1, 17, 40), (2, 5, 12)):
        ids = rows(batch, first + count)
        steps = [ids[:, :first], *(ids[:, i : i + 1] for i in range(first, first + count))]
        yield f"{batch} x {first} characters, then {count} steps with the cache", compare(steps)
    ids = rows(1, 60)
    yield "1 x 60 characters in pieces of 20", compare([ids[:, :20], ids[:, 20:40], ids[:, 40:]])


def check_stored(model):
    """Compares with the torch results that came with the model."""
    for path in sorted((HERE / "cases").glob("*.npz")):
        case = np.load(path)
        inputs = {info.name: case["in:" + info.name] for info in model.inputs}
        logits = model.run(inputs, outputs=["logits"])["logits"]
        yield f"{path.name} (torch)", largest(logits, case["out:logits"])


# ---- Text ---------------------------------------------------------------------
def write(args, moe_run):
    """Has moe-run write the text, and how many rows each expert got."""
    print(args.prompt, end="", flush=True)
    command = [
        moe_run, args.model, "--generate", f"--prompt={args.prompt}", f"--tokenizer={HERE / 'tokenizer.json'}",
        f"--max-tokens={args.length}", f"--temperature={args.temperature}", f"--seed={args.seed}", "--stats",
    ]  # fmt: skip
    if args.threads:
        command.append(f"--threads={args.threads}")
    subprocess.run(command, check=True)


# ---- Speed --------------------------------------------------------------------
def measure(engines, prompt, steps, repeats):
    """Median seconds per engine of the prefill and of a decoding step, on the same tokens, in turns."""
    tokens = [np.array([[i % len(VOCABULARY)]], np.int64) for i in range(7, 7 + steps)]
    times = {name: ([], []) for name in engines}
    for repeat in range(repeats + 1):
        for name, engine in engines.items():
            time.sleep(0.3)  # the other one's threads may still be spinning
            engine.reset()
            start = time.perf_counter()
            engine.step(prompt)
            middle = time.perf_counter()
            for ids in tokens:
                engine.step(ids)
            end = time.perf_counter()
            if repeat:  # the first round warms up
                times[name][0].append(middle - start)
                times[name][1].append((end - middle) / steps)
    return {name: [float(np.median(part)) for part in parts] for name, parts in times.items()}


def cpu_name():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def count(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expects at least 1, got {text}")
    return value


def temperature(text):
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expects 0 or more, got {text}")
    return value


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="the compiled model, mixtral_tiny.so")
    parser.add_argument("--onnx", type=Path, default=HERE / "model.onnx", help="what it was compiled from")
    parser.add_argument("--prompt", default="ANTONIO.\nWhat news", help="the beginning of the text; \\n is a new line")
    parser.add_argument("--length", type=count, default=220, help="characters to write (220)")
    parser.add_argument("--temperature", type=temperature, default=0.7, help="0 takes the likeliest character (0.7)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of characters (0)")
    parser.add_argument("--threads", type=count, help="for both programs (OMP_NUM_THREADS, or else all CPUs)")
    parser.add_argument("--steps", type=count, default=100, help="decoding steps to time (100)")
    parser.add_argument("--repeats", type=count, default=5, help="times to time them (5)")
    args = parser.parse_args()
    args.prompt = args.prompt.replace("\\n", "\n")
    if not args.prompt:
        parser.error("expects a prompt of at least one character")
    if max(len(args.prompt) + args.length, PREFILL + args.steps) > 4 * CONTEXT:
        parser.error(f"expects at most {4 * CONTEXT} characters")
    return args


def main():
    args = arguments()
    try:
        import onnxruntime

        import moe_mlir
    except ImportError as error:
        raise SystemExit(f"error: {error} (utils/setup installs what is missing, PYTHONPATH=build/python)") from None
    encode(args.prompt)
    try:
        model = moe_mlir.Model(args.model, threads=args.threads)
    except moe_mlir.MoEError as error:
        raise SystemExit(f"error: {error}") from None
    ours = Compiled(model, args.threads)
    threads = ours.session.threads
    peer = Peer(onnxruntime, args.onnx, threads)
    print(f"{cpu_name()}, {threads} threads; onnxruntime {onnxruntime.__version__}, numpy {np.__version__}\n")

    text = encode(json.loads((HERE / "metrics.json").read_text())["sample"]["text"])
    worst, compared = 0.0, 0
    for what, difference in [*check(ours, peer, text), *check_stored(model)]:
        print(f"  {what:<52} {difference:.1e}")
        worst, compared = max(worst, difference), compared + 1
    agrees = compared > 0 and worst <= LIMIT
    print(f"max |Δlogit| = {worst:.2e} ({'at most' if agrees else 'MORE THAN'} {LIMIT:.0e})\n", flush=True)

    write(args, moe_mlir.find_compiler().with_name("moe-run"))
    if len(args.prompt) + args.length > CONTEXT:
        print(f"(The model was trained on {CONTEXT} characters; beyond those it guesses.)")

    timed = measure({"moe-mlir": ours, "onnxruntime": peer}, text[:, :PREFILL], args.steps, args.repeats)
    print(f"\n{'tokens/s':<24}{f'prefill of {PREFILL}':>16}{'decoding':>12}   (medians of {args.repeats}, in turns)")
    for name, (prefill, step) in timed.items():
        print(f"{name:<24}{PREFILL / prefill:>16.0f}{1 / step:>12.0f}")
    ratios = [theirs / mine for mine, theirs in zip(timed["moe-mlir"], timed["onnxruntime"])]
    print(f"{'ratio':<24}{ratios[0]:>16.2f}{ratios[1]:>12.2f}")
    if not agrees:
        print(f"error: expects |Δlogit| of at most {LIMIT:.0e}, got {worst:.2e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
            sys.exit(2)
        raise
    except Exception as error:
        # Whatever else: one line, and never the status of a success.
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)

"""Runs kernels with moe-sim from NumPy arrays."""

import os
import subprocess
import tempfile

import numpy as np

INPUTS = os.path.join(os.path.dirname(__file__), "..", "Simulator", "Inputs")


class Out:
    """An output buffer: uninitialized, or zeroed."""

    def __init__(self, shape, dtype="f32", zero=False):
        self.shape, self.dtype, self.zero = shape, dtype, zero


def scalar(value, dtype="i32"):
    return "%s:%s" % (dtype, value)


def bf16(x):
    """The bits of the nearest bf16, ties to even, as int16."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16).view(np.int16)


def from_bf16(bits):
    return (bits.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def run(ptx, kernel, grid, block, args, options=(), check=True, text=None):
    """The outputs in order; with check=False (outputs, status, stderr, stdout).
    `ptx` is a file of Inputs/; `text` replaces what is in it."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(INPUTS, ptx)
        if text is not None:
            path = os.path.join(folder, ptx)
            with open(path, "w") as file:
                file.write(text)
        words, outputs = [], []
        for i, arg in enumerate(args):
            name = os.path.join(folder, "%d.npy" % i)
            if isinstance(arg, np.ndarray):
                np.save(name, arg)
                words.append("in:" + name)
            elif isinstance(arg, Out):
                sizes = ",".join(map(str, arg.shape))
                kind = "zero" if arg.zero else "out"
                words.append("%s:%s[%s]=%s" % (kind, arg.dtype, sizes, name))
                outputs.append(name)
            else:
                words.append(arg)
        number = lambda n: str(n) if isinstance(n, int) else ",".join(map(str, n))
        done = subprocess.run(
            ["moe-sim", path, "--kernel=" + kernel, "--grid=" + number(grid), "--block=" + number(block)]
            + list(options)
            + words,
            capture_output=True,
            text=True,
        )
        results = [np.load(name) for name in outputs if os.path.exists(name)]
        if not check:
            return results, done.returncode, done.stderr, done.stdout
        assert done.returncode == 0, (kernel, done.stderr)
        return results if len(results) != 1 else results[0]


def read(ptx):
    with open(os.path.join(INPUTS, ptx)) as file:
        return file.read()

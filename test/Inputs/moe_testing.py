"""Compiles an ONNX model and checks its results: what the integration tests of
sparse layers share."""

import os
import re
import subprocess
import sys

import numpy as np
import onnx


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit("%s\nended with status %d\n%s%s" % (" ".join(command), done.returncode, done.stdout, done.stderr))
    return done.stdout + done.stderr


def save(model, folder, name):
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name + ".onnx")
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def compiled_to(path, phase):
    """The module after a phase, as text."""
    return run("moe-compile", path, "--compile-to=" + phase, "-o", "-")


def raised(path):
    return compiled_to(path, "raise")


def count(text, operation):
    return len(re.findall(r"\b%s " % re.escape(operation), text))


def check(path, cases, tolerance):
    """Compiles `path` once and runs all `cases`: pairs of dictionaries of inputs
    and of expected outputs."""
    stem = path[: -len(".onnx")]
    run("moe-compile", path, "-o", stem)
    arguments = []
    for i, (inputs, outputs) in enumerate(cases):
        file = "%s-%d.npz" % (stem, i)
        arrays = {"in:" + name: array for name, array in inputs.items()}
        arrays.update({"out:" + name: array for name, array in outputs.items()})
        np.savez(file, **arrays)
        arguments += ["--inputs", file, "--expected-outputs", file]
    printed = run("moe-run", stem + ".so", *arguments, "--tolerance", str(tolerance))
    found = printed.count("[SUCCESS]")
    expected = sum(len(outputs) for _, outputs in cases)
    if found != expected:
        sys.exit("expected %d outputs to be checked, found %d:\n%s" % (expected, found, printed))
    return found

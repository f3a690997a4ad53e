"""Compiles modules and runs them in this process."""

import os

import ml_dtypes
import moe_mlir
import numpy as np

# The tests of a CPU's kernels are those of a GPU's, too: MOE_TEST_TARGET=cuda:sm_80, which has no f64.
TARGET = os.environ.get("MOE_TEST_TARGET")
DTYPES = ("f32", "f16", "bf16") if TARGET else ("f32", "f16", "bf16", "f64")

_NUMPY = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16, "f64": np.float64}


def stored(array, dtype):
    """`array` as a tensor of element type `dtype` ("bf16") holds it; bf16 as float32."""
    array = np.asarray(array).astype(_NUMPY[dtype])
    return array.astype(np.float32) if dtype == "bf16" else array


def file_bytes(array, dtype):
    """`array` as it lies in a file of weights."""
    return np.asarray(array).astype(_NUMPY[dtype]).tobytes()


class Model:
    """A compiled model with one session per thread count."""

    def __init__(self, library):
        self._model = moe_mlir.Model(library)
        self._sessions = {}

    def run(self, threads=2, **inputs):
        """The outputs by name, bf16 as float32; inputs are converted to their declared types."""
        if threads not in self._sessions:
            self._sessions[threads] = self._model.session(threads)
        types = {info.name: _dtype(info.dtype) for info in self._model.inputs}
        given = {name: np.asarray(array).astype(types.get(name)) for name, array in inputs.items()}
        made = self._sessions[threads].run(given)
        return {name: array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array
                for name, array in made.items()}  # fmt: skip


def _dtype(name):
    return np.dtype(getattr(ml_dtypes, name, name))


def compile(text, folder, name, **options):
    """Compiles the text of a module, with options of moe-compile, and opens the result."""
    os.makedirs(folder, exist_ok=True)
    source = os.path.join(folder, name + ".mlir")
    with open(source, "w") as file:
        file.write(text)
    options = {"target": TARGET, **options}
    return Model(moe_mlir.compile(source, os.path.join(folder, name), **options))


def function(arguments, results, body, symbols=""):
    """The text of a module: `arguments` and `results` are lists of (name, type),
    `body` computes %out_<name> for each result."""
    given = ", ".join(f'%{n}: {t} {{moe.name = "{n}"}}' for n, t in arguments)
    made = ", ".join(f'{t} {{moe.name = "{n}"}}' for n, t in results)
    values = ", ".join(f"%out_{n}" for n, _ in results)
    types = ", ".join(t for _, t in results)
    return f"{symbols}\nfunc.func @main({given}) -> ({made}) {{\n{body}\n  return {values} : {types}\n}}\n"

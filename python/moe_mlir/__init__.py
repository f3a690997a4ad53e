"""MoE-MLIR: native programs from exported mixture-of-experts models.

    import moe_mlir

    model = moe_mlir.Model(moe_mlir.compile("mixtral.onnx"))
    outputs = model.run({"input_ids": ids})["logits"]

A compiled model is a shared library with a C interface; this package loads it
with ctypes and exchanges NumPy arrays with it. It contains no binary code, so
one copy serves every version of Python.

`compile` runs the compiler, `Model` opens its result, `Session` is the working
memory and the threads of one caller, `KVCache` keeps a decoder's past. Failures
are exceptions below `MoEError` that carry the runtime's message.
"""

from .compiler import compile, find_compiler
from .errors import (
    BusyError,
    CacheCapacityError,
    CompileError,
    InputError,
    LoadError,
    MoEError,
    NodeError,
    OutOfMemoryError,
)
from .model import CacheBinding, Counters, ExpertLayer, KVCache, Model, Session, ValueInfo

__all__ = [
    "BusyError",
    "CacheBinding",
    "CacheCapacityError",
    "CompileError",
    "Counters",
    "ExpertLayer",
    "InputError",
    "KVCache",
    "LoadError",
    "MoEError",
    "Model",
    "NodeError",
    "OutOfMemoryError",
    "Session",
    "ValueInfo",
    "compile",
    "find_compiler",
]

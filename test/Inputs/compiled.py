"""Compiles modules and runs them in this process over the C ABI (moe.h)."""

import ctypes
import os
import subprocess

import numpy as np

# numpy has no bf16: such inputs are given, and outputs returned, as float32.
BF16 = "bf16"
_DTYPES = {
    1: np.float32, 2: np.float16, 3: BF16, 4: np.float64, 5: np.int8, 6: np.int16, 7: np.int32,
    8: np.int64, 9: np.uint8, 10: np.uint16, 11: np.uint32, 12: np.uint64, 13: np.bool_,
}  # fmt: skip
NUMPY = {"f32": np.float32, "f16": np.float16, "bf16": BF16, "f64": np.float64}


def bf16_bits(array):
    """The nearest bf16, ties to even, of finite or infinite floats, as uint16."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(array), np.uint16(0x7FC0), rounded)


def bf16_values(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def stored(array, dtype):
    """`array` as a tensor of element type `dtype` ("bf16") holds it."""
    if dtype == "bf16":
        return bf16_values(bf16_bits(np.asarray(array, np.float32)))
    return np.asarray(array).astype(NUMPY[dtype])


def file_bytes(array, dtype):
    """`array` as it lies in a file of weights."""
    return (bf16_bits(array) if dtype == "bf16" else stored(array, dtype)).tobytes()


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("dtype", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("capacity", ctypes.c_int64),
    ]


class _ValueInfo(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("dtype", ctypes.c_int32), ("rank", ctypes.c_int32)]


_API = [
    "status_string", "open", "close", "model_name", "num_inputs", "num_outputs", "input_info",
    "output_info", "find_input", "find_output", "num_metadata", "metadata_key", "metadata_value",
    "num_expert_layers", "expert_layer_info", "num_regions", "region_name", "num_cache_bindings",
    "cache_binding_info", "weights_path", "weights_bytes", "session_create", "session_destroy",
    "session_threads", "session_error", "run",
]  # fmt: skip
_P = ctypes.c_void_p
_SIGNATURES = {
    "open": (ctypes.c_int32, ctypes.c_char_p, ctypes.c_uint32, ctypes.POINTER(_P), ctypes.c_char_p, ctypes.c_size_t),
    "num_inputs": (ctypes.c_int32, _P),
    "num_outputs": (ctypes.c_int32, _P),
    "input_info": (ctypes.POINTER(_ValueInfo), _P, ctypes.c_int32),
    "output_info": (ctypes.POINTER(_ValueInfo), _P, ctypes.c_int32),
    "session_create": (ctypes.c_int32, _P, ctypes.c_int32, ctypes.POINTER(_P), ctypes.c_char_p, ctypes.c_size_t),
    "session_error": (ctypes.c_char_p, _P),
    "run": (ctypes.c_int32, _P, ctypes.POINTER(_Tensor), ctypes.c_int32, ctypes.POINTER(_Tensor), ctypes.c_int32),
}


class RunError(Exception):
    """A run that ended with an error status."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class Model:
    """A compiled model with one session per thread count."""

    def __init__(self, library):
        handle = ctypes.CDLL(os.path.abspath(library))
        handle.moe_get_api.restype = ctypes.POINTER(_P)
        table = handle.moe_get_api(ctypes.c_uint32(1))
        self._api = {}
        for name, signature in _SIGNATURES.items():
            # One word for the two 32-bit fields in front of the functions.
            self._api[name] = ctypes.CFUNCTYPE(*signature)(table[1 + _API.index(name)])
        error = ctypes.create_string_buffer(512)
        self._model = _P()
        status = self._api["open"](None, 0, ctypes.byref(self._model), error, 512)
        if status:
            raise RunError(status, error.value.decode())
        self._sessions = {}

        def values(count, info):
            found = [self._api[info](self._model, i).contents for i in range(self._api[count](self._model))]
            return [(value.name.decode(), value.dtype) for value in found]

        self.inputs = values("num_inputs", "input_info")
        self.outputs = values("num_outputs", "output_info")

    def run(self, threads=2, **inputs):
        """The outputs by name; inputs are converted to their declared types."""
        if threads not in self._sessions:
            session, error = _P(), ctypes.create_string_buffer(512)
            status = self._api["session_create"](self._model, threads, ctypes.byref(session), error, 512)
            if status:
                raise RunError(status, error.value.decode())
            self._sessions[threads] = session
        session = self._sessions[threads]
        given, keep = (_Tensor * len(self.inputs))(), []
        for slot, (name, dtype) in zip(given, self.inputs):
            array = np.asarray(inputs.pop(name))
            kind = _DTYPES[dtype]
            array = bf16_bits(array) if kind is BF16 else array.astype(kind, order="C")
            shape = (ctypes.c_int64 * max(array.ndim, 1))(*array.shape)
            keep += [array, shape]
            slot.data, slot.dtype, slot.rank = array.ctypes.data, dtype, array.ndim
            slot.shape = ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64))
        assert not inputs, f"no such inputs: {list(inputs)}"
        made = (_Tensor * len(self.outputs))()
        status = self._api["run"](session, given, len(given), made, len(made))
        if status:
            raise RunError(status, self._api["session_error"](session).decode())
        results = {}
        for slot, (name, dtype) in zip(made, self.outputs):
            kind, shape = _DTYPES[dtype], tuple(slot.shape[i] for i in range(slot.rank))
            element = np.dtype(np.uint16 if kind is BF16 else kind)
            count = int(np.prod(shape, dtype=np.int64))
            data = ctypes.string_at(slot.data, count * element.itemsize) if count else b""
            array = np.frombuffer(data, element).reshape(shape)
            results[name] = bf16_values(array).reshape(shape) if kind is BF16 else array
        return results


def compile(text, folder, name, *flags):
    """Compiles the text of a module and opens the result."""
    os.makedirs(folder, exist_ok=True)
    source = os.path.join(folder, name + ".mlir")
    with open(source, "w") as file:
        file.write(text)
    library = os.path.join(folder, name + ".so")
    done = subprocess.run(["moe-compile", source, "-o", library, *flags], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{source}: moe-compile ended with {done.returncode}\n{done.stderr[-4000:]}")
    return Model(library)


def function(arguments, results, body, symbols=""):
    """The text of a module: `arguments` and `results` are lists of (name, type),
    `body` computes %out_<name> for each result."""
    given = ", ".join(f'%{n}: {t} {{moe.name = "{n}"}}' for n, t in arguments)
    made = ", ".join(f'{t} {{moe.name = "{n}"}}' for n, t in results)
    values = ", ".join(f"%out_{n}" for n, _ in results)
    types = ", ".join(t for _, t in results)
    return f"{symbols}\nfunc.func @main({given}) -> ({made}) {{\n{body}\n  return {values} : {types}\n}}\n"

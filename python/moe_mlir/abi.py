"""The C ABI of compiled models (moe/Runtime/moe.h, version 1) for ctypes.

Structures and the table of functions, member by member in the header's order. A
later version of the ABI only appends, so that this table stays a prefix of it.
"""

from __future__ import annotations

import ctypes
import os
import struct
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

VERSION = 1

(
    OK,
    ERROR_ARGUMENT,
    ERROR_INPUT,
    ERROR_MEMORY,
    ERROR_IO,
    ERROR_WEIGHTS,
    ERROR_MODEL,
    ERROR_NODE,
    ERROR_BUFFER_SIZE,
    ERROR_CACHE_CAPACITY,
    ERROR_BUSY,
    ERROR_UNSUPPORTED,
) = range(12)

OPEN_VERIFY, OPEN_SIGNATURE, OPEN_PREFETCH = 1, 2, 4

# The moe_dtype of an element type is its position here.
DTYPES = (
    "",
    "float32",
    "float16",
    "bfloat16",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
)


class Tensor(Structure):
    _fields_ = [
        ("data", c_void_p),
        ("dtype", c_int32),
        ("rank", c_int32),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("capacity", c_int64),
    ]


class ValueInfo(Structure):
    _fields_ = [
        ("name", c_char_p),
        ("dtype", c_int32),
        ("rank", c_int32),
        ("dims", POINTER(c_int64)),
        ("dim_names", POINTER(c_char_p)),
    ]


class ExpertLayerInfo(Structure):
    _fields_ = [
        ("name", c_char_p),
        ("num_experts", c_int32),
        ("top_k", c_int32),
        ("bytes_per_expert", c_int64),
    ]


class CacheBindingInfo(Structure):
    _fields_ = [("input", c_int32), ("output", c_int32), ("axis", c_int32)]


class Counters(Structure):
    _fields_ = [
        ("struct_size", c_uint64),
        ("runs", c_int64),
        ("failed_runs", c_int64),
        ("expert_rows", c_int64),
        ("active_experts", c_int64),
        ("active_expert_bytes", c_int64),
        ("arena_bytes", c_int64),
        ("arena_peak_bytes", c_int64),
        ("arena_system_calls", c_int64),
    ]


_status, _handle = c_int32, c_void_p
_tensors, _names = POINTER(Tensor), POINTER(c_char_p)
_error = (c_char_p, c_size_t)
ProfileFn = CFUNCTYPE(None, c_void_p, c_int32, c_int32)

# Name, result, arguments. A call through the table releases the interpreter's
# lock, so that sessions of several Python threads run at the same time.
_FUNCTIONS = (
    ("status_string", c_char_p, (_status,)),
    ("open", _status, (c_char_p, c_uint32, POINTER(_handle), *_error)),
    ("close", None, (_handle,)),
    ("model_name", c_char_p, (_handle,)),
    ("num_inputs", c_int32, (_handle,)),
    ("num_outputs", c_int32, (_handle,)),
    ("input_info", POINTER(ValueInfo), (_handle, c_int32)),
    ("output_info", POINTER(ValueInfo), (_handle, c_int32)),
    ("find_input", c_int32, (_handle, c_char_p)),
    ("find_output", c_int32, (_handle, c_char_p)),
    ("num_metadata", c_int32, (_handle,)),
    ("metadata_key", c_char_p, (_handle, c_int32)),
    ("metadata_value", c_char_p, (_handle, c_int32)),
    ("num_expert_layers", c_int32, (_handle,)),
    ("expert_layer_info", POINTER(ExpertLayerInfo), (_handle, c_int32)),
    ("num_regions", c_int32, (_handle,)),
    ("region_name", c_char_p, (_handle, c_int32)),
    ("num_cache_bindings", c_int32, (_handle,)),
    ("cache_binding_info", POINTER(CacheBindingInfo), (_handle, c_int32)),
    ("weights_path", c_char_p, (_handle,)),
    ("weights_bytes", c_int64, (_handle,)),
    ("session_create", _status, (_handle, c_int32, POINTER(_handle), *_error)),
    ("session_destroy", None, (_handle,)),
    ("session_threads", c_int32, (_handle,)),
    ("session_error", c_char_p, (_handle,)),
    ("run", _status, (_handle, _tensors, c_int32, _tensors, c_int32)),
    ("run_named", _status, (_handle, _names, _tensors, c_int32, _names, _tensors, c_int32)),
    ("run_with_cache", _status, (_handle, _handle, _tensors, c_int32, _tensors, c_int32)),
    ("output", _status, (_handle, c_int32, _tensors)),
    ("trim", _status, (_handle,)),
    ("counters", _status, (_handle, POINTER(Counters))),
    ("expert_loads", _status, (_handle, c_int32, POINTER(c_int64), c_int32)),
    ("counters_reset", None, (_handle,)),
    ("set_profile", None, (_handle, ProfileFn, c_void_p)),
    ("cache_create", _status, (_handle, c_int64, POINTER(_handle), *_error)),
    ("cache_destroy", None, (_handle,)),
    ("cache_capacity", c_int64, (_handle,)),
    ("cache_length", c_int64, (_handle,)),
    ("cache_truncate", _status, (_handle, c_int64)),
    ("cache_tensor", _status, (_handle, c_int32, _tensors)),
)


class Api(Structure):
    _fields_ = [
        ("abi_version", c_uint32),
        ("struct_size", c_uint32),
        *((name, CFUNCTYPE(result, *arguments)) for name, result, arguments in _FUNCTIONS),
    ]


_spellings: dict[str, list[tuple[int, int]]] = {}


def _spelling(path: str) -> str:
    """`path` as nobody called another file before. The loader takes a name that it knows for the file it knows by it,
    even if a model that was compiled again has taken its place."""
    # A slash keeps the loader from searching its own folders.
    folder, name = os.path.split(os.path.abspath(path))
    status = os.stat(path)
    files = _spellings.setdefault(os.path.join(folder, name), [])
    file = (status.st_dev, status.st_ino)
    if file not in files:
        files.append(file)
    return os.path.join(folder, *["."] * files.index(file), name)


def _check_segments(path: str) -> None:
    """Raises ValueError when segments that the loader maps do not lie within the file: it does not look, and touching
    one that does not ends the process."""
    with open(path, "rb") as file:
        header = file.read(64)
        if len(header) < 64 or header[:4] != b"\x7fELF":
            return  # the loader says what it is
        size = os.fstat(file.fileno()).st_size
        at, count = struct.unpack_from("<Q", header, 32)[0], struct.unpack_from("<H", header, 56)[0]
        end = at + 56 * count
        if end <= size:
            file.seek(at)
            segments = struct.iter_unpack("<IIQQQQQQ", file.read(56 * count))
            end = max([end, *(offset + length for kind, _, offset, _, _, length, _, _ in segments if kind == 1)])
    if end > size:
        raise ValueError(f"is truncated: it has {size} bytes, its segments need {end}")


class Library:
    """A loaded model library and its table of functions (attribute `api`).

    Objects that hold a handle of the model hold its Library too: the code is
    unloaded when the last of them is gone.
    """

    def __init__(self, path: str):
        """Raises OSError when the loader refuses the file, ValueError when it is no compiled model or not all of
        one."""
        _check_segments(path)
        self._loaded = ctypes.CDLL(_spelling(path), mode=os.RTLD_NOW | os.RTLD_LOCAL)
        try:
            get_api = self._loaded.moe_get_api
        except AttributeError:
            raise ValueError("is not a compiled model: it has no function moe_get_api") from None
        get_api.argtypes, get_api.restype = (c_uint32,), POINTER(Api)
        table = get_api(VERSION)
        if not table:
            raise ValueError(f"was compiled for another version of the ABI, expected version {VERSION} or later")
        self.api = table.contents

    # Bound here: when the interpreter exits, modules may be gone before this is.
    def __del__(self, unload=__import__("_ctypes").dlclose):
        loaded = getattr(self, "_loaded", None)
        if loaded is not None:
            unload(loaded._handle)

"""NumPy arrays as tensors of the C ABI, and back."""

from __future__ import annotations

import ctypes
import functools
import sys

import numpy as np

from . import abi
from .errors import InputError, MoEError


@functools.lru_cache
def numpy_dtype(name: str) -> np.dtype:
    """The dtype called `name` in the signature; bfloat16 is the one of ml_dtypes."""
    if name == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            raise MoEError("element type bfloat16 needs the Python package ml_dtypes") from None
        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def as_input(value, dtype: str, name: str) -> tuple[np.ndarray, abi.Tensor]:
    """`value` as an array, and a tensor that describes the array's own memory.

    Arrays, and objects that export DLPack, keep their element type: a wrong one is an
    error, never a silent conversion. Lists and scalars become the type the model wants.
    The memory is used in place unless it is misaligned or in foreign byte order.
    """
    if not isinstance(value, np.ndarray):
        if hasattr(value, "__dlpack__"):
            value = np.from_dlpack(value)
        elif isinstance(value, np.generic):
            value = np.asarray(value)
        else:
            value = _convert(value, dtype, name)
    flags, itemsize = value.flags, value.dtype.itemsize
    foreign = value.dtype.byteorder == (">" if sys.byteorder == "little" else "<")
    contiguous = flags.c_contiguous
    strided = not contiguous and not any(stride % itemsize for stride in value.strides)
    if foreign or not flags.aligned or not (contiguous or strided):
        value = np.array(value, dtype=value.dtype.newbyteorder("="), order="C")
        strided = False
    code = _code(value.dtype)
    if code is None:
        raise InputError(f"input '{name}' has element type {value.dtype}, expected {dtype}")
    sizes = ctypes.c_int64 * value.ndim
    tensor = abi.Tensor(value.ctypes.data, code, value.ndim, sizes(*value.shape))
    if strided:
        tensor.strides = sizes(*(stride // itemsize for stride in value.strides))
    return value, tensor


@functools.lru_cache
def _code(dtype: np.dtype) -> int | None:
    """The moe_dtype of `dtype`."""
    return abi.DTYPES.index(dtype.name) if dtype.name in abi.DTYPES else None


def _convert(value, dtype: str, name: str) -> np.ndarray:
    """Lists and numbers as an array, unless that loses more than precision."""
    wanted = numpy_dtype(dtype)
    try:
        natural = np.asarray(value)
        if natural.size and not np.can_cast(natural.dtype, wanted, "same_kind"):
            raise TypeError(f"holds {natural.dtype}")
        # From the value again: only that way is an integer that does not fit an error.
        return np.asarray(value, wanted)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"input '{name}' cannot become an array of {dtype}: {error}") from None


def from_tensor(tensor: abi.Tensor) -> np.ndarray:
    """A contiguous copy of the tensor's elements."""
    dtype = numpy_dtype(abi.DTYPES[tensor.dtype])
    shape = tuple(tensor.shape[: tensor.rank]) if tensor.rank else ()
    result = np.empty(shape, dtype)
    if not result.size:
        return result
    if not tensor.strides:
        ctypes.memmove(result.ctypes.data, tensor.data, result.nbytes)
        return result
    strides = tensor.strides[: tensor.rank]
    # Strides that point backwards would need an offset into the buffer below; the runtime has none.
    reach = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides))
    memory = (ctypes.c_char * (reach * dtype.itemsize)).from_address(tensor.data)
    byte_strides = [stride * dtype.itemsize for stride in strides]
    result[...] = np.ndarray(shape, dtype, memory, strides=byte_strides)
    return result

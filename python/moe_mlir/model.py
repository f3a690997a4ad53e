"""Compiled models, their sessions and their caches."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import ArrayLike

from . import abi
from .arrays import as_input, from_tensor
from .errors import BusyError, InputError, LoadError, MoEError, from_status


@dataclass(frozen=True)
class ValueInfo:
    """An input or output. `dtype` is NumPy's name for it; `shape` holds the size of a static dimension, the symbolic
    name of one that each run gives ("batch"), and None for one without a name. Inputs must give equal names equal
    sizes in a run; an output's names are those that the model declares."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True)
class ExpertLayer:
    """A sparse layer. `top_k` is 0 when it varies per token, `bytes_per_expert` when it is not known."""

    name: str
    num_experts: int
    top_k: int
    bytes_per_expert: int


@dataclass(frozen=True)
class CacheBinding:
    """A past input and a present output that a KVCache carries; dimension `axis` of both counts the positions."""

    input: str
    output: str
    axis: int


@dataclass(frozen=True)
class Counters:
    """What a session did since its creation or `reset_counters`."""

    runs: int
    failed_runs: int
    expert_rows: int  # rows routed to experts, all layers
    active_experts: int  # experts that got rows, summed over layers and runs
    active_expert_bytes: int  # weight bytes of those experts
    arena_bytes: int  # session memory reserved now
    arena_peak_bytes: int  # most session memory in use at once
    arena_system_calls: int  # times memory was taken from the system


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def _check(status: int, error) -> None:
    if status != abi.OK:
        raise from_status(status, _text(error.value))


def _create(function, *arguments) -> ctypes.c_void_p:
    """Calls one of the functions that write a handle and, on failure, a line of text."""
    handle, error = ctypes.c_void_p(), ctypes.create_string_buffer(2048)
    _check(function(*arguments, ctypes.byref(handle), error, len(error)), error)
    return handle


class _Exclusive:
    """Holds an owner's lock and yields its handle. (contextlib's decorator would take as long as all the rest.)"""

    def __init__(self, owner: _Owner):
        self._owner = owner

    def __enter__(self) -> ctypes.c_void_p:
        # The runtime itself refuses a second run of a busy session, but the results of the first have to be copied
        # before another one starts.
        owner = self._owner
        if not owner._lock.acquire(blocking=False):
            raise BusyError(f"the {owner._what} is in use by another thread", abi.ERROR_BUSY)
        if not owner._finalizer.alive:
            owner._lock.release()
            raise MoEError(f"the {owner._what} is closed")
        return owner._handle

    def __exit__(self, *_) -> None:
        self._owner._lock.release()


class _Owner:
    """Something with a handle that one thread may use at a time."""

    _what = ""

    def _own(self, library: abi.Library, destroy: Callable, handle: ctypes.c_void_p) -> None:
        self._library = library
        self._api = library.api
        self._handle = handle
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, _release, library, destroy, handle)

    def _exclusive(self) -> _Exclusive:
        return _Exclusive(self)

    def _open_handle(self) -> ctypes.c_void_p:
        if not self._finalizer.alive:
            raise MoEError(f"the {self._what} is closed")
        return self._handle

    def close(self) -> None:
        """Releases it, after the run it may be in; further use is an error. Closing twice is allowed."""
        with self._lock:
            self._finalizer()

    def __enter__(self):
        self._open_handle()
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _release(library: abi.Library, destroy: Callable, handle: ctypes.c_void_p) -> None:
    # `library` is here to be held until now.
    destroy(handle)


class Model(_Owner):
    """A compiled model: `model.so`, opened together with its weight file.

    path:     the library that `moe_mlir.compile` or moe-compile wrote.
    weights:  the weight file. Default: the one beside the library.
    threads:  threads of `run`. Default: OMP_NUM_THREADS, else the CPUs this process may use.
    verify:   read the whole weight file and check its hashes (otherwise header and sizes only).
    prefetch: ask the system to read the weights ahead.

    Raises LoadError when the library cannot be loaded, is no model, needs another CPU, or when the weights are not
    the model's.

    A model may be used from any number of threads. `run` lets one at a time through; for runs side by side create a
    `Session` each. The weights are mapped once.
    """

    _what = "model"

    def __init__(
        self,
        path: str | os.PathLike,
        weights: str | os.PathLike | None = None,
        *,
        threads: int | None = None,
        verify: bool = False,
        prefetch: bool = False,
    ):
        self.path = os.fspath(path)
        if not os.access(self.path, os.R_OK):
            reason = "permission denied" if os.path.exists(self.path) else "no such file"
            raise LoadError(f"cannot open '{self.path}': {reason}")
        try:
            library = abi.Library(self.path)
        except ValueError as error:
            raise LoadError(f"'{self.path}' {error}") from None
        except OSError as error:
            raise LoadError(f"cannot load '{self.path}': {error}") from None
        api = library.api
        flags = (abi.OPEN_VERIFY if verify else 0) | (abi.OPEN_PREFETCH if prefetch else 0)
        try:
            handle = _create(api.open, None if weights is None else os.fsencode(weights), flags)
        except MoEError as error:
            # Whatever stops a model from being opened (the CPU, memory) is a LoadError here.
            raise LoadError(str(error), error.status) from None
        self._own(library, api.close, handle)
        self._threads = threads
        self._default: Session | None = None
        self._default_lock = threading.Lock()
        self._describe()

    def _describe(self) -> None:
        api, handle = self._api, self._handle

        def value(info) -> ValueInfo:
            info = info.contents
            sizes = (info.dims[i] if info.dims[i] >= 0 else _text(info.dim_names[i]) or None for i in range(info.rank))
            return ValueInfo(_text(info.name), abi.DTYPES[info.dtype], tuple(sizes))

        def layer(info) -> ExpertLayer:
            info = info.contents
            return ExpertLayer(_text(info.name), info.num_experts, info.top_k, info.bytes_per_expert)

        def binding(info) -> CacheBinding:
            info = info.contents
            return CacheBinding(self.inputs[info.input].name, self.outputs[info.output].name, info.axis)

        def several(read, describe, count) -> tuple:
            return tuple(describe(read(handle, i)) for i in range(count(handle)))

        self.name: str = _text(api.model_name(handle))
        self.inputs: tuple[ValueInfo, ...] = several(api.input_info, value, api.num_inputs)
        self.outputs: tuple[ValueInfo, ...] = several(api.output_info, value, api.num_outputs)
        self.expert_layers: tuple[ExpertLayer, ...] = several(
            api.expert_layer_info, layer, api.num_expert_layers
        )
        self.cache_bindings: tuple[CacheBinding, ...] = several(
            api.cache_binding_info, binding, api.num_cache_bindings
        )
        self.regions: tuple[str, ...] = several(api.region_name, _text, api.num_regions)
        self.metadata: dict[str, str] = {
            _text(api.metadata_key(handle, i)): _text(api.metadata_value(handle, i))
            for i in range(api.num_metadata(handle))
        }
        self.weights_path: str = os.fsdecode(api.weights_path(handle) or b"")
        self.weights_bytes: int = api.weights_bytes(handle)

    @overload
    def run(self, arrays: Mapping[str, ArrayLike], /, *, outputs: Iterable[str] | None = None) -> dict[str, np.ndarray]: ...
    @overload
    def run(self, *arrays: ArrayLike, outputs: Iterable[str] | None = None) -> list[np.ndarray]: ...
    def run(self, *arrays, outputs=None):
        """Runs the model on a session of its own; see `Session.run`."""
        with self._default_lock:
            self._open_handle()
            if self._default is None:
                self._default = Session(self, self._threads)
            return self._default.run(*arrays, outputs=outputs)

    def session(self, threads: int | None = None) -> Session:
        """A new session; see `Session`."""
        return Session(self, threads)

    def cache(self, capacity: int) -> KVCache:
        """A new cache; see `KVCache`."""
        return KVCache(self, capacity)

    def close(self) -> None:
        """Closes the model and the session of `run`. Other sessions and caches of it go on working."""
        with self._default_lock:
            if self._default is not None:
                self._default.close()
        super().close()

    def __repr__(self) -> str:
        return f"<moe_mlir.Model '{self.name}' {self.path}>"


class KVCache(_Owner):
    """The past of a decoder: what `Session.run_with_cache` takes past inputs from and keeps present outputs in.

    It has room for `capacity` positions and belongs to the model: any session may continue it, one at a time. Sizes
    other than the positions (the batch) are those of the first run after creation or `reset`.

    Raises MoEError when the model has no past/present pairs (`Model.cache_bindings` is empty).
    """

    _what = "cache"

    def __init__(self, model: Model, capacity: int):
        self._bindings = model.cache_bindings
        api = model._api
        with model._lock:
            handle = _create(api.cache_create, model._open_handle(), capacity)
        self._own(model._library, api.cache_destroy, handle)
        self.capacity: int = capacity

    def __len__(self) -> int:
        """The positions held."""
        with self._exclusive() as handle:
            return self._api.cache_length(handle)

    def __bool__(self) -> bool:
        # An empty cache is still a cache: `if cache:` asks whether there is one.
        return True

    def truncate(self, length: int) -> None:
        """Keeps the first `length` positions, 0 <= length <= len(cache)."""
        with self._exclusive() as handle:
            held = self._api.cache_length(handle)
            if not 0 <= length <= held:
                raise InputError(f"expects a length of at most the cache's {held}, got {length}", abi.ERROR_ARGUMENT)
            self._check(self._api.cache_truncate(handle, length))

    def reset(self) -> None:
        """Forgets all positions; the next run may have another batch size."""
        self.truncate(0)

    def tensors(self) -> dict[str, np.ndarray]:
        """Copies of the contents, by the names of the past inputs. Empty before the first run."""
        result = {}
        with self._exclusive() as handle:
            if self._api.cache_length(handle) == 0:
                return result
            for index, binding in enumerate(self._bindings):
                tensor = abi.Tensor()
                self._check(self._api.cache_tensor(handle, index, ctypes.byref(tensor)))
                result[binding.input] = from_tensor(tensor)
        return result

    def _check(self, status: int) -> None:
        if status != abi.OK:
            raise from_status(status, _text(self._api.status_string(status)))


class Session(_Owner):
    """Working memory, threads, error and counters of one caller.

    threads: default OMP_NUM_THREADS, else the CPUs this process may use; the attribute tells the number.

    One thread may use a session at a time (another one gets BusyError); different sessions of a model run side by
    side. A run does not hold the interpreter's lock. After a failed run a session is usable again.
    """

    _what = "session"

    def __init__(self, model: Model, threads: int | None = None):
        if threads is not None and threads < 1:
            raise InputError(f"expects at least one thread, got {threads}", abi.ERROR_ARGUMENT)
        self.model = model
        api = model._api
        with model._lock:
            handle = _create(api.session_create, model._open_handle(), threads or 0)
        self._own(model._library, api.session_destroy, handle)
        self.threads: int = api.session_threads(handle)
        self._profile = abi.ProfileFn()
        self._input_names = {info.name for info in model.inputs}
        self._output_index = {info.name: index for index, info in enumerate(model.outputs)}

    @overload
    def run(self, arrays: Mapping[str, ArrayLike], /, *, outputs: Iterable[str] | None = None) -> dict[str, np.ndarray]: ...
    @overload
    def run(self, *arrays: ArrayLike, outputs: Iterable[str] | None = None) -> list[np.ndarray]: ...
    def run(self, *arrays, outputs=None):
        """Runs the model.

        Either takes one mapping {input name: array} and returns {output name: array}, or takes the inputs in the order
        of the signature and returns a list of the outputs. `outputs` names the wanted ones (default: all); the others
        are not copied.

        An input is a NumPy array, an object that exports DLPack, or lists and numbers. It must have the element type
        and rank of `Model.inputs`, and sizes that agree with static and named dimensions. Arrays are used in place,
        whatever their strides, and must not change during the run. Outputs are the caller's own.

        Raises InputError for wrong inputs, NodeError when a node fails on their values.
        """
        by_name = len(arrays) == 1 and isinstance(arrays[0], Mapping)
        names = self._wanted(outputs)
        with self._exclusive() as handle:
            inputs = self._inputs(arrays[0] if by_name else self._positional(arrays), ())
            self._check(self._api.run(handle, inputs.tensors, len(inputs.tensors), None, 0))
            results = [self._output(handle, name) for name in names]
        return dict(zip(names, results)) if by_name else results

    @overload
    def run_with_cache(
        self, cache: KVCache, arrays: Mapping[str, ArrayLike], /, *, outputs: Iterable[str] | None = None
    ) -> dict[str, np.ndarray]: ...
    @overload
    def run_with_cache(
        self, cache: KVCache, *arrays: ArrayLike, outputs: Iterable[str] | None = None
    ) -> list[np.ndarray]: ...
    def run_with_cache(self, cache, *arrays, outputs=None):
        """Like `run`, with the past inputs taken from `cache` and the present outputs kept in it.

        The arguments are the other inputs (by name, or those in the order of the signature); by default the results are
        the other outputs. A failed run leaves the cache as it was.

        Raises CacheCapacityError when the present has more positions than the cache has room for, and what `run`
        raises.
        """
        if not isinstance(cache, KVCache):
            raise InputError(f"expects a KVCache, got {type(cache).__name__}", abi.ERROR_ARGUMENT)
        by_name = len(arrays) == 1 and isinstance(arrays[0], Mapping)
        past = {binding.input for binding in cache._bindings}
        if outputs is None:
            present = {binding.output for binding in cache._bindings}
            outputs = [info.name for info in self.model.outputs if info.name not in present]
        names = self._wanted(outputs)
        with self._exclusive() as handle, cache._exclusive() as cache_handle:
            inputs = self._inputs(arrays[0] if by_name else self._positional(arrays, past), past)
            tensors = (abi.Tensor * len(self.model.outputs))()
            status = self._api.run_with_cache(
                handle, cache_handle, inputs.tensors, len(inputs.tensors), tensors, len(tensors)
            )
            self._check(status)
            results = [from_tensor(tensors[self._output_index[name]]) for name in names]
        return dict(zip(names, results)) if by_name else results

    def trim(self) -> None:
        """Gives the working memory back to the system; the next run takes what it needs again."""
        with self._exclusive() as handle:
            self._check(self._api.trim(handle))

    def counters(self) -> Counters:
        """What the session did since its creation or the last `reset_counters`."""
        with self._exclusive() as handle:
            counters = abi.Counters(struct_size=ctypes.sizeof(abi.Counters))
            self._check(self._api.counters(handle, ctypes.byref(counters)))
        return Counters(*(getattr(counters, name) for name in Counters.__dataclass_fields__))

    def expert_loads(self) -> list[np.ndarray]:
        """Rows that each expert got, one int64 array [num_experts] per layer of `Model.expert_layers`."""
        loads = []
        with self._exclusive() as handle:
            for index, layer in enumerate(self.model.expert_layers):
                load = np.zeros(layer.num_experts, np.int64)
                pointer = load.ctypes.data_as(ctypes.POINTER(ctypes.c_int64))
                self._check(self._api.expert_loads(handle, index, pointer, layer.num_experts))
                loads.append(load)
        return loads

    def reset_counters(self) -> None:
        """Sets all counters and expert loads to zero."""
        with self._exclusive() as handle:
            self._api.counters_reset(handle)

    def set_profile(self, callback: Callable[[str, bool], None] | None) -> None:
        """Has later runs call `callback(region, begin)` when they enter and leave a region of `Model.regions`; None
        stops it. It is called on the running thread and must not use the session."""
        regions = self.model.regions
        with self._exclusive() as handle:
            profile = abi.ProfileFn()
            if callback is not None:
                profile = abi.ProfileFn(lambda _, region, begin: callback(regions[region], bool(begin)))
            self._api.set_profile(handle, profile, None)
            self._profile = profile  # the session calls it for as long as it is set

    # ---- Arguments and results ----------------------------------------------

    def _wanted(self, outputs: Iterable[str] | None) -> list[str]:
        if outputs is None:
            return list(self._output_index)
        names = [outputs] if isinstance(outputs, str) else list(outputs)
        for name in names:
            if name not in self._output_index:
                known = ", ".join(self._output_index)
                raise InputError(f"the model has no output '{name}'; it has {known}", abi.ERROR_ARGUMENT)
        return names

    def _positional(self, arrays, skipped=()) -> dict:
        names = [info.name for info in self.model.inputs if info.name not in skipped]
        if len(arrays) != len(names):
            raise InputError(
                f"expects {len(names)} inputs ({', '.join(names)}), got {len(arrays)}", abi.ERROR_ARGUMENT
            )
        return dict(zip(names, arrays))

    def _inputs(self, arrays: Mapping, skipped) -> _Inputs:
        for name in arrays:
            if name not in self._input_names or name in skipped:
                known = (info.name for info in self.model.inputs if info.name not in skipped)
                raise InputError(f"the model takes no input '{name}'; it takes {', '.join(known)}", abi.ERROR_ARGUMENT)
        inputs = _Inputs(len(self.model.inputs))
        for index, info in enumerate(self.model.inputs):
            if info.name in skipped:
                continue
            if info.name not in arrays:
                raise InputError(f"input '{info.name}' is missing", abi.ERROR_ARGUMENT)
            array, tensor = as_input(arrays[info.name], info.dtype, info.name)
            inputs.alive += (array, tensor)
            inputs.tensors[index] = tensor
        return inputs

    def _output(self, handle: ctypes.c_void_p, name: str) -> np.ndarray:
        tensor = abi.Tensor()
        self._check(self._api.output(handle, self._output_index[name], ctypes.byref(tensor)))
        return from_tensor(tensor)

    def _check(self, status: int) -> None:
        if status == abi.OK:
            return
        text = _text(self._api.session_error(self._handle)) or _text(self._api.status_string(status))
        raise from_status(status, text)


class _Inputs:
    """Tensors for a run, and the objects whose memory they point into."""

    def __init__(self, count: int):
        self.alive: list = []
        self.tensors = (abi.Tensor * count)()

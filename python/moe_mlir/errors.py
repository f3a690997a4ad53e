"""What can go wrong, by who can do something about it."""

from __future__ import annotations

from . import abi


class MoEError(RuntimeError):
    """A failure of the compiler or of a compiled model.

    `str(error)` is the one line that the runtime wrote, with the node it arose
    in. `status` is the `MOE_ERROR_*` code, None when no model was involved.
    """

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class CompileError(MoEError):
    """The compiler refused the model; the message is all it said."""


class LoadError(MoEError):
    """The file is not a model that this machine can run, or has other weights."""


class InputError(MoEError, ValueError):
    """An argument: an unknown name, a wrong element type, rank or shape."""


class NodeError(MoEError):
    """A node of the model failed on these inputs, an index out of range, say."""


class CacheCapacityError(MoEError):
    """A run needs more positions than the cache has room for."""


class BusyError(MoEError):
    """Another thread is using the session or the cache."""


class OutOfMemoryError(MoEError, MemoryError):
    """The session's working memory could not grow."""


_BY_STATUS = {
    abi.ERROR_ARGUMENT: InputError,
    abi.ERROR_INPUT: InputError,
    abi.ERROR_MEMORY: OutOfMemoryError,
    abi.ERROR_IO: LoadError,
    abi.ERROR_WEIGHTS: LoadError,
    abi.ERROR_MODEL: LoadError,
    abi.ERROR_NODE: NodeError,
    abi.ERROR_CACHE_CAPACITY: CacheCapacityError,
    abi.ERROR_BUSY: BusyError,
}


def from_status(status: int, message: str) -> MoEError:
    """The exception for a `moe_status` other than MOE_OK."""
    return _BY_STATUS.get(status, MoEError)(message, status)

"""Writes safetensors files and folders of them."""

import json
import os

import ml_dtypes
import numpy as np

TYPES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "uint16": "U16", "float16": "F16", "bfloat16": "BF16",
    "int32": "I32", "uint32": "U32", "float32": "F32", "float64": "F64", "int64": "I64", "uint64": "U64",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e8m0fnu": "F8_E8M0",
}  # fmt: skip
INDEX = "model.safetensors.index.json"


def dtype(name):
    return np.dtype(getattr(ml_dtypes, name, name))


def save(path, tensors, metadata=None):
    """`tensors`: arrays by name."""
    header, at = {}, 0
    if metadata is not None:
        header["__metadata__"] = metadata
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    for name, array in arrays.items():
        header[name] = {"dtype": TYPES[array.dtype.name], "shape": list(np.shape(tensors[name])),
                        "data_offsets": [at, at + array.nbytes]}  # fmt: skip
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(array.tobytes())


def save_folder(folder, tensors, shards=1):
    """As a hub has it: one file, or several with an index."""
    os.makedirs(folder, exist_ok=True)
    if shards == 1:
        save(os.path.join(folder, "model.safetensors"), tensors, {"format": "pt"})
        return
    names = list(tensors)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = names[shard::shards]
        save(os.path.join(folder, file), {name: tensors[name] for name in part}, {"format": "pt"})
        weight_map.update(dict.fromkeys(part, file))
    with open(os.path.join(folder, INDEX), "w") as file:
        json.dump({"metadata": {"total_size": 0}, "weight_map": weight_map}, file)

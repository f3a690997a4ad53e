# Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes ONNX files whose weights are never in memory as a whole."""

import os

import numpy as np
import onnx
from onnx import TensorProto, helper

INLINE_BYTES = 1024


def array(values):
    """A weight that is in memory: one chunk."""
    values = np.asarray(values)
    return Weight(values.dtype, values.shape, lambda: [values])


class Weight:
    """A tensor as an iterator of arrays that follow each other in memory."""

    def __init__(self, dtype, shape, chunks):
        self.dtype, self.shape, self.chunks = np.dtype(dtype), tuple(shape), chunks
        self.bytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def write(self, file):
        written = 0
        for chunk in self.chunks():
            data = np.ascontiguousarray(chunk, self.dtype)
            data.tofile(file)
            written += data.nbytes
        if written != self.bytes:
            raise ValueError(f"expects {self.bytes} bytes of {self.shape}, got {written}")

    def header(self, name):
        proto = TensorProto()
        proto.name = name
        proto.data_type = helper.np_dtype_to_tensor_dtype(self.dtype)
        proto.dims.extend(self.shape)
        return proto


def _varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number, size):
    """Tag and length of a length-delimited protobuf field."""
    return _varint(number << 3 | 2) + _varint(size)


# Field numbers of onnx.proto.
_MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_RAW_DATA = 7, 5, 9


def write(path, nodes, inputs, outputs, weights, opset=18, contrib=False, inline=False):
    """Writes `path`, and `path`.data unless `inline`. `weights` maps names to Weight; `inputs` and `outputs` are
    (name, numpy dtype, shape)."""

    def info(value):
        name, dtype, shape = value
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

    opsets = [helper.make_opsetid("", opset)]
    if contrib:
        opsets.append(helper.make_opsetid("com.microsoft", 1))
    graph = helper.make_graph(nodes, "main", [info(v) for v in inputs], [info(v) for v in outputs])
    large = {}
    for name, weight in weights.items():
        if weight.bytes <= INLINE_BYTES:
            proto = weight.header(name)
            proto.raw_data = b"".join(np.ascontiguousarray(c).tobytes() for c in weight.chunks())
            graph.initializer.append(proto)
        else:
            large[name] = weight
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="moe-mlir-benchmarks")
    if not inline:
        _write_external(path, model, large)
    else:
        _write_inline(path, model, large)


def _write_external(path, model, weights):
    data = os.path.basename(path) + ".data"
    with open(path + ".data", "wb") as file:
        for name, weight in weights.items():
            file.write(b"\0" * (-file.tell() % 4096))
            proto = weight.header(name)
            proto.data_location = TensorProto.EXTERNAL
            for key, value in (("location", data), ("offset", file.tell()), ("length", weight.bytes)):
                entry = proto.external_data.add()
                entry.key, entry.value = key, str(value)
            model.graph.initializer.append(proto)
            weight.write(file)
    onnx.save(model, path)


def _write_inline(path, model, weights):
    # Messages that follow each other under one tag are merged, and a field's
    # parts may come in any order: what onnx serialises, then the initializers.
    headers = {name: weight.header(name).SerializeToString() for name, weight in weights.items()}

    def tensor_size(name):
        size = weights[name].bytes
        return len(headers[name]) + len(_field(_TENSOR_RAW_DATA, size)) + size

    body = model.graph.SerializeToString()
    size = len(body)
    for name in weights:
        size += len(_field(_GRAPH_INITIALIZER, tensor_size(name))) + tensor_size(name)
    if size >= 1 << 31:
        raise ValueError(f"a protobuf file holds less than 2 GiB, got {size} bytes")
    model.ClearField("graph")
    with open(path, "wb") as file:
        file.write(model.SerializeToString())
        file.write(_field(_MODEL_GRAPH, size))
        file.write(body)
        for name, weight in weights.items():
            file.write(_field(_GRAPH_INITIALIZER, tensor_size(name)))
            file.write(headers[name])
            file.write(_field(_TENSOR_RAW_DATA, weight.bytes))
            weight.write(file)

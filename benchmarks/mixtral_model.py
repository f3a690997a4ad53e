# Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A decoder of the Mixtral architecture with random weights, node by node as torch.onnx.export (dynamo) writes it:
token ids [batch, seq] in, logits out, causal, without a cache."""

import dataclasses

import numpy as np
from onnx import helper

from onnx_file import Weight, array, write

CHUNK = 1 << 22  # elements


@dataclasses.dataclass(frozen=True)
class Config:
    layers: int
    hidden: int = 1024
    ffn: int = 3584
    experts: int = 8
    k: int = 2
    heads: int = 16
    kv_heads: int = 4
    vocabulary: int = 4096

    @property
    def head(self):
        return self.hidden // self.heads

    @property
    def moe_layer_bytes(self):
        return 4 * self.experts * (3 * self.hidden * self.ffn + self.hidden)

    @property
    def bytes(self):
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * self.kv_heads * self.head
        return self.layers * (self.moe_layer_bytes + 4 * attention) + 8 * self.vocabulary * self.hidden


class Builder:
    def __init__(self, config):
        self.c, self.nodes, self.weights, self.count = config, [], {}, 0
        self.constants = {}

    def op(self, kind, *inputs, outputs=1, **attributes):
        self.count += 1
        names = [f"{kind.lower()}_{self.count}" + (f"_{i}" if outputs > 1 else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"node_{names[0]}", **attributes))
        return names[0] if outputs == 1 else names

    def const(self, *values, dtype=np.int64, scalar=False):
        data = np.array(values[0] if scalar else values, dtype)
        key = (data.tobytes(), data.shape, data.dtype.str)
        if key not in self.constants:
            self.constants[key] = f"val_{len(self.constants)}"
            self.weights[self.constants[key]] = array(data)
        return self.constants[key]

    def scalar(self, value, dtype=np.float32):
        return self.const(value, dtype=dtype, scalar=True)

    def random(self, name, shape, fan_in):
        seed = [7, len(self.weights)]
        total = int(np.prod(shape))

        def chunks():
            rng = np.random.default_rng(seed)
            for begin in range(0, total, CHUNK):
                part = rng.random(min(CHUNK, total - begin), dtype=np.float32)
                part -= np.float32(0.5)
                part *= np.float32(2 * (3 / fan_in) ** 0.5)
                yield part

        self.weights[name] = Weight(np.float32, shape, chunks)
        return name

    def ones(self, name, size):
        self.weights[name] = array(np.ones(size, np.float32))
        return name

    def norm(self, x, name):
        square = self.op("Pow", x, self.scalar(2.0))
        mean = self.op("ReduceMean", square, self.const(-1), keepdims=1, noop_with_empty_axes=0)
        root = self.op("Sqrt", self.op("Add", mean, self.scalar(1e-5)))
        scaled = self.op("Mul", x, self.op("Reciprocal", root))
        return self.op("Mul", self.ones(name, self.c.hidden), scaled)

    def linear(self, x, name, rows, cols):
        return self.op("MatMul", x, self.random(name, (rows, cols), rows))

    def prologue(self):
        """Sizes, mask and rotary embedding, shared by the layers."""
        c = self.c
        self.batch = self.op("Shape", "input_ids", start=0, end=1)
        self.seq = self.op("Shape", "input_ids", start=1, end=2)
        length = self.op("Squeeze", self.seq)
        positions = self.op("Range", self.scalar(0, np.int64), length, self.scalar(1, np.int64))
        queries = self.op("Unsqueeze", self.op("Unsqueeze", positions, self.const(0, 1)), self.const(3))
        keys = self.op("Unsqueeze", positions, self.const(0, 1, 2))
        causal = self.op("LessOrEqual", keys, queries)
        self.mask = self.op("Where", causal, self.scalar(0.0), self.scalar(np.finfo(np.float32).min))
        frequencies = 10000.0 ** (-np.arange(0, c.head, 2) / c.head)
        self.weights["inv_freq"] = array(frequencies.astype(np.float32))
        angles = self.op("Cast", self.op("Unsqueeze", positions, self.const(0, 2)), to=1)
        angles = self.op("Mul", angles, "inv_freq")
        angles = self.op("Concat", angles, angles, axis=-1)
        self.cos = self.op("Unsqueeze", self.op("Cos", angles), self.const(1))
        self.sin = self.op("Unsqueeze", self.op("Sin", angles), self.const(1))
        self.heads_shape = self.op("Concat", self.batch, self.seq, self.const(-1), self.const(c.head), axis=0)
        self.flat_shape = self.op("Concat", self.batch, self.seq, self.const(-1), axis=0)
        self.token_shape = self.op("Concat", self.batch, self.seq, self.const(c.hidden), axis=0)
        self.repeat_shape = self.op(
            "Concat", self.batch, self.const(c.kv_heads), self.const(c.heads // c.kv_heads), self.seq,
            self.const(c.head), axis=0,
        )
        self.kv_shape = self.op("Concat", self.batch, self.const(c.heads), self.seq, self.const(c.head), axis=0)

    def rotate(self, x):
        half, one, axis = self.c.head // 2, self.const(1), self.const(3)
        low = self.op("Slice", x, self.const(0), self.const(half), axis, one)
        high = self.op("Slice", x, self.const(half), self.const(np.iinfo(np.int64).max), axis, one)
        turned = self.op("Concat", self.op("Neg", high), low, axis=-1)
        return self.op("Add", self.op("Mul", x, self.cos), self.op("Mul", turned, self.sin))

    def split_heads(self, x):
        return self.op("Transpose", self.op("Reshape", x, self.heads_shape, allowzero=1), perm=[0, 2, 1, 3])

    def repeat_heads(self, x):
        wide = self.op("Expand", self.op("Unsqueeze", x, self.const(2)), self.repeat_shape)
        return self.op("Reshape", wide, self.kv_shape, allowzero=1)

    def attention(self, x, name):
        c, width = self.c, self.c.kv_heads * self.c.head
        q = self.rotate(self.split_heads(self.linear(x, name + ".q_proj", c.hidden, c.hidden)))
        k = self.rotate(self.split_heads(self.linear(x, name + ".k_proj", c.hidden, width)))
        v = self.split_heads(self.linear(x, name + ".v_proj", c.hidden, width))
        scale = self.scalar(c.head**-0.25)
        q = self.op("Mul", q, scale)
        k = self.op("Mul", self.op("Transpose", self.repeat_heads(k), perm=[0, 1, 3, 2]), scale)
        scores = self.op("Softmax", self.op("Add", self.op("MatMul", q, k), self.mask), axis=-1)
        mixed = self.op("MatMul", scores, self.repeat_heads(v))
        mixed = self.op("Reshape", self.op("Transpose", mixed, perm=[0, 2, 1, 3]), self.flat_shape, allowzero=1)
        return self.linear(mixed, name + ".o_proj", c.hidden, c.hidden)

    def experts(self, x, name):
        c, last, one = self.c, self.const(-1), self.const(1)
        x = self.op("Reshape", x, self.const(-1, c.hidden), allowzero=1)
        router = self.random(name + ".gate.weight", (c.experts, c.hidden), c.hidden / 16)
        scores = self.op("Softmax", self.op("Gemm", x, router, alpha=1.0, beta=1.0, transA=0, transB=1), axis=-1)
        top, ids = self.op("TopK", scores, self.const(c.k), outputs=2, axis=-1, largest=1, sorted=1)
        gates = self.op("Div", top, self.op("ReduceSum", top, last, keepdims=1, noop_with_empty_axes=0))
        rows = self.op("Expand", self.op("Unsqueeze", x, one), self.const(1, c.k, 1))
        rows = self.op("Reshape", rows, self.const(-1, c.hidden), allowzero=0)
        at = self.op("Unsqueeze", self.op("Reshape", ids, last, allowzero=1), last)
        w13 = self.random(name + ".gate_up", (c.experts, 2 * c.ffn, c.hidden), c.hidden)
        w2 = self.random(name + ".down", (c.experts, c.hidden, c.ffn), c.ffn)

        def product(weight, vectors):
            chosen = self.op("GatherND", weight, at, batch_dims=0)
            return self.op("Squeeze", self.op("MatMul", chosen, self.op("Unsqueeze", vectors, last)), last)

        gate, up = self.op("Split", product(w13, rows), outputs=2, axis=1, num_outputs=2)
        hidden = self.op("Mul", self.op("Mul", gate, self.op("Sigmoid", gate)), up)
        weighted = self.op(
            "Mul", product(w2, hidden), self.op("Unsqueeze", self.op("Reshape", gates, last, allowzero=1), last)
        )
        choices = self.op("Reshape", weighted, self.const(-1, c.k, c.hidden), allowzero=1)
        total = self.op("ReduceSum", choices, one, keepdims=0, noop_with_empty_axes=0)
        return self.op("Reshape", total, self.token_shape, allowzero=1)

    def build(self):
        c = self.c
        x = self.op("Gather", self.random("embed_tokens.weight", (c.vocabulary, c.hidden), 3), "input_ids", axis=0)
        self.prologue()
        for layer in range(c.layers):
            name = f"model.layers.{layer}"
            x = self.op("Add", x, self.attention(self.norm(x, name + ".input_layernorm.weight"), name + ".self_attn"))
            x = self.op("Add", x, self.experts(self.norm(x, name + ".post_attention_layernorm.weight"), name + ".mlp"))
        x = self.norm(x, "norm.weight")
        head = self.random("lm_head.weight", (c.hidden, c.vocabulary), c.hidden)
        self.nodes.append(helper.make_node("MatMul", [x, head], ["logits"], name="node_logits"))


def write_model(path, config, inline=False):
    builder = Builder(config)
    builder.build()
    write(
        path,
        builder.nodes,
        [("input_ids", np.int64, ["batch", "seq"])],
        [("logits", np.float32, ["batch", "seq", config.vocabulary])],
        builder.weights,
        opset=20,
        inline=inline,
    )

"""ONNX models with sparse layers: com.microsoft.MoE nodes, and a decoder of the Mixtral architecture together with its
float64 reference, which knows nothing of the graph."""

import math

import moe_reference as ref
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F32, I64 = TensorProto.FLOAT, TensorProto.INT64


class Graph:
    """Builds a graph node by node: g("Add", x, y) returns the name of the sum. Arrays become initializers; Python's
    floats, and arrays of them, have the type `dtype`."""

    def __init__(self, dtype=np.float32):
        self.dtype, self.element = dtype, helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.nodes, self.initializers, self.known = [], [], {}
        self.inputs, self.outputs = [], []

    def __call__(self, op, *operands, results=1, name=None, domain="", **attributes):
        name = name or f"node_{op}_{len(self.nodes)}"
        outputs = [f"{name}_{i}" if i else f"{name}_out" for i in range(results)]
        attributes = {key: value for key, value in attributes.items() if value is not None}
        operands = [self.constant(operand) for operand in operands]
        self.nodes.append(helper.make_node(op, operands, outputs, name=name, domain=domain, **attributes))
        return outputs[0] if results == 1 else outputs

    def constant(self, value):
        if value is None:
            return ""
        if isinstance(value, str):
            return value
        array = np.asarray(value)
        if array.dtype not in (np.float32, np.float16):
            array = array.astype({"f": self.dtype, "b": bool}.get(array.dtype.kind, np.int64))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.known:
            self.known[key] = f"val_{len(self.initializers)}"
            self.initializers.append(numpy_helper.from_array(array, self.known[key]))
        return self.known[key]

    def input(self, name, dims, dtype=F32):
        self.inputs.append(helper.make_tensor_value_info(name, dtype, dims))
        return name

    def output(self, name, value, dims, dtype=F32):
        self.nodes.append(helper.make_node("Identity", [value], [name], name="output_" + name))
        self.outputs.append(helper.make_tensor_value_info(name, dtype, dims))

    def model(self, opset=20):
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.outputs, self.initializers)
        imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=10, producer_name="test")

    def save(self, path, opset=20):
        onnx.save(self.model(opset), path)
        return path


# ---- com.microsoft.MoE ----------------------------------------------------------
def random_moe(random, width, inter, experts, fused=False, third=False, bias=False):
    """FC1, b1, FC2, b2, FC3, b3 as the operator takes them; None for what is not there."""

    def matrix(rows, columns):
        return (random.standard_normal((experts, rows, columns)) / math.sqrt(columns)).astype(np.float32)

    def vector(rows):
        return random.standard_normal((experts, rows)).astype(np.float32) if bias else None

    rows = 2 * inter if fused else inter
    weights = [matrix(rows, width), vector(rows), matrix(width, inter), vector(width)]
    return weights + ([matrix(inter, width), vector(inter)] if third else [None, None])


def add_moe(graph, x, logits, weights, name=None, **attributes):
    """A com.microsoft.MoE node; attributes are those of the operator."""
    operands = list(weights)
    while operands[-1] is None:
        operands.pop()
    return graph("MoE", x, logits, *operands, domain="com.microsoft", name=name, **attributes)


# ---- A decoder of the Mixtral architecture ---------------------------------------
class Decoder:
    """A Mixtral with random weights; `graph` writes it node by node as torch.onnx.export(dynamo=True) does."""

    def __init__(self, seed=0, layers=2, vocab=50, hidden=40, heads=4, kv_heads=2, depth=8, inter=24, experts=5, k=2,
                 renormalize=True, shared_gate=False):
        random = np.random.default_rng(seed)
        self.layers, self.heads, self.kv_heads, self.depth = layers, heads, kv_heads, depth
        self.hidden, self.experts, self.k, self.renormalize, self.vocab = hidden, experts, k, renormalize, vocab

        def weight(*shape):
            return (random.standard_normal(shape) / math.sqrt(shape[-1])).astype(np.float32)

        self.embedding = random.standard_normal((vocab, hidden)).astype(np.float32)
        self.norm = 1 + weight(hidden)
        self.head = weight(vocab, hidden)
        self.frequencies = (1e4 ** -(np.arange(0, depth, 2) / depth)).astype(np.float32)
        self.blocks = [
            {
                "norm1": 1 + weight(hidden), "norm2": 1 + weight(hidden),
                "q": weight(heads * depth, hidden), "k": weight(kv_heads * depth, hidden),
                "v": weight(kv_heads * depth, hidden), "o": weight(hidden, heads * depth),
                "router": 2 * weight(experts, hidden),
                "up": weight(experts, 2 * inter, hidden), "down": weight(experts, hidden, inter),
            }
            for _ in range(layers)
        ]  # fmt: skip

    @property
    def caches(self):
        return [f"{layer}.{part}" for layer in range(self.layers) for part in ("key", "value")]

    def past(self, batch, length, random):
        shape = (batch, self.kv_heads, length, self.depth)
        return {f"past_key_values.{name}": random.standard_normal(shape).astype(np.float32) for name in self.caches}

    # ---- The graph
    def graph(self):
        g = Graph()
        ids = g.input("input_ids", ["batch", "seq"], I64)
        for name in self.caches:
            g.input(f"past_key_values.{name}", ["batch", self.kv_heads, "past", self.depth])
        batch = g("Shape", "past_key_values.0.key", start=0, end=1)
        seq = g("Shape", ids, start=1, end=2)
        past = g("Squeeze", g("Shape", "past_key_values.0.value", start=2, end=3))
        count = g("Squeeze", seq)
        total = g("Add", past, count)
        every = g("Reshape", total, [-1], allowzero=0)
        rows = g("Add", g("Range", 0, count, 1), past)
        columns = g("Range", 0, total, 1)
        row = g("Unsqueeze", g("Unsqueeze", rows, [0, 1]), [3])
        column = g("Unsqueeze", g("Unsqueeze", columns, [0, 1]), [2])
        allowed = g("Expand", g("LessOrEqual", column, row), g("Concat", batch, [1], seq, every, axis=0))
        mask = g("Where", allowed, 0.0, float(np.finfo(np.float32).min))
        angle = g("Mul", g("Cast", g("Unsqueeze", rows, [0, 2]), to=F32), self.frequencies)
        angles = g("Concat", angle, angle, axis=-1)
        cos, sin = (g("Unsqueeze", g(op, angles), [1]) for op in ("Cos", "Sin"))
        sizes = {"batch": batch, "seq": seq, "every": every}

        x = g("Gather", self.embedding, ids, axis=0)
        for layer, block in enumerate(self.blocks):
            normed = self._norm(g, x, block["norm1"])
            x = g("Add", x, self._attention(g, normed, block, layer, mask, cos, sin, sizes))
            x = g("Add", x, self._sparse(g, self._norm(g, x, block["norm2"]), block, layer, sizes))
        logits = g("MatMul", self._norm(g, x, self.norm), self.head.T)
        g.output("logits", logits, ["batch", "seq", self.vocab])
        for name in self.caches:
            g.output(f"present.{name}", self._presents[name], ["batch", self.kv_heads, "total", self.depth])
        return g

    def _norm(self, g, x, weight):
        mean = g("ReduceMean", g("Pow", x, 2.0), [-1], keepdims=1, noop_with_empty_axes=0)
        return g("Mul", weight, g("Mul", x, g("Reciprocal", g("Sqrt", g("Add", mean, 1e-5)))))

    def _attention(self, g, x, block, layer, mask, cos, sin, sizes):
        half, groups = self.depth // 2, self.heads // self.kv_heads

        def heads(weight):
            flat = g("MatMul", x, weight.T)
            shape = g("Concat", sizes["batch"], sizes["seq"], [-1], [self.depth], axis=0)
            return g("Transpose", g("Reshape", flat, shape, allowzero=1), perm=[0, 2, 1, 3])

        def rotate(value):
            low = g("Slice", value, [0], [half], [3], [1])
            high = g("Slice", value, [half], [2**63 - 1], [3], [1])
            turned = g("Concat", g("Neg", high), low, axis=-1)
            return g("Add", g("Mul", value, cos), g("Mul", turned, sin))

        def repeat(value):
            shape = g("Concat", sizes["batch"], [self.kv_heads], [groups], sizes["every"], [self.depth], axis=0)
            wide = g("Expand", g("Unsqueeze", value, [2]), shape)
            shape = g("Concat", sizes["batch"], [self.heads], sizes["every"], [self.depth], axis=0)
            return g("Reshape", wide, shape, allowzero=1)

        if layer == 0:
            self._presents = {}
        query, key, value = rotate(heads(block["q"])), rotate(heads(block["k"])), heads(block["v"])
        key = g("Concat", f"past_key_values.{layer}.key", key, axis=-2)
        value = g("Concat", f"past_key_values.{layer}.value", value, axis=-2)
        self._presents |= {f"{layer}.key": key, f"{layer}.value": value}
        scores = g("MatMul", query, g("Transpose", repeat(key), perm=[0, 1, 3, 2]))
        probs = g("Softmax", g("Add", g("Mul", scores, self.depth**-0.5), mask), axis=-1)
        mixed = g("Transpose", g("MatMul", probs, repeat(value)), perm=[0, 2, 1, 3])
        shape = g("Concat", sizes["batch"], sizes["seq"], [-1], axis=0)
        return g("MatMul", g("Reshape", mixed, shape, allowzero=1), block["o"].T)

    def _sparse(self, g, x, block, layer, sizes):
        rows = g("Reshape", x, [-1, self.hidden], allowzero=1)
        logits = g("Gemm", g("Reshape", rows, [-1, self.hidden], allowzero=1), block["router"], alpha=1.0, beta=1.0,
                   transA=0, transB=1)
        name = f"layers.{layer}.topk"
        weights, ids = g("TopK", g("Softmax", logits, axis=-1), [self.k], results=2, axis=-1, largest=1, sorted=1,
                         name=name)
        if self.renormalize:
            weights = g("Div", weights, g("ReduceSum", weights, [-1], keepdims=1, noop_with_empty_axes=0))
        y = batched_experts(g, rows, weights, ids, block["up"], block["down"], self.k)
        return g("Reshape", y, g("Concat", sizes["batch"], sizes["seq"], [self.hidden], axis=0), allowzero=1)

    # ---- The reference
    def run(self, inputs):
        """Logits and presents in float64."""
        ids = inputs["input_ids"]
        batch, seq = ids.shape
        outputs = {}
        past = inputs["past_key_values.0.key"].shape[2]
        logits = np.zeros((batch, seq, self.vocab))
        x = self.embedding[ids].astype(np.float64)
        for layer, block in enumerate(self.blocks):
            normed = self._norm64(x, block["norm1"])
            key = self._rotate64(self._heads64(normed, block["k"]), past)
            value = self._heads64(normed, block["v"])
            key = np.concatenate([inputs[f"past_key_values.{layer}.key"], key], 2)
            value = np.concatenate([inputs[f"past_key_values.{layer}.value"], value], 2)
            outputs |= {f"present.{layer}.key": key, f"present.{layer}.value": value}
            query = self._rotate64(self._heads64(normed, block["q"]), past)
            groups = self.heads // self.kv_heads
            scores = query @ np.repeat(key, groups, 1).transpose(0, 1, 3, 2) / math.sqrt(self.depth)
            seen = np.arange(past + seq) <= np.arange(past, past + seq)[:, None]
            mixed = ref.softmax(np.where(seen, scores, -np.inf)) @ np.repeat(value, groups, 1)
            x = x + mixed.transpose(0, 2, 1, 3).reshape(batch, seq, -1) @ block["o"].astype(np.float64).T
            normed = self._norm64(x, block["norm2"]).reshape(-1, self.hidden)
            y = experts_reference(normed, block["router"], block["up"], block["down"], self.k, self.renormalize)
            x = x + y.reshape(x.shape)
        logits = self._norm64(x, self.norm) @ self.head.astype(np.float64).T
        return {"logits": logits, **outputs}

    def _norm64(self, x, weight):
        return weight * x / np.sqrt((x**2).mean(-1, keepdims=True) + float(np.float32(1e-5)))

    def _heads64(self, x, weight):
        batch, seq, _ = x.shape
        return (x @ weight.astype(np.float64).T).reshape(batch, seq, -1, self.depth).transpose(0, 2, 1, 3)

    def _rotate64(self, x, past):
        angle = np.arange(past, past + x.shape[2])[:, None] * self.frequencies.astype(np.float64)
        cos, sin = (np.concatenate([f(angle)] * 2, -1) for f in (np.cos, np.sin))
        low, high = np.split(x, 2, -1)
        return x * cos + np.concatenate([-high, low], -1) * sin


def batched_experts(g, rows, weights, ids, up, down, k, activation="silu"):
    """torch's `batched_mm` experts: weights gathered per (token, choice), products batched."""
    hidden = down.shape[1]
    repeated = g("Reshape", g("Expand", g("Unsqueeze", rows, [1]), [1, k, 1]), [-1, hidden], allowzero=0)
    at = g("Unsqueeze", g("Reshape", ids, [-1], allowzero=1), [-1])
    both = g("Squeeze", g("MatMul", g("GatherND", up, at, batch_dims=0), g("Unsqueeze", repeated, [-1])), [-1])
    gate, linear = g("Split", both, results=2, axis=1, num_outputs=2)
    gate = g("Mul", gate, g("Sigmoid", gate)) if activation == "silu" else g(activation, gate)
    inner = g("Mul", gate, linear)
    out = g("Squeeze", g("MatMul", g("GatherND", down, at, batch_dims=0), g("Unsqueeze", inner, [-1])), [-1])
    scaled = g("Mul", out, g("Unsqueeze", g("Reshape", weights, [-1], allowzero=1), [-1]))
    choices = g("Reshape", scaled, [-1, k, hidden], allowzero=1)
    return g("ReduceSum", choices, [1], keepdims=0, noop_with_empty_axes=0)


def experts_reference(rows, router, up, down, k, renormalize):
    """The layer of `batched_experts` with a softmax router, rows [T, H]."""

    def expert(e, row):
        gate, linear = np.split(ref.f64(up[e]) @ row, 2)
        return ref.f64(down[e]) @ (ref.ACTIVATIONS["silu"](gate) * linear)

    weights, experts = ref.route(rows @ ref.f64(router).T, k, renormalize=renormalize)
    return ref.combine(rows, weights, experts, expert)


# ---- Comparing --------------------------------------------------------------------
def row_error(got, want):
    """The largest error relative to the largest value of its row; NaNs have to be where they are expected."""
    assert got.shape == want.shape, f"shape {got.shape}, expected {want.shape}"
    if not got.size:
        return 0.0
    assert (np.isnan(got) == np.isnan(want)).all(), "NaN in other places than expected"
    scale = np.abs(np.nan_to_num(want)).max(-1, keepdims=True)
    return float((np.abs(np.nan_to_num(got) - np.nan_to_num(want)) / np.where(scale > 0, scale, 1)).max())

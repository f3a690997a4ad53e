"""Sparse layers in the forms in which exporters write them: any router with any experts, and what they compute in
float64. A new form is one function and one line of ROUTERS or EXPERTS."""

import numpy as np
from onnx import TensorProto, numpy_helper

import moe_reference as ref
import sparse_routers

BOOL, I64 = TensorProto.BOOL, TensorProto.INT64
LAST = 2**63 - 1


# ---- Routers: logits [.., E] -> routing weights and ids [.., k] -------------------
def _chosen(g, scores, k):
    return g("TopK", scores, [k], results=2, axis=-1)


def score_then_select(g, logits, k):
    return _chosen(g, g("Softmax", logits, axis=-1), k)


def renormalized(g, logits, k):
    values, ids = score_then_select(g, logits, k)
    return g("Div", values, g("ReduceSum", values, [-1], keepdims=1)), ids


def sigmoid_scaled(g, logits, k):
    values, ids = _chosen(g, g("Sigmoid", logits), k)
    total = g("Add", g("ReduceSum", values, [-1], keepdims=1), 0.125)
    return g("Mul", g("Div", values, total), 2.5), ids


def select_then_score(g, logits, k):
    values, ids = _chosen(g, logits, k)
    return g("Softmax", values, axis=-1), ids


# By name: what writes it, and the arguments of moe_reference.route that say what it computes.
ROUTERS = {
    "softmax": (score_then_select, {}),
    "renormalized": (renormalized, {"renormalize": True}),
    "sigmoid": (sigmoid_scaled, {"score": "sigmoid", "renormalize": True, "epsilon": 0.125, "scale": 2.5}),
    "selected": (select_then_score, {"after": True}),
}


# Those of sparse_routers come with their reference. For 8 experts and tokens in one dimension.
LIMITED_ROUTERS = {
    "groups": lambda g, logits, k: sparse_routers.group_limited(
        g, logits, 8, k, groups=4, kept=2, bias=np.linspace(-0.3, 0.3, 8, dtype=np.float32), epsilon=1e-20, scale=2.5),
    "biased": lambda g, logits, k: sparse_routers.biased(g, logits, 8, k, np.linspace(0.3, -0.3, 8, dtype=np.float32)),
    "mixer": sparse_routers.sparse_mixer,
}  # fmt: skip


# ---- Experts: tokens [.., H], weights, ids -> [.., H] ------------------------------
class Experts:
    """The weights of a layer, and how an expert is written.

    parts: gate and up "separate", as "halves" or "interleaved" in one matrix, or "none" without a gate.
    layout: matrices [K, N] for MatMul, [N, K] for Gemm with transB, or for MatMul of a transpose.
    stacked: per-expert matrices are chosen out of one tensor [E, ..].
    missing: an expert that loops leave out, as exporters do that saw no token for it; it computes nothing."""

    def __init__(self, random, width, inter, experts, parts="separate", layout="matmul", bias=False, activation="silu",
                 stacked=False, missing=None, dtype=np.float32):
        self.width, self.inter, self.experts, self.layout = width, inter, experts, layout
        self.parts, self.activation, self.stacked = parts, activation, stacked
        self.missing, self.loop = missing, [e for e in range(experts) if e != missing]

        def maps(rows, columns):
            weight = random.standard_normal((experts, rows, columns)) / np.sqrt(columns)
            return weight.astype(dtype), random.standard_normal((experts, rows)).astype(dtype) if bias else None

        fused = parts in ("halves", "interleaved")
        self.first = maps(2 * inter if fused else inter, width)
        self.third = maps(inter, width) if parts == "separate" else None
        self.second = maps(width, inter)

    # What one of them computes.
    def reference(self, e, row):
        def affine(pair, v):
            weight, bias = pair
            return ref.f64(weight[e]) @ v + (0 if bias is None else ref.f64(bias[e]))

        if e == self.missing:
            return np.zeros(self.width)
        gate, up = affine(self.first, row), 1
        if self.parts == "separate":
            up = affine(self.third, row)
        elif self.parts == "halves":
            gate, up = np.split(gate, 2)
        elif self.parts == "interleaved":
            gate, up = gate[0::2], gate[1::2]
        return affine(self.second, ref.ACTIVATIONS[self.activation](gate) * up)

    # The same as nodes; `linear` writes a product with one of the pairs.
    def write(self, g, rows, linear, axis=-1):
        gate, up = linear(self.first, rows), None
        if self.parts == "separate":
            up = linear(self.third, rows)
        elif self.parts == "halves":
            gate, up = g("Split", gate, results=2, axis=axis, num_outputs=2)
        elif self.parts == "interleaved":
            gate, up = (g("Slice", gate, [start], [LAST], [axis], [2]) for start in (0, 1))
        if self.activation == "silu":
            hidden = g("Mul", gate, g("Sigmoid", gate))
        elif self.activation == "gelu":
            erf = g("Add", g("Erf", g("Div", gate, float(np.sqrt(2)))), 1.0)
            hidden = g("Mul", g("Mul", gate, erf), 0.5)
        else:
            hidden = g({"relu": "Relu", "tanh": "Tanh"}[self.activation], gate)
        return linear(self.second, hidden if up is None else g("Mul", hidden, up))

    def one(self, g, rows, e):
        """Expert `e` with matrices of its own."""

        def linear(pair, rows):
            weight, bias = pair
            if self.layout == "matmul":
                weight = weight.transpose(0, 2, 1)
            matrix = g("Gather", weight, e, axis=0) if self.stacked else weight[e]
            vector = bias if bias is None else g("Gather", bias, e, axis=0) if self.stacked else bias[e]
            if self.layout == "gemm":
                return g("Gemm", rows, matrix, vector, transB=1) if bias is not None else g("Gemm", rows, matrix, transB=1)
            if self.layout == "transpose":
                matrix = g("Transpose", matrix, perm=[1, 0])
            product = g("MatMul", rows, matrix)
            return product if bias is None else g("Add", vector, product)

        return self.write(g, rows, linear)


def _zeros(g, shape):
    return g("ConstantOfShape", shape, value=numpy_helper.from_array(np.zeros(1, g.dtype)))


def dense_masked(g, x, weights, ids, k, experts):
    """Every expert on every token, its share masked by ids == e (mobius-onnx)."""
    total = None
    for e in experts.loop:
        mask = g("Cast", g("Equal", ids, e), to=g.element)
        gate = g("ReduceSum", g("Mul", weights, mask), [-1], keepdims=1)
        share = g("Mul", experts.one(g, x, e), gate)
        total = share if total is None else g("Add", total, share)
    return total


def dense_gated(g, x, weights, ids, k, experts):
    """The same with all gates made at once, out of a one-hot tensor; summed as a tree."""
    hot = g("Cast", g("Equal", g("Unsqueeze", ids, [-1]), np.arange(experts.experts)), to=g.element)
    gates = g("ReduceSum", g("Mul", g("Unsqueeze", weights, [-1]), hot), [-2], keepdims=0)
    split = g("Split", gates, results=experts.experts, axis=-1, num_outputs=experts.experts)
    split = [split] if experts.experts == 1 else split
    shares = [g("Mul", gate, experts.one(g, x, e)) for e, gate in enumerate(split)]
    while len(shares) > 1:
        shares = [g("Add", *shares[i : i + 2]) if i + 1 < len(shares) else shares[i] for i in range(0, len(shares), 2)]
    return shares[0]


def dense_stacked(g, x, weights, ids, k, experts):
    """The shares of all experts put into one tensor for the sum; gates by ScatterElements."""
    like = g("MatMul", x, np.zeros((experts.width, experts.experts), g.dtype))
    gates = g("ScatterElements", g("Expand", 0.0, g("Shape", like)), ids, weights, axis=-1)
    rows = g("Concat", *(g("Unsqueeze", experts.one(g, x, e), [-2]) for e in range(experts.experts)), axis=-2)
    return g("ReduceSum", g("Mul", rows, g("Unsqueeze", gates, [-1])), [-2], keepdims=0)


def all_at_once(g, x, weights, ids, k, experts):
    """All experts on all tokens by stacked matrices, weighed by a dense [T, E] tensor (optimum: gpt-oss)."""
    count = experts.experts
    zeros = _zeros(g, g("Concat", g("Shape", x, start=0, end=1), [count], axis=0))
    gates = g("ScatterElements", zeros, ids, weights, axis=1)
    batch = g("Shape", "x", start=0, end=1)
    rows = g("Reshape", g("Tile", x, [count, 1]), [count, -1, experts.width])

    def linear(pair, rows):
        weight, bias = pair
        if experts.layout == "matmul":
            product = g("MatMul", rows, weight.transpose(0, 2, 1))
        else:
            product = g("MatMul", rows, g("Transpose", weight, perm=[0, 2, 1]))
        return product if bias is None else g("Add", product, g("Unsqueeze", bias, [1]))

    out = experts.write(g, rows, linear)
    shape = g("Concat", [count], batch, [-1], [experts.width], axis=0)
    out = g("Reshape", out, shape)
    gates = g("Transpose", gates, perm=[1, 0])
    gates = g("Reshape", gates, g("Concat", [count], batch, [-1], axis=0))
    return g("ReduceSum", g("Mul", out, g("Unsqueeze", gates, [3])), [0], keepdims=0)


def all_broadcast(g, x, weights, ids, k, experts):
    """The same without copies of the tokens, and without a batch."""
    count = experts.experts
    zeros = g("Expand", 0.0, g("Concat", g("Shape", x, start=0, end=1), [count], axis=0))
    gates = g("ScatterElements", zeros, ids, weights, axis=-1, reduction="add")

    def linear(pair, rows):
        weight, bias = pair
        product = g("MatMul", rows, weight.transpose(0, 2, 1))
        return product if bias is None else g("Add", bias[:, None, :], product)

    out = experts.write(g, x, linear)
    gates = g("Unsqueeze", g("Transpose", gates, perm=[1, 0]), [-1])
    return g("ReduceSum", g("Mul", gates, out), [0], keepdims=0)


def sparse_torchscript(g, x, weights, ids, k, experts):
    """The tokens of each expert found by NonZero, results added by index_add (optimum-onnx, torchscript)."""
    count, width = experts.experts, experts.width
    hot = g("Transpose", g("OneHot", ids, count, [0, 1], axis=-1), perm=[2, 1, 0])
    total = _zeros(g, g("Shape", x))
    wide = g("Unsqueeze", x, [0])
    for e in experts.loop:
        mask = g("Cast", g("Gather", hot, e, axis=0), to=BOOL)
        hits = g("Transpose", g("NonZero", mask), perm=[1, 0])
        choice, token = (g("Squeeze", part, [1]) for part in g("Split", hits, [1, 1], results=2, axis=1))
        rows = g("Reshape", g("Gather", wide, token, axis=1), [-1, width])
        column = g("Unsqueeze", weights, [2])
        sizes = g("Shape", column)
        flat = g("Flatten", column, axis=2)
        index = g("Add", choice, g("Mul", token, g("Gather", sizes, [1], axis=0)))
        one = g("Gather", sizes, [2], axis=0)
        weight = g("Reshape", g("Gather", flat, index, axis=0), g("Concat", [-1], one, axis=0))
        weight = g("Reshape", weight, g("Concat", g("Shape", index), one, axis=0))
        share = g("Cast", g("Mul", experts.one(g, rows, e), weight), to=g.element)
        first = g("Slice", total, [0, 0], [1, LAST], [0, 1])
        share = g("Expand", share, g("Shape", first))
        at = g("Expand", g("Unsqueeze", token, [1]), g("Shape", share))
        zeros = _zeros(g, g("Shape", total))
        total = g("Add", total, g("ScatterElements", zeros, at, share, axis=0))
    return total


def sparse_dynamo(g, x, weights, ids, k, experts):
    """The same with ScatterND (torch.onnx.export with dynamo)."""
    hot = g("Cast", g("Equal", g("Unsqueeze", ids, [-1]), np.arange(experts.experts)), to=I64)
    total = g("Expand", 0.0, g("Shape", x, start=0))
    for e in experts.loop:
        hits = g("Transpose", g("NonZero", g("Gather", hot, e, axis=2)), perm=[1, 0])
        token = g("Squeeze", g("Slice", hits, [0], [1], [1]), [1])
        at = g("Unsqueeze", token, [-1])
        rows = g("Transpose", g("Unsqueeze", x, [0]), perm=[1, 0, 2])
        rows = g("Reshape", g("Transpose", g("GatherND", rows, at), perm=[1, 0, 2]), [-1, experts.width])
        choice = g("Squeeze", g("Slice", hits, [1], [2], [1]), [1])
        both = g("Concat", at, g("Unsqueeze", choice, [-1]), axis=-1)
        weight = g("GatherND", g("Unsqueeze", weights, [2]), both)
        total = g("ScatterND", total, at, g("Mul", experts.one(g, rows, e), weight), reduction="add")
    return total


def grouped(g, x, weights, ids, k, experts):
    """Rows sorted by expert, one product per expert on its part (torch `grouped_mm`, exported by transformers)."""
    count, width = experts.experts, experts.width
    flat = g("Reshape", ids, [-1])
    size = g("Reshape", g("Gather", g("Shape", flat, start=0), -1, axis=0), [1])
    chosen, order = g("TopK", flat, size, results=2, axis=-1, largest=0, sorted=1)
    negative = g("Equal", g("Less", order, 0), True)
    odd = g("Cast", g("Mod", order, k, fmod=0), to=BOOL)
    token = g("Sub", g("Div", order, k), g("Cast", g("And", negative, odd), to=I64))
    rows = g("GatherND", x, g("Unsqueeze", token, [-1]))
    position = g("Unsqueeze", order, [-1])
    weight = g("GatherND", g("Reshape", weights, [-1]), position)
    # torch.histc
    bucket = g("Div", g("Reshape", g("Cast", chosen, to=TensorProto.FLOAT), [-1]), np.float32((count - 1) / count if count > 1 else 1))
    bucket = g("Clip", g("Cast", bucket, to=I64), 0, count - 1)
    ones = g("Expand", np.float32(1), g("Shape", bucket, start=0))
    counts = g("ScatterElements", np.zeros(count, np.float32), bucket, ones, axis=0, reduction="add")
    ends = g("Cast", g("CumSum", g("Cast", counts, to=TensorProto.INT32), 0), to=I64)
    ends = g("Split", ends, results=count, axis=0, num_outputs=count)
    ends = [g("Squeeze", end, [0]) for end in ([ends] if count == 1 else ends)]
    ranges = [g("Range", start, end, 1) for start, end in zip([0, *ends], ends)]

    def linear(pair, rows):
        matrix, bias = pair
        split = g("Split", matrix.transpose(0, 2, 1), results=count, axis=0, num_outputs=count)
        split = [split] if count == 1 else split
        parts = [
            g("MatMul", g("Gather", rows, part, axis=0), g("Squeeze", one, [0])) for part, one in zip(ranges, split)
        ]
        product = g("Concat", *parts, axis=0)
        return product if bias is None else g("Add", product, g("GatherND", bias, g("Unsqueeze", chosen, [-1])))

    out = g("Mul", experts.write(g, rows, linear, axis=1), g("Unsqueeze", weight, [-1]))
    every = g("Range", 0, g("Squeeze", size), 1)
    inverse = g("ScatterND", g("Expand", 0, g("Shape", order, start=0)), position, every)
    out = g("GatherND", out, g("Unsqueeze", inverse, [-1]))
    return g("ReduceSum", g("Reshape", out, [-1, k, width]), [1], keepdims=0)


# By name: what writes it, and whether it takes tokens [batch, sequence, H] too.
EXPERTS = {
    "masked": (dense_masked, True),
    "gated": (dense_gated, True),
    "stacked": (dense_stacked, True),
    "all": (all_at_once, False),
    "broadcast": (all_broadcast, False),
    "torchscript": (sparse_torchscript, False),
    "dynamo": (sparse_dynamo, False),
    "grouped": (grouped, False),
}


# ---- A layer ---------------------------------------------------------------------
def add_layer(g, random, width, inter, count, k, router, form, flat=True, shared=False, **experts):
    """A layer on the input "x" [batch, sequence, width]. Returns its output, of that shape, and its reference for
    rows [T, width]."""
    layer = Experts(random, width, inter, count, dtype=g.dtype, **experts)
    alone = Experts(random, width, inter, 1, dtype=g.dtype, **experts) if shared else None
    gate = 2 * random.standard_normal((count, width)).astype(np.float32)
    write_router, recipe = ROUTERS[router] if router in ROUTERS else (LIMITED_ROUTERS[router], {})
    write_experts, batched = EXPERTS[form]
    assert flat or batched, "this form flattens the tokens"
    x = g("Reshape", "x", [-1, width]) if flat else "x"
    half = g.dtype == np.float16  # the router is not
    scored = g("Cast", x, to=TensorProto.FLOAT) if half else x
    logits = g("Gemm", scored, gate, transB=1) if flat else g("MatMul", scored, gate.T)
    weights, ids, *own = write_router(g, logits, k)
    route = own[0] if own else lambda logits: ref.route(logits, k, **recipe)
    if half:
        weights = g("Cast", weights, to=g.element)
    y = write_experts(g, x, weights, ids, k, layer)
    if shared:
        y = g("Add", g("Reshape", y, [-1, width]) if flat else y, alone.one(g, x, 0))
    y = g("Reshape", y, g("Shape", "x"), allowzero=1)

    def reference(rows):
        weights, experts = route(rows @ ref.f64(gate).T)
        out = ref.combine(rows, weights, experts, layer.reference)
        return out + np.array([alone.reference(0, row) for row in rows]).reshape(out.shape) if shared else out

    return y, reference

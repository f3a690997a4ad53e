"""Routers as exporters write them: node by node, with their references in float64, which know nothing of the graph.

Each function adds a router on `logits` [T, E] to a graph of sparse_models and returns its weights and experts, [T, k]
each, and the reference: a function of the logits.
"""

import moe_reference as ref
import numpy as np

F32, BOOL = 1, 9
INF = float("inf")


def group_limited(g, logits, experts, k, groups, kept, top=2, score="sigmoid", bias=None, fill=-INF, gathered=True,
                  renormalize=True, epsilon=0.0, scale=1.0, computed_shapes=False):
    """DeepSeek-V3 (top = 2, with a bias) and V2 (top = 0: the greatest score, weights that are the values of TopK)."""
    members = experts // groups
    scores = g("Sigmoid", logits) if score == "sigmoid" else g("Softmax", logits, axis=-1)
    compared = scores
    if bias is not None:
        compared = g("Add", g("Reshape", scores, [-1, experts]) if computed_shapes else scores,
                     bias[None] if computed_shapes else bias)
    parts = g("Reshape", compared, [-1, groups, members], allowzero=0 if computed_shapes else 1)
    if top:
        best, _ = g("TopK", parts, [top], results=2, axis=-1, largest=1, sorted=1)
        worth = g("ReduceSum", best, [-1], keepdims=0)
    else:
        worth = g("ReduceMax", parts, [-1], keepdims=0)
    _, chosen = g("TopK", worth, [kept], results=2, axis=-1, largest=1, sorted=0)
    ids_shape = g("Shape", chosen)
    if computed_shapes:  # optimum
        mask = g("ScatterElements", g("ConstantOfShape", g("Shape", worth)), chosen, g("Expand", 1.0, ids_shape), axis=1)
        ones = g("ConstantOfShape", [3], value=tensor([1]))
        wanted = g.constant([-1, groups, members])
        sizes = g("Where", g("Equal", wanted, g("Mul", ones, -1)), ones, wanted)
    else:  # torch
        ones = g("ConstantOfShape", ids_shape, value=tensor([1.0]))
        mask = g("ScatterElements", g("Expand", 0.0, g("Shape", worth)), chosen, ones, axis=1, reduction="none")
        sizes = [1, groups, members]
    spread = g("Reshape", g("Expand", g("Unsqueeze", mask, [-1]), sizes), [-1, experts])
    dropped = g("Not", g("Cast", spread, to=BOOL))
    limited = g("Where", dropped, g.constant(np.float32(fill)), compared)
    values, ids = g("TopK", limited, [k], results=2, axis=-1, largest=1, sorted=0)
    weights = g("GatherElements", scores, ids, axis=1) if gathered else values
    if renormalize:
        total = g("ReduceSum", weights, [-1], keepdims=1)
        weights = g("Div", weights, g("Add", total, epsilon) if epsilon else total)
    if scale != 1:
        weights = g("Mul", weights, scale)

    def reference(logits):
        scores = ref.sigmoid(logits) if score == "sigmoid" else ref.softmax(logits)
        compared = scores if bias is None else scores + ref.f64(bias)
        limited = ref.limit_to_groups(compared, groups, kept, top or 1, fill)
        ids = ref.top_k(limited, k)
        weights = np.take_along_axis(scores if gathered else limited, ids, -1)
        if renormalize:
            weights = weights / (weights.sum(-1, keepdims=True) + epsilon)
        return weights * scale, ids

    return weights, ids, reference


def biased(g, logits, experts, k, bias, floor=None):
    """Sigmoid scores and a bias for the selection alone, without groups. With a floor, a smaller sum counts as that
    (ERNIE)."""
    scores = g("Sigmoid", logits)
    _, ids = g("TopK", g("Add", scores, bias), [k], results=2, axis=-1)
    weights = g("GatherElements", scores, ids, axis=-1)
    total = g("ReduceSum", weights, [-1], keepdims=1)
    weights = g("Div", weights, total if floor is None else g("Clip", total, floor))

    def reference(logits):
        scores = ref.sigmoid(logits)
        ids = ref.top_k(scores + ref.f64(bias), k)
        weights = np.take_along_axis(scores, ids, -1)
        return weights / np.maximum(weights.sum(-1, keepdims=True), floor or 0), ids

    return weights, ids, reference


def normed(g, logits, experts, k, score="Softmax", norm="ReduceL1"):
    """DBRX: chosen scores divided by a norm of theirs."""
    values, ids = g("TopK", g(score, logits), [k], results=2, axis=-1)
    weights = g("Div", values, g(norm, values, [-1], keepdims=1))

    def reference(logits):
        return ref.route(logits, k, score=score.lower(), renormalize=True)

    return weights, ids, reference


def sparse_mixer(g, logits, k, jitter=0.01, casts=False):
    """PhiMoE: no TopK, but one round per choice. torchscript adds casts to the type that is there."""
    threshold = 2 * jitter
    minus = np.float32(-INF)
    rest, columns, chosen = logits, [], []
    for j in range(k):
        top = g("ReduceMax", rest, [-1], keepdims=1)
        ids = g("ArgMax", rest, axis=-1, keepdims=1, select_last_index=0)
        factor = g("Max", g("Abs", logits), top)
        far = g("Greater", g("Div", g("Sub", top, logits), factor), threshold)
        far = g("Cast", far, to=BOOL) if casts else far
        shares = g("Softmax", g("Where", far, g.constant(minus), rest), axis=-1)
        columns.append(g("GatherElements", shares, ids, axis=-1))
        chosen.append(ids)
        if j + 1 < k:
            rest = g("ScatterElements", rest, ids, g("Expand", g.constant(minus), g("Shape", ids)), axis=-1)
    joined = [values[0] if k == 1 else g("Concat", *values, axis=-1) for values in (columns, chosen)]
    return *joined, lambda logits: ref.sparse_mixer(logits, k, float(np.float32(threshold)))


def switch(g, logits, experts, capacity, strict=False, onehot=False):
    """Switch: the best expert, if it has a place. `logits` are [B, S, E] with places for each sequence, or [T, E].
    Returns weights [.., 1], the mask [.., E] of what gets through, and the reference, for logits [T, E] in sequences
    of a given length, whose experts are -1 for dropped tokens."""
    probabilities = g("Softmax", logits, axis=-1)
    best = g("ArgMax", probabilities, axis=-1, keepdims=0, select_last_index=0)
    column = g("Unsqueeze", best, [-1])
    if onehot:
        mask = g("OneHot", best, experts, [0, 1], axis=-1)
    else:
        mask = g("Cast", g("Equal", column, np.arange(experts)), to=7)
    number = g("CumSum", mask, -2, exclusive=0, reverse=0)
    if strict:  # as NLLB counts, from 0
        fits = g("Less", g("Sub", number, 1), capacity)
    else:
        fits = g("LessOrEqual", number, capacity)
    limited = g("Mul", mask, g("Cast", fits, to=7))
    weights = g("Unsqueeze", g("ReduceMax", probabilities, [-1], keepdims=0), [-1])

    def reference(logits, sequence, capacity):
        probabilities = ref.softmax(logits)
        ids = ref.top_k(probabilities, 1)
        for begin in range(0, len(ids), max(sequence, 1)):
            taken = [0] * experts
            for t in range(begin, min(begin + sequence, len(ids))):
                e = ids[t, 0]
                ids[t, 0] = e if taken[e] < capacity else -1
                taken[e] += 1
        return probabilities.max(-1, keepdims=True), ids

    return weights, limited, reference


def two_choices(g, logits, experts, padding=None, fraction=1.0, early=False, onehot=False):
    """NLLB: the best two experts, each with places for `fraction` of all tokens, first choices before second ones.
    `padding` [T] says which tokens are none; shares are divided by their sum, `early`: before tokens lose places.
    `onehot` writes a choice as OneHot.
    Returns the weights of all experts, [T, E], and the reference for logits and padding."""

    def choose(scores):
        best = g("ArgMax", scores, axis=-1, keepdims=0)
        if onehot:
            return g("OneHot", best, experts, np.array([0, 1]))
        return g("Cast", g("Equal", g("Unsqueeze", best, [-1]), np.arange(experts)), to=7)

    def shares(masks):
        found = [g("ReduceSum", g("Mul", probabilities, g("Cast", mask, to=F32)), [1], keepdims=0) for mask in masks]
        total = g("Clip", g("Add", *found), float(np.finfo(np.float32).eps))
        return [g("Unsqueeze", g("Div", share, total), [1]) for share in found]

    probabilities = g("Softmax", logits, axis=-1)
    first = choose(probabilities)
    second = choose(g("Where", g("Cast", first, to=BOOL), g.constant(np.float32(-INF)), logits))
    masks = [first, second]
    given = shares(masks) if early else None
    if padding:
        used = g("Cast", g("Unsqueeze", g("Not", padding), [-1]), to=7)
        masks = [g("Mul", mask, used) for mask in masks]
    places = [g("Sub", g("CumSum", mask, 0), 1) for mask in masks]
    places[1] = g("Add", places[1], g("ReduceSum", masks[0], [0], keepdims=1))
    tokens = g("Cast", g("Gather", g("Shape", logits), 0), to=F32)
    limit = g("Cast", g("Ceil", g("Mul", tokens, fraction)), to=7)
    masks = [g("Mul", mask, g("Cast", g("Less", place, limit), to=7)) for mask, place in zip(masks, places)]
    given = given or shares(masks)
    gates = g("Add", *(g("Mul", share, g("Cast", mask, to=F32)) for share, mask in zip(given, masks)))

    def reference(logits, padding):
        probabilities, rows = ref.softmax(logits), np.arange(len(logits))
        best = probabilities.argmax(-1)
        rest = logits.copy()
        rest[rows, best] = -INF
        masks = [np.eye(experts, dtype=int)[ids] for ids in (best, rest.argmax(-1))]
        used = ~padding[:, None] if padding is not None else 1
        share = lambda masks: (probabilities * masks[0]).sum(-1), lambda masks: (probabilities * masks[1]).sum(-1)
        counted = [mask * used for mask in masks]
        places = [counted[0].cumsum(0) - 1, counted[1].cumsum(0) - 1 + counted[0].sum(0)]
        limit = np.ceil(fraction * len(logits))
        kept = [mask * (place < limit) for mask, place in zip(counted, places)]
        parts = [s(masks if early else kept) for s in share]
        total = np.maximum(sum(parts), np.finfo(np.float32).eps)
        return sum((part / total)[:, None] * mask for part, mask in zip(parts, kept))

    return gates, reference


def scaled_experts(g, x, logits, up, down, k, early=False, bias=None):
    """Llama 4: every expert on all tokens, which are multiplied by sigmoid scores first, 0 where an expert is not chosen.
    up [E, H, 2 * I], down [E, I, H]; `early`: the scores are scattered, not the logits. Returns the sum."""
    experts, hidden = up.shape[:2]
    values, ids = g("TopK", logits, [k], results=2, axis=1)
    fill = np.float32(0 if early else -INF)
    empty = g("Expand", g.constant(fill), g("Shape", logits))
    scores = g("ScatterElements", empty, ids, g("Sigmoid", values) if early else values, axis=1)
    gates = g("Transpose", scores if early else g("Sigmoid", scores), perm=[1, 0])
    rows = g("Mul", g("Tile", x, [experts, 1]), g("Reshape", gates, [-1, 1]))
    both = g("MatMul", g("Reshape", rows, [experts, -1, hidden]), up)
    gate, linear = g("Split", both, results=2, axis=2, num_outputs=2)
    out = g("MatMul", g("Mul", linear, g("Mul", gate, g("Sigmoid", gate))), down)
    if bias is not None:
        out = g("Add", out, bias[:, None])
    return g("ReduceSum", g("Reshape", out, [experts, -1, hidden]), [0], keepdims=0)


def tensor(values):
    from onnx import numpy_helper

    array = np.asarray(values)
    return numpy_helper.from_array(array.astype(np.float32 if array.dtype.kind == "f" else np.int64))

"""Sparse layers in float64, straight from their definitions.

Shares nothing with the compiler: tests compare what it makes with this.
"""

import math

import numpy as np

_erf = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def gelu(x):
    return x * 0.5 * (1 + _erf(x / math.sqrt(2)))


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "gelu": gelu,
    "silu": lambda x: x * sigmoid(x),
    "identity": lambda x: x,
    "tanh": np.tanh,
}


def top_k(values, k):
    """Indices of the k greatest values of each row, best first; of equal values
    the one with the lower index comes first."""
    return np.argsort(-values, axis=-1, kind="stable")[:, :k]


def route(logits, k, score="softmax", after=False, renormalize=False, epsilon=0.0, scale=1.0, experts=None):
    """Routing weights and experts, [T, k] each. Given `experts` are not chosen, only weighed."""
    function = {"softmax": softmax, "sigmoid": sigmoid, "none": lambda x: x}[score]
    scores = logits if after else function(logits)
    if experts is None:
        experts = top_k(scores, k)
    weights = np.take_along_axis(scores, experts, -1)
    if after:
        weights = function(weights)
    if renormalize:
        weights = weights / (weights.sum(-1, keepdims=True) + epsilon)
    return weights * scale, experts


def limit_to_groups(values, groups, kept, top, fill):
    """`values` [T, E] with `fill` for the experts of all but the `kept` best of
    `groups` consecutive groups; a group is worth the sum of its `top` greatest."""
    parts = values.reshape(len(values), groups, values.shape[1] // groups)
    worth = -np.sort(-parts, -1)[..., :top].sum(-1)
    best = np.zeros(worth.shape, bool)
    np.put_along_axis(best, top_k(worth, kept), True, -1)
    return np.where(best[..., None], parts, fill).reshape(values.shape)


def sparse_mixer(logits, k, threshold, given=None):
    """Weights and experts of SparseMixer: one choice at a time, weighed by its
    share among the experts that are left and near it. `given` experts are not
    chosen, only weighed."""
    weights, experts = np.zeros((len(logits), k)), np.zeros((len(logits), k), int)
    for t, s in enumerate(logits):
        rest = s.copy()
        for j in range(k):
            e = int(np.argmax(rest) if given is None else given[t, j])
            with np.errstate(invalid="ignore"):
                far = (rest[e] - s) / np.maximum(np.abs(s), rest[e]) > threshold
            near = np.where(far, -np.inf, rest)
            weights[t, j], experts[t, j] = softmax(near)[e], e
            rest[e] = -np.inf
    return weights, experts


def combine(x, weights, experts, expert):
    """The weighted sum of expert(e, row) over the choices of each row of x; -1 is no expert."""
    result = np.zeros((len(x), len(expert(0, np.zeros(x.shape[1])))))
    for out, row, ws, es in zip(result, x, weights, experts):
        for w, e in zip(ws, es):
            if e >= 0:
                out += w * expert(e, row)
    return result


def f64(array):
    return None if array is None else np.asarray(array).astype(np.float64)


def contrib_moe(x, logits, fc1, b1, fc2, b2, fc3=None, b3=None, *, k=1, activation_type="relu",
                normalize_routing_weights=0, swiglu_fusion=0, activation_alpha=1.0,
                activation_beta=0.0, swiglu_limit=None, use_sparse_mixer=0, mixture=None, experts=None):
    """com.microsoft.MoE, and QMoE with `mixture` for its router_weights.
    Attributes as float32 stores them. Given `experts` [T, k] are not chosen."""
    shape = x.shape
    x, logits = f64(x).reshape(-1, shape[-1]), f64(logits)
    fc1, b1, fc2, b2, fc3, b3 = map(f64, (fc1, b1, fc2, b2, fc3, b3))
    alpha, beta = float(np.float32(activation_alpha)), float(np.float32(activation_beta))

    def linear(w, b, e, row):
        return w[e] @ row + (0 if b is None else b[e])

    def expert(e, row):
        first = linear(fc1, b1, e, row)
        if activation_type == "swiglu":
            if swiglu_fusion == 0:
                gate, line = first, linear(fc3, b3, e, row)
            elif swiglu_fusion == 1:
                gate, line = first[0::2], first[1::2]
            else:
                gate, line = np.split(first, 2)
            if swiglu_limit is not None:
                limit = float(np.float32(swiglu_limit))
                gate, line = np.minimum(gate, limit), np.clip(line, -limit, limit)
            hidden = gate * sigmoid(alpha * gate) * (line + beta)
        else:
            hidden = ACTIVATIONS[activation_type](first)
            if fc3 is not None:
                hidden = hidden * linear(fc3, b3, e, row)
        return linear(fc2, b2, e, hidden)

    given = experts
    weights, experts = route(logits, k, renormalize=bool(normalize_routing_weights), experts=given)
    if use_sparse_mixer:  # with the jitter of onnxruntime's kernels, which do not renormalize then
        weights, experts = sparse_mixer(logits, k, float(np.float32(0.02)), given)
    if mixture is not None:
        experts = top_k(logits, k) if given is None else given
        weights = np.take_along_axis(f64(mixture), experts, -1)
        if normalize_routing_weights:
            weights = weights / weights.sum(-1, keepdims=True)
    return combine(x, weights, experts, expert).reshape(shape[:-1] + fc2.shape[1:2])

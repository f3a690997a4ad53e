"""Attention operators in float64, written from their definitions."""

import numpy as np


def f64(array):
    return np.asarray(array, np.float64)


def split(x, heads):
    """[batch, sequence, heads * size] as [batch, heads, sequence, size]."""
    b, s, d = x.shape
    return f64(x).reshape(b, s, heads, d // heads).transpose(0, 2, 1, 3)


def merge(x):
    b, n, s, h = x.shape
    return x.transpose(0, 2, 1, 3).reshape(b, s, n * h)


def attend(q, k, v, scale=None, softcap=0.0, bias=0.0, disabled=False, sink=None):
    """All [batch, heads, sequence, size]; `sink` [heads]. The result, and the scores step by step."""
    q, k, v = f64(q), f64(k), f64(v)
    share = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, share, 1), np.repeat(v, share, 1)
    steps = [q @ k.transpose(0, 1, 3, 2) * (q.shape[-1] ** -0.5 if scale is None else scale)]
    steps.append(np.tanh(steps[0] / softcap) * softcap if softcap else steps[0])
    steps.append(np.where(disabled, -np.inf, steps[1] + bias))
    top = steps[2].max(-1, keepdims=True, initial=-np.inf)
    if sink is not None:
        top = np.maximum(top, f64(sink)[:, None, None])
    top = np.where(np.isneginf(top), 0, top)
    e = np.exp(steps[2] - top)
    total = e.sum(-1, keepdims=True)
    if sink is not None:
        total = total + np.exp(f64(sink)[:, None, None] - top)
    steps.append(np.divide(e, total, out=np.zeros_like(e), where=total != 0))
    return steps[3] @ v, steps


def out_of_reach(queries, keys, offset=0, causal=False, left=-1, right=-1):
    """[batch or 1, 1, queries, keys]: which keys a query must not see."""
    offset = np.reshape(offset, (-1, 1, 1, 1))
    position = np.arange(queries)[:, None] + offset
    key = np.arange(keys)
    result = np.zeros(np.broadcast_shapes(position.shape, key.shape), bool)
    if causal:
        result |= key > position
    if left >= 0:
        result |= key < position - left
    if right >= 0:
        result |= key > position + right
    return result


def onnx_attention(q, k, v, mask=None, past_key=None, past_value=None, counts=None, **attributes):
    """ai.onnx.Attention: Y, present_key, present_value, qk_matmul_output."""
    rank = q.ndim
    if rank == 3:
        heads, key_heads = attributes["q_num_heads"], attributes["kv_num_heads"]
        q, k, v = split(q, heads), split(k, key_heads), split(v, key_heads)
    offset = 0
    if past_key is not None:
        offset = past_key.shape[2]
        k, v = np.concatenate([past_key, k], 2), np.concatenate([past_value, v], 2)
    queries, keys = q.shape[2], k.shape[2]
    disabled = np.zeros((1, 1, queries, keys), bool)
    if counts is not None:
        offset = counts - queries
        disabled = disabled | (np.arange(keys) >= counts.reshape(-1, 1, 1, 1))
    disabled = disabled | out_of_reach(
        queries, keys, offset, attributes.get("is_causal", 0),
        attributes.get("left_window_size", -1), attributes.get("right_window_size", -1),
    )  # fmt: skip
    bias = 0.0
    if mask is not None:
        pad = [(0, 0)] * (mask.ndim - 1) + [(0, keys - mask.shape[-1])]
        if mask.dtype == bool:
            disabled = disabled | ~np.pad(mask, pad)
        else:
            bias = np.pad(f64(mask), pad, constant_values=-np.inf)
    y, steps = attend(q, k, v, attributes.get("scale"), attributes.get("softcap", 0), bias, disabled)
    if rank == 3:
        y = merge(y)
    return y, k, v, steps[attributes.get("qk_matmul_output_mode", 0)]


def rotate(x, cos, sin, interleaved=False):
    """x [batch, heads, sequence, size]; cos and sin [batch, sequence, half]."""
    x, half = f64(x).copy(), cos.shape[-1]
    cos, sin = f64(cos)[:, None], f64(sin)[:, None]
    first, second = (slice(0, 2 * half, 2), slice(1, 2 * half, 2)) if interleaved else (slice(0, half), slice(half, 2 * half))
    a, b = x[..., first].copy(), x[..., second].copy()
    x[..., first], x[..., second] = cos * a - sin * b, sin * a + cos * b
    return x


def resident(tokens, capacity, window):
    """How many of so many tokens a windowed cache holds."""
    group = capacity - window + 1
    return np.where(tokens <= capacity, tokens, tokens - group * -((capacity - tokens) // group))


def group_query_attention(
    query, key, value, past_key, past_value, seqlens, total, cos=None, sin=None, ids=None, bias=None, sink=None,
    key_scale=None, value_scale=None, query_norm=None, key_norm=None, **attributes
):  # fmt: skip
    """com.microsoft.GroupQueryAttention: output, present_key, present_value, output_qk. Rows of the caches that the
    operator leaves open are NaN."""
    heads, key_heads = attributes["num_heads"], attributes["kv_num_heads"]
    if key is None:
        packed = split(query, heads + 2 * key_heads)
        q, k, v = packed[:, :heads], packed[:, heads : heads + key_heads], packed[:, heads + key_heads :]
    else:
        q, k, v = split(query, heads), split(key, key_heads), split(value, key_heads)
    batch, _, fresh, _ = q.shape
    totals = seqlens.reshape(-1).astype(np.int64) + 1
    before = np.zeros_like(totals) if total == fresh else totals - fresh
    if query_norm is not None:
        epsilon = attributes.get("qk_norm_epsilon", 1e-6)
        rms = lambda x, weight: x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * f64(weight)
        q, k = rms(q, query_norm), rms(k, key_norm)
    if attributes.get("do_rotary"):
        if ids is None:
            ids = before[:, None] + np.arange(fresh)
        q, k = (rotate(x, cos[ids], sin[ids], attributes.get("rotary_interleaved", 0)) for x in (q, k))
    window = attributes.get("local_window_size", -1)
    windowed = attributes.get("sliding_window_cache", 0)
    capacity = 0 if past_key is None else past_key.shape[2]
    length = capacity if windowed else max(int(total), capacity)
    presents = [np.full((batch, key_heads, length, x.shape[3]), np.nan) for x in (k, v)]
    outputs, scores = np.zeros(q.shape[:3] + v.shape[3:]), np.full((batch, heads, fresh, int(total)), np.nan)
    for b in range(batch):
        held = int(resident(before[b], capacity, window)) if windowed else int(before[b])
        keys, values = (
            np.concatenate([f64(past)[b : b + 1, :, :held], x[b : b + 1]], 2) if held else x[b : b + 1]
            for past, x in ((past_key, k), (past_value, v))
        )
        causal = attributes.get("causal", 1)
        disabled = out_of_reach(fresh, keys.shape[2], held, causal, window - 1 if window > 0 else -1)
        if not causal:
            disabled = disabled | (np.arange(keys.shape[2]) >= totals[b])
        row = 0.0 if bias is None else f64(bias)[min(b, bias.shape[0] - 1)][None, ..., : keys.shape[2]]
        extra = sink
        if sink is None and attributes.get("smooth_softmax", -1) == 1:
            extra = np.zeros(heads)
        y, steps = attend(
            q[b : b + 1], keys, values, attributes.get("scale") or None, attributes.get("softcap", 0), row, disabled, extra
        )
        outputs[b] = y[0]
        mode = attributes.get("qk_output", 0)
        if mode:
            step = steps[2] if mode == 1 else steps[3]
            scores[b, ..., : keys.shape[2]] = np.where(np.isneginf(step), 0, step)[0]
        rows = int(resident(totals[b], capacity, window)) if windowed else min(keys.shape[2], length)
        if total == fresh:  # what follows the entry's own tokens is padding
            outputs[b, :, totals[b] :] = scores[b, :, totals[b] :] = np.nan
        scores[b, ..., totals[b] :] = np.nan
        last = held + fresh if before[b] else max(int(totals[b]), fresh if not windowed else 0)
        for present, x in zip(presents, (keys, values)):
            present[b, :, :rows] = x[0, :, last - rows : last]
    return merge(outputs), *presents, scores


def multi_head_attention(
    query, key=None, value=None, bias=None, padding=None, attention_bias=None, past_key=None, past_value=None, **attributes
):
    """com.microsoft.MultiHeadAttention: output, present_key, present_value, qk."""
    heads = attributes["num_heads"]
    if query.ndim == 5:
        q, k, v = (f64(query)[:, :, :, i].transpose(0, 2, 1, 3) for i in range(3))
    else:
        q = split(query, heads)
        if key.ndim == 5:
            k, v = (f64(key)[:, :, :, i].transpose(0, 2, 1, 3) for i in range(2))
        elif key.ndim == 4:
            k, v = f64(key), f64(value)
        else:
            k, v = split(key, heads), split(value, heads)
    if bias is not None:
        at, parts = 0, []
        for x in (q,) if key is not None and key.ndim == 4 else (q, k, v):
            n = heads * x.shape[3]
            parts.append(x + f64(bias)[at : at + n].reshape(heads, 1, -1))
            at += n
        q, k, v = parts + [q, k, v][len(parts) :]
    offset = 0
    if past_key is not None:
        offset = past_key.shape[2]
        k, v = np.concatenate([past_key, k], 2), np.concatenate([past_value, v], 2)
    keys = k.shape[2]
    added = np.zeros((1, 1, 1, 1)) if attention_bias is None else f64(attention_bias)
    if padding is not None:
        if padding.ndim == 1:
            keep = np.arange(keys) < padding[: q.shape[0]].reshape(-1, 1, 1, 1)
        else:
            keep = padding.reshape((padding.shape[0], 1, -1, keys)) > 0
        added = added + np.where(keep, 0, attributes.get("mask_filter_value", -10000.0))
    disabled = out_of_reach(q.shape[2], keys, offset, attributes.get("unidirectional", 0))
    y, steps = attend(q, k, v, attributes.get("scale") or None, 0, added, disabled)
    return merge(y), k, v, steps[2]

"""ONNX graphs in float64, whatever their types: onnx's reference evaluator over a copy of the model whose floats are all
double, with the operators of com.microsoft from their definitions. What chooses experts is recorded, and can be forced."""

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, inliner, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

import attention_reference
import moe_reference
import quantize

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)


def load(path):
    """The model with external data, its own functions inlined."""
    model = onnx.load(path)
    return inliner.inline_local_functions(model) if model.functions else model


# ---- Selections -------------------------------------------------------------------
def selections(graph):
    """The nodes of `graph` that may choose experts, as (key, what they compare, their ids or None): TopK, ArgMax, and
    the operators that hold their router. Some compare integers, which are no choice."""
    for node in graph.node:
        if node.op_type in ("TopK", "ArgMax") and node.domain in ("", "ai.onnx"):
            yield node.output[-1], node.input[0], node.output[-1]
        elif node.op_type in ("MoE", "QMoE") and node.domain == "com.microsoft":
            yield node.output[0], node.input[1], None


def chosen_by_contrib(node, logits):
    """The experts that com.microsoft.MoE or QMoE takes by `logits`, [T, k]."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    k = attributes.get("k", 1)
    if attributes.get("use_sparse_mixer"):
        return moe_reference.sparse_mixer(logits, k, float(np.float32(0.02)))[1]
    return moe_reference.top_k(logits, k)


class Selection:
    """What was compared, and what was chosen, with the alternatives on the last axis."""

    def __init__(self, data, ids, axis=-1):
        self.axis = axis
        self.data, self.ids = (np.moveaxis(np.atleast_1d(a), axis, -1) for a in (data, ids))
        self.data = self.data.reshape(-1, self.data.shape[-1])
        self.ids = self.ids.reshape(len(self.data), -1)

    def gaps(self):
        """For each row how much less than the best that were left out the worst of the chosen is; not positive where
        the best were chosen."""
        left = self.data.copy()
        np.put_along_axis(left, self.ids, -np.inf, -1)
        worst = np.take_along_axis(self.data, self.ids, -1).min(-1, initial=np.inf)
        with np.errstate(invalid="ignore"):  # masks are -inf
            return left.max(-1, initial=-np.inf) - worst


# ---- Operators --------------------------------------------------------------------
def _norm(x, weight, epsilon, axis=-1):
    axes = tuple(range(axis % x.ndim, x.ndim))
    inverse = 1 / np.sqrt((x * x).mean(axes, keepdims=True) + epsilon)
    return x * inverse * weight, inverse


def simplified_layer_normalization(x, weight, axis=-1, epsilon=1e-5, stash_type=1):
    return _norm(x, weight, epsilon, axis)


def skip_simplified_layer_normalization(x, skip, weight, bias=None, epsilon=1e-5):
    total = x + skip + (0 if bias is None else bias)
    y, inverse = _norm(total, weight, epsilon)
    return y, np.zeros(()), inverse, total


def skip_layer_normalization(x, skip, weight, beta=None, bias=None, epsilon=1e-5):
    total = x + skip + (0 if bias is None else bias)
    mean = total.mean(-1, keepdims=True)
    y, inverse = _norm(total - mean, weight, epsilon)
    return y if beta is None else y + beta, mean, inverse, total


def matmul_nbits(a, b, scales, zeros=None, group=None, bias=None, K=None, N=None, bits=4, block_size=None, accuracy_level=0):
    if group is not None and group.size:
        raise NotImplementedError("MatMulNBits with g_idx")
    blocks = -(-K // block_size)
    if zeros is not None:
        zeros = zeros.reshape(N, -1)
        zeros = quantize.unpack(zeros, bits, blocks) if zeros.dtype == np.uint8 else zeros
    integers = quantize.unpack(b.reshape(N, -1), bits, blocks * block_size)[:, :K]
    w = quantize.dequantize(integers, scales.reshape(N, blocks), zeros, bits, block_size)
    return (a @ w.T + (0 if bias is None else bias),)


def rotary_embedding(x, ids, cos, sin, interleaved=0, num_heads=0, rotary_embedding_dim=0, scale=1.0, is_packed_batching=0):
    flat = x.ndim == 3
    if flat:
        x = attention_reference.split(x, num_heads or x.shape[-1] // (rotary_embedding_dim or 2 * cos.shape[-1]))
    if ids.size == 1 and ids.ndim == 1:
        ids = np.broadcast_to(ids[0] + np.arange(x.shape[2]), (x.shape[0], x.shape[2]))
    y = attention_reference.rotate(x, cos[ids], sin[ids], interleaved)
    return (attention_reference.merge(y) if flat else y,)


def group_query_attention(query, key, value, past_key, past_value, seqlens, total, *rest, **attributes):
    total = int(np.reshape(total, -1)[0])
    return attention_reference.group_query_attention(
        query, key, value, past_key, past_value, seqlens, total, *rest, **attributes
    )


def _experts_weight(weight, scales, zeros, across, bits, block_size, mxfp4):
    """A weight of QMoE as [E, N, K] floats."""
    if weight is None:
        return None
    scales = scales.astype(np.float64)
    if mxfp4:  # [E, K, N / 2], and exponents
        codes = quantize.unpack(weight, 4, 2 * weight.shape[-1]).swapaxes(1, 2)
        floats = quantize.E2M1[codes] * quantize.per_weight(scales, codes.shape[-1], block_size)
        return floats * (1 if across is None else across.reshape(-1, 1, 1))
    depth = weight.shape[-1] * 8 // bits
    scales = scales.reshape(weight.shape[:2] + (-1,))
    if zeros is not None:
        count = scales.shape[-1] if zeros.ndim == 3 else weight.shape[1]
        zeros = quantize.unpack(zeros, bits, count).reshape(scales.shape)
    return quantize.dequantize(quantize.unpack(weight, bits, depth), scales, zeros, bits, block_size or depth)


def qmoe(x, router, *rest, experts=None, expert_weight_bits=4, block_size=0, quant_type="int", weights_prepacked=-1,
         accuracy_level=0, **attributes):
    rest = list(rest) + [None] * (19 - len(rest))
    if quant_type not in ("int", "fp4") or any(value is not None for value in rest[15:]):
        raise NotImplementedError(f"QMoE with quant_type {quant_type}")
    floats = []
    for i in range(3):
        weight, scales, bias = rest[3 * i : 3 * i + 3]
        bits = attributes.pop(f"fc{i + 1}_expert_weight_bits", 0) or expert_weight_bits
        across = rest[13 + i] if i < 2 else None
        floats += [_experts_weight(weight, scales, rest[9 + i], across, bits, block_size, quant_type == "fp4"), bias]
    return (moe_reference.contrib_moe(x, router, *floats, mixture=rest[12], experts=experts, **attributes),)


def moe(x, router, *rest, experts=None, **attributes):
    rest = list(rest) + [None] * (6 - len(rest))
    return (moe_reference.contrib_moe(x, router, *rest, experts=experts, **attributes),)


CONTRIB = {
    "SimplifiedLayerNormalization": simplified_layer_normalization,
    "SkipSimplifiedLayerNormalization": skip_simplified_layer_normalization,
    "SkipLayerNormalization": skip_layer_normalization,
    "MatMulNBits": matmul_nbits,
    "RotaryEmbedding": rotary_embedding,
    "GroupQueryAttention": group_query_attention,
    "MultiHeadAttention": attention_reference.multi_head_attention,
}


def _class(name, domain, run):
    """An operator of the evaluator: run(self, *inputs, **attributes) gives at least the outputs of its node."""

    def call(self, *inputs, **attributes):
        results = run(self, *inputs, **attributes)
        return tuple(results)[: len(self.onnx_node.output)]

    return type(name, (OpRun,), {"op_domain": domain, "_run": call})


def _wide(tensor):
    array = numpy_helper.to_array(tensor)
    return numpy_helper.from_array(array.astype(np.float64), tensor.name)


def _widen(graph):
    for tensor in graph.initializer:
        if tensor.data_type in FLOATS:
            tensor.CopyFrom(_wide(tensor))
    for node in graph.node:
        # The evaluator would take an output without a name for the value of operands that are left out.
        for i, name in enumerate(node.output):
            node.output[i] = name or f"{max(node.output)}/unused {i}"
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                _widen(attribute.g)
            elif attribute.type == AttributeProto.TENSOR and attribute.t.data_type in FLOATS:
                attribute.t.CopyFrom(_wide(attribute.t))
            elif attribute.name in ("to", "dtype") and attribute.i in FLOATS:
                attribute.i = TensorProto.DOUBLE
            elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
                value = np.array(helper.get_attribute_value(attribute), np.float64)
                attribute.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(value)))
        if node.op_type == "ConstantOfShape" and not node.attribute:
            node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.zeros(1))))


class Reference:
    """A model (of `load`), run in float64."""

    def __init__(self, model):
        wide = onnx.ModelProto()
        wide.CopyFrom(model)
        _widen(wide.graph)
        del wide.graph.value_info[:]
        self.outputs = [output.name for output in model.graph.output]
        self._forced, self._made = {}, {}
        new = [_class("TopK", "", self._top_k), _class("ArgMax", "", self._arg_max)]
        new += [_class(name, "com.microsoft", lambda op, *x, f=run, **a: f(*x, **a)) for name, run in CONTRIB.items()]
        new.append(_class("SimplifiedLayerNormalization", "", lambda op, *x, **a: simplified_layer_normalization(*x, **a)))
        for name, run in (("MoE", moe), ("QMoE", qmoe)):
            new.append(_class(name, "com.microsoft", lambda op, *x, f=run, **a: self._experts(op, f, *x, **a)))
        self._evaluator = ReferenceEvaluator(wide, new_ops=new)

    def run(self, inputs, forced=None):
        """The outputs by name, and the selections by key. `forced` has ids by key for some of them."""
        self._forced, self._made = forced or {}, {}
        given = {name: np.asarray(array) for name, array in inputs.items()}
        given = {name: a.astype(np.float64) if a.dtype.kind in "fV" else a for name, a in given.items()}
        with np.errstate(all="ignore"):
            made = dict(zip(self.outputs, self._evaluator.run(None, given)))
        return made, self._made

    def _choose(self, op, data, ids, axis):
        """The ids that are forced, else `ids`."""
        if data.dtype != np.float64:
            return ids
        key = op.onnx_node.output[-1]
        given = self._forced.get(key)
        if given is not None:
            ids = np.asarray(given).reshape(ids.shape)
        self._made[key] = Selection(data, ids, axis)
        return ids

    def _top_k(self, op, data, k, axis=-1, largest=1, sorted=1):
        keys = -data if largest else data
        ids = np.argsort(keys, axis, kind="stable").take(range(int(np.reshape(k, -1)[0])), axis)
        if largest:
            ids = self._choose(op, data, ids, axis)
        return np.take_along_axis(data, ids, axis), ids

    def _arg_max(self, op, data, axis=0, keepdims=1, select_last_index=0):
        ids = np.argmax(data, axis, keepdims=True)
        if select_last_index:
            ids = data.shape[axis] - 1 - np.argmax(np.flip(data, axis), axis, keepdims=True)
        ids = self._choose(op, data, ids, axis)
        return (ids if keepdims else ids.squeeze(axis),)

    def _experts(self, op, run, x, router, *rest, **attributes):
        ids = self._choose(op, router, chosen_by_contrib(op.onnx_node, router), -1)
        return run(x, router, *rest, experts=ids, **attributes)

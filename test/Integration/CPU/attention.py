# REQUIRES: python-numpy, python-onnx, python-onnxruntime, python-ml_dtypes
# RUN: %python %s %t | FileCheck %s
"""Attention operators and their relatives against float64 (attention_reference.py), and that against onnxruntime where
it takes the operands: every form is a node of one model per element type."""

import os
import re
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import helper

import attention_reference as ref
import compiled
import moe_testing

MS = "com.microsoft"
TYPES = {"f32": (np.float32, 1e-5), "f16": (np.float16, 2e-3), "f64": (np.float64, 1e-12)}


class Form:
    """A node: `make(random, case)` gives its inputs (None: omitted), `reference(*inputs)` its outputs."""

    def __init__(self, op, domain, attributes, outputs, make, reference, cases, seed, types=None):
        """`types`: of the outputs, if not that of the first input."""
        self.types = types
        self.op, self.domain, self.attributes = op, domain, attributes
        self.outputs, self.reference = outputs, reference
        self.cases = [make(np.random.default_rng(seed + i), case) for i, case in enumerate(cases)]

    def inputs(self, prefix, names):
        """What is known of the inputs: a dimension that differs from case to case has a name, the same name wherever
        the sizes are the same."""
        infos = []
        for i, arrays in enumerate(zip(*self.cases)):
            if arrays[0] is None:
                continue
            dims = []
            for sizes in zip(*(a.shape for a in arrays)):
                label = "%s_%s" % (prefix, "_".join(map(str, sizes))) if names else None
                dims.append(sizes[0] if len(set(sizes)) == 1 else label)
            element = helper.np_dtype_to_tensor_dtype(arrays[0].dtype)
            infos.append(helper.make_tensor_value_info("%s_i%d" % (prefix, i), element, dims))
        return infos

    def node(self, prefix):
        inputs = ["%s_i%d" % (prefix, i) if a is not None else "" for i, a in enumerate(self.cases[0])]
        while not inputs[-1]:
            inputs.pop()
        outputs = ["%s_o%d" % (prefix, i) if used else "" for i, used in enumerate(self.outputs)]
        return helper.make_node(self.op, inputs, outputs, prefix, domain=self.domain, **self.attributes)

    def feed(self, prefix, case):
        return {"%s_i%d" % (prefix, i): a for i, a in enumerate(self.cases[case]) if a is not None}


def model_of(forms, opset, names):
    prefixes = ["n%d" % i for i in range(len(forms))]
    nodes = [form.node(prefix) for form, prefix in zip(forms, prefixes)]
    inputs = [info for form, prefix in zip(forms, prefixes) for info in form.inputs(prefix, names)]
    outputs = []
    for form, node in zip(forms, nodes):
        types = form.types or [form.cases[0][0].dtype] * len(node.output)
        for name, dtype in zip(node.output, types):
            if name:
                element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
                outputs.append(helper.make_tensor_value_info(name, element, None))
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid(MS, 1)])


def differs(found, expected, tolerance):
    """What the reference leaves open is NaN."""
    if found.shape != expected.shape:
        return "shape %s, expected %s" % (found.shape, expected.shape)
    given = ~np.isnan(expected)
    a, b = found[given].astype(np.float64), expected[given]
    limit = tolerance * max(1, np.abs(b[np.isfinite(b)]).max(initial=0))
    with np.errstate(invalid="ignore"):
        wrong = ~((a == b) | (np.abs(a - b) <= limit))
    return "%s, expected %s (%d of %d)" % (a[wrong][:4], b[wrong][:4], wrong.sum(), b.size) if wrong.any() else None


def check(title, folder, forms, opset, dtype="f32", names=True, runtime=True):
    tolerance = TYPES[dtype][1]
    path = os.path.join(folder, title.replace(" ", "-"))
    os.makedirs(folder, exist_ok=True)
    onnx.save(model_of(forms, opset, names), path + ".onnx")
    moe_testing.run("moe-compile", path + ".onnx", "-o", path)
    model = compiled.Model(path + ".so")
    problems, checked, agreeing = [], 0, 0
    for case in range(len(forms[0].cases)):
        feed = {}
        for i, form in enumerate(forms):
            feed.update(form.feed("n%d" % i, case))
        results = model.run(**feed)
        for i, form in enumerate(forms):
            expected = form.reference(*form.cases[case], **form.attributes)
            for o, used in enumerate(form.outputs):
                if not used:
                    continue
                checked += 1
                message = differs(results["n%d_o%d" % (i, o)], expected[o], tolerance)
                if message:
                    problems.append("n%d %s %s case %d output %d: %s" % (i, form.op, form.attributes, case, o, message))
    for i, form in enumerate(forms if runtime else []):
        try:
            text = model_of([form], min(opset, 24), names).SerializeToString()
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            session = onnxruntime.InferenceSession(text, options, ["CPUExecutionProvider"])
        except Exception:
            continue  # no kernel
        for case in range(len(form.cases)):
            if any(a is not None and a.size == 0 and k == 0 for k, a in enumerate(form.cases[case])):
                continue
            try:
                found = session.run(None, form.feed("n0", case))
            except Exception:
                continue  # refused
            expected = form.reference(*form.cases[case], **form.attributes)
            expected = [e for e, used in zip(expected, form.outputs) if used]
            for o, (a, b) in enumerate(zip(found, expected)):
                message = differs(a, b, 1e-5)
                if message:
                    problems.append("onnxruntime n%d %s case %d output %d: %s" % (i, form.attributes, case, o, message))
                agreeing += 1
    if problems:
        sys.exit("%s: %d wrong\n%s" % (title, len(problems), "\n".join(problems[:20])))
    also = ", %d as in onnxruntime" % agreeing if runtime else ""
    print("%s: %d nodes, %d outputs%s" % (title, len(forms), checked, also))


# ----------------------------------------------------------------------------------------------------------------------
# ai.onnx.Attention

MASKS = ["none", "bool 2", "bool 4", "float 4", "float 3", "float 2", "short", "bool 1"]


def attention_form(seed, opset, dtype):
    pick = np.random.default_rng(seed)
    element = TYPES[dtype][0]
    rank = int(pick.choice([3, 4]))
    heads, key_heads = [(4, 4), (6, 2), (3, 1)][pick.integers(3)]
    size, value_size = [(8, 8), (5, 7), (6, 3)][pick.integers(3)]
    mask_kind = MASKS[seed % len(MASKS)]
    cache = ["none", "past", "counts" if opset >= 24 else "none", "present"][pick.integers(4)]
    attributes = {}
    if rank == 3:
        attributes.update(q_num_heads=heads, kv_num_heads=key_heads)
    if pick.integers(2):
        attributes["is_causal"] = 1
    if pick.integers(3) == 0:
        attributes["softcap"] = 1.5
    if pick.integers(3) == 0:
        attributes["scale"] = 0.625
    if opset >= 25 and pick.integers(2):
        attributes["left_window_size"] = int(pick.integers(4))
        if not attributes.get("is_causal"):
            attributes["right_window_size"] = int(pick.integers(-1, 3))
    wants = bool(pick.integers(2))
    if wants:
        attributes["qk_matmul_output_mode"] = int(pick.integers(4))

    def make(random, case):
        batch, queries, fresh, past = case
        draw = lambda *shape: random.standard_normal(shape).astype(element)
        arrange = lambda n, s, h: draw(batch, s, n * h) if rank == 3 else draw(batch, n, s, h)
        keys = fresh + (past if cache == "past" else 0)
        inputs = [arrange(heads, queries, size), arrange(key_heads, fresh, size), arrange(key_heads, fresh, value_size)]
        shape = {
            "bool 2": (queries, keys), "bool 4": (batch, 1, queries, keys), "float 4": (1, heads, queries, keys),
            "float 3": (heads, 1, keys), "float 2": (queries, keys), "short": (batch, 1, 1, max(keys - 1, 1)), "bool 1": (keys,),
        }.get(mask_kind)  # fmt: skip
        mask = None
        if shape is not None:
            allowed = random.random(shape) < 0.7
            mask = allowed if "bool" in mask_kind else np.where(allowed, draw(*shape), -np.inf).astype(element)
        inputs.append(mask)
        if cache == "past":
            inputs += [draw(batch, key_heads, past, size), draw(batch, key_heads, past, value_size)]
        else:
            inputs += [None, None]
        inputs.append(random.integers(0, fresh + 1, batch) if cache == "counts" else None)
        return inputs

    presents = cache in ("past", "present")
    cases = [(1, 1, 5, 3), (2, 3, 3, 4), (3, 7, 4, 2), (2, 1, 1, 0), (1, 17, 13, 19), (2, 0, 4, 1)]
    return Form("Attention", "", attributes, [True, presents, presents, wants], make, ref.onnx_attention, cases, 100 * seed)


# ----------------------------------------------------------------------------------------------------------------------
# com.microsoft.GroupQueryAttention

N, G, H, POSITIONS = 4, 2, 16, 64


def group_query_form(seed, dtype, cache, norms=False, **options):
    """`cache`: none, growing (as long as the earlier tokens), or the rows of a buffer."""
    pick = np.random.default_rng(seed)
    element = TYPES[dtype][0]
    attributes = {"num_heads": N, "kv_num_heads": G, **options}
    packed = bool(pick.integers(2))
    rotary = attributes.get("do_rotary", 0)
    half = [H // 2, 4][pick.integers(2)] if rotary else 0
    bias_kind = pick.integers(4) if not options.get("sliding_window_cache") else 0
    sink, ids = seed % 3 == 1, rotary and seed % 4 == 3

    def make(random, case):
        batch, fresh, total, ragged = case
        if cache == "none":
            total = fresh
        draw = lambda *shape: random.standard_normal(shape).astype(element)
        first = fresh == total
        low = 1 if first else fresh
        lengths = random.integers(low, total + 1, batch) if ragged else np.full(batch, total)
        lengths[random.integers(batch)] = total
        if packed:
            qkv = [draw(batch, fresh, (N + 2 * G) * H), None, None]
        else:
            qkv = [draw(batch, fresh, N * H), draw(batch, fresh, G * H), draw(batch, fresh, G * H)]
        past = [None, None]
        if cache != "none":
            rows = total - fresh if cache == "growing" else cache
            past = [draw(batch, G, rows, H), draw(batch, G, rows, H)]
        for b in range(batch if cache not in ("none", "growing") else 0):  # rows that nobody has written
            held = 0 if first else lengths[b] - fresh
            if options.get("sliding_window_cache"):
                held = ref.resident(held, cache, attributes["local_window_size"])
            for x in past:
                x[b, :, held:] = np.nan
        angles = random.standard_normal((POSITIONS, half))
        caches = [np.cos(angles).astype(element), np.sin(angles).astype(element)] if rotary else [None, None]
        before = np.zeros(batch, np.int64) if first else lengths - fresh
        positions = (before[:, None] + np.arange(fresh)).astype(np.int64) if ids else None
        shape = {1: (1, N, fresh, total), 2: (batch, 1, fresh, total), 3: (batch, N, fresh, total)}.get(bias_kind)
        return [
            *qkv, *past, (lengths - 1).astype(np.int32), np.array(total, np.int32), *caches, positions,
            draw(*shape) if shape else None, draw(N) if sink else None, None, None, *([draw(H), draw(H)] if norms else [None, None]),
        ]  # fmt: skip

    presents = cache != "none" or bool(pick.integers(2))
    wants = attributes.get("qk_output", 0) != 0
    # Batch, new tokens, all tokens, entries of different length.
    cases = [(2, 5, 5, False), (3, 7, 7, True), (2, 1, 6, False), (3, 1, 9, True), (1, 4, 11, False), (1, 1, 1, False)]
    return Form("GroupQueryAttention", MS, attributes, [True, presents, presents, wants], make, ref.group_query_attention, cases, 100 * seed)


def group_query_forms(dtype):
    options = [
        {}, {"do_rotary": 1}, {"do_rotary": 1, "rotary_interleaved": 1}, {"softcap": 2.0}, {"scale": 0.5},
        {"local_window_size": 3}, {"smooth_softmax": 1}, {"causal": 0}, {"do_rotary": 1, "local_window_size": 5, "softcap": 1.0},
        {"qk_output": 1}, {"qk_output": 2},
    ]  # fmt: skip
    caches = ["none", "growing", 12]
    forms = [group_query_form(i, dtype, caches[i % 3], **o) for i, o in enumerate(options + options[:9])]
    forms.append(group_query_form(30, dtype, 12, norms=True, do_rotary=1))
    forms.append(group_query_form(31, dtype, "growing", norms=True, qk_norm_epsilon=0.01))
    for i, (window, rows) in enumerate([(4, 4), (4, 6), (3, 12), (1, 2), (5, 5)]):
        forms.append(
            group_query_form(40 + i, dtype, rows, sliding_window_cache=1, local_window_size=window, do_rotary=i % 2)
        )
    return forms


# ----------------------------------------------------------------------------------------------------------------------
# com.microsoft.MultiHeadAttention


def multi_head_form(seed, dtype, layout, **options):
    pick = np.random.default_rng(seed)
    element = TYPES[dtype][0]
    heads, size = 3, 8
    attributes = {"num_heads": heads, **options}
    with_bias, padding = layout != "packed keys" and bool(pick.integers(2)), ["none", "2", "3", "1", "cumulated"][seed % 5]
    bias_kind, with_past = pick.integers(4), layout in ("plain", "packed") and bool(pick.integers(2))
    value_size = 4 if layout == "plain" and not with_past else 8

    def make(random, case):
        batch, queries, keys, past = case
        if layout == "packed" or options.get("unidirectional"):
            keys = queries
        draw = lambda *shape: random.standard_normal(shape).astype(element)
        q, k, v = draw(batch, queries, heads * size), draw(batch, keys, heads * size), draw(batch, keys, heads * value_size)
        if layout == "packed":
            q, k, v = draw(batch, queries, heads, 3, size), None, None
        elif layout == "packed keys":
            k, v = draw(batch, keys, heads, 2, size), None
        elif layout == "heads first":
            k, v = draw(batch, heads, keys, size), draw(batch, heads, keys, value_size)
        total = keys + (past if with_past else 0)
        flags = {
            "2": lambda: random.integers(0, 2, (batch, total)), "3": lambda: random.integers(0, 2, (batch, queries, total)),
            "1": lambda: random.integers(1, total + 1, batch),
            "cumulated": lambda: np.concatenate([random.integers(1, total + 1, batch), np.arange(2 * batch + 2)]),
        }.get(padding, lambda: None)()  # fmt: skip
        if padding in ("2", "3"):
            flags[..., 0] = 1  # -10000 leaves little of a score in f32
        shape = {1: (1, heads, queries, total), 2: (batch, 1, queries, total), 3: (1, 1, queries, total)}.get(bias_kind)
        return [
            q, k, v, draw(heads * (2 * size + value_size)) if with_bias else None,
            None if flags is None else flags.astype(np.int32), draw(*shape) if shape else None,
            draw(batch, heads, past, size) if with_past else None, draw(batch, heads, past, value_size) if with_past else None,
        ]  # fmt: skip

    presents = with_past or (layout == "plain" and bool(pick.integers(2)))
    cases = [(1, 1, 6, 3), (2, 5, 5, 4), (3, 3, 7, 1), (2, 1, 1, 2)]
    return Form("MultiHeadAttention", MS, attributes, [True, presents, presents], make, ref.multi_head_attention, cases, 100 * seed)


def multi_head_forms(dtype):
    layouts, forms = ["plain", "packed", "packed keys", "heads first"], []
    for i in range(20):
        options = [{}, {"unidirectional": 1}, {"scale": 0.25}, {"mask_filter_value": -3.0}, {}, {}, {}][i % 7]
        forms.append(multi_head_form(i, dtype, layouts[i % 4], **options))
    return forms


# ----------------------------------------------------------------------------------------------------------------------
# Smaller ones


def rotary_form(seed, dtype, rank, scalar, **attributes):
    """com.microsoft.RotaryEmbedding; `scalar`: the position of the first token only."""
    element = TYPES[dtype][0]
    heads, size = 3, 8
    half = attributes.get("rotary_embedding_dim", size) // 2

    def make(random, case):
        batch, tokens = case
        x = random.standard_normal((batch, heads, tokens, size) if rank == 4 else (batch, tokens, heads * size))
        ids = random.integers(0, 9, 1) if scalar else random.integers(0, 32, (batch, tokens))
        angles = random.standard_normal((32, half))
        return [x.astype(element), ids, np.cos(angles).astype(element), np.sin(angles).astype(element)]

    def reference(x, ids, cos, sin, interleaved=0, **_):
        positions = ids[0] + np.arange(x.shape[-2])[None] if scalar else ids
        y = ref.rotate(x if rank == 4 else ref.split(x, heads), cos[positions], sin[positions], interleaved)
        return [y if rank == 4 else ref.merge(y)]

    return Form("RotaryEmbedding", MS, attributes, [True], make, reference, [(1, 1), (2, 5), (3, 17), (2, 0)], seed)


def product_form(seed, dtype, shapes, **attributes):
    def make(random, case):
        return [random.standard_normal([case[d] for d in shape]).astype(TYPES[dtype][0]) for shape in shapes]

    def reference(a, b, alpha=1.0, transA=0, transB=0, transBatchA=0, transBatchB=0):
        a, b = (np.moveaxis(ref.f64(x), 0, -2) if batch else ref.f64(x) for x, batch in ((a, transBatchA), (b, transBatchB)))
        a, b = (np.swapaxes(x, -1, -2) if turned else x for x, turned in ((a, transA), (b, transB)))
        return [alpha * (a @ b)]

    cases = [{"b": 2, "h": 3, "m": 5, "k": 7, "n": 4}, {"b": 1, "h": 1, "m": 1, "k": 16, "n": 17}]
    return Form("FusedMatMul", MS, attributes, [True], make, reference, cases, seed)


def gelu_form(seed, dtype, op, biased):
    def make(random, case):
        bias = random.standard_normal(case[-1]).astype(TYPES[dtype][0]) if biased else None
        return [2 * random.standard_normal(case).astype(TYPES[dtype][0]), bias]

    def reference(x, bias):
        v = ref.f64(x) + (0 if bias is None else ref.f64(bias))
        if op == "FastGelu":
            return [0.5 * v * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v**3)))]
        from math import erf

        return [0.5 * v * (1 + np.vectorize(erf)(v * np.sqrt(0.5)))]

    return Form(op, MS, {}, [True], make, reference, [(2, 3, 9), (1, 1, 16)], seed)


def embed_form(seed, dtype, with_segments, with_mask, with_positions):
    element, hidden = TYPES[dtype][0], 24

    def make(random, case):
        batch, tokens = case
        draw = lambda *shape: random.standard_normal(shape).astype(element)
        ids = lambda limit, rows=batch: random.integers(0, limit, (rows, tokens)).astype(np.int32)
        return [
            ids(19), ids(2) if with_segments else None, draw(19, hidden), draw(32, hidden),
            draw(2, hidden) if with_segments else None, draw(hidden), draw(hidden),
            ids(2) if with_mask else None, ids(32, 1 if with_positions == 1 else batch) if with_positions else None,
        ]  # fmt: skip

    def reference(ids, segments, words, positions, segment_table, gamma, beta, mask, position_ids, epsilon):
        total = ref.f64(words)[ids]
        total = total + (ref.f64(positions)[: ids.shape[1]] if position_ids is None else ref.f64(positions)[position_ids])
        if segments is not None:
            total = total + ref.f64(segment_table)[segments]
        centered = total - total.mean(-1, keepdims=True)
        y = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + epsilon) * gamma + beta
        return [y, np.zeros(len(ids)) if mask is None else (mask != 0).sum(1).astype(np.float64), total]

    return Form("EmbedLayerNormalization", MS, {"epsilon": 1e-3}, [True, True, True], make, reference, [(1, 1), (2, 5), (3, 17)], seed, [element, np.int32, element])


def small_forms(dtype):
    forms = [rotary_form(i, dtype, rank, scalar, interleaved=i % 2) for i, (rank, scalar) in enumerate([(3, True), (3, False), (4, True), (4, False)])]
    forms.append(rotary_form(4, dtype, 3, False, num_heads=3, rotary_embedding_dim=4))
    forms.append(rotary_form(5, dtype, 4, True, num_heads=3, rotary_embedding_dim=6, interleaved=1))
    return forms


def other_forms(dtype):
    forms = [product_form(i, dtype, shapes, **options) for i, (shapes, options) in enumerate([
        (("bhmk", "bhkn"), {"alpha": 0.5}), (("bhkm", "bhnk"), {"transA": 1, "transB": 1}),
        (("mbhk", "bhkn"), {"transBatchA": 1}), (("bhmk", "nbhk"), {"transBatchB": 1, "transB": 1}),
        (("kbhm", "kbhn"), {"transBatchA": 1, "transBatchB": 1, "transA": 1, "alpha": -2.0}),
    ])]  # fmt: skip
    return forms + [gelu_form(9, dtype, op, biased) for op, biased in (("BiasGelu", True), ("FastGelu", True), ("FastGelu", False))]


def refused(folder):
    """Values that only a run can see."""
    form = group_query_form(5, "f32", 12, do_rotary=1)
    path = os.path.join(folder, "refused")
    onnx.save(model_of([form], 21, True), path + ".onnx")
    moe_testing.run("moe-compile", path + ".onnx", "-o", path)
    model = compiled.Model(path + ".so")
    good = form.feed("n0", 2)
    for name, value, words in [
        ("n0_i5", np.array([5, 6], np.int32), "expects seqlens_k .* at most 5, got 6"),
        ("n0_i5", np.array([-1, 5], np.int32), "expects seqlens_k .* got -1"),
        ("n0_i6", np.array(14, np.int32), "expects a cache that holds the earlier of 14 tokens, got 13"),
        ("n0_i6", np.array(0, np.int32), "expects a total_sequence_length of at least the 1 new tokens, got 0"),
    ]:
        try:
            model.run(**{**good, name: value})
        except Exception as error:
            if not re.search(r"^node 'n0' \(com.microsoft::GroupQueryAttention\): " + words, str(error)):
                sys.exit("expected: %s\nfound: %s" % (words, error))
        else:
            sys.exit("expected: " + words)
    print("refused: as expected")


folder = sys.argv[1]
# CHECK: attention: 32 nodes, {{[0-9]+}} outputs
# CHECK: attention 23: 8 nodes
# CHECK: attention without names: 8 nodes
# CHECK: attention f16: 8 nodes
# CHECK: attention f64: 8 nodes
check("attention", folder, [attention_form(i, 25, "f32") for i in range(32)], 25, runtime=False)
check("attention 23", folder, [attention_form(40 + i, 23, "f32") for i in range(8)], 23, runtime=False)
check("attention without names", folder, [attention_form(50 + i, 25, "f32") for i in range(8)], 25, names=False, runtime=False)
check("attention f16", folder, [attention_form(60 + i, 25, "f16") for i in range(8)], 25, "f16", runtime=False)
check("attention f64", folder, [attention_form(70 + i, 25, "f64") for i in range(8)], 25, "f64", runtime=False)
# CHECK: group query: 27 nodes, {{[0-9]+}} outputs, {{[1-9][0-9]+}} as in onnxruntime
# CHECK: group query without names: 27 nodes
# CHECK: group query f16: 27 nodes
check("group query", folder, group_query_forms("f32"), 21)
check("group query without names", folder, group_query_forms("f32"), 21, names=False, runtime=False)
check("group query f16", folder, group_query_forms("f16"), 21, "f16", runtime=False)
# CHECK: multi head: 20 nodes, {{[0-9]+}} outputs, {{[1-9][0-9]+}} as in onnxruntime
# CHECK: multi head without names: 20 nodes
# CHECK: multi head f16: 20 nodes
check("multi head", folder, multi_head_forms("f32"), 21)
check("multi head without names", folder, multi_head_forms("f32"), 21, names=False, runtime=False)
check("multi head f16", folder, multi_head_forms("f16"), 21, "f16", runtime=False)
# CHECK: rotary: 6 nodes, {{[0-9]+}} outputs, {{[1-9][0-9]+}} as in onnxruntime
# CHECK: rotary f16: 6 nodes
check("rotary", folder, small_forms("f32"), 21)
check("rotary f16", folder, small_forms("f16"), 21, "f16", runtime=False)
# CHECK: others: 8 nodes, 16 outputs, {{[1-9][0-9]+}} as in onnxruntime
check("others", folder, other_forms("f32"), 21)
# CHECK: embeddings: 4 nodes, 36 outputs, {{[1-9][0-9]*}} as in onnxruntime
check("embeddings", folder, [embed_form(i, "f32", i % 2, i // 2, [0, 1, 2, 0][i]) for i in range(4)], 21)
# CHECK: refused: as expected
refused(folder)

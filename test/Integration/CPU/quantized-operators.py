# REQUIRES: python-numpy, python-onnx
# RUN: %python %s %t | FileCheck %s
"""com.microsoft.QMoE, MatMulNBits, and products behind DequantizeLinear in all forms against float64."""

import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import moe_reference
import moe_testing
from quantize import MXFP4, Quantized, pack

LIMITS = {np.float32: 1e-5, np.float16: 2e-3}


class Model:
    """Nodes over common inputs, each with an output and its expected value."""

    def __init__(self, dtype):
        self.dtype, self.element = dtype, helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.random = np.random.default_rng(11)
        self.nodes, self.initializers, self.outputs, self.references = [], [], [], []

    def weight(self, array):
        if array is None:
            return ""
        name = "w%d" % len(self.initializers)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def bits(self, array, element):
        """A tensor of a type that numpy does not have."""
        if array is None:
            return ""
        name = "w%d" % len(self.initializers)
        per_byte = {TensorProto.FLOAT8E8M0: 1, TensorProto.INT8: 1, TensorProto.UINT8: 1, TensorProto.INT2: 4, TensorProto.UINT2: 4}
        data = pack(array.reshape(-1), 8 // per_byte.get(element, 2))
        self.initializers.append(helper.make_tensor(name, element, array.shape, data.tobytes(), raw=True))
        return name

    def node(self, operator, inputs, shape, reference, domain="com.microsoft", **attributes):
        name = "y%d" % len(self.outputs)
        while inputs[-1] == "":
            inputs.pop()
        self.nodes.append(helper.make_node(operator, inputs, [name], name="n" + name[1:], domain=domain, **attributes))
        self.outputs.append(helper.make_tensor_value_info(name, self.element, shape))
        self.references.append(reference)

    def check(self, folder, name, inputs, cases):
        graph = helper.make_graph(
            self.nodes, "g", [helper.make_tensor_value_info(n, self.element, s) for n, s in inputs], self.outputs, self.initializers)
        model = helper.make_model(graph, ir_version=13, opset_imports=[
            helper.make_opsetid("", 25), helper.make_opsetid("com.microsoft", 1)])
        path = moe_testing.save(model, folder, name)
        given = []
        for arrays in cases:
            expected = {"y%d" % i: reference(**arrays).astype(self.dtype) for i, reference in enumerate(self.references)}
            given.append((arrays, expected))
        return path, moe_testing.check(path, given, LIMITS[self.dtype])


# ---- QMoE -------------------------------------------------------------------

FORMS = [
    {"activation_type": "silu", "three": True},
    {"activation_type": "gelu"},
    {"activation_type": "swiglu", "three": True, "swiglu_limit": 1.0, "activation_beta": 0.5},
    {"activation_type": "swiglu", "swiglu_fusion": 1, "activation_alpha": 1.702, "activation_beta": 1.0, "swiglu_limit": 0.7},
    {"activation_type": "swiglu", "swiglu_fusion": 2},
]


def scales_of(q, block_size):
    return q.scales if block_size else q.scales[..., 0]


def zero_points_of(q, block_size):
    if q.zero_points is None:
        return None
    return pack(q.zero_points if block_size else q.zero_points[..., 0], q.bits)


def add_qmoe(model, e, h, i, bits, block, zeros, form, turn):
    """`bits`: of FC1 and FC3, and of FC2."""
    form = dict(form)
    three, bias = form.pop("three", False), turn % 2 == 0
    k, mixed = min([1, 2, 4, e][turn % 4], e), turn % 3 == 1
    form |= {"k": k, "normalize_routing_weights": turn // 2 % 2}
    wide = 2 * i if form.get("swiglu_fusion") else i

    def linear(rows, depth, bits):
        q = Quantized(model.random, (e, rows, depth), bits, block, zeros, model.dtype)
        b = model.random.standard_normal((e, rows)).astype(model.dtype) if bias else None
        return q, b

    layers = [linear(wide, h, bits[0]), linear(h, i, bits[1]), linear(i, h, bits[0]) if three else (None, None)]
    inputs = ["x", "r"]
    for q, b in layers:
        inputs += [model.weight(pack(q.integers, q.bits)), model.weight(scales_of(q, block)), model.weight(b)] if q else [""] * 3
    inputs += [model.weight(zero_points_of(q, block)) if q else "" for q, _ in layers] + ["m" if mixed else ""]
    floats = []
    for q, b in layers:
        floats += [q.values() if q else None, b]
    attributes = dict(form)
    if block:
        attributes["block_size"] = block
    if bits != (4, 4):
        attributes["expert_weight_bits"] = bits[0]
    if bits[0] != bits[1]:
        attributes["fc2_expert_weight_bits"] = bits[1]

    def reference(x, r, m):
        return moe_reference.contrib_moe(x, r, *floats, **form, mixture=m if mixed else None)

    model.node("QMoE", inputs, ["t", h], reference, **attributes)


def check_mxfp4(folder, name, dtype, e, h, i, tokens):
    """quant_type="fp4", as for CUDA: input-major weights, exponents as scales, and global scales of 1."""
    model = Model(dtype)
    for turn, form in enumerate(FORMS):
        form = dict(form)
        three, wide = form.pop("three", False), 2 * i if form.get("swiglu_fusion") else i
        inputs, floats = ["x", "r"], []
        for rows, depth in ((wide, h), (h, i), (i, h) if three else (0, 0)):
            if not rows:
                inputs, floats = inputs + [""] * 3, floats + [None, None]
                continue
            q = MXFP4(model.random, (e, rows, depth))
            bias = model.random.standard_normal((e, rows)).astype(dtype) if turn % 2 else None
            inputs += [model.weight(pack(q.integers.transpose(0, 2, 1), 4)), model.bits(q.scales, TensorProto.FLOAT8E8M0), model.weight(bias)]
            floats += [q.values(), bias]
        inputs += [""] * 4 + [model.weight(np.ones(e, np.float32)) if turn % 2 else ""] * 2
        form["k"] = min(e, 1 + turn % 3)

        def reference(x, r, floats=floats, form=form):
            return moe_reference.contrib_moe(x, r, *floats, **form)

        model.node("QMoE", inputs, ["t", h], reference, quant_type="fp4", expert_weight_bits=4, block_size=32, **form)
    cases = [{"x": model.random.standard_normal((n, h)).astype(dtype), "r": model.random.standard_normal((n, e)).astype(dtype)}
             for n in tokens]  # fmt: skip
    path, checked = model.check(folder, name, [("x", ["t", h]), ("r", ["t", e])], cases)
    layers = moe_testing.count(moe_testing.raised(path), "moe.combine")
    print("%s: %d layers, %d outputs" % (name, layers, checked))


def check_qmoe(folder, name, dtype, e, h, i, blocks, tokens):
    model, turn = Model(dtype), 0
    for bits in ((4, 4), (8, 8), (2, 2), (4, 8)):
        for block in blocks:
            for zeros in (None, "packed"):
                for form in FORMS if bits == (4, 4) else FORMS[turn % 4 : turn % 4 + 2]:
                    add_qmoe(model, e, h, i, bits, block, zeros, form, turn)
                    turn += 1
    cases = []
    for count in tokens:
        x, r, m = (model.random.standard_normal((count, n)).astype(dtype) for n in (h, e, e))
        r[::3] = np.round(r[::3])  # every third token has equal logits
        cases.append({"x": x, "r": r, "m": np.abs(m) + dtype(0.1)})
    path, checked = model.check(folder, name, [("x", ["t", h]), ("r", ["t", e]), ("m", ["t", e])], cases)
    layers = moe_testing.count(moe_testing.raised(path), "moe.combine")
    print("%s: %d layers, %d outputs" % (name, layers, checked))


# ---- MatMulNBits ------------------------------------------------------------


def check_matmul(folder, name, dtype, n, k, leadings):
    model = Model(dtype)
    for bits in (2, 4, 8):
        for block in (16, 32, 64, 128):
            for turn, zeros in enumerate((None, "packed", "float")):
                q = Quantized(model.random, (n, k), bits, block, zeros, dtype)
                blocks = q.scales.shape[-1]
                padded = np.concatenate([q.integers, model.random.integers(0, 2**bits, (n, -k % block), dtype=np.uint8)], -1)
                values = pack(padded, bits).reshape(n, blocks, block * bits // 8)
                zero_points = q.zero_points
                if zeros == "packed":
                    zero_points = pack(zero_points, bits)
                flat = turn == 1  # as older exporters write them
                scales = q.scales.reshape(-1) if flat else q.scales
                if flat:
                    zero_points = zero_points.reshape(-1)
                bias = model.random.standard_normal(n).astype(dtype) if turn else None
                inputs = ["x", model.weight(values), model.weight(scales), model.weight(zero_points), "", model.weight(bias)]

                def reference(x, w=q.values(), bias=bias):
                    return x.astype(np.float64) @ w.T + (0 if bias is None else bias.astype(np.float64))

                model.node("MatMulNBits", inputs, ["b", "s", n], reference, K=k, N=n, bits=bits, block_size=block, accuracy_level=4)
    cases = [{"x": model.random.standard_normal(leading + (k,)).astype(dtype)} for leading in leadings]
    path, checked = model.check(folder, name, [("x", ["b", "s", k])], cases)
    print("%s: %d products, %d outputs" % (name, moe_testing.count(moe_testing.raised(path), "moe.grouped_matmul"), checked))


# ---- DequantizeLinear -------------------------------------------------------

INTEGERS = {(bits, signed): getattr(TensorProto, ("INT" if signed else "UINT") + str(bits)) for bits in (2, 4, 8) for signed in (0, 1)}


def add_dequantized(model, q, element, columns, input_major, operator):
    """x [.., K] times what DequantizeLinear makes of [K, N], or of [N, K], in blocks along K."""

    def stored(array, element):
        return array if array is None else model.bits(array.T if input_major else array, element)

    floats = element == TensorProto.FLOAT4E2M1
    if floats:
        scales = stored(q.scales, TensorProto.FLOAT8E8M0)
    else:
        scales = model.weight(np.ascontiguousarray(q.scales.T if input_major else q.scales))
    matrix = "m%d" % len(model.outputs)
    inputs = [stored(q.integers, element), scales] + ([] if floats or q.zero_points is None else [stored(q.zero_points, element)])
    model.nodes.append(helper.make_node(
        "DequantizeLinear", inputs, [matrix], axis=0 if input_major else 1, block_size=q.block_size, output_dtype=model.element))
    bias = model.random.standard_normal(columns).astype(model.dtype)
    w, b = q.values(), bias.astype(np.float64)
    if operator == "FusedMatMul":
        model.node(operator, ["x", matrix], ["t", columns], lambda x: 0.5 * (x.astype(np.float64) @ w.T),
                   alpha=0.5, transB=int(not input_major))  # fmt: skip
    elif operator == "Gemm":
        model.node(operator, ["x", matrix, model.weight(bias)], ["t", columns], lambda x: x.astype(np.float64) @ w.T + b,
                   domain="", transB=int(not input_major))  # fmt: skip
    else:
        model.node(operator, ["x", matrix], ["t", columns], lambda x: x.astype(np.float64) @ w.T, domain="")


def check_dequantized(folder, name, dtype, n, k, block, tokens):
    """Small weights are constants of the module, others stay in the file."""
    model, turn = Model(dtype), 0
    for input_major in (True, False):
        operators = ("MatMul", "Gemm", "FusedMatMul") if input_major else ("Gemm", "FusedMatMul")
        for (bits, signed), element in INTEGERS.items():
            for zeros in ("packed", None) if signed else ("packed",):
                q = Quantized(model.random, (n, k), bits, block, zeros, dtype, signed)
                add_dequantized(model, q, element, n, input_major, operators[turn % len(operators)])
                turn += 1
        add_dequantized(model, MXFP4(model.random, (n, k), block), TensorProto.FLOAT4E2M1, n, input_major, operators[0])
    cases = [{"x": model.random.standard_normal((count, k)).astype(dtype)} for count in tokens]
    path, checked = model.check(folder, name, [("x", ["t", k])], cases)
    text = moe_testing.raised(path)
    packed = sum("block_size" in line for line in text.splitlines() if "moe.grouped_matmul" in line)
    print("%s: %d packed products, %d outputs" % (name, packed, checked))


folder = sys.argv[1]
# CHECK: qmoe-f32: 44 layers, 220 outputs
# CHECK: qmoe-one-expert: 22 layers, 66 outputs
# CHECK: qmoe-f16: 44 layers, 88 outputs
check_qmoe(folder, "qmoe-f32", np.float32, 7, 64, 32, (0, 16), (0, 1, 2, 7, 64))
# Widths that bytes do not divide into more than once.
check_qmoe(folder, "qmoe-one-expert", np.float32, 1, 20, 12, (0,), (1, 3, 33))
check_qmoe(folder, "qmoe-f16", np.float16, 5, 32, 48, (0, 16), (1, 9))
# CHECK: mxfp4-f32: 5 layers, 25 outputs
# CHECK: mxfp4-small: 5 layers, 10 outputs
# CHECK: mxfp4-f16: 5 layers, 15 outputs
check_mxfp4(folder, "mxfp4-f32", np.float32, 5, 64, 96, (0, 1, 2, 7, 64))
check_mxfp4(folder, "mxfp4-small", np.float32, 1, 10, 6, (1, 17))
check_mxfp4(folder, "mxfp4-f16", np.float16, 3, 96, 38, (1, 3, 40))
# CHECK: matmul-f32: 36 products, 180 outputs
# CHECK: matmul-small: 36 products, 36 outputs
# CHECK: matmul-f16: 36 products, 72 outputs
check_matmul(folder, "matmul-f32", np.float32, 61, 203, [(1, 0), (1, 1), (2, 1), (1, 7), (4, 16)])
check_matmul(folder, "matmul-small", np.float32, 1, 3, [(2, 3)])
check_matmul(folder, "matmul-f16", np.float16, 37, 96, [(1, 1), (3, 5)])
# CHECK: dequantize-f32: 20 packed products, 80 outputs
# CHECK: dequantize-small: 20 packed products, 40 outputs
# CHECK: dequantize-f16: 20 packed products, 40 outputs
check_dequantized(folder, "dequantize-f32", np.float32, 61, 176, 16, (0, 1, 7, 40))
check_dequantized(folder, "dequantize-small", np.float32, 3, 16, 16, (1, 5))
check_dequantized(folder, "dequantize-f16", np.float16, 37, 96, 32, (1, 9))

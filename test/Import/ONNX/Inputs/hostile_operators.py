"""Operands and attributes that an operator cannot have: the node is named in each message."""

import numpy as np
from hostile_cases import F32, I64, add, model, value
from onnx import TensorProto, helper, numpy_helper

MS = "com.microsoft"
BIG, SMALL = 2**63 - 1, -(2**63)
COUNTS = {}


class X:
    """A graph input of a node."""

    def __init__(self, *dims, dtype=F32):
        self.dims, self.dtype = list(dims), dtype


def ints(*values):
    return np.array(values, np.int64)


def bad(op, *operands, expected="", outputs=1, domain="", opset=20, **attributes):
    """A model of the one node 'n' over inputs (X), constants (arrays) and omitted operands (None)."""
    names, inputs, initializers = [], [], []
    for index, operand in enumerate(operands):
        name = f"x{index}"
        names.append("" if operand is None else name)
        if isinstance(operand, X):
            inputs.append(value(name, operand.dims, operand.dtype))
        elif operand is not None:
            initializers.append(operand if isinstance(operand, TensorProto) else numpy_helper.from_array(np.asarray(operand), name))
            initializers[-1].name = name
    results = [f"y{index}" for index in range(outputs)]
    node = helper.make_node(op, names, results, name="n", domain=domain, **attributes)
    made = [helper.make_empty_tensor_value_info(name) for name in results]
    found = model([node], inputs, made, initializers, [("", opset), (MS, 1)])
    COUNTS[op] = COUNTS.get(op, -1) + 1
    # An element type that nothing is computed in is refused where it comes in.
    strange = any(isinstance(x, X) and x.dtype in (TensorProto.STRING, TensorProto.COMPLEX64) for x in operands)
    where = "input 'x0': expects integer or float elements" if strange else f"{op}): "
    add(f"op_{op}_{COUNTS[op]}", ("" if strange else "node 'n' (", where, expected), found)


# ---- Indices that are constants ------------------------------------------------

for index in (4, -5, 100, BIG, SMALL):
    bad("Gather", X("n", 4), ints(index), axis=1)
    bad("Gather", np.ones((4, 3), np.float32), ints(0, index))
    bad("GatherElements", X(4, 4), np.full((4, 4), index), axis=1)
    bad("GatherND", X(4, "n"), ints([index]))
    bad("GatherND", np.ones((4, 4), np.float32), ints([0, index]))
    bad("ScatterND", X(4, 2), ints([index]), np.ones((1, 2), np.float32))
    bad("ScatterElements", X(4, 4), np.full((1, 4), index), np.ones((1, 4), np.float32))
bad("Gather", X("n", 4), np.array([4], np.int32), axis=1)
bad("Gather", X("n", 4), np.array([0.5], np.float32))
bad("GatherND", X(4, 4), ints([0, 0, 0]))
bad("GatherND", X(4, 4), ints([0]), batch_dims=1)
bad("GatherND", X(4, 4), ints([0]), batch_dims=-1)
bad("GatherND", X(4, 4), ints([0]), batch_dims=BIG)
for batch in (-100, SMALL):
    bad("GatherND", X(4, 4), ints([0]), batch_dims=batch)
bad("GatherND", X("n", 4, 1), X(4, -1, dtype=I64))
bad("GatherND", X(4, 4), X(1, "k", dtype=I64))
bad("GatherND", X(4, 4), np.int64(0))
bad("ScatterND", X(4, 4), ints([0]), np.ones((1, 5), np.float32))
bad("ScatterND", X(4, 4), ints([0, 0, 0]), np.ones((1,), np.float32))
bad("ScatterND", X(4, 4), ints([0]), np.ones((2, 4), np.float32))
bad("ScatterND", X(4, 4), ints([0]), np.ones((1, 4), np.float32), reduction="xor")
bad("ScatterElements", X(4, 4), ints([0]), np.ones((1, 5), np.float32))
bad("ScatterElements", X(4, 4), np.zeros((1, 4), np.int64), np.ones((1, 4), np.float32), reduction="first")
bad("ScatterElements", X(4, 4), np.zeros((1, 5), np.int64), np.ones((1, 5), np.float32))
bad("GatherElements", X(4, 4), ints(0))
bad("GatherElements", X(4, 4), np.zeros((4, 5), np.int64), axis=0)

# ---- Einsum, Compress ----------------------------------------------------------

for equation in ("", "i", "ijk", "i1->i", "ij1->i", "i.j", "...i...", "ij->->i", "->ij", "ij->ii", "ij->k", "ij->i1", "i...->i", "ij,jk->ik", "ij->i,j", "ii->i"):
    bad("Einsum", X(3, 4), equation=equation)
bad("Einsum", X("n", 4))
bad("Einsum", X("n", 4), equation=1)
bad("Einsum", X("n", 4), X("m", 5), equation="ij,kj")
bad("Einsum", X("n", 4), X("n", 4, dtype=I64), equation="ij,ij")
bad("Einsum", X("n", 4), None, X("n", 4), equation="ij,ij,ij")
for axis in (2, -3, BIG, SMALL):
    bad("Compress", X("n", 4), np.ones(2, bool), axis=axis)
bad("Compress", X("n", 4), np.ones(5, bool), axis=1)
bad("Compress", X("n", 4), np.ones((2, 2), bool))
bad("Compress", X("n", 4), X("k"))

# ---- TopK ----------------------------------------------------------------------

for k in (5, -1, 2**31, BIG, SMALL):
    bad("TopK", X("n", 4), ints(k), outputs=2)
    bad("TopK", X(4, 4), ints(k), outputs=2, axis=0)
bad("TopK", X("n", 4), outputs=2, k=5, opset=9)
bad("TopK", X("n", 4), outputs=2, k=-1, opset=9)
bad("TopK", X("n", 4), ints(1, 2), outputs=2)
bad("TopK", X("n", 4), ints(), outputs=2)
bad("TopK", X("n", 4), np.array([1.0], np.float32), outputs=2)
bad("TopK", X(), ints(1), outputs=2)

# ---- Axes ----------------------------------------------------------------------

for axis in (2, -3, BIG, SMALL):
    x = X("n", 4)
    for op in ("Softmax", "LogSoftmax", "ArgMax", "ArgMin"):
        bad(op, x, axis=axis)
    bad("TopK", x, ints(1), outputs=2, axis=axis)
    bad("Gather", x, ints(0), axis=axis)
    bad("GatherElements", x, X("n", 4, dtype=I64), axis=axis)
    bad("ScatterElements", x, np.zeros((1, 4), np.int64), np.ones((1, 4), np.float32), axis=axis)
    bad("Concat", x, x, axis=axis)
    bad("Split", x, axis=axis, num_outputs=2, outputs=2)
    bad("CumSum", x, np.int64(axis))
    bad("ReduceSum", x, ints(axis))
    bad("ReduceMax", x, ints(0, axis))
    bad("ReduceMean", x, opset=13, axes=[axis])
    bad("Squeeze", x, ints(axis))
    bad("LayerNormalization", x, np.ones(4, np.float32), axis=axis)
    bad("Slice", x, ints(0), ints(1), ints(axis))
    bad("OneHot", X("n", dtype=I64), ints(3), np.array([0, 1], np.float32), axis=axis)
for axis in (3, -4, BIG, SMALL):
    bad("Flatten", X("n", 4), axis=axis)
    bad("Unsqueeze", X("n", 4), ints(axis))
for op in ("Squeeze", "ReduceSum", "Unsqueeze"):
    bad(op, X(1, 1, 4), ints(0, 0))
    bad(op, X(1, 1, 4), ints(0, -3 if op != "Unsqueeze" else -5))
bad("Squeeze", X("n", 4), ints(1))
for perm in ([0, 0], [0], [0, 1, 2], [0, 2], [-1, 0], [BIG, 0], []):
    if perm:
        bad("Transpose", X("n", 4), perm=perm)

# ---- Shapes --------------------------------------------------------------------

for shape in ((3,), (-1, -1), (-2, 4), (0, 0, 0), (BIG, 2), (2**62, 4), (-1, 3)):
    bad("Reshape", X(4, 2), ints(*shape))
bad("Reshape", X(4, 2), ints(0, -1), allowzero=1)
bad("Reshape", X(4, 2), ints([2, 4]))
bad("Reshape", X(4, 2), np.array([2.0, 4.0], np.float32))
bad("Reshape", X("n", 2), X("k", dtype=I64))
for shape in ((3,), (-1,), (4, 3), (SMALL, 1)):
    bad("Expand", X(4, 2), ints(*shape))
bad("Expand", X(1, 1), ints(2**40, 2**40))
bad("Expand", X(1, 1), ints(BIG, BIG))
for repeats in ((1,), (1, 1, 1), (-1, 1), (BIG, BIG), (2**40, 2**40), (SMALL, 1)):
    bad("Tile", X(4, 2), ints(*repeats))
for shape in ((-1,), (BIG, BIG), (2**40, 2**40), (SMALL,)):
    bad("ConstantOfShape", ints(*shape))
bad("ConstantOfShape", X(dtype=I64))
bad("ConstantOfShape", ints(2), value=numpy_helper.from_array(np.ones(2, np.float32)))
for sizes in ((1, 2), (5, -1), (BIG, BIG), (2, 2, 2), (4,), ()):
    bad("Split", X(4, 2), ints(*sizes), axis=0, outputs=2)
bad("Split", X(4, 2), axis=0, num_outputs=3, outputs=2)
bad("Split", X(4, 2), axis=0, num_outputs=0, outputs=2)
bad("Split", X(4, 2), axis=0, num_outputs=-1, outputs=2)
bad("Split", X(4, 2), axis=0, num_outputs=2**31 - 1, outputs=2)
bad("Split", X(4, 2), axis=0, num_outputs=2, split=[2, 2], outputs=2)
bad("Concat", X("n", 4), X("n", 4, 1), axis=0)
bad("Concat", X(2, 4), X(2, 5), axis=0)
bad("Concat", X("n", 4), X("n", 4, dtype=I64), axis=0)
bad("Slice", X("n", 4), ints(0), ints(1), ints(0), ints(0))
bad("Slice", X("n", 4), ints(0, 0), ints(1))
bad("Slice", X("n", 4), ints(0), ints(1), ints(0, 1))
bad("Slice", X("n", 4), ints(0, 0), ints(1, 1), ints(1, 1))
bad("Slice", X("n", 4), ints(0), ints(1), X(1, dtype=I64))
bad("Slice", X("n", 4), np.array([0.0], np.float32), np.array([1.0], np.float32))
bad("Slice", X(), ints(0), ints(1))
for pads in ((1, 1), (1, 1, 1, 1, 1), (BIG, 0, BIG, 0), (-9, 0, 0, 0), (SMALL, 0, 0, 0)):
    bad("Pad", X(4, 2), ints(*pads))
bad("Pad", X(4, 2), ints(1, 1, 1, 1), mode="mirror")
bad("Pad", X(4, 2), ints(1, 1, 1, 1), np.ones(2, np.float32))
bad("OneHot", X("n", dtype=I64), ints(-1), np.array([0, 1], np.float32))
bad("OneHot", X("n", dtype=I64), ints(3, 4), np.array([0, 1], np.float32))
bad("OneHot", X("n", dtype=I64), ints(3), np.array([0, 1, 2], np.float32))
bad("OneHot", X("n", dtype=I64), ints(BIG), np.array([0, 1], np.float32))
for bounds in ((0, 5, 0), (0, BIG, 1), (SMALL, BIG, 1)):
    bad("Range", *map(np.int64, bounds))
bad("Range", np.float32(0), np.float32(1e30), np.float32(1))
bad("Range", ints(0, 1), np.int64(5), np.int64(1))
bad("Range", np.int64(0), np.float32(5), np.int64(1))
bad("EyeLike", X(4))
bad("Trilu", X(4), np.int64(0))
bad("Trilu", X(4, 4), ints(0, 1))
bad("CumSum", X(4, 4), ints(0, 1))

# ---- Types and shapes that do not fit ------------------------------------------

for op in ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Equal", "Less"):
    bad(op, X(3, 4), X(3, 5))
    if op != "Pow":
        bad(op, X("n", 4), X("n", 4, dtype=I64))
    bad(op, X("n", dtype=TensorProto.STRING), X("n", dtype=TensorProto.STRING))
bad("And", X("n"), X("n"))
bad("Where", X("n"), X("n"), X("n"))
bad("Where", X("n", dtype=TensorProto.BOOL), X("n"), X("n", dtype=I64))
bad("MatMul", X("n", 4), X(5, 3))
bad("MatMul", X(), X(4, 3))
bad("MatMul", X(2, 3, 4), X(3, 4, 5))
bad("MatMul", X("n", 4), X(4, 3, dtype=I64))
bad("Gemm", X("n", 4), X(5, 3))
bad("Gemm", X("n", 4), X(5, 3), transB=1)
bad("Gemm", X("n", 4), X(4, 3), X(2))
bad("Gemm", X("n", 4, 1), X(4, 3))
bad("Gemm", X("n", 4), X(4, 3), alpha=1)
for target in (0, 99, -1, 2**40, TensorProto.STRING, TensorProto.COMPLEX64):
    bad("Cast", X("n"), to=target)
bad("Cast", X("n"))
bad("Cast", X("n", dtype=TensorProto.STRING), to=F32)
bad("LayerNormalization", X("n", 4), np.ones(5, np.float32))
bad("LayerNormalization", X("n", 4), np.ones(4, np.float32), np.ones(5, np.float32))
bad("LayerNormalization", X("n", 4), np.ones(4, np.float32), epsilon="small")
bad("Clip", X("n"), np.ones(2, np.float32))
bad("Clip", X("n"), np.int64(1))
bad("BitShift", X("n", dtype=TensorProto.UINT8), X("n", dtype=TensorProto.UINT8), direction="UP")
bad("BitShift", X("n", dtype=TensorProto.UINT8), X("n", dtype=TensorProto.UINT8))
bad("Mod", X("n"), X("n"))
bad("Gelu", X("n"), approximate="cubic")
bad("Dropout", X("n"), np.float32(0.5), np.bool_(True))
bad("PRelu", X("n", 4), X(5))
bad("ReduceSum", X("n", 4), X("k", dtype=I64))
bad("ReduceSum", X("n", 4), np.array([0.5], np.float32))
bad("NonZero", X("n", dtype=TensorProto.STRING))
bad("Identity", X("n", dtype=TensorProto.COMPLEX64))


# ---- Mixtures of experts -------------------------------------------------------

E, K, H, I = 4, 2, 16, 8


def f32(*dims):
    """Different everywhere: experts of equal weights are warned of."""
    count = int(np.prod(dims))
    return (1 + np.arange(count) / max(count, 1)).astype(np.float32).reshape(dims)


def moe(x=X("n", H), logits=X("n", E), fc1=f32(E, I, H), b1=None, fc2=f32(E, H, I), b2=None, fc3=None, b3=None, **attributes):
    operands = [x, logits, fc1, b1, fc2, b2, fc3, b3]
    while operands[-1] is None:
        operands.pop()
    attributes = {"k": K, "activation_type": "silu", **attributes}
    bad("MoE", *operands, domain=MS, **attributes)


for k in (0, -1, E + 1, BIG, SMALL):
    moe(k=k)
moe(k="2")
moe(k=2.0)
moe(k=[2])
moe(activation_type="softplus")
moe(activation_type="")
moe(activation_type=1)
moe(normalize_routing_weights="yes")
moe(use_sparse_mixer=1, k=1)
moe(unheard_of=1)
moe(swiglu_limit=7)
moe(swiglu_limit="7")
moe(activation_alpha=1)
for fusion in (-1, 3, BIG):
    moe(activation_type="swiglu", swiglu_fusion=fusion)
moe(activation_type="swiglu")
moe(activation_type="swiglu", swiglu_fusion=1)
moe(activation_type="swiglu", swiglu_fusion=1, fc1=f32(E, 2 * I, H), fc3=f32(E, I, H))
moe(activation_type="swiglu", swiglu_fusion=2, fc1=f32(E, 2 * I + 1, H))
moe(x=X("n"))
moe(x=X(1, 2, "n", H))
moe(x=X("n", H + 1))
moe(x=X("n", H, dtype=TensorProto.FLOAT16))
moe(x=X("n", H, dtype=I64))
moe(logits=X("n", E + 1))
moe(logits=X("b", "n", E))
moe(logits=X(E))
moe(logits=X("n", E, dtype=I64))
moe(logits=None)
moe(fc1=None)
moe(fc2=None)
moe(fc1=f32(E, I, H + 1))
moe(fc1=f32(E, I + 1, H))
moe(fc1=f32(E + 1, I, H))
moe(fc1=f32(I, H))
moe(fc1=f32(0, I, H), fc2=f32(0, H, I), logits=X("n", 0))
moe(fc1=X(E, "i", H))
moe(fc1=np.ones((E, I, H), np.int64))
moe(fc2=f32(E, H, I + 1))
moe(fc2=f32(E + 1, H, I))
moe(fc2=f32(E, H + 1, I))
moe(fc2=f32(E, H))
moe(fc2=np.ones((E, H, I), np.float16))
moe(b1=f32(E, I + 1))
moe(b1=f32(E + 1, I))
moe(b1=f32(I))
moe(b1=np.ones((E, I), np.int64))
moe(b2=f32(E, H + 1))
moe(b2=f32(E))
moe(fc3=f32(E, I + 1, H))
moe(fc3=f32(E + 1, I, H))
moe(fc3=f32(E, I, H), b3=f32(E, I + 1))
moe(b3=f32(E, I))


def qmoe(x=X("n", 32), logits=X("n", E), bits=4, block=0, fc1=None, s1=None, fc2=None, s2=None, z1=None, z2=None, mix=None, more=(), **attributes):
    """FC1 [E, 16, 32] and FC2 [E, 32, 16], packed."""
    per = 8 // bits if bits in (2, 4, 8) else 2
    u8 = lambda *dims: (np.arange(np.prod(dims)) % 251).astype(np.uint8).reshape(dims)
    fc1 = u8(E, 16, 32 // per) if fc1 is None else fc1
    fc2 = u8(E, 32, 16 // per) if fc2 is None else fc2
    s1 = (f32(E, 16, 32 // block) if block > 0 and 32 % block == 0 else f32(E, 16)) if s1 is None else s1
    s2 = (f32(E, 32, 16 // block) if block > 0 and 16 % block == 0 else f32(E, 32)) if s2 is None else s2
    operands = [x, logits, fc1, s1, None, fc2, s2, None, None, None, None, z1, z2, None, mix, *more]
    while operands[-1] is None:
        operands.pop()
    block_size = {"block_size": block} if block else {}
    attributes = {"k": K, "activation_type": "silu", "expert_weight_bits": bits, **block_size, **attributes}
    bad("QMoE", *operands, domain=MS, **attributes)


u8 = lambda *dims: np.zeros(dims, np.uint8)
for bits in (0, -4, 1, 3, 5, 16, 64, BIG, SMALL):
    qmoe(bits=bits)
    qmoe(fc1_expert_weight_bits=bits)
for block in (-1, -16, 1, 7, 24, 2**31, BIG, SMALL):
    qmoe(block=block)
for k in (0, -1, E + 1, BIG):
    qmoe(k=k)
qmoe(bits=8, fc1=u8(E, 16, 16))
qmoe(bits=2, fc1=u8(E, 16, 16))
qmoe(fc1=u8(E, 16, 15))
qmoe(fc1=u8(E, 16, 17))
qmoe(fc1=u8(E, 15, 16))
qmoe(fc1=u8(E + 1, 16, 16))
qmoe(fc1=u8(16, 16))
qmoe(fc1=f32(E, 16, 16))
qmoe(fc1=X(E, 16, "k", dtype=TensorProto.UINT8))
qmoe(fc2=u8(E, 31, 8))
qmoe(fc2=u8(E, 32, 9))
qmoe(s1=f32(E, 15))
qmoe(s1=f32(E + 1, 16))
qmoe(s1=f32(16))
qmoe(s1=f32(E, 16, 3), block=16)
qmoe(s1=u8(E, 16))
qmoe(s2=f32(E, 33))
qmoe(z1=u8(E, 7))
qmoe(z1=u8(E, 9))
qmoe(z1=f32(E, 8))
qmoe(z2=u8(E, 15))
qmoe(mix=X("n", E + 1))
qmoe(mix=X("n"))
qmoe(mix=X("n", E, dtype=I64))
qmoe(more=[f32(E)])
qmoe(quant_type="fp4")
qmoe(quant_type="int3")
qmoe(quant_type="")
qmoe(weights_prepacked=1)
qmoe(x=X("n", "h"))
qmoe(x=X("n", 31))
qmoe(logits=X("n", 3))
qmoe(use_sparse_mixer=1, k=1)
qmoe(expert_weight_bits="4")
qmoe(block_size="16")


def nbits(a=X("n", 32), b=u8(8, 1, 16), s=f32(8), z=None, g=None, bias=None, **attributes):
    operands = [a, b, s, z, g, bias]
    while operands[-1] is None:
        operands.pop()
    attributes = {"K": 32, "N": 8, "bits": 4, "block_size": 32, **attributes}
    bad("MatMulNBits", *operands, domain=MS, **{name: v for name, v in attributes.items() if v is not None})


for bad_size in (0, -1, 31, 33, 2**31, BIG, SMALL):
    nbits(K=bad_size)
    nbits(N=bad_size)
    nbits(block_size=bad_size)
for bits in (0, -4, 3, 5, 16, BIG, SMALL):
    nbits(bits=bits)
nbits(K=None)
nbits(N=None)
nbits(K="32")
nbits(b=u8(8, 1, 15))
nbits(b=u8(7, 1, 16))
nbits(b=u8(8, 2, 16))
nbits(b=u8(16, 16))
nbits(b=X("m", 1, 16, dtype=TensorProto.UINT8))
nbits(s=f32(7))
nbits(s=f32(8, 2))
nbits(s=u8(8))
nbits(z=u8(7))
nbits(z=f32(7))
nbits(a=X("n", 31))
nbits(a=X())
nbits(a=X("n", 32, dtype=I64))
nbits(bias=f32(7))
nbits(g=np.zeros(31, np.int32))


# ---- Attention -----------------------------------------------------------------

def gqa(q=X("b", "s", 32), k=X("b", "s", 16), v=X("b", "s", 16), past_k=X("b", 2, "p", 8), past_v=X("b", 2, "p", 8),
        lens=X("b", dtype=TensorProto.INT32), total=np.array(4, np.int32), cos=None, sin=None, outputs=3, **attributes):
    operands = [q, k, v, past_k, past_v, lens, total, cos, sin]
    while operands[-1] is None:
        operands.pop()
    attributes = {"num_heads": 4, "kv_num_heads": 2, **attributes}
    bad("GroupQueryAttention", *operands, domain=MS, outputs=outputs,
        **{name: v for name, v in attributes.items() if v is not None})


for heads in (0, -1, 3, 5, 2**31, BIG, SMALL):
    gqa(num_heads=heads)
    gqa(kv_num_heads=heads)
gqa(num_heads=None)
gqa(kv_num_heads=None)
gqa(num_heads="4")
gqa(num_heads=4.0)
gqa(q=X("b", "s", 33))
gqa(q=X("s", 32))
gqa(q=X("b", "s", 32, dtype=I64))
gqa(k=X("b", "s", 17))
gqa(k=None)
gqa(v=None)
gqa(v=X("b", "s", 24))
gqa(past_k=X("b", 3, "p", 8))
gqa(past_k=X("b", 2, "p", 7))
gqa(past_k=X("b", 2, "p"))
gqa(past_v=None)
gqa(lens=X("b"))
gqa(lens=None)
gqa(total=None)
gqa(total=np.array([4, 5], np.int32))
gqa(do_rotary=1)
gqa(do_rotary=1, cos=f32(16, 4))
gqa(do_rotary=1, cos=f32(16, 5), sin=f32(16, 5))
gqa(do_rotary=1, cos=f32(16, 4), sin=f32(15, 4))
gqa(local_window_size="4")
gqa(scale="big")


def mha(q=X("b", "s", 32), k=X("b", "t", 32), v=X("b", "t", 32), **attributes):
    bad("MultiHeadAttention", q, k, v, domain=MS, **attributes)


for heads in (0, -1, 3, 33, BIG, SMALL):
    mha(num_heads=heads)
mha()
mha(num_heads="4")
mha(num_heads=4, q=X("b", 32))
mha(num_heads=4, k=X("b", "t", 31))
mha(num_heads=4, k=None)
mha(num_heads=4, v=None)
mha(num_heads=4, k=X("b", "t", 32, dtype=I64))


def rotary(x=X("b", "s", 32), ids=X("b", "s", dtype=I64), cos=f32(16, 4), sin=f32(16, 4), **attributes):
    bad("RotaryEmbedding", x, ids, cos, sin, domain=MS, **attributes)


for heads in (-1, 3, 64, BIG, SMALL):
    rotary(num_heads=heads)
for size in (-1, 3, 64, BIG, SMALL):
    rotary(num_heads=4, rotary_embedding_dim=size)
rotary(num_heads=4, cos=f32(16, 5), sin=f32(16, 5))
rotary(num_heads=4, sin=f32(15, 4))
rotary(num_heads=4, cos=f32(16))
rotary(num_heads=4, ids=X("b", "s"))
rotary(num_heads=4, x=X("b", "s", 33))
rotary(num_heads=4, x=X("s", 32))
rotary(num_heads="4")
rotary(num_heads=4, interleaved="yes")

for heads in (-1, 0, 3, BIG):
    bad("Attention", X("b", "s", 32), X("b", "t", 32), X("b", "t", 32), opset=23, q_num_heads=heads, kv_num_heads=4)
    bad("Attention", X("b", "s", 32), X("b", "t", 32), X("b", "t", 32), opset=23, q_num_heads=4, kv_num_heads=heads)
bad("Attention", X("b", "s", 32), X("b", "t", 32), X("b", "t", 32), opset=23)
bad("Attention", X("s", 32), X("t", 32), X("t", 32), opset=23, q_num_heads=4, kv_num_heads=4)
bad("Attention", X("b", 4, "s", 8), X("b", 4, "t", 7), X("b", 4, "t", 8), opset=23)
bad("Attention", X("b", 4, "s", 8), X("b", 3, "t", 8), X("b", 3, "t", 8), opset=23)
bad("Attention", X("b", 4, "s", 8), X("b", 4, "t", 8), X("b", 4, "t", 8), X(7, 9), opset=23, qk_matmul_output_mode=9)
bad("RMSNormalization", X("n", 4), f32(5), opset=23)
bad("RMSNormalization", X("n", 4), f32(4), opset=23, axis=5)
bad("RotaryEmbedding", X("b", 4, "s", 8), f32(16, 4), f32(15, 4), X("b", "s", dtype=I64), opset=23)
bad("RotaryEmbedding", X("b", "s", 32), f32(16, 4), f32(16, 4), X("b", "s", dtype=I64), opset=23)

for op in ("SkipSimplifiedLayerNormalization", "SkipLayerNormalization"):
    bad(op, X("b", "s", 8), X("b", "s", 8), f32(7), domain=MS)
    bad(op, X("b", "s", 8), X("b", "s", 9), f32(8), domain=MS)
    bad(op, X("b", "s", 8), X("b", "s", 8), f32(8), domain=MS, epsilon="small")
    bad(op, X("b", "s", 8), X("b", "s", 8, dtype=I64), f32(8), domain=MS)
bad("SimplifiedLayerNormalization", X("n", 8), f32(7))
bad("SimplifiedLayerNormalization", X("n", 8), f32(8), axis=7)
bad("SimplifiedLayerNormalization", X("n", 8), f32(8), axis="last")
bad("FusedMatMul", X("n", 4), X(5, 3), domain=MS)
bad("FusedMatMul", X("n", 4), X(4, 3), domain=MS, transB=1)
bad("FusedMatMul", X("n", 4), X(4, 3), domain=MS, alpha="1")
bad("BiasGelu", X("n", 4), f32(5), domain=MS)
bad("QuickGelu", X("n", dtype=I64), domain=MS)
bad("QuickGelu", X("n"), domain=MS, alpha="1")
bad("FastGelu", X("n", 4), f32(5), domain=MS)
bad("MoEE", X("n"), domain=MS)
bad("Zzz", X("n"))
bad("Softmax", X("n"), domain=MS)

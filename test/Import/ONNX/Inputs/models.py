"""Small ONNX models for the importer's tests: models.py NAME FOLDER writes FOLDER/model.onnx."""

import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F32, I64 = TensorProto.FLOAT, TensorProto.INT64


def value(name, dims, dtype=F32):
    return helper.make_tensor_value_info(name, dtype, dims)


def model(nodes, inputs, outputs, initializers=(), opsets=(("", 20),), functions=(), value_info=(), ir_version=10):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers), value_info=list(value_info))
    imports = [helper.make_opsetid(*opset) for opset in opsets]
    return helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=ir_version)


def array(name, values, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def varint(number):
    """As protobuf's wire format has it."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def external(name, dims, dtype=F32, **entries):
    tensor = TensorProto(name=name, dims=dims, data_type=dtype, data_location=TensorProto.EXTERNAL)
    for key, text in entries.items():
        tensor.external_data.add(key=key, value=str(text))
    return tensor


def graph(folder):
    nodes = [
        helper.make_node("Gather", ["w", "ids"], ["x"], name="embed", axis=0),
        helper.make_node("Clip", ["x", "", "max"], ["clipped"]),
        helper.make_node("Clip", ["clipped", "max", ""], ["y"], name="embed"),
        helper.make_node("TopK", ["y", "k"], ["values", "best"], name="top", axis=-1),
        helper.make_node("MoE", ["y2", "router", "fc1", "", "fc2"], ["z"], name="moe", domain="com.microsoft", k=2,
                         activation_type="silu"),
        helper.make_node("Mystery", ["z"], ["a", ""], name="m1", domain="com.example", mode="fast", scales=[0.5, 2.0],
                         sizes=[1, 2], names=["p", "q"], rate=0.25),
        helper.make_node("NotYetThere", ["a"], ["b"], name="m2"),
    ]
    nodes.insert(4, helper.make_node("Identity", ["y"], ["y2"], name="copy"))
    nodes[0].metadata_props.add(key="namespace", value="root.embed")
    nodes[0].metadata_props.add(key="pkg.torch.onnx.stack_trace", value="File x.py")
    nodes[0].doc_string = "dropped"
    w = np.arange(96 * 32, dtype=np.float32).reshape(96, 32)
    initializers = [
        array("w", w), array("max", 6.0), array("k", [3], np.int64),
        array("fc1", np.ones((4, 48, 32))), array("fc2", np.ones((4, 32, 48))),
    ]
    inputs = [value("ids", ["batch", None, 7], I64), value("router", ["tokens", 4])]
    outputs = [value("best", ["batch", None, None, 3], I64), value("z", None), value("b", ["n"])]
    outputs[1].type.tensor_type.elem_type = F32
    return model(nodes, inputs, outputs, initializers, [("", 20), ("com.microsoft", 1), ("com.example", 7)])


def tensors(folder):
    """Every element type as a small constant, and large ones in all places."""
    outputs, initializers, nodes = [], [], []

    def add(tensor):
        initializers.append(tensor)
        nodes.append(helper.make_node("Identity", [tensor.name], [tensor.name + "_o"], name="id_" + tensor.name))
        outputs.append(value(tensor.name + "_o", list(tensor.dims), tensor.data_type))

    def small(dtype, values, raw=None):
        name = TensorProto.DataType.Name(dtype).lower()
        dims = [len(values) if raw is None else values[0]]
        if raw is not None:
            add(TensorProto(name=name, dims=dims, data_type=dtype, raw_data=bytes(raw)))
        else:
            add(helper.make_tensor(name, dtype, dims, values))

    small(TensorProto.FLOAT, [1.5, -2.0])
    small(TensorProto.DOUBLE, [1.5, float("inf")])
    small(TensorProto.FLOAT16, [1.5, -2.0])
    small(TensorProto.BFLOAT16, [1.5, -2.0])
    for dtype in (TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64, TensorProto.INT4):
        small(dtype, [-3, 7, 5])
    for dtype in (TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64, TensorProto.UINT4):
        small(dtype, [3, 15, 1])
    small(TensorProto.BOOL, [1, 0, 1])
    small(TensorProto.STRING, ["a", "bc"])
    small(TensorProto.COMPLEX64, [1 + 2j, 3 - 4j])
    small(TensorProto.FLOAT8E4M3FN, [1.5, -2.0])
    small(TensorProto.FLOAT8E5M2, [1.5, -2.0])
    small(TensorProto.FLOAT8E8M0, [2], raw=[127, 128])
    small(TensorProto.FLOAT4E2M1, [3], raw=[0x21, 0x0F])
    small(TensorProto.UINT2, [5], raw=[0b11100100, 0b10])

    # 4-bit elements in raw data, low nibble first.
    add(TensorProto(name="int4_raw", dims=[3], data_type=TensorProto.INT4, raw_data=bytes([0x7D, 0x08])))
    add(TensorProto(name="empty", dims=[0, 4], data_type=F32))
    add(array("inline", np.arange(512).reshape(16, 32)))
    # The memory of a packed float_data is that of the tensor.
    add(helper.make_tensor("typed_floats", F32, [300], np.arange(300, dtype=np.float32)))
    # Varints are not: these are decoded into the module.
    add(helper.make_tensor("typed_ints", I64, [200], list(range(-100, 100))))
    add(helper.make_tensor("typed_halves", TensorProto.FLOAT16, [600], np.full(600, 0.5, np.float16)))

    with open(os.path.join(folder, "weights.bin"), "wb") as file:
        file.write(np.arange(1024, dtype=np.float32).tobytes())
    os.makedirs(os.path.join(folder, "sub"), exist_ok=True)
    with open(os.path.join(folder, "sub", "more.bin"), "wb") as file:
        file.write(np.arange(600, dtype=np.float32).tobytes())
    add(external("outside", [16, 32], location="weights.bin", offset=64, length=2048))
    add(external("tied", [16, 32], location="./weights.bin", offset=64))
    add(external("same_bytes", [512], location="weights.bin", offset=64, length=2048))
    add(external("whole", [600], location="sub/more.bin"))
    add(external("scalar", [], location="weights.bin", offset=12, length=4))
    add(external("nothing", [0], location="weights.bin", offset=0, length=0))
    return model(nodes, [], outputs, initializers, [("", 25)], ir_version=13)


def constants(folder):
    nodes = [
        helper.make_node("Constant", [], ["c0"], name="n0", value_float=0.5),
        helper.make_node("Constant", [], ["c1"], name="n1", value_floats=[0.5, 1.0]),
        helper.make_node("Constant", [], ["c2"], name="n2", value_int=-7),
        helper.make_node("Constant", [], ["c3"], name="n3", value_ints=[1, 2, 3]),
        helper.make_node("Constant", [], ["c4"], name="n4", value_string="text"),
        helper.make_node("Constant", [], ["c5"], name="n5", value=array("", [[1.0, 2.0]])),
        helper.make_node("Constant", [], ["c6"], name="n6", value=array("", np.arange(512))),
        helper.make_node("ConstantOfShape", ["c3"], ["c7"], name="fill", value=array("", [3.0])),
    ]
    outputs = [helper.make_empty_tensor_value_info(f"c{i}") for i in range(8)]
    return model(nodes, [], outputs)


def subgraphs(folder):
    """An If whose branches use a value and a large weight of the main graph; a Loop."""
    then_branch = helper.make_graph([helper.make_node("Add", ["x", "w"], ["t"], name="then_add")], "then", [],
                                    [value("t", [16, 32])])
    inner = helper.make_graph([helper.make_node("Neg", ["own"], ["i"], name="inner")], "inner", [], [value("i", [2])])
    else_branch = helper.make_graph(
        [helper.make_node("If", ["c"], ["ii"], name="nested", then_branch=inner, else_branch=inner),
         helper.make_node("Sub", ["w", "x"], ["e"], name="else_sub")],
        "else", [], [value("e", [16, 32])], [array("own", [1.0, 2.0])])
    body = helper.make_graph(
        [helper.make_node("Identity", ["cond"], ["cond_out"], name="keep"),
         helper.make_node("Add", ["state", "one"], ["state_out"], name="step")],
        "body", [value("i", [], I64), value("cond", [], TensorProto.BOOL), value("state", [1])],
        [value("cond_out", [], TensorProto.BOOL), value("state_out", [1])])
    nodes = [
        helper.make_node("If", ["c"], ["y"], name="choose", then_branch=then_branch, else_branch=else_branch),
        helper.make_node("Loop", ["n", "", "one"], ["last"], name="repeat", body=body),
    ]
    inputs = [value("c", [], TensorProto.BOOL), value("x", [16, 32]), value("n", [], I64)]
    return model(nodes, inputs, [value("y", [16, 32]), value("last", [1])],
                 [array("w", np.ones((16, 32))), array("one", [1.0])])


def functions(folder):
    scale = helper.make_function("custom", "Scale", ["a"], ["b"],
                                 [helper.make_node("Constant", [], ["s"], value_float=2.0),
                                  helper.make_node("Mul", ["a", "s"], ["b"], name="mul")],
                                 [helper.make_opsetid("", 20)])
    twice = helper.make_function("custom", "Twice", ["a"], ["b"],
                                 [helper.make_node("Scale", ["a"], ["h"], domain="custom"),
                                  helper.make_node("Scale", ["h"], ["b"], domain="custom")],
                                 [helper.make_opsetid("", 20), helper.make_opsetid("custom", 1)])
    nodes = [helper.make_node("Twice", ["x"], ["y"], name="call", domain="custom")]
    return model(nodes, [value("x", ["n", 4])], [value("y", ["n", 4])], opsets=[("", 20), ("custom", 1)],
                 functions=[scale, twice])


def versions(folder):
    """Opset 13, where ReduceMean has its axes in an attribute."""
    nodes = [helper.make_node("ReduceMean", ["x"], ["m"], name="mean", axes=[-1]),
             helper.make_node("Sub", ["x", "m"], ["y"], name="sub")]
    nodes[1].metadata_props.add(key="namespace", value="root.norm")
    return model(nodes, [value("x", ["n", 4])], [value("y", ["n", 4])], opsets=[("ai.onnx", 13)])


def unconvertible(folder):
    found = versions(folder)
    found.graph.node.insert(1, helper.make_node("NoSuchOperator", ["m"], ["u"], name="unknown"))
    found.graph.node[2].input[1] = "u"
    return found


def types(folder):
    """Wrong, missing and useful declarations; dimensions that inference names."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], name="shape"),
        helper.make_node("Gather", ["shape", "zero"], ["rows"], name="rows"),
        helper.make_node("Concat", ["rows", "minus"], ["target"], name="target", axis=0),
        helper.make_node("Reshape", ["x", "target"], ["flat"], name="flat"),
        helper.make_node("NonZero", ["x"], ["where"], name="where"),
        helper.make_node("Reshape", ["x", "free"], ["guess"], name="guess"),
        helper.make_node("Relu", ["guess"], ["relu"], name="relu"),
        helper.make_node("Mystery", ["x"], ["m"], name="mystery", domain="com.example"),
        helper.make_node("Relu", ["m"], ["mr"], name="after"),
    ]
    inputs = [value("x", ["batch", 3, 4]), value("free", [None], I64)]
    outputs = [value("flat", ["rows", 12]), value("where", [3, "found"], I64), value("relu", ["p", "q"]),
               value("mr", ["batch", 5])]
    declared = [value("shape", [], I64), value("guess", [None, "q"]), value("m", ["batch", 5])]
    return model(nodes, inputs, outputs,
                 [array("zero", [0], np.int64), array("minus", [-1], np.int64)],
                 [("", 20), ("com.example", 1)], value_info=declared)


def defaults(folder):
    """IR version 3: initializers are inputs as well, and no part of the signature."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")]
    return model(nodes, [value("x", [1, 2]), value("w", [2, 2])], [value("y", [1, 2])],
                 [array("w", [[1, 2], [3, 4]])], ir_version=3)


def contrib(folder):
    ms = "com.microsoft"
    weights = [array("gamma", np.ones(32)), array("cos", np.ones((64, 4))), array("sin", np.ones((64, 4))),
               array("b", np.zeros((96, 1, 16)), np.uint8), array("scales", np.ones((96,))), array("m", np.ones((24, 32))),
               array("lens", [1], np.int32), array("total", 1, np.int32)]
    nodes = [
        helper.make_node("SimplifiedLayerNormalization", ["x", "gamma"], ["n0"], name="norm"),
        helper.make_node("SkipSimplifiedLayerNormalization", ["x", "n0", "gamma"], ["n1", "", "", "sum"], name="skip", domain=ms),
        helper.make_node("RotaryEmbedding", ["n1", "pos", "cos", "sin"], ["r"], name="rope", domain=ms),
        helper.make_node("GroupQueryAttention", ["packed", "", "", "pk", "pv", "lens", "total"], ["g", "nk", "nv"],
                         name="gqa", domain=ms, num_heads=4, kv_num_heads=2),
        helper.make_node("MultiHeadAttention", ["n1", "n1", "n1"], ["h", "hk", "hv"], name="mha", domain=ms, num_heads=4),
        helper.make_node("MatMulNBits", ["r", "b", "scales"], ["q"], name="nbits", domain=ms, K=32, N=96, bits=4, block_size=32),
        helper.make_node("FusedMatMul", ["sum", "m"], ["f"], name="fused", domain=ms, transB=1),
        helper.make_node("QuickGelu", ["f"], ["gelu"], name="gelu", domain=ms),
    ]
    inputs = [value("x", ["b", "s", 32]), value("pos", ["b", "s"], I64), value("packed", ["b", "s", 64]),
              value("pk", ["b", 2, "past", 8]), value("pv", ["b", 2, "past", 8])]
    outputs = [helper.make_empty_tensor_value_info(name) for name in ("g", "nk", "nv", "h", "hk", "hv", "q", "gelu")]
    return model(nodes, inputs, outputs, weights, [("", 22), (ms, 1)])


def definitions(folder):
    """Operators that the standard defines by others, in one and in two steps, and some that it cannot help with."""
    nodes = [
        helper.make_node("GroupNormalization", ["x", "g", "g"], ["n"], name="groups", num_groups=2),
        helper.make_node("LayerNormalization", ["n", "s"], ["l"], name="layer"),
        helper.make_node("SoftmaxCrossEntropyLoss", ["l", "t"], ["loss", "log"], name="loss"),
        helper.make_node("Bernoulli", ["l"], ["b"], name="random"),
        helper.make_node("SwiGLU", ["l", "n"], ["w"], name="gate"),
    ]
    inputs = [value("x", ["b", 4, 6]), value("t", ["b", 6], I64)]
    outputs = [helper.make_empty_tensor_value_info(name) for name in ("loss", "log", "b", "w")]
    return model(nodes, inputs, outputs, [array("g", np.ones(4)), array("s", np.ones(6))], [("", 28)], ir_version=13)


if __name__ == "__main__":
    name, folder = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "model.onnx"), "wb") as out:
        out.write(globals()[name](folder).SerializeToString())

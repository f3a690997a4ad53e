# Damaged, hostile and merely wrong models: each ends with one line and exit
# code 1, and leaves no output behind.
# REQUIRES: python-onnx
# RUN: %python %s moe-translate %t

import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "Inputs"))
import models
from models import F32, I64, array, external, model, value

TOOL, ROOT = sys.argv[1:]
OPS20 = [("", 20)]
CASES = []


def case(expected):
    """A case writes FOLDER/model.onnx, or returns the model or its bytes; `expected` is part of the message."""
    def register(write):
        CASES.append((write.__name__, expected, write))
        return write
    return register


def identity(initializer=None, **options):
    """y = x, or y = w for an initializer."""
    name = initializer.name if initializer is not None else "x"
    nodes = [helper.make_node("Identity", [name], ["y"], name="id")]
    return model(nodes, [value("x", ["n", 4])], [value("y", None)], [initializer] if initializer is not None else [], **options)


def data(folder, size=4096, name="weights.bin"):
    with open(os.path.join(folder, name), "wb") as file:
        file.write(bytes(size))


def weight(dims=(16, 32), dtype=F32, **entries):
    return identity(external("w", list(dims), dtype, **entries))


# ---- The file itself ---------------------------------------------------------

@case("is empty, expects an ONNX model")
def empty_file(folder):
    return b""


@case("expects an ONNX model")
def text_file(folder):
    return b"This is no model.\n" * 100


@case("is not a regular file")
def directory(folder):
    os.mkdir(os.path.join(folder, "model.onnx"))


@case("cannot be opened: No such file")
def missing_file(folder):
    pass


@case("is not a regular file")
def fifo_model(folder):
    os.mkfifo(os.path.join(folder, "model.onnx"))


@case("is no ONNX model")
def no_graph(folder):
    return onnx.ModelProto(ir_version=8).SerializeToString()


@case("is no ONNX model: it has no IR version")
def no_ir_version(folder):
    found = identity()
    found.ClearField("ir_version")
    return found


@case("has IR version 99")
def future_ir_version(folder):
    return identity(ir_version=99)


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


@case("truncated or damaged")
def length_beyond_2_64(folder):
    return varint(7 << 3 | 2) + b"\xff" * 9 + b"\x01" + b"abc"


@case("truncated or damaged")
def endless_varint(folder):
    return b"\x08" + b"\xff" * 20


@case("nests subgraphs deeper")
def deep_nesting(folder):
    graph = field(2, b"g")
    for _ in range(2000):
        attribute = field(1, b"body") + varint(20 << 3) + b"\x05" + field(6, graph)
        graph = field(1, field(4, b"If") + field(5, attribute)) + field(2, b"g")
    return varint(1 << 3) + b"\x08" + field(7, graph)


@case("reserved key 'moe.stub'")
def forged_stub(folder):
    tensor = external("w", [16, 32])
    tensor.external_data.add(key="moe.stub", value="7")
    return identity(tensor)


@case("payloads, expects one")
def two_payloads(folder):
    tensor = TensorProto(name="w", dims=[512], data_type=F32, raw_data=bytes(2048))
    tensor.float_data.extend([1.0, 2.0])
    return identity(tensor)


@case("both external data and a payload")
def external_and_inline(folder):
    tensor = external("w", [512], location="weights.bin")
    tensor.raw_data = bytes(2048)
    return identity(tensor)


# ---- External data -----------------------------------------------------------

@case("leaves the model's folder")
def traversal(folder):
    data(os.path.dirname(folder), name="outside.bin")
    return weight(location="../outside.bin")


@case("leaves the model's folder")
def hidden_traversal(folder):
    os.mkdir(os.path.join(folder, "sub"))
    return weight(location="sub/../../outside.bin")


@case("is an absolute path")
def absolute_path(folder):
    return weight(location="/etc/passwd")


@case("is a link that leaves the model's folder")
def symlink_escape(folder):
    data(os.path.dirname(folder), name="outside.bin")
    os.symlink("../outside.bin", os.path.join(folder, "weights.bin"))
    return weight(location="weights.bin")


@case("is a link that leaves the model's folder")
def folder_symlink_escape(folder):
    data(os.path.dirname(folder), name="outside.bin")
    os.symlink("..", os.path.join(folder, "sub"))
    return weight(location="sub/outside.bin")


@case("which is a file with 2 hard links, expects one")
def hard_link(folder):
    data(folder, name="original.bin")
    os.link(os.path.join(folder, "original.bin"), os.path.join(folder, "weights.bin"))
    return weight(location="weights.bin")


@case("hard links")
def small_hard_link(folder):
    data(folder, name="original.bin")
    os.link(os.path.join(folder, "original.bin"), os.path.join(folder, "weights.bin"))
    return weight(dims=[4], location="weights.bin")


@case("cannot be opened: Too many levels")
def symlink_loop(folder):
    os.symlink("weights.bin", os.path.join(folder, "weights.bin"))
    return weight(location="weights.bin")


@case("is a link that leaves the model's folder")
def device(folder):
    os.symlink("/dev/zero", os.path.join(folder, "weights.bin"))
    return weight(location="weights.bin")


@case("is not a regular file")
def fifo(folder):
    os.mkfifo(os.path.join(folder, "weights.bin"))
    return weight(location="weights.bin")


@case("is not a regular file")
def folder_as_data(folder):
    os.mkdir(os.path.join(folder, "weights.bin"))
    return weight(location="weights.bin")


@case("cannot be opened: No such file")
def missing_data(folder):
    return weight(location="weights.bin")


@case("has no valid name")
def empty_location(folder):
    return weight(location="")


@case("has no valid name")
def nul_in_location(folder):
    return weight(location="weights.bin\0.txt")


@case("does not say where")
def no_location(folder):
    return weight(offset=0)


@case("'offset' of its external data twice")
def two_offsets(folder):
    data(folder)
    tensor = external("w", [16, 32], location="weights.bin", offset=0)
    tensor.external_data.add(key="offset", value="64")
    return identity(tensor)


for index, text in enumerate(["-64", "+64", "0x40", "64 ", "", "1e3", "18446744073709551616", "99999999999999999999999"]):
    def bad_offset(folder, text=text):
        data(folder)
        return weight(location="weights.bin", offset=text)
    CASES.append((f"bad_offset_{index}", "expects a decimal number below 2^64", bad_offset))


@case("initializer 'w' has 2048 bytes at offset 4000 of external data 'weights.bin' which has 4096 bytes")
def offset_past_end(folder):
    data(folder)
    return weight(location="weights.bin", offset=4000)


@case("which has 4096 bytes")
def wrapping_offset(folder):
    data(folder)
    return weight(location="weights.bin", offset=2**64 - 1024)


@case("has 2047 bytes of external data 'weights.bin' expects 2048")
def wrong_length(folder):
    data(folder)
    return weight(location="weights.bin", length=2047)


@case("expects a decimal number below 2^64")
def negative_length(folder):
    data(folder)
    return weight(location="weights.bin", length=-1)


@case("holds strings outside of the model file")
def external_strings(folder):
    data(folder)
    return weight(dims=[4], dtype=TensorProto.STRING, location="weights.bin")


# ---- Tensors -----------------------------------------------------------------

@case("whose product exceeds 2^64")
def huge_dims(folder):
    data(folder)
    return weight(dims=[2**62, 2**62], location="weights.bin")


@case("whose size exceeds 2^63 bits")
def huge_size(folder):
    data(folder)
    return weight(dims=[2**61], location="weights.bin")


@case("has the dimension -1, expects at least 0")
def negative_dim(folder):
    return identity(TensorProto(name="w", dims=[-1], data_type=F32, raw_data=bytes(4)))


@case("has 100 dimensions, expects at most 64")
def many_dims(folder):
    return identity(TensorProto(name="w", dims=[1] * 100, data_type=F32, raw_data=bytes(4)))


@case("has element type 99")
def unknown_dtype(folder):
    return identity(TensorProto(name="w", dims=[4], data_type=99, raw_data=bytes(16)))


@case("has element type 0")
def undefined_dtype(folder):
    return identity(TensorProto(name="w", dims=[4], data_type=0, raw_data=bytes(16)))


@case("has 12 bytes of raw data, expects 16")
def short_raw_data(folder):
    return identity(TensorProto(name="w", dims=[4], data_type=F32, raw_data=bytes(12)))


@case("has 20 bytes of raw data, expects 16")
def long_raw_data(folder):
    return identity(TensorProto(name="w", dims=[4], data_type=F32, raw_data=bytes(20)))


@case("has a payload of 4000 bytes, expects 4096")
def short_large_payload(folder):
    return identity(TensorProto(name="w", dims=[1024], data_type=F32, raw_data=bytes(4000)))


@case("has 3 values of type INT64, expects 4")
def short_typed_data(folder):
    return identity(TensorProto(name="w", dims=[4], data_type=I64, int64_data=[1, 2, 3]))


@case("has 0 values of type FLOAT, expects 4")
def wrong_typed_field(folder):
    return identity(TensorProto(name="w", dims=[4], data_type=F32, int64_data=[1, 2, 3, 4]))


@case("is one segment of a tensor")
def segment(folder):
    tensor = array("w", [1.0])
    tensor.segment.begin, tensor.segment.end = 0, 1
    return identity(tensor)


@case("the tensor of node 'c' (Constant) has 4 bytes of raw data, expects 8")
def bad_attribute_tensor(folder):
    tensor = TensorProto(dims=[2], data_type=F32, raw_data=bytes(4))
    return model([helper.make_node("Constant", [], ["y"], name="c", value=tensor)], [], [value("y", [2])])


@case("'w' is sparse")
def sparse_initializer(folder):
    found = identity()
    values = array("w", [1.0])
    found.graph.sparse_initializer.append(helper.make_sparse_tensor(values, array("i", [0], np.int64), [4]))
    return found


# ---- Versions ----------------------------------------------------------------

@case("imports version 999 of operator set 'ai.onnx', expects a version from 1 to")
def future_opset(folder):
    return identity(opsets=[("", 999)])


@case("imports version 0 of operator set 'ai.onnx'")
def opset_zero(folder):
    return identity(opsets=[("", 0)])


@case("imports operator set 'ai.onnx' twice")
def two_opsets(folder):
    return identity(opsets=[("", 20), ("ai.onnx", 19)])


@case("imports no operator set")
def no_opset(folder):
    return identity(opsets=[])


@case("node 'id' (Identity): No opset import for domain ''")
def domain_not_imported(folder):
    return identity(opsets=[("com.microsoft", 1)])


# ---- The graph ---------------------------------------------------------------

def two_nodes(first, second, **options):
    return model([first, second], [value("x", ["n", 4])], [value("y", ["n", 4])], **options)


@case("must be topologically sorted")
def cycle(folder):
    return two_nodes(helper.make_node("Add", ["x", "y"], ["a"], name="n1"), helper.make_node("Neg", ["a"], ["y"], name="n2"))


@case("must be topologically sorted")
def undefined_value(folder):
    return two_nodes(helper.make_node("Neg", ["nobody"], ["a"]), helper.make_node("Neg", ["a"], ["y"]))


@case("has been used as output names multiple times")
def value_defined_twice(folder):
    return two_nodes(helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"]))


@case("initializer name is not unique")
def initializer_twice(folder):
    found = identity(array("w", [1.0]))
    found.graph.initializer.append(array("w", [2.0]))
    return found


@case("multiple times")
def input_twice(folder):
    found = identity()
    found.graph.input.append(value("x", ["n", 4]))
    return found


@case("has two outputs named 'y'")
def output_twice(folder):
    found = identity()
    found.graph.output.append(value("y", ["n", 4]))
    return found


@case("has no output")
def no_output(folder):
    found = identity()
    del found.graph.output[:]
    return found


@case("'z' is not an output of any node")
def unknown_output(folder):
    found = identity()
    found.graph.output.append(value("z", ["n", 4]))
    return found


@case("input 'x' has no type")
def untyped_input(folder):
    found = identity()
    found.graph.input[0].ClearField("type")
    return found


@case("input 'x' has element type 77")
def input_dtype(folder):
    found = identity()
    found.graph.input[0].type.tensor_type.elem_type = 77
    return found


@case("input 'x' has the dimension -7")
def input_dim(folder):
    found = identity()
    found.graph.input[0].type.tensor_type.shape.dim[1].dim_value = -7
    return found


@case("input 'x' has dimensions whose size exceeds")
def input_size(folder):
    found = identity()
    for dim in found.graph.input[0].type.tensor_type.shape.dim:
        dim.dim_value = 2**40
    return found


@case("node 'add' (Add): ")
def arity(folder):
    return two_nodes(helper.make_node("Add", ["x"], ["a"], name="add"), helper.make_node("Neg", ["a"], ["y"]))


@case("node 'neg' (Neg): ")
def unknown_attribute(folder):
    return two_nodes(helper.make_node("Neg", ["x"], ["a"], name="neg", surprise=1), helper.make_node("Neg", ["a"], ["y"]))


@case("node 'mm' (MatMul): ")
def shapes_do_not_fit(folder):
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")
    return model([node], [value("x", ["n", 4])], [value("y", ["n", 4])], [array("w", np.ones((5, 4)))])


@case("node 'k' (Constant): One and only one of the attributes")
def constant_without_value(folder):
    return model([helper.make_node("Constant", [], ["y"], name="k")], [], [value("y", [])])


@case("node 'n' (Neg): attribute 'axis' refers to a function's attribute")
def stray_reference(folder):
    found = two_nodes(helper.make_node("Neg", ["x"], ["a"], name="n"), helper.make_node("Neg", ["a"], ["y"]))
    found.graph.node[0].attribute.add(name="axis", type=onnx.AttributeProto.INT, ref_attr_name="axis")
    return found


@case("node 'evil name: error' (Add): ")
def name_with_newline(folder):
    return two_nodes(helper.make_node("Add", ["x"], ["a"], name="evil\nname: error"), helper.make_node("Neg", ["a"], ["y"]))


@case("expects an operator name without '::'")
def operator_with_separator(folder):
    return two_nodes(helper.make_node("a::b", ["x"], ["a"], name="n"), helper.make_node("Neg", ["a"], ["y"]))


@case("node 'n' (Neg): ")
def nameless_attribute(folder):
    found = two_nodes(helper.make_node("Neg", ["x"], ["a"], name="n"), helper.make_node("Neg", ["a"], ["y"]))
    found.graph.node[0].attribute.add(name="", type=onnx.AttributeProto.INT, i=1)
    return found


# A graph input may claim any size; nothing may be as large as it claims.
@case("node 'wrong' (MatMul): ")
def huge_old_shape_operand(folder):
    nodes = [helper.make_node("Expand", ["x", "s"], ["z"], name="e"), helper.make_node("MatMul", ["x", "w"], ["y"], name="wrong")]
    return model(nodes, [value("x", ["n", 4]), value("s", [2**50], I64)], [value("y", None)], [array("w", np.ones((5, 4)))],
                 opsets=[("", 8)])


@case("node 'wrong' (MatMul): ")
def huge_shape_operand(folder):
    nodes = [helper.make_node("Gather", ["s", "i"], ["t"], name="g"),
             helper.make_node("Reshape", ["x", "s"], ["z"], name="r"),
             helper.make_node("MatMul", ["x", "w"], ["y"], name="wrong")]
    return model(nodes, [value("x", ["n", 4]), value("s", [2**50], I64), value("i", [1], I64)], [value("y", None)],
                 [array("w", np.ones((5, 4)))])


# ---- Functions ---------------------------------------------------------------

def function(name, nodes):
    return helper.make_function("f", name, ["a"], ["b"], nodes, [helper.make_opsetid("", 20), helper.make_opsetid("f", 1)])


def caller(functions):
    return model([helper.make_node(functions[0].name, ["x"], ["y"], name="call", domain="f")], [value("x", ["n", 4])],
                 [value("y", ["n", 4])], opsets=[("", 20), ("f", 1)], functions=functions)


@case("calls itself")
def recursive_function(folder):
    return caller([function("F", [helper.make_node("F", ["a"], ["b"], domain="f")])])


@case("calls itself")
def mutual_recursion(folder):
    return caller([function("F", [helper.make_node("G", ["a"], ["b"], domain="f")]),
                   function("G", [helper.make_node("F", ["a"], ["b"], domain="f")])])


@case("has two functions 'f::F'")
def function_twice(folder):
    same = function("F", [helper.make_node("Neg", ["a"], ["b"])])
    return caller([same, same])


@case("expand to more than")
def function_bomb(folder):
    bomb = [function(f"F{i}", [helper.make_node(f"F{i + 1}", ["a"], ["m"], domain="f"),
                               helper.make_node(f"F{i + 1}", ["m"], ["b"], domain="f")]) for i in range(40)]
    return caller(bomb + [function("F40", [helper.make_node("Neg", ["a"], ["b"])])])


@case("nests calls deeper")
def function_chain(folder):
    chain = [function(f"F{i}", [helper.make_node(f"F{i + 1}", ["a"], ["b"], domain="f")]) for i in range(5000)]
    return caller(chain + [function("F5000", [helper.make_node("Neg", ["a"], ["b"])])])


# ---- Every prefix of a file, and files with damaged bytes ---------------------

def damaged(count):
    whole = models.subgraphs(None).SerializeToString()
    small = models.graph(None).SerializeToString()
    for size in sorted({*range(1, 40), *np.linspace(40, len(whole) - 1, count).astype(int).tolist()}):
        yield f"prefix_{size}", whole[:size], True
    random = np.random.default_rng(0)
    for index in range(count):
        damage = bytearray(small)
        # The structure, not the payloads: those are any bytes.
        head = [i for i in range(len(damage)) if i < 700 or i > len(damage) - 700]
        for position in random.choice(head, 1 + index % 4):
            damage[position] = random.integers(256)
        yield f"bytes_{index}", bytes(damage), False


def run(name, folder, must_fail, expected=None):
    path, output = os.path.join(folder, "model.onnx"), os.path.join(folder, "model.mlir")
    done = subprocess.run([TOOL, "--import-onnx", path, "-o", output], capture_output=True, timeout=120)
    message = done.stderr.decode(errors="replace")
    problems = []
    if done.returncode not in ((1,) if must_fail else (0, 1)):
        problems.append(f"exit code {done.returncode}")
    if done.returncode == 1:
        if message.count("\n") != 1 or not message.startswith(path + ": error: "):
            problems.append("expects one line about the file")
        if expected is not None and expected not in message:
            problems.append(f"expects '{expected}'")
        if os.path.exists(output):
            problems.append("leaves an output behind")
    for problem in problems:
        print(f"{name}: {problem}: {message.strip()}")
    return not problems


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    good = True
    names = set()
    for name, expected, write in CASES:
        assert name not in names, name
        names.add(name)
        folder = os.path.join(ROOT, name)
        os.makedirs(folder)
        found = write(folder)
        if found is not None:
            with open(os.path.join(folder, "model.onnx"), "wb") as file:
                file.write(found if isinstance(found, bytes) else found.SerializeToString())
        good &= run(name, folder, True, expected)
    folder = os.path.join(ROOT, "damaged")
    os.makedirs(folder)
    for name, content, must_fail in damaged(int(os.environ.get("MOE_DAMAGED_FILES", "24"))):
        with open(os.path.join(folder, "model.onnx"), "wb") as file:
            file.write(content)
        good &= run(name, folder, must_fail)
        if os.path.exists(os.path.join(folder, "model.mlir")):
            os.remove(os.path.join(folder, "model.mlir"))
    print(f"{len(CASES)} cases")
    sys.exit(not good)


main()

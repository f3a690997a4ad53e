"""Files and tensors that a model must not name, have or be."""

import os
import socket

import numpy as np
import onnx
from hostile_cases import F32, I64, add, array, case, data, external, identity, model, value, weight
from onnx import AttributeProto, TensorProto, helper

# ---- The file itself ---------------------------------------------------------

@case("is empty, expects an ONNX model")
def empty_file(folder):
    return b""


@case("expects an ONNX model")
def text_file(folder):
    return b"This is no model.\n" * 100


@case("is a folder")
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
    add(f"bad_offset_{index}", "expects a decimal number below 2^64", bad_offset)


@case("initializer 'w' has 2048 bytes at offset 4000 of external data 'weights.bin' which has 4096 bytes")
def offset_past_end(folder):
    data(folder)
    return weight(location="weights.bin", offset=4000)


@case("which has 4096 bytes")
def wrapping_offset(folder):
    data(folder)
    return weight(location="weights.bin", offset=2**64 - 1024)


@case("has 2047 bytes of external data 'weights.bin', expects 2048")
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


# ---- The same damage in each place that a tensor can stand in ------------------

def in_initializer(tensor):
    tensor.name = "w"
    return identity(tensor), "initializer 'w' "


def in_node(tensor):
    return model([helper.make_node("Constant", [], ["y"], name="c", value=tensor)], [], [value("y", None)]), "the tensor of node 'c' (Constant) "


def in_subgraph(tensor):
    tensor.name = "w"
    branch = helper.make_graph([helper.make_node("Identity", ["w"], ["t"], name="inner")], "branch", [], [value("t", None)], [tensor])
    node = helper.make_node("If", ["c"], ["y"], name="if", then_branch=branch, else_branch=branch)
    return model([node], [value("c", [], TensorProto.BOOL)], [value("y", None)]), "initializer 'w' "


def in_function(tensor):
    body = [helper.make_node("Constant", [], ["b"], name="c", value=tensor)]
    function = helper.make_function("f", "F", [], ["b"], body, [helper.make_opsetid("", 20)])
    call = helper.make_node("F", [], ["y"], name="call", domain="f")
    return model([call], [], [value("y", None)], opsets=[("", 20), ("f", 1)], functions=[function]), "the tensor of node 'c' (Constant) "


PLACES = (in_initializer, in_node, in_subgraph, in_function)


def everywhere(name, make, expected, prepare=None):
    """`make()` is a tensor that is refused with `expected` wherever it stands."""
    for place in PLACES:
        def write(folder, place=place):
            if prepare:
                prepare(folder)
            return place(make())[0]
        add(f"{name}_{place.__name__}", place(TensorProto())[1] + expected, write)


TOP, WRAP = 2**63 - 1, 2**64
for index, (dims, text) in enumerate([
    ([-1], "has the dimension -1, expects at least 0"),
    ([4, -(2**63)], f"has the dimension {-(2**63)}, expects at least 0"),
    ([TOP, TOP], "has dimensions whose product exceeds 2^64"),
    ([2**32, 2**32], "has dimensions whose product exceeds 2^64"),
    ([TOP], "has dimensions whose size exceeds 2^63 bits"),
    ([2**58 + 1, 1], "has dimensions whose size exceeds 2^63 bits"),
    ([2**40], f"has 16 bytes of raw data, expects {2**42}"),
    ([1] * 65, "has 65 dimensions, expects at most 64"),
    ([1] * 5000, "has 5000 dimensions, expects at most 64"),
    ([5], "has 16 bytes of raw data, expects 20"),
    ([0], "has 16 bytes of raw data, expects 0"),
]):
    everywhere(f"dims_{index}", lambda dims=dims: TensorProto(dims=dims, data_type=F32, raw_data=bytes(16)), text)

for dtype in (-1, 0, 29, 99, 2**31 - 1, -(2**31)):
    everywhere(f"dtype_{dtype}", lambda dtype=dtype: TensorProto(dims=[4], data_type=dtype, raw_data=bytes(16)),
               f"has element type {dtype}, which is none that ONNX defines")

# Payloads that are not those of the type.
for name, dtype, fields in [
    ("int32_as_int64", TensorProto.INT32, {"int64_data": [1, 2, 3, 4]}),
    ("double_as_float", TensorProto.DOUBLE, {"float_data": [1, 2, 3, 4]}),
    ("half_as_float", TensorProto.FLOAT16, {"float_data": [1, 2, 3, 4]}),
    ("bool_short", TensorProto.BOOL, {"int32_data": [1, 0, 1]}),
    ("int4_one_each", TensorProto.INT4, {"int32_data": [1, 2, 3, 4]}),
    ("uint64_long", TensorProto.UINT64, {"uint64_data": [1, 2, 3, 4, 5]}),
    ("string_short", TensorProto.STRING, {"string_data": [b"a"]}),
    ("complex_short", TensorProto.COMPLEX64, {"float_data": [1, 2, 3, 4]}),
    ("none", F32, {}),
]:
    count = len(next(iter(fields.values()), []))
    found = 0 if name in ("int32_as_int64", "double_as_float", "half_as_float") else count
    required = {"int4_one_each": 2, "complex_short": 8}.get(name, 4)
    everywhere(f"payload_{name}", lambda dtype=dtype, fields=fields: TensorProto(dims=[4], data_type=dtype, **fields),
               f"has {found} values of type {TensorProto.DataType.Name(dtype)}, expects {required}")


@case("has 2 payloads, expects one")
def small_two_payloads(folder):
    return identity(TensorProto(name="w", dims=[1], data_type=F32, raw_data=bytes(4), float_data=[1.0]))


@case("both external data and a payload")
def small_external_and_inline(folder):
    tensor = external("w", [1], location="weights.bin")
    tensor.raw_data = bytes(4)
    return identity(tensor)


@case("has data location 2, expects DEFAULT (0) or EXTERNAL (1)")
def unknown_location(folder):
    found = identity().SerializeToString()
    tensor = TensorProto(name="w", dims=[1], data_type=F32, raw_data=bytes(4)).SerializeToString() + b"\x70\x02"
    return found + b"\x3a" + bytes([len(tensor) + 2]) + b"\x2a" + bytes([len(tensor)]) + tensor


# ---- Where external data lie, for tensors that are loaded and that are not -----

def outside(folder):
    data(os.path.dirname(folder), name="outside.bin")


def linked(target, name="weights.bin"):
    def prepare(folder):
        outside(folder)
        os.symlink(target, os.path.join(folder, name))
    return prepare


def hard_linked(folder):
    outside(folder)
    os.link(os.path.join(folder, "..", "outside.bin"), os.path.join(folder, "weights.bin"))


def linked_hard_link(folder):
    data(folder, name="original.bin")
    os.link(os.path.join(folder, "original.bin"), os.path.join(folder, "second.bin"))
    os.symlink("second.bin", os.path.join(folder, "weights.bin"))


def chain(folder):
    outside(folder)
    os.symlink("b", os.path.join(folder, "weights.bin"))
    os.symlink("c", os.path.join(folder, "b"))
    os.symlink("../outside.bin", os.path.join(folder, "c"))


def listening(folder):
    here = os.getcwd()
    os.chdir(folder)  # the path of a socket is short
    try:
        socket.socket(socket.AF_UNIX).bind("weights.bin")
    finally:
        os.chdir(here)


def unreadable(folder):
    os.symlink("/proc/self/mem", os.path.join(folder, "weights.bin"))


def neighbour(folder):
    """A folder whose name begins with that of the model."""
    os.makedirs(folder + "-private", exist_ok=True)
    data(folder + "-private", name="x.bin")
    os.symlink(f"../{os.path.basename(folder)}-private/x.bin", os.path.join(folder, "weights.bin"))


LEAVES, LINK = "leaves the model's folder", "is a link that leaves the model's folder"
for name, location, expected, prepare in [
    ("up", "../outside.bin", LEAVES, outside),
    ("up_through", "sub/../../outside.bin", LEAVES, outside),
    ("up_and_back", "../up_and_back/weights.bin", LEAVES, data),
    ("up_inside", "sub/../weights.bin", LEAVES, data),
    ("dot_up", "./../outside.bin", LEAVES, outside),
    ("doubled_slash", "..//outside.bin", LEAVES, outside),
    ("only_up", "..", LEAVES, None),
    ("root", "/", "is an absolute path", None),
    ("passwd", "/etc/passwd", "is an absolute path", None),
    ("double_root", "//etc/passwd", "is an absolute path", None),
    ("proc", "/proc/self/environ", "is an absolute path", None),
    ("device", "/dev/zero", "is an absolute path", None),
    ("folder", ".", "is not a regular file", None),
    ("trailing_slash", "weights.bin/", "cannot be opened: Not a directory", data),
    ("below_a_file", "weights.bin/x", "cannot be opened: Not a directory", data),
    ("home", "~/weights.bin", "cannot be opened: No such file", None),
    ("url", "https://example.com/w", "cannot be opened: No such file", None),
    ("url_file", "file:///etc/passwd", "cannot be opened: No such file", None),
    ("backslash", "..\\outside.bin", "cannot be opened: No such file", outside),
    ("long", "x" * 300, "cannot be opened: File name too long", None),
    ("longer", "x/" * 5000, "has external data 'x/x/", None),
    ("line", "a\nb", "cannot be opened: No such file", None),
    ("nul", "weights.bin\0", "has no valid name", data),
    ("nul_first", "\0weights.bin", "has no valid name", data),
    ("empty", "", "has no valid name", None),
    ("link_up", "weights.bin", LINK, linked("../outside.bin")),
    ("link_absolute", "weights.bin", LINK, linked("/etc/passwd")),
    ("link_proc", "weights.bin", LINK, linked("/proc/self/maps")),
    ("link_fd", "weights.bin", "which ", linked("/proc/self/fd/0")),
    ("link_mem", "weights.bin", LINK, unreadable),
    ("link_null", "weights.bin", LINK, linked("/dev/null")),
    ("link_random", "weights.bin", LINK, linked("/dev/urandom")),
    ("link_folder", "sub/outside.bin", LINK, linked("..", "sub")),
    ("link_root", "sub/etc/passwd", LINK, linked("/", "sub")),
    ("link_chain", "weights.bin", LINK, chain),
    ("link_neighbour", "weights.bin", LINK, neighbour),
    ("link_loop", "weights.bin", "cannot be opened: Too many levels", linked("weights.bin")),
    ("link_dangling", "weights.bin", "cannot be opened: No such file", linked("nowhere")),
    ("link_hard", "weights.bin", "is a file with 2 hard links, expects one", linked_hard_link),
    ("hard", "weights.bin", "hard links, expects one", hard_linked),
    ("fifo", "weights.bin", "is not a regular file", lambda folder: os.mkfifo(os.path.join(folder, "weights.bin"))),
    ("socket", "weights.bin", "cannot be opened: No such device", listening),
    ("directory", "weights.bin", "is not a regular file", lambda folder: os.mkdir(os.path.join(folder, "weights.bin"))),
    ("the_model", "model.onnx/../x", LEAVES, None),
]:
    for size in (4, 512):  # loaded, and left where it is
        def misplaced(folder, location=location, prepare=prepare, size=size):
            if prepare:
                prepare(folder)
            return weight([size], location=location)
        add(f"location_{name}_{size}", expected, misplaced)

for index, (entries, expected) in enumerate([
    ({"offset": 4096}, "has {0} bytes at offset 4096 of external data 'weights.bin' which has 4096 bytes"),
    ({"offset": 4097}, "which has 4096 bytes"),
    ({"offset": 2**63}, "which has 4096 bytes"),
    ({"offset": 2**64 - 1}, "which has 4096 bytes"),
    ({"offset": 2**64}, f"has offset '{2**64}' in external data 'weights.bin', expects a decimal number below 2^64"),
    ({"offset": -1}, "expects a decimal number below 2^64"),
    ({"offset": "0x10"}, "expects a decimal number below 2^64"),
    ({"offset": "1e3"}, "expects a decimal number below 2^64"),
    ({"offset": "٣"}, "expects a decimal number below 2^64"),
    ({"offset": " 0"}, "expects a decimal number below 2^64"),
    ({"offset": "0,0"}, "expects a decimal number below 2^64"),
    ({"length": 0}, "has 0 bytes of external data 'weights.bin', expects {0}"),
    ({"length": 2**63}, f"has {2**63} bytes of external data"),
    ({"length": 2**64 - 1}, f"has {2**64 - 1} bytes of external data"),
    ({"length": 2**64}, "expects a decimal number below 2^64"),
    ({"length": -1}, "expects a decimal number below 2^64"),
    ({"length": ""}, "expects a decimal number below 2^64"),
    ({"length": "all"}, "expects a decimal number below 2^64"),
]):
    for size in (4, 512):
        def misread(folder, entries=entries, size=size):
            data(folder)
            return weight([size], location="weights.bin", **entries)
        add(f"range_{index}_{size}", expected.format(4 * size), misread)

everywhere("outside_is_short", lambda: external("", [2048], location="weights.bin"),
           "has 8192 bytes at offset 0 of external data 'weights.bin' which has 4096 bytes", data)
everywhere("outside_is_huge", lambda: external("", [2**55], location="weights.bin"),
           f"has {2**57} bytes at offset 0 of external data 'weights.bin' which has 4096 bytes", data)
everywhere("outside_is_absent", lambda: external("", [4], location="weights.bin"),
           "has external data 'weights.bin' which cannot be opened: No such file")


# ---- Types of inputs, outputs and values ---------------------------------------

def declared(where, change):
    """A model with the declaration of an input, an output, an intermediate value or a subgraph's output changed."""
    found = two = None
    branch = helper.make_graph([helper.make_node("Identity", ["x"], ["t"], name="inner")], "branch", [], [value("t", ["n", 4])])
    nodes = [helper.make_node("If", ["c"], ["m"], name="if", then_branch=branch, else_branch=branch),
             helper.make_node("Relu", ["m"], ["y"], name="n")]
    found = model(nodes, [value("x", ["n", 4]), value("c", [], TensorProto.BOOL)], [value("y", ["n", 4])],
                  value_info=[value("m", ["n", 4])])
    graph = found.graph
    two = {"input": graph.input, "output": graph.output, "value": graph.value_info,
           "output_inner": graph.node[0].attribute[0].g.output}[where][0]
    change(two.type.tensor_type)
    return found


def with_dims(*dims):
    def change(tensor):
        del tensor.shape.dim[:]
        for dim in dims:
            tensor.shape.dim.add(dim_value=dim)
    return change


def with_dtype(dtype):
    def change(tensor):
        tensor.elem_type = dtype
    return change


for where, subject in [("input", "input 'x'"), ("output", "output 'y'"), ("value", "value 'm'"), ("output_inner", "value 't'")]:
    for index, (change, text) in enumerate([
        (with_dtype(99), "has element type 99, which is none that ONNX defines"),
        (with_dtype(-1), "has element type -1, which is none that ONNX defines"),
        (with_dtype(2**31 - 1), f"has element type {2**31 - 1}, which is none that ONNX defines"),
        (with_dims(-7, 4), "has the dimension -7, expects at least 0"),
        (with_dims(-(2**63), 4), f"has the dimension {-(2**63)}, expects at least 0"),
        (with_dims(2**62, 2**62), "has dimensions whose size exceeds 2^63 bits"),
        (with_dims(2**63 - 1), "has dimensions whose size exceeds 2^63 bits"),
        (with_dims(*[1] * 65), "has 65 dimensions, expects at most 64"),
        (with_dims(*[1] * 20000), "has 20000 dimensions, expects at most 64"),
    ]):
        add(f"declared_{where}_{index}", f"{subject} {text}", declared(where, change))

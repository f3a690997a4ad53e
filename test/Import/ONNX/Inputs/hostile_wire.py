"""Damage to the bytes of a model: every field of every message that a file has, found by walking the file along the
format's own description."""

import models
import onnx
from google.protobuf.descriptor import FieldDescriptor
from hostile_cases import add, array, case, identity
from models import F32, I64, external, model, value, varint
from onnx import TensorProto, helper

TEXT, MESSAGE = FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE
# Left out when the file is read, where they come first.
DROPPED = {"doc_string", "key"}


def rich():
    """A model that has every message and every field which the compiler reads."""
    found = models.subgraphs(None)
    found.producer_name, found.producer_version, found.domain, found.model_version, found.doc_string = "p", "1", "d", 3, "text"
    found.metadata_props.add(key="key", value="value")
    found.opset_import.add(domain="f", version=1)
    found.functions.append(helper.make_function(
        "f", "F", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"], name="inside")], [helper.make_opsetid("", 20)],
        attributes=["alpha"], attribute_protos=[helper.make_attribute("beta", 1.0)], overload="o", doc_string="text"))
    graph = found.graph
    graph.doc_string = "text"
    graph.value_info.append(value("t", ["n", 4]))
    for index, dtype in enumerate((TensorProto.INT32, I64, TensorProto.UINT64, TensorProto.DOUBLE, F32, TensorProto.STRING)):
        values = [b"a", b"b"] if dtype == TensorProto.STRING else [1, 2]
        graph.initializer.append(helper.make_tensor(f"typed{index}", dtype, [2], values))
    graph.initializer.append(external("outside", [4], location="weights.bin", offset=0, length=16))
    graph.node.append(helper.make_node(
        "Mystery", ["x"], ["m"], name="mystery", domain="f", float=0.5, int=3, string="text", floats=[0.5, 1.0], ints=[1, 2],
        strings=["a", "b"], tensor=array("", [1.0])))
    graph.node[0].metadata_props.add(key="namespace", value="root")
    graph.node[0].doc_string = "text"
    graph.input[0].type.denotation = "kind"
    graph.input[1].type.tensor_type.shape.dim[0].denotation = "rows"
    graph.input[1].type.tensor_type.shape.dim[1].dim_param = "columns"
    return found


def read_varint(content, at):
    number = shift = 0
    while True:
        byte = content[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def fields(content, begin, end, message, path=()):
    """(path, descriptor, wire type, tag, content, end) of each field of a message and of those in it. A path is the
    lengths that hold the field, outermost first: (position, content, end)."""
    at = begin
    while at < end:
        tag = at
        key, at = read_varint(content, at)
        field, wire = message.fields_by_number[key >> 3], key & 7
        if wire == 2:
            position = at
            size, at = read_varint(content, at)
            yield path, field, wire, tag, at, at + size
            if field.type == MESSAGE:
                yield from fields(content, at, at + size, field.message_type, (*path, (position, at, at + size)))
            at += size
            continue
        if wire == 0:
            _, stop = read_varint(content, at)
        else:
            stop = at + {1: 8, 5: 4}[wire]
        yield path, field, wire, tag, at, stop
        at = stop


def replaced(content, path, begin, end, by):
    """Bytes replaced, and the lengths of all messages around them corrected."""
    content = content[:begin] + by + content[end:]
    grown = len(by) - (end - begin)
    for position, start, stop in reversed(path):
        length = varint(stop - start + grown)
        content = content[:position] + length + content[start:]
        grown += len(length) - (start - position)
    return content


def damage():
    whole = rich().SerializeToString()
    seen = set()
    for path, field, wire, tag, begin, end in fields(whole, 0, len(whole), onnx.ModelProto.DESCRIPTOR):
        name = field.full_name.removeprefix("onnx.").replace(".", "_")
        if name in seen:
            continue
        seen.add(name)
        number = field.number << 3
        damaged = "damaged"
        # A wire type that does not exist, or the number 0.
        bad = varint(number | 7) if len(seen) % 2 else b"\x00\x01"
        add(f"tag_{name}", damaged, replaced(whole, path, tag, begin, bad))
        if wire == 2:
            size = 2**40 if len(seen) % 2 else 2**64 - 1
            add(f"length_{name}", damaged, replaced(whole, path, tag, begin, varint(number | 2) + varint(size)))
        elif wire == 0:
            add(f"endless_{name}", damaged, replaced(whole, path, begin, end, b"\xff" * 11 + b"\x01"))
        if field.type == TEXT and field.name not in DROPPED:
            text = (b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"a\xe2\x82")[len(seen) % 4]
            add(f"utf8_{name}", f"field '{field.name}' of {field.containing_type.name} is not UTF-8",
                replaced(whole, path, tag, end, varint(number | 2) + varint(len(text)) + text))
    for size in sorted({*range(1, 24), *range(24, len(whole), len(whole) // 24)}):
        add(f"prefix_{size}", "", whole[:size])


damage()


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


@case("nests subgraphs deeper")
def deep_nesting_in_function(folder):
    graph = field(2, b"g")
    for _ in range(2000):
        attribute = field(1, b"body") + varint(20 << 3) + b"\x05" + field(6, graph)
        graph = field(1, field(4, b"If") + field(5, attribute)) + field(2, b"g")
    return varint(1 << 3) + b"\x08" + field(25, field(1, b"F") + field(7, field(5, field(6, graph))))


@case("is damaged")
def deep_types(folder):
    found = bytearray()
    for _ in range(5000):  # sequence(sequence(...))
        found = field(4, field(1, bytes(found)))
    return identity().SerializeToString() + field(7, field(13, field(1, b"v") + field(2, bytes(found))))

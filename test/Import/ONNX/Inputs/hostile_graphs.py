"""Graphs and functions that are none."""

import numpy as np
import onnx
from hostile_cases import F32, I64, add, array, case, external, identity, model, two_nodes, value
from onnx import TensorProto, helper

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


# ---- Names and values ----------------------------------------------------------

def chain(count, op="Neg", first="x", last="y"):
    names = [first] + [f"c{i}" for i in range(count - 1)] + [last]
    return [helper.make_node(op, [a], [b], name=f"n{i}") for i, (a, b) in enumerate(zip(names, names[1:]))]


def over_x(nodes, *initializers, **options):
    return model(nodes, [value("x", ["n", 4])], [value("y", None)], list(initializers), **options)


SORTED = "must be topologically sorted"

for length in (1, 2, 3, 50):
    nodes = chain(length, first="y")
    add(f"cycle_{length}", SORTED, over_x(nodes))
add("reversed", SORTED, over_x(chain(20)[::-1]))
add("long_reversed", SORTED, over_x(chain(20000)[::-1]))


def branches(then_nodes, then_output="t", before=(), after=(), inputs=(), initializers=(), **more):
    """If(c) whose first branch is made of the nodes given."""
    then_branch = helper.make_graph(then_nodes, "then", list(inputs), [value(then_output, None)], list(initializers))
    else_branch = helper.make_graph([helper.make_node("Identity", ["x"], ["e"], name="else_id")], "else", [], [value("e", None)])
    node = helper.make_node("If", ["c"], ["y"], name="if", then_branch=then_branch, else_branch=else_branch, **more)
    return model([*before, node, *after], [value("x", ["n", 4]), value("c", [], TensorProto.BOOL)], [value("y", None)])


def relu(a, b, name="inner"):
    return helper.make_node("Relu", [a], [b], name=name)


for name, expected, found in [
    ("inner_cycle", SORTED, branches([relu("b", "a"), relu("a", "b", "second"), relu("b", "t", "third")])),
    ("inner_own_result", SORTED, branches([relu("y", "t")])),
    ("inner_later_value", SORTED, branches([relu("late", "t")], after=[relu("x", "late", "after")])),
    ("inner_unknown_value", SORTED, branches([relu("nobody", "t")])),
    ("inner_shadows_input", "multiple times", branches([relu("x", "x"), relu("x", "t", "second")])),
    ("inner_shadows_node", "multiple times", branches([relu("x", "a"), relu("a", "t", "second")], before=[relu("x", "a", "outer")])),
    ("inner_twice", "multiple times", branches([relu("x", "t"), relu("x", "t", "second")])),
    ("inner_unknown_output", "'zzz' is not an output of any node", branches([relu("x", "t")], then_output="zzz")),
    ("inner_initializer_twice", "initializer name is not unique",
     branches([relu("w", "t")], initializers=[array("w", [1.0]), array("w", [2.0])])),
    ("outer_reads_inner", SORTED, branches([relu("x", "t")], after=[relu("t", "z", "after")])),
    ("branch_with_inputs", "node 'if' (If)", branches([relu("i", "t")], inputs=[value("i", [4])])),
]:
    add(name, expected, found)

no_else = branches([relu("x", "t")])
del no_else.graph.node[0].attribute[1]
add("if_without_else", "node 'if' (If): ", no_else)
two_then = branches([relu("x", "t")])
two_then.graph.node[0].attribute.append(two_then.graph.node[0].attribute[0])
add("if_with_two_then", "node 'if' (If): ", two_then)
not_a_graph = branches([relu("x", "t")])
not_a_graph.graph.node[0].attribute[0].CopyFrom(helper.make_attribute("then_branch", 1))
add("if_branch_is_a_number", "node 'if' (If): ", not_a_graph)
two_results = branches([relu("x", "t")])
two_results.graph.node[0].output.append("second")
add("if_with_two_results", "node 'if' (If): ", two_results)
no_condition = branches([relu("x", "t")])
del no_condition.graph.node[0].input[:]
add("if_without_condition", "node 'if' (If): ", no_condition)


def loop(inputs, outputs, nodes=None, carried=("v",), results=None):
    nodes = nodes or [helper.make_node("Identity", ["go"], ["go_out"], name="keep"), relu("v", "v_out", "step")]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    node = helper.make_node("Loop", ["m", "", *carried], results or ["y"], name="loop", body=body)
    return model([node], [value("m", [], I64), value("v", ["n", 4])], [value("y", None)])


BOOL = TensorProto.BOOL
counter, go, state = value("i", [], I64), value("go", [], BOOL), value("v", ["n", 4])
go_out, state_out = value("go_out", [], BOOL), value("v_out", ["n", 4])
LOOP = "node 'loop' (Loop): "
for index, found in enumerate([
    loop([counter, go], [go_out, state_out]),
    loop([counter], [go_out]),
    loop([], []),
    loop([counter, go, state], [go_out]),
    loop([counter, go, state], [state_out]),
    loop([counter, go, state], [go_out, state_out], results=["y", "a", "b"]),
    loop([counter, go, state], [go_out, state_out], carried=()),
    loop([counter, go, state], [go_out, state_out], carried=("v", "v")),
]):
    add(f"loop_{index}", "(Loop)" if index else LOOP, found)


@case("node 'late' (Relu)")
def only_the_last_node_of_many_is_wrong(folder):
    nodes = chain(50000, last="z")
    nodes.append(helper.make_node("Relu", ["z", "z"], ["y"], name="late"))
    return over_x(nodes)


for name, expected, found in [
    ("no_name_of_an_input", "", over_x([relu("", "y")])),
    ("too_few_inputs", "node 'n' (Concat): ", over_x([helper.make_node("Concat", [], ["y"], name="n", axis=0)])),
    ("no_outputs", "node 'n' (Relu): ", over_x([helper.make_node("Relu", ["x"], [], name="n"), relu("x", "y")])),
    ("two_results", "node 'n' (Relu): ", over_x([helper.make_node("Relu", ["x"], ["y", "z"], name="n")])),
    ("output_named_like_input", "multiple times", over_x([relu("x", "x"), relu("x", "y", "second")])),
    ("output_named_like_weight", "", over_x([relu("x", "w"), relu("w", "y", "second")], array("w", [1.0]))),
    ("nameless_operator", "'op_type'", over_x([helper.make_node("", ["x"], ["y"], name="n")])),
    ("nameless_weight", "", over_x([relu("x", "y")], array("", [1.0]))),
    ("unused_bad_weight", "initializer 'w' has element type 99", over_x([relu("x", "y")], TensorProto(name="w", dims=[1], data_type=99))),
    ("no_nodes", "'y' is not an output of any node", over_x([])),
    ("attribute_twice", "node 'n' (LeakyRelu)", None),
    ("missing_required_attribute", "node 'n' (Concat)", over_x([helper.make_node("Concat", ["x"], ["y"], name="n")])),
    ("attribute_of_another_type", "node 'n' (Concat)", over_x([helper.make_node("Concat", ["x"], ["y"], name="n", axis="0")])),
]:
    if found is None:
        found = over_x([helper.make_node("LeakyRelu", ["x"], ["y"], name="n", alpha=0.5)])
        found.graph.node[0].attribute.append(found.graph.node[0].attribute[0])
    add(name, expected, found)

# An attribute whose type and value differ, for each type there is.
FIELD = {"FLOAT": "f", "INT": "i", "STRING": "s", "TENSOR": "t", "GRAPH": "g", "FLOATS": "floats", "INTS": "ints", "STRINGS": "strings",
         "SPARSE_TENSOR": "sparse_tensor", "TYPE_PROTO": "tp", "TENSORS": "tensors", "GRAPHS": "graphs",
         "SPARSE_TENSORS": "sparse_tensors", "TYPE_PROTOS": "type_protos"}
for name in FIELD:
    kind = onnx.AttributeProto.AttributeType.Value(name)
    found = over_x([helper.make_node("LeakyRelu", ["x"], ["y"], name="n", alpha=0.5)])
    found.graph.node[0].attribute[0].type = kind
    if name == "FLOAT":
        found.graph.node[0].attribute[0].ints.append(1)  # two values
    add(f"attribute_says_{name}", "node 'n' (LeakyRelu)", found)
found = over_x([helper.make_node("QuickGelu", ["x"], ["y"], name="n", domain="com.microsoft")])
found.graph.node[0].attribute.add(name="other", type=onnx.AttributeProto.TENSOR)
add("attribute_without_tensor", "node 'n' (QuickGelu)", found)
found = over_x([helper.make_node("LeakyRelu", ["x"], ["y"], name="n", alpha=0.5)])
found.graph.node[0].attribute[0].ClearField("type")
add("attribute_without_type", "node 'n' (LeakyRelu)", found)

for name in ("sparse_tensor", "sparse_tensors"):
    found = over_x([helper.make_node("Constant", [], ["y"], name="n", value_float=0.0)])
    attribute = found.graph.node[0].attribute[0]
    attribute.Clear()
    attribute.name, attribute.type = "sparse_value", getattr(onnx.AttributeProto, name.upper())
    sparse = helper.make_sparse_tensor(array("v", [1.0]), array("i", [0], np.int64), [4])
    if name == "sparse_tensor":
        attribute.sparse_tensor.CopyFrom(sparse)
    else:
        attribute.sparse_tensors.append(sparse)
    add(f"attribute_{name}", "node 'n' (Constant)", found)


# ---- Versions ------------------------------------------------------------------

for index, (opsets, expected) in enumerate([
    ([("", -1)], "imports version -1 of operator set 'ai.onnx'"),
    ([("", 2**40)], f"imports version {2**40} of operator set 'ai.onnx'"),
    ([("", 2**63 - 1)], f"imports version {2**63 - 1} of operator set 'ai.onnx'"),
    ([("", -(2**63))], "of operator set 'ai.onnx', expects a version from"),
    ([("", 20), ("", 20)], "imports operator set 'ai.onnx' twice"),
    ([("", 20), ("f", 1), ("f", 2)], "imports operator set 'f' twice"),
    ([("", 20), ("f", 0)], "imports version 0 of operator set 'f'"),
    ([("", 20), ("f", 2**40)], f"imports version {2**40} of operator set 'f'"),
    ([("", 1)], "node 'id' (Identity)"),
]):
    if index < 8:
        add(f"opset_{index}", expected, identity(opsets=opsets))
for index, version in enumerate([-1, 0, 1, 2, 2**31, 2**40, 2**63 - 1]):
    add(f"ir_version_{index}", f"has IR version {version}, expects a version from 3 to", identity(ir_version=version))


# ---- Functions -----------------------------------------------------------------

add("function_cycle_of_values", "", caller([function("F", [relu("b", "a2"), relu("a2", "b", "second")])]))
add("function_unknown_value", "", caller([function("F", [relu("zzz", "b")])]))
add("function_without_output", "", caller([function("F", [relu("a", "c")])]))
add("function_unknown_operator", "operator is not supported", caller([function("F", [helper.make_node("Zzz", ["a"], ["b"], name="n")])]))
add("function_too_many_arguments", "", model(
    [helper.make_node("F", ["x", "x", "x"], ["y"], name="call", domain="f")], [value("x", ["n", 4])], [value("y", ["n", 4])],
    opsets=[("", 20), ("f", 1)], functions=[function("F", [relu("a", "b")])]))
add("function_too_many_results", "", model(
    [helper.make_node("F", ["x"], ["y", "z"], name="call", domain="f")], [value("x", ["n", 4])], [value("z", ["n", 4])],
    opsets=[("", 20), ("f", 1)], functions=[function("F", [relu("a", "b")])]))
wide = function("F", [relu("a", "b")])
wide.output.append("b")
add("function_output_twice", "", caller([wide]))
needy = helper.make_function("f", "F", ["a"], ["b"], [helper.make_node("LeakyRelu", ["a"], ["b"], name="n")],
                             [helper.make_opsetid("", 20)], attributes=["alpha"])
needy.node[0].attribute.add(name="alpha", type=onnx.AttributeProto.STRING, ref_attr_name="alpha")
add("function_attribute_of_another_type", "", caller([needy]))


# ---- Declarations that contradict what the nodes compute ------------------------

for index, (where, dtype) in enumerate([("value", I64), ("value", TensorProto.STRING), ("output", TensorProto.BOOL)]):
    lie = model([relu("x", "m", "n"), relu("m", "y", "n2")], [value("x", ["n", 4])], [value("y", ["n", 4])], value_info=[value("m", ["n", 4])])
    (lie.graph.value_info if where == "value" else lie.graph.output)[0].type.tensor_type.elem_type = dtype
    add(f"wrong_declaration_{index}", f"computes '{'m' if where == 'value' else 'y'}' of type FLOAT, but the file declares it as "
        f"{TensorProto.DataType.Name(dtype)}", lie)

# REQUIRES: python-numpy, python-onnx, python-onnxruntime
# RUN: %python %s %t | FileCheck %s
"""Operators over symbolic dimensions, against onnxruntime: one compiled model
per operator set version, run at odd, unit and empty sizes, among them sizes at
which only the run decides whether a dimension is broadcast."""

import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

import moe_testing

TYPES = {"f32": np.float32, "f64": np.float64, "f16": np.float16, "i64": np.int64, "i32": np.int32, "i8": np.int8, "u8": np.uint8, "bool": np.bool_}


class Model:
    def __init__(self, opset):
        self.opset = opset
        self.nodes, self.inputs, self.outputs, self.initializers = [], {}, [], []
        self.random = np.random.default_rng(7)
        self.count = 0

    def input(self, type, *dims, low=-4, high=4):
        """An input; integers lie in [low, high), both may name a dimension."""
        self.count += 1
        name = "x%d" % self.count
        self.inputs[name] = (TYPES[type], dims, low, high)
        return name

    def constant(self, value, type="i64"):
        self.count += 1
        name = "c%d" % self.count
        array = np.asarray(value, TYPES[type])
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, *shape, type="f32"):
        return self.constant(self.random.standard_normal(shape), type)

    def op(self, op, *inputs, outputs=1, output=True, domain="", **attributes):
        """A node; its results are outputs of the model unless `output` is False."""
        self.count += 1
        names = ["%s_%d_%d" % (op, self.count, i) for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name="%s_%d" % (op, self.count), domain=domain, **attributes))
        if output:
            self.outputs += names
        return names[0] if outputs == 1 else names

    def shape(self, x, start, end=None):
        more = {} if end is None else {"end": end}
        return self.op("Shape", x, output=False, start=start, **more)

    def make(self):
        element = lambda t: helper.np_dtype_to_tensor_dtype(np.dtype(t))
        inputs = [helper.make_tensor_value_info(n, element(t), d) for n, (t, d, _, _) in self.inputs.items()]
        outputs = [onnx.ValueInfoProto(name=n) for n in self.outputs]
        graph = helper.make_graph(self.nodes, "g", inputs, outputs, self.initializers)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, ir_version=9, opset_imports=opsets)
        # The outputs' types are what inference finds.
        inferred = onnx.shape_inference.infer_shapes(model)
        known = {v.name: v for v in list(inferred.graph.value_info) + list(inferred.graph.output)}
        for name in self.outputs:
            # Inference knows no operator of com.microsoft; here they give floats.
            if name not in known or not known[name].type.tensor_type.elem_type:
                known[name] = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        del model.graph.output[:]
        model.graph.output.extend(known[n] for n in self.outputs)
        return model

    def feed(self, sizes):
        arrays = {}
        for name, (type, dims, low, high) in self.inputs.items():
            shape = [d if isinstance(d, int) else sizes[d] for d in dims]
            if np.issubdtype(type, np.floating):
                array = self.random.standard_normal(shape)
            else:
                bound = lambda v: v if isinstance(v, int) else -sizes[v[1:]] if v[0] == "-" else sizes[v]
                a, b = bound(low), bound(high)
                if type == np.bool_:
                    a, b = 0, 2
                array = self.random.integers(a, max(b, a + 1), shape)
            arrays[name] = np.asarray(array, type)
        return arrays


def elementwise(m):
    x, y = m.input("f32", "n", "m"), m.input("f32", "m")
    for op in ("Abs Ceil Cos Elu Erf Exp Floor HardSigmoid HardSwish LeakyRelu Neg Relu Round Selu Sigmoid Sign Sin "
               "Softplus Softsign Tanh ThresholdedRelu Mish Atan Reciprocal IsNaN").split():
        m.op(op, x)
    positive = m.op("Abs", x, output=False)
    m.op("Sqrt", positive)
    m.op("Log", m.op("Add", positive, m.constant(0.5, "f32"), output=False))
    for op in "Add Sub Mul Div Max Min".split():
        m.op(op, x, y)
    for exponent in (2.0, 3.0, 0.5, -1.0, 1.5):
        m.op("Pow", positive, m.constant(exponent, "f32"))
    m.op("Pow", positive, m.op("Abs", y, output=False))
    m.op("Mod", x, y, fmod=1)
    for op in "Equal Less LessOrEqual Greater GreaterOrEqual".split():
        m.op(op, x, y)
    condition = m.op("Greater", x, y, output=False)
    m.op("Where", condition, x, y)
    m.op("Not", condition)
    for op in "And Or Xor".split():
        m.op(op, condition, m.op("Less", x, m.constant(0, "f32"), output=False))
    m.op("Clip", x, m.constant(-0.5, "f32"), m.constant(0.75, "f32"))
    m.op("Clip", x, "", m.constant(0.75, "f32"))
    m.op("Gelu", x)
    m.op("Gelu", x, approximate="tanh")
    m.op("PRelu", x, y)
    m.op("Sum", x, y, x)
    m.op("Mean", x, y)
    i, j = m.input("i64", "n", "m", low=-20, high=20), m.input("i64", "m", low=1, high=9)
    for op in "Add Sub Mul Div Max Min Mod Equal Less".split():
        m.op(op, i, j)
    m.op("Div", i, m.op("Neg", j, output=False))
    m.op("Mod", i, m.op("Neg", j, output=False))
    m.op("Mod", i, j, fmod=1)
    m.op("Pow", i, m.constant(2))
    m.op("Clip", i, m.constant(-3), m.constant(3))
    for to in (1, 6, 9, 11, 10, 3):
        m.op("Cast", i, to=to)
        m.op("Cast", x, to=to)
    u = m.input("u8", "n", "m", low=0, high=256)
    m.op("Cast", u, to=1)
    m.op("Cast", u, to=7)
    d = m.input("f64", "n")
    m.op("Mul", d, d)
    m.op("Cast", d, to=10)
    m.op("IsInf", m.op("Div", x, m.constant(0, "f32"), output=False), detect_negative=0)


def decided_at_run_time(m):
    """The names p, q and r say nothing about which of them are 1 or equal."""
    x, y, z = m.input("f32", "p", "m"), m.input("f32", "q", "m"), m.input("f32", "r", 1)
    m.op("Add", x, y)
    m.op("Where", m.op("Greater", x, y, output=False), z, x)
    m.op("Expand", x, m.shape(y, 0))
    three = m.input("f32", "q", 3, "m")
    m.op("MatMul", m.input("f32", "p", "n", 3), three)
    a, b = m.input("f32", "n", 3), m.input("f32", 3, "m")
    m.op("Gemm", a, b, m.input("f32", "c", 1))
    m.op("Gemm", a, b, m.input("f32", "c", "m"), beta=0.5)
    m.op("Gemm", a, b, m.weight(2, 5))
    m.op("LayerNormalization", x, m.weight(5), m.input("f32", "s"))


def shapes(m):
    x = m.input("f32", "n", "m", 6)
    minus, zero, one, two, six = (m.constant([v]) for v in (-1, 0, 1, 2, 6))
    n, k = m.shape(x, 0, 1), m.shape(x, 1, 2)
    m.op("Reshape", x, m.op("Concat", minus, six, axis=0, output=False))
    m.op("Reshape", x, m.op("Concat", n, k, two, minus, axis=0, output=False))
    m.op("Reshape", x, m.op("Concat", m.op("Mul", n, k, output=False), six, axis=0, output=False))
    m.op("Reshape", x, m.op("Concat", k, m.op("Mul", n, six, output=False), axis=0, output=False))
    m.op("Reshape", x, m.constant([0, 0, 3, 2]))
    flat = m.op("Flatten", x, axis=2)
    m.op("Flatten", x, axis=0)
    m.op("Squeeze", m.op("Unsqueeze", x, m.constant([0, 3]), output=False), m.constant([0]))
    for perm in ([2, 0, 1], [1, 0, 2], [0, 2, 1]):
        m.op("Transpose", x, perm=perm)
    m.op("Concat", x, x, axis=1)
    m.op("Concat", x, m.input("f32", "n", "k", 6), axis=-2)
    m.op("Split", x, outputs=3, axis=2, num_outputs=3)
    m.op("Split", x, m.constant([1, 5]), outputs=2, axis=2)
    m.op("Expand", m.input("f32", "n", 1, 6), m.op("Concat", two, n, k, six, axis=0, output=False))
    m.op("Tile", x, m.op("Concat", one, two, k, axis=0, output=False))
    m.op("Slice", x, m.constant([1, 2]), m.constant([2**63 - 1, -1]), m.constant([1, 2]))
    m.op("Slice", x, m.constant([-1, -1]), m.constant([-2**63, -2**63]), m.constant([1, 2]), m.constant([-1, -2]))
    m.op("Slice", x, zero, m.op("Sub", k, one, output=False), one)
    m.op("Slice", x, m.op("Neg", n, output=False), m.op("Mul", n, two, output=False), one, two)
    m.op("Size", x)
    scalar = lambda v: m.op("Squeeze", v, output=False)
    m.op("Range", m.constant(0), scalar(k), m.constant(1))
    m.op("Range", scalar(k), m.constant(-3), m.constant(-2))
    m.op("Range", m.constant(0.5, "f32"), m.op("Cast", scalar(k), to=1, output=False), m.constant(0.75, "f32"))
    m.op("ConstantOfShape", m.op("Concat", n, k, axis=0, output=False), value=helper.make_tensor("v", 7, [1], [3]))
    m.op("Pad", x, m.constant([0, 1, 2, 1, 0, -3]), m.constant(2.5, "f32"))
    m.op("Pad", x, m.constant([1, 2]), "", m.constant([2]), mode="reflect")
    m.op("Pad", x, m.constant([1, 2]), "", m.constant([2]), mode="edge")
    m.op("Trilu", x, m.constant(1))
    m.op("Trilu", x, upper=0)
    # Arithmetic on sizes that a model also returns as data.
    quotient = m.op("Div", m.op("Add", m.op("Mul", n, six, output=False), one, output=False), two, output=False)
    m.op("Where", m.op("Equal", n, k, output=False), quotient, minus)
    m.op("Mod", m.op("Sub", n, six, output=False), m.constant([4]))
    m.op("Gather", m.shape(x, 0), m.constant([-1, 0]))
    m.op("ReduceProd", m.shape(x, 0), keepdims=0)
    m.op("Less", m.op("Max", n, k, output=False), m.op("Min", k, six, output=False))


def indexing(m):
    x = m.input("f32", "v", "m")
    one = m.constant([1])
    i = m.input("i64", "n", "k", low="-v", high="v")
    m.op("Gather", x, i)
    m.op("Gather", x, m.input("i32", "n", low=0, high="v"))
    m.op("Gather", m.input("f32", "n", "v", 3), i, axis=1)
    m.op("Gather", x, m.constant(-1), axis=0)
    m.op("GatherElements", x, m.input("i64", "v", "m", low="-v", high="v"), axis=0)
    pairs = m.input("i64", "n", "k", 1, low="-v", high="v")
    m.op("GatherND", x, pairs)
    m.op("GatherND", m.input("f32", "n", "v", 2), pairs, batch_dims=1)
    m.op("GatherND", m.input("f32", "v", "v", 2), m.input("i64", "n", 2, low=0, high="v"))
    e = m.input("i64", "v", "m", low="-v", high="v")
    for reduction in ("add", "mul", "max"):
        m.op("ScatterElements", x, e, m.input("f32", "v", "m"), axis=0, reduction=reduction)
    rows = m.input("i64", "n", 1, low=0, high="v")
    for reduction in ("add", "min"):
        m.op("ScatterND", x, rows, m.input("f32", "n", "m"), reduction=reduction)
    for axis in (-1, 0, 1):
        m.op("OneHot", i, m.constant(5), m.constant([0.5, 2.0], "f32"), axis=axis)
    m.op("NonZero", m.op("Greater", x, m.constant(0, "f32"), output=False))
    some = m.input("bool", "v")
    m.op("Compress", x, some, axis=0)
    m.op("Compress", m.input("i8", "n", "v", 3), some, axis=-2)
    m.op("Compress", m.input("f16", "v", "m"), m.op("Not", some, output=False))
    m.op("Compress", m.input("bool", "k", 4), m.constant([True, False, True], "bool"), axis=1)
    ties = m.input("i64", "n", "v", low=0, high=3)
    for largest in (0, 1):
        m.op("TopK", ties, one, outputs=2, largest=largest)
        m.op("TopK", ties, m.shape(ties, 1, 2), outputs=2, largest=largest)
        m.op("TopK", x, m.shape(x, 0, 1), outputs=2, axis=0, largest=largest)
    m.op("TopK", m.input("f32", "n", 40), m.constant([20]), outputs=2)
    for exclusive in (0, 1):
        for reverse in (0, 1):
            m.op("CumSum", x, m.constant(0), exclusive=exclusive, reverse=reverse)
            m.op("CumSum", ties, m.constant(1), exclusive=exclusive, reverse=reverse)


def reductions(m):
    x = m.input("f32", "n", "m", 5)
    axes = [None, [0], [1], [-1], [0, 2]]
    for op in "ReduceSum ReduceMean ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSumExp ReduceProd".split():
        for i, a in enumerate(axes):
            operands = [x] if a is None else [x, m.constant(a)]
            m.op(op, *operands, keepdims=i % 2)
    for op in "ReduceMax ReduceMin".split():
        m.op(op, x, m.constant([-1]))
    m.op("ReduceSum", x, noop_with_empty_axes=1)
    i = m.input("i64", "n", "m", 5)
    for op in "ReduceSum ReduceMin ReduceMax".split():
        m.op(op, i, m.constant([2]), keepdims=0)
    m.op("ReduceL2", m.input("i32", "n", "m", 5), m.constant([-1]))
    for last in (0, 1):
        m.op("ArgMax", i, axis=2, select_last_index=last)
        m.op("ArgMin", i, axis=-1, keepdims=0, select_last_index=last)
    for axis in (0, 1, 2):
        m.op("Softmax", x, axis=axis)
        m.op("LogSoftmax", x, axis=axis)
    w, b = m.weight(5), m.weight(5)
    m.op("LayerNormalization", x, w, b, axis=-1, outputs=3)
    m.op("LayerNormalization", x, w)
    m.op("SimplifiedLayerNormalization", x, w, epsilon=1e-6)
    m.op("SkipSimplifiedLayerNormalization", x, m.input("f32", "n", "m", 5), w, domain="com.microsoft")
    h = m.op("Cast", x, to=10, output=False)
    m.op("Softmax", h)


def products(m):
    x = m.input("f32", "n", "m", 20)
    m.op("MatMul", x, m.weight(20, 30))
    m.op("MatMul", m.input("f32", 20), m.weight(20, 30))
    m.op("MatMul", x, m.weight(20, 3))
    m.op("MatMul", x, m.input("f32", "n", 20, "k"))
    m.op("MatMul", x, m.input("f32", 20))
    m.op("MatMul", m.input("f32", "m"), m.input("f32", "n", "m", "k"))
    m.op("MatMul", m.input("f32", 2, 1, "m", "k"), m.input("f32", "n", "k", 7))
    m.op("MatMul", x, m.op("Transpose", m.input("f32", "n", "k", 20), perm=[0, 2, 1], output=False))
    m.op("MatMul", m.input("i32", "n", "m"), m.input("i32", "m", "k"))
    a, at = m.input("f32", "n", 20), m.input("f32", 20, "n")
    bias = m.weight(30)
    m.op("Gemm", a, m.weight(30, 20), bias, transB=1)
    m.op("Gemm", a, m.weight(20, 30), bias)
    m.op("Gemm", at, m.weight(20, 30), transA=1)
    m.op("Gemm", at, m.weight(30, 20), m.input("f32", "n", 1), transA=1, transB=1, alpha=0.5, beta=2.0)
    m.op("Gemm", a, m.input("f32", 20, "m"), m.input("f32", "m"), beta=0.25)
    m.op("FusedMatMul", x, m.input("f32", "n", "k", 20), transB=1, alpha=0.125, domain="com.microsoft")
    # Products of views of one weight.
    w = m.weight(20, 40)
    left, right = m.op("Split", w, outputs=2, axis=1, num_outputs=2, output=False)
    m.op("MatMul", x, left)
    m.op("MatMul", x, right)
    m.op("MatMul", x, m.op("Transpose", m.weight(25, 20), perm=[1, 0], output=False))
    m.op("MatMul", x, m.op("Slice", w, m.constant([1]), m.constant([40]), m.constant([1]), m.constant([3]), output=False))


def axis_is_last(m):
    """Before version 13 Softmax sees a matrix."""
    x = m.input("f32", "n", "m", 5)
    for axis in (1, 2, 0):
        m.op("Softmax", x, axis=axis)
        m.op("LogSoftmax", x, axis=axis)
    m.op("ReduceSum", x, axes=[1], keepdims=0)
    m.op("Squeeze", m.op("Unsqueeze", x, axes=[1], output=False), axes=[1])
    m.op("Split", x, outputs=2, axis=2, split=[2, 3])


def compare(name, found, expected):
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return "%s: %s %s, expected %s %s" % (name, found.dtype, found.shape, expected.dtype, expected.shape)
    if expected.dtype.kind != "f":
        equal = np.array_equal(found, expected)
    else:
        tolerance = 2e-3 if expected.dtype == np.float16 else 1e-5
        equal = np.allclose(found, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    if equal:
        return None
    with np.errstate(all="ignore"):
        worst = np.argmax(np.abs(found.astype(np.float64) - expected.astype(np.float64)))
    return "%s: %s, expected %s" % (name, found.ravel()[worst], expected.ravel()[worst])


def check(folder, name, build, sizes, opset=20):
    m = Model(opset)
    build(m)
    model = m.make()
    os.makedirs(folder, exist_ok=True)
    stem = os.path.join(folder, name)
    path = stem + ".onnx"
    onnx.save(model, path)
    moe_testing.run("moe-compile", path, "-o", stem)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    wrong = []
    for i, size in enumerate(sizes):
        feed = m.feed(size)
        expected = session.run(m.outputs, feed)
        np.savez("%s-%d.npz" % (stem, i), **feed)
        moe_testing.run("moe-run", stem + ".so", "--inputs", "%s-%d.npz" % (stem, i), "--outputs", "%s-out.npz" % stem)
        found = np.load("%s-out.npz" % stem)
        for output, array in zip(m.outputs, expected):
            message = compare(output, found[output], array)
            if message:
                wrong.append("%s: %s" % (size, message))
    if wrong:
        sys.exit("%s: %d of %d wrong\n%s" % (name, len(wrong), len(m.outputs) * len(sizes), "\n".join(wrong[:40])))
    print("%s: %d outputs at %d sizes" % (name, len(m.outputs), len(sizes)))


def main(folder):
    odd = dict(n=3, m=5, k=4)
    unit = dict(n=1, m=1, k=1)
    check(folder, "elementwise", elementwise, [odd, unit, dict(n=0, m=5), dict(n=2, m=37)])
    # CHECK: elementwise: {{[0-9]+}} outputs at 4 sizes
    pqr = [(3, 3, 3), (1, 3, 3), (3, 1, 1), (1, 1, 1), (1, 3, 1)]
    check(folder, "decided", decided_at_run_time, [dict(n=2, m=5, p=p, q=q, r=r, c=1 + (p == 1), s=5) for p, q, r in pqr])
    # CHECK: decided: {{[0-9]+}} outputs at 5 sizes
    check(folder, "shapes", shapes, [odd, unit, dict(n=4, m=4, k=2), dict(n=2, m=7, k=0)])
    # CHECK: shapes: {{[0-9]+}} outputs at 4 sizes
    check(folder, "indexing", indexing, [dict(odd, v=7), dict(unit, v=1), dict(n=0, m=3, k=2, v=4), dict(n=2, m=6, k=3, v=33)])
    # CHECK: indexing: {{[0-9]+}} outputs at 4 sizes
    check(folder, "reductions", reductions, [odd, unit, dict(n=2, m=33)])
    # CHECK: reductions: {{[0-9]+}} outputs at 3 sizes
    check(folder, "products", products, [odd, unit, dict(n=2, m=33, k=18), dict(n=1, m=3, k=0)])
    # CHECK: products: {{[0-9]+}} outputs at 4 sizes
    check(folder, "softmax11", axis_is_last, [odd, unit], opset=12)
    # CHECK: softmax11: {{[0-9]+}} outputs at 2 sizes
    refuse(folder)


def refuse(folder):
    """What only a run can find wrong ends it with the node and the reason."""
    m = Model(20)
    x = m.input("f32", "n", "m")
    m.op("Gather", x, m.input("i64", "k", low=0, high=1))
    m.op("Div", m.input("i64", "k", low=1, high=9), m.input("i64", "k", low=1, high=9))
    m.op("Add", x, m.input("f32", "p", "m"))
    m.op("Reshape", x, m.constant([-1, 4]))
    m.op("TopK", x, m.constant([2]), outputs=2)
    m.op("ScatterND", x, m.input("i64", "k", 2, low=0, high=1), m.input("f32", "k"), reduction="add")
    os.makedirs(folder, exist_ok=True)
    stem = os.path.join(folder, "refuse")
    onnx.save(m.make(), stem + ".onnx")
    moe_testing.run("moe-compile", stem + ".onnx", "-o", stem)
    names = list(m.inputs)

    def run(sizes, **changed):
        feed = m.feed(sizes)
        for name, value in changed.items():
            feed[names[int(name[1:])]].flat[-1] = value
        np.savez(stem + ".npz", **feed)
        done = subprocess.run(["moe-run", stem + ".so", "--inputs", stem + ".npz"], capture_output=True, text=True)
        print(done.returncode, done.stderr.strip().splitlines()[-1] if done.returncode else "accepted")

    good = dict(n=2, m=6, k=3, p=2)
    # CHECK: 0 accepted
    run(good)
    # CHECK: 2 {{.*}}(Gather): expects every index to lie in an axis of size 2, got 2
    run(good, i1=2)
    # CHECK: 2 {{.*}}(Gather): expects every index to lie in an axis of size 2, got -3
    run(good, i1=-3)
    # CHECK: 2 {{.*}}(Div): expects no integer division by 0, got 1 of them
    run(good, i3=0)
    # CHECK: 2 {{.*}}(Add): expects shapes that broadcast, got sizes 3 and 2
    run(dict(good, p=3))
    # CHECK: 2 {{.*}}(Reshape): expects a shape of 10 elements, got 8
    run(dict(good, m=5))
    # CHECK: 2 {{.*}}(TopK): expects k to be at most 1, the size of the axis, got 2
    run(dict(good, n=4, p=4, m=1))
    # CHECK: 2 {{.*}}(ScatterND): expects every index to lie in an axis of size 6, got 6
    run(good, i5=6)


if __name__ == "__main__":
    main(sys.argv[1])

# LSTM, GRU and RNN: what their definition gives in float64, and onnxruntime where it has the form.
# REQUIRES: python-numpy, python-onnx, python-onnxruntime
# RUN: rm -rf %t && mkdir -p %t && %python %s %t
import itertools
import os
import sys
import unittest

import moe_mlir
import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

FOLDER = sys.argv.pop()
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
OPERANDS = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
FUNCTIONS = {
    "Relu": lambda x, a, b: np.maximum(x, 0),
    "Tanh": lambda x, a, b: np.tanh(x),
    "Sigmoid": lambda x, a, b: 1 / (1 + np.exp(-x)),
    "Affine": lambda x, a, b: a * x + b,
    "LeakyRelu": lambda x, a, b: np.where(x >= 0, x, a * x),
    "ThresholdedRelu": lambda x, a, b: np.where(x > a, x, 0),
    "ScaledTanh": lambda x, a, b: a * np.tanh(b * x),
    "HardSigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "Elu": lambda x, a, b: np.where(x >= 0, x, a * np.expm1(x)),
    "Softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "Softplus": lambda x, a, b: np.log1p(np.exp(x)),
}
ALPHAS = {"Affine": 1, "LeakyRelu": 0.01, "ThresholdedRelu": 1, "ScaledTanh": 1, "HardSigmoid": 0.2, "Elu": 1}
BETAS = {"Affine": 0, "ScaledTanh": 1, "HardSigmoid": 0.5}


def activations(op, directions, attributes):
    alphas, betas = list(attributes.get("activation_alpha", [])), list(attributes.get("activation_beta", []))
    made = []
    for name in attributes.get("activations", DEFAULTS[op] * directions):
        a = alphas.pop(0) if name in ALPHAS and alphas else ALPHAS.get(name)
        b = betas.pop(0) if name in BETAS and betas else BETAS.get(name)
        made.append(lambda x, name=name, a=a, b=b: FUNCTIONS[name](x, a, b))
    return made


def reference(op, feed, attributes):
    """The definition, in float64."""
    feed = {name: x.astype(np.float64) if x.dtype.kind == "f" else x for name, x in feed.items()}
    x, w, r = feed["X"], feed["W"], feed["R"]
    batch_first = attributes.get("layout", 0)
    if batch_first:
        x = x.swapaxes(0, 1)
    steps, batch, _ = x.shape
    directions, _, hidden = r.shape
    lengths = feed.get("sequence_lens", np.full(batch, steps))
    functions = activations(op, directions, attributes)
    limit = attributes.get("clip")
    clip = lambda v: np.clip(v, -limit, limit) if limit else v
    gates = GATES[op]
    outputs = np.zeros((steps, directions, batch, hidden))
    last_h, last_c = np.zeros((directions, batch, hidden)), np.zeros((directions, batch, hidden))
    for d in range(directions):
        f = functions[d * len(DEFAULTS[op]) :]
        zeros = np.zeros((directions, batch, hidden))
        given = lambda name: (feed[name].swapaxes(0, 1) if batch_first else feed[name]) if name in feed else zeros
        h, c = given("initial_h")[d], given("initial_c")[d]
        wb, rb = np.split(feed["B"][d] if "B" in feed else np.zeros(2 * gates * hidden), 2)
        p = np.split(feed["P"][d] if "P" in feed else np.zeros(3 * hidden), 3)
        backward = d == 1 or attributes.get("direction") == "reverse"
        for t in reversed(range(steps)) if backward else range(steps):
            own = np.split(x[t] @ w[d].T + wb, gates, 1)
            rec = np.split(h @ r[d].T + rb, gates, 1)
            if op == "RNN":
                next_h, next_c = f[0](clip(own[0] + rec[0])), c
            elif op == "GRU":
                z, s = f[0](clip(own[0] + rec[0])), f[0](clip(own[1] + rec[1]))
                if attributes.get("linear_before_reset"):
                    inner = s * rec[2]
                else:
                    inner = (s * h) @ r[d][2 * hidden :].T + rb[2 * hidden :]
                next_h, next_c = (1 - z) * f[1](clip(own[2] + inner)) + z * h, c
            else:
                i = f[0](clip(own[0] + rec[0] + p[0] * c))
                keep = 1 - i if attributes.get("input_forget") else f[0](clip(own[2] + rec[2] + p[2] * c))
                next_c = keep * c + i * f[1](clip(own[3] + rec[3]))
                next_h = f[0](clip(own[1] + rec[1] + p[1] * next_c)) * f[2](next_c)
            runs = (t < lengths)[:, None]
            outputs[t, d] = np.where(runs, next_h, 0)
            h, c = np.where(runs, next_h, h), np.where(runs, next_c, c)
        last_h[d], last_c[d] = h, c
    if batch_first:
        outputs, last_h, last_c = outputs.transpose(2, 0, 1, 3), last_h.swapaxes(0, 1), last_c.swapaxes(0, 1)
    return {"Y": outputs, "Y_h": last_h, "Y_c": last_c} if op == "LSTM" else {"Y": outputs, "Y_h": last_h}


class Recurrence(unittest.TestCase):
    def case(self, op, steps, batch, features, hidden, operands=(), dtype=np.float32, constants=("W", "R", "B", "P"), runtime=True, tolerance=1e-5, sizes=None, outputs=None, **attributes):
        """Checks one model; `sizes` are further (steps, batch) that the compiled model is run with."""
        rng = np.random.default_rng(len(operands) + hidden)
        directions = 2 if attributes.get("direction") == "bidirectional" else 1
        batch_first = attributes.get("layout", 0)

        def draw(name, steps, batch):
            gates = GATES[op] * hidden
            state = (batch, directions, hidden) if batch_first else (directions, batch, hidden)
            shape = {
                "X": (batch, steps, features) if batch_first else (steps, batch, features),
                "W": (directions, gates, features),
                "R": (directions, gates, hidden),
                "B": (directions, 2 * gates),
                "initial_h": state,
                "initial_c": state,
                "P": (directions, 3 * hidden),
            }.get(name)
            if name == "sequence_lens":
                # onnxruntime wants at least one step
                return rng.integers(min(1, steps), steps + 1, batch).astype(np.int32)
            return (rng.standard_normal(shape) * 0.4).astype(dtype)

        names = [n for n in OPERANDS if n in ("X", "W", "R", *operands)]
        fixed = {n: draw(n, steps, batch) for n in names if n in constants}
        element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        inputs = []
        for n in names:
            if n not in fixed:
                example = draw(n, steps, batch)
                shape = [None] * example.ndim
                inputs.append(helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(example.dtype), shape))
        made = ["Y", "Y_h", "Y_c"][: 3 if op == "LSTM" else 2]
        kept = outputs or made
        used = [n if n in names else "" for n in OPERANDS]
        used = used[: max(i for i, n in enumerate(used) if n) + 1]
        node = helper.make_node(op, used, [n if n in kept else "" for n in made], name="n", hidden_size=hidden, **attributes)
        graph = helper.make_graph(
            [node],
            "g",
            inputs,
            [helper.make_tensor_value_info(n, element, [None] * (4 if n == "Y" else 3)) for n in kept],
            [numpy_helper.from_array(x, n) for n, x in fixed.items()],
        )
        model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 22)])
        stem = os.path.join(FOLDER, "%s%d" % (op, len(os.listdir(FOLDER))))
        onnx.save(model, stem + ".onnx")
        compiled = moe_mlir.Model(moe_mlir.compile(stem + ".onnx", stem))
        for steps, batch in [(steps, batch), *(sizes or [])]:
            feed = {n: draw(n, steps, batch) for n in names if n not in fixed}
            expected = reference(op, {**feed, **fixed}, attributes)
            found = compiled.run(feed)
            for n in kept:
                self.assertEqual((found[n].shape, found[n].dtype), (expected[n].shape, dtype))
                np.testing.assert_allclose(found[n], expected[n], rtol=tolerance, atol=tolerance, err_msg=f"{op} {n} {attributes}")
            if runtime and steps and batch:
                session = onnxruntime.InferenceSession(stem + ".onnx", providers=["CPUExecutionProvider"])
                for n, array in zip(kept, session.run(kept, feed)):
                    np.testing.assert_allclose(found[n], array, rtol=2e-5, atol=2e-5, err_msg=f"{op} {n} {attributes} (onnxruntime)")
        compiled.close()

    SIZES = [(1, 1), (2, 3), (17, 2), (0, 2), (3, 0)]

    def test_plain(self):
        for op in GATES:
            self.case(op, 5, 3, 7, 11, sizes=self.SIZES)
            self.case(op, 4, 2, 16, 32, ("B",), direction="bidirectional", sizes=self.SIZES)

    def test_every_operand(self):
        for op, direction in itertools.product(GATES, ("forward", "reverse", "bidirectional")):
            operands = ["B", "sequence_lens", "initial_h"] + (["initial_c", "P"] if op == "LSTM" else [])
            self.case(op, 6, 4, 5, 9, operands, direction=direction, sizes=self.SIZES)

    def test_weights_as_inputs(self):
        for op in GATES:
            self.case(op, 4, 2, 3, 5, ("B", "initial_h"), constants=(), direction="bidirectional")

    def test_batch_first(self):
        for op, direction in itertools.product(GATES, ("reverse", "bidirectional")):
            operands = ["B", "sequence_lens", "initial_h"] + (["initial_c"] if op == "LSTM" else [])
            # onnxruntime has no layout 1.
            self.case(op, 6, 4, 5, 9, operands, runtime=False, direction=direction, layout=1, sizes=self.SIZES)

    def test_attributes(self):
        self.case("GRU", 5, 3, 7, 11, ("B",), linear_before_reset=1, sizes=self.SIZES)
        self.case("GRU", 5, 3, 7, 11, ("B", "initial_h"), linear_before_reset=1, direction="bidirectional", clip=0.4)
        self.case("LSTM", 5, 3, 7, 11, ("B", "P"), input_forget=1)
        for op in GATES:
            self.case(op, 5, 3, 7, 11, ("B",), clip=0.3)
            self.case(op, 5, 3, 7, 11, outputs=["Y"])
            self.case(op, 5, 3, 7, 11, outputs=["Y_h"])

    def test_activations(self):
        for name in FUNCTIONS:
            alpha, beta = [0.7] * (name in ALPHAS), [0.3] * (name in BETAS)
            given = {"activation_alpha": alpha} if alpha else {}
            given.update({"activation_beta": beta} if beta else {})
            # onnxruntime's Softplus, Softsign, Affine and the like differ from their definitions in places.
            self.case("RNN", 4, 2, 3, 5, activations=[name], runtime=False, **given)
        self.case(
            "LSTM", 4, 2, 3, 5, ("B", "P"), direction="bidirectional",
            activations=["HardSigmoid", "Tanh", "ScaledTanh", "Sigmoid", "LeakyRelu", "Relu"],
            activation_alpha=[0.3, 0.8, 0.1], activation_beta=[0.4, 0.9], runtime=False,
        )  # fmt: skip
        self.case("GRU", 4, 2, 3, 5, activations=["HardSigmoid", "Elu"], activation_alpha=[0.25, 0.5], activation_beta=[0.6], runtime=False)

    def test_types(self):
        for op in GATES:
            operands = ["B", "sequence_lens", "initial_h"]
            self.case(op, 6, 3, 8, 16, operands, dtype=np.float16, tolerance=4e-3, runtime=False)
            self.case(op, 6, 3, 8, 16, operands, dtype=np.float64, tolerance=1e-12, runtime=False, direction="bidirectional")

    def test_lengths_are_checked(self):
        x = helper.make_tensor_value_info("X", 1, [None, 2, 3])
        lens = helper.make_tensor_value_info("lens", 6, [2])
        weights = [numpy_helper.from_array(np.ones((1, 4, n), np.float32), name) for name, n in (("W", 3), ("R", 4))]
        node = helper.make_node("RNN", ["X", "W", "R", "", "lens"], ["Y"], name="n", hidden_size=4)
        graph = helper.make_graph([node], "g", [x, lens], [helper.make_tensor_value_info("Y", 1, [None] * 4)], weights)
        path = os.path.join(FOLDER, "lengths")
        onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 22)]), path + ".onnx")
        model = moe_mlir.Model(moe_mlir.compile(path + ".onnx", path))
        for bad in (4, -1):
            with self.assertRaisesRegex(moe_mlir.NodeError, rf"node 'n' \(RNN\): expects sequence_lens in \[0, 3\], got {bad}"):
                model.run({"X": np.ones((3, 2, 3), np.float32), "lens": np.array([1, bad], np.int32)})
        model.close()


if __name__ == "__main__":
    unittest.main()

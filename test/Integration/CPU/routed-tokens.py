# One compiled binary for every number of tokens and every way the router can spread them; results that do not depend on
# threads, runs or neighbours, not in a bit.
# REQUIRES: python-onnx, python-numpy
# RUN: rm -rf %t && mkdir -p %t && %python %s %t
import os
import sys
import unittest

import moe_reference
import numpy as np
from sparse_models import Graph, add_moe, random_moe, row_error

import moe_mlir

FOLDER = sys.argv.pop()
LIMIT = 1e-5
TOKENS = (0, 1, 2, 3, 17, 128)

FORMS = {
    "relu": ({"activation_type": "relu"}, False),
    "silu_fc3": ({"activation_type": "silu"}, True),
    "gelu": ({"activation_type": "gelu"}, False),
    "halves": ({"activation_type": "swiglu", "swiglu_fusion": 2}, False),
    "interleaved": (
        {"activation_type": "swiglu", "swiglu_fusion": 1, "activation_alpha": 1.702, "activation_beta": 1.0, "swiglu_limit": 1.5},
        False,
    ),
}


class Layer:
    """One node of a model, its inputs x<i> and r<i>, its output y<i>."""

    def __init__(self, index, random, form, k, width, inter, experts, normalize=False, bias=False, batched=False):
        self.index, self.width, self.experts, self.batched = index, width, experts, batched
        attributes, third = FORMS[form]
        self.weights = random_moe(random, width, inter, experts, "swiglu_fusion" in attributes, third, bias)
        self.attributes = dict(attributes, k=k, normalize_routing_weights=int(normalize))

    def add(self, graph):
        dims = ["batch", "seq"] if self.batched else ["tokens"]
        x = graph.input(f"x{self.index}", [*dims, self.width])
        logits = graph.input(f"r{self.index}", ["batch*seq" if self.batched else "tokens", self.experts])
        y = add_moe(graph, x, logits, self.weights, name=f"moe{self.index}", **self.attributes)
        graph.output(f"y{self.index}", y, [*dims, self.width])

    def inputs(self, random, tokens, logits=None):
        x = random.standard_normal((tokens, self.width)).astype(np.float32)
        if logits is None:
            logits = (2 * random.standard_normal((tokens, self.experts))).astype(np.float32)
        # A batch of 2 where that goes.
        batch = 2 if tokens % 2 == 0 else 1
        shaped = x.reshape(batch, tokens // batch, self.width) if self.batched else x
        return {f"x{self.index}": shaped, f"r{self.index}": logits}

    def error(self, inputs, outputs):
        want = moe_reference.contrib_moe(inputs[f"x{self.index}"], inputs[f"r{self.index}"], *self.weights, **self.attributes)
        return row_error(outputs[f"y{self.index}"], want)


def compile(name, layers):
    graph = Graph()
    for layer in layers:
        layer.add(graph)
    return moe_mlir.Model(moe_mlir.compile(graph.save(os.path.join(FOLDER, name + ".onnx"))), threads=2)


class Routing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        random = np.random.default_rng(1)
        cls.layers = [
            Layer(0, random, "silu_fc3", 2, 40, 24, 8, normalize=True),
            Layer(1, random, "interleaved", 3, 24, 40, 8, bias=True),
        ]
        cls.model = compile("routing", cls.layers)
        cls.random = random

    def run_with(self, logits):
        inputs = {}
        for layer in self.layers:
            inputs |= layer.inputs(self.random, len(logits), logits)
        session = self.model.session(threads=2)
        outputs = session.run(inputs)
        for layer in self.layers:
            self.assertLessEqual(layer.error(inputs, outputs), LIMIT)
        return session.expert_loads(), outputs

    def test_any_number_of_tokens(self):
        for tokens in TOKENS:
            logits = (2 * self.random.standard_normal((tokens, 8))).astype(np.float32)
            loads, _ = self.run_with(logits)
            self.assertEqual([load.sum() for load in loads], [2 * tokens, 3 * tokens])

    def test_one_expert_takes_all(self):
        logits = np.zeros((33, 8), np.float32)
        logits[:, 5] = 30
        logits[:, 2] = 20
        logits[:, 7] = 10
        loads, _ = self.run_with(logits)
        np.testing.assert_array_equal(loads[0], [0, 0, 33, 0, 0, 33, 0, 0])
        np.testing.assert_array_equal(loads[1], [0, 0, 33, 0, 0, 33, 0, 33])

    def test_ties(self):
        # The lower expert comes first, in any number.
        loads, _ = self.run_with(np.zeros((9, 8), np.float32))
        np.testing.assert_array_equal(loads[0], [9, 9, 0, 0, 0, 0, 0, 0])
        loads, _ = self.run_with(np.array([[0, 1, 0, 1, 1, 0, 1, 1]] * 3, np.float32))
        np.testing.assert_array_equal(loads[1], [0, 3, 0, 3, 3, 0, 0, 0])

    def test_no_numbers(self):
        # A router that has no answer for a token spoils that token and no other.
        logits = self.random.standard_normal((21, 8)).astype(np.float32)
        logits[3, 4] = np.nan
        logits[7] = np.nan
        logits[9, 0] = np.inf
        logits[20, 7] = np.inf
        logits[12] = -np.inf
        logits[15, [0, 3, 6]] = -np.inf
        _, outputs = self.run_with(logits)
        spoilt = [3, 7, 9, 12, 20]
        for output in outputs.values():
            np.testing.assert_array_equal(np.isnan(output).any(-1), np.isin(np.arange(21), spoilt))

    def test_extreme_logits(self):
        logits = (80 * self.random.standard_normal((16, 8))).astype(np.float32)
        logits[5] = np.float32(3e38) * np.sign(logits[5])
        self.run_with(logits)

    def test_wrong_number_of_rows(self):
        inputs = self.layers[0].inputs(self.random, 4) | self.layers[1].inputs(self.random, 4)
        inputs["r0"] = inputs["r0"][:3]
        with self.assertRaisesRegex(moe_mlir.InputError, "tokens"):
            self.model.run(inputs)


class Reproducible(unittest.TestCase):
    def test_threads_and_runs(self):
        random = np.random.default_rng(2)
        layers = [
            Layer(0, random, "halves", 2, 72, 56, 6, normalize=True, bias=True),
            Layer(1, random, "gelu", 4, 33, 130, 6, batched=True),
        ]
        model = compile("reproducible", layers)
        sessions = [model.session(threads) for threads in (1, 2, 3)]
        for tokens in (1, 2, 5, 17, 64, 200):
            inputs = layers[0].inputs(random, tokens) | layers[1].inputs(random, tokens)
            first = sessions[0].run(inputs)
            for session in sessions:
                for _ in range(3):
                    again = session.run(inputs)
                    for name, array in first.items():
                        self.assertEqual(array.tobytes(), again[name].tobytes(), f"{session.threads} threads, {tokens} tokens")

    def test_a_token_alone(self):
        """What a token gets does not depend on who else is in the batch, not in a bit."""
        random = np.random.default_rng(3)
        layer = Layer(0, random, "halves", 2, 72, 56, 6, normalize=True, bias=True)
        model = compile("alone", [layer])
        inputs = layer.inputs(random, 50)
        whole = model.run(inputs)["y0"]
        for token in (0, 7, 49):
            one = model.run({name: array[token : token + 1] for name, array in inputs.items()})["y0"]
            self.assertEqual(one.tobytes(), whole[token : token + 1].tobytes())


if __name__ == "__main__":
    unittest.main()

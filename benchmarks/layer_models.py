# Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One MoE layer: its weights, its ONNX forms, its inputs and its float64 oracle.

    x [T, hidden] -> logits = x router -> softmax -> top-k (renormalised) -> experts -> weighted sum

The weights are drawn per expert from a seed, so that every form of the layer is written without holding all of it."""

import dataclasses
import functools

import numpy as np
from onnx import helper

from onnx_file import Weight, array, write


@dataclasses.dataclass(frozen=True)
class Shape:
    hidden: int
    ffn: int
    experts: int
    k: int
    activation: str = "swiglu"  # or relu
    normalize: bool = True

    @property
    def matrices(self):
        return 3 if self.activation == "swiglu" else 2

    @property
    def expert_bytes(self):
        return 4 * self.matrices * self.hidden * self.ffn

    @property
    def router_bytes(self):
        return 4 * self.hidden * self.experts

    def flops(self, tokens):
        return 2.0 * tokens * (self.k * self.matrices * self.hidden * self.ffn + self.hidden * self.experts)

    def __str__(self):
        return f"{self.hidden} x {self.ffn}, {self.experts} experts, top-{self.k}, {self.activation}"


SHAPES = {
    "mixtral": Shape(1024, 3584, 8, 2),
    "fine-grained": Shape(1024, 512, 64, 8),
    "switch": Shape(768, 3072, 64, 1, "relu", False),
}


class Layer:
    def __init__(self, shape):
        self.shape = shape
        scale = 4 * shape.hidden**-0.5  # logits spread enough for the choice to be far from ties
        rng = np.random.default_rng(1)
        self.router = (scale * rng.standard_normal((shape.hidden, shape.experts))).astype(np.float32)

    # Weights --------------------------------------------------------------------------------------------------------

    def matrix(self, which, expert):
        """gate, up [ffn, hidden], down [hidden, ffn] of one expert."""
        rows, cols = (self.shape.hidden, self.shape.ffn) if which == "down" else (self.shape.ffn, self.shape.hidden)
        rng = np.random.default_rng([2, ("gate", "up", "down").index(which), expert])
        values = rng.random((rows, cols), dtype=np.float32)
        values -= np.float32(0.5)
        values *= np.float32(2 * (3 / cols) ** 0.5)
        return values

    def up_gate(self, expert, interleaved):
        """What comes before the activation as one matrix."""
        gate = self.matrix("gate", expert)
        if self.shape.activation != "swiglu":
            return gate
        up = self.matrix("up", expert)
        return np.stack([gate, up], 1).reshape(-1, self.shape.hidden) if interleaved else np.concatenate([gate, up])

    def transposed(self, expert, which, shape):
        return Weight(np.float32, shape, lambda: [self.matrix(which, expert).T])

    def stacked(self, make, shape):
        return Weight(np.float32, (self.shape.experts, *shape), lambda: map(make, range(self.shape.experts)))

    # ONNX -----------------------------------------------------------------------------------------------------------

    def write(self, form, path):
        nodes, weights, contrib = getattr(self, "_" + form)()
        weights["router"] = array(self.router)
        value = lambda name: (name, np.float32, ["T", self.shape.hidden])
        write(path, nodes, [value("x")], [value("y")], weights, contrib=contrib)

    def _contrib(self):
        """com.microsoft.MoE in the form that onnxruntime's kernel takes: one matrix of interleaved gate and up."""
        s = self.shape
        attributes = dict(k=s.k, normalize_routing_weights=int(s.normalize), activation_type=s.activation)
        if s.activation == "swiglu":
            attributes |= dict(swiglu_fusion=1, activation_alpha=1.0, activation_beta=0.0)
        width = s.ffn * (s.matrices - 1)
        weights = {
            "fc1": self.stacked(lambda e: self.up_gate(e, interleaved=True), (width, s.hidden)),
            "fc2": self.stacked(lambda e: self.matrix("down", e), (s.hidden, s.ffn)),
        }
        nodes = [
            helper.make_node("MatMul", ["x", "router"], ["logits"]),
            helper.make_node(
                "MoE", ["x", "logits", "fc1", "", "fc2"], ["y"], domain="com.microsoft", **attributes
            ),
        ]
        return nodes, weights, True

    def _routing(self):
        nodes = [
            helper.make_node("MatMul", ["x", "router"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["scores"], axis=-1),
            helper.make_node("TopK", ["scores", "k"], ["top" if self.shape.normalize else "gates", "ids"], axis=-1),
        ]
        if self.shape.normalize:
            nodes += [
                helper.make_node("ReduceSum", ["top", "last"], ["sum"], keepdims=1),
                helper.make_node("Div", ["top", "sum"], ["gates"]),
            ]
        return nodes, {"k": array(np.array([self.shape.k])), "last": array(np.array([-1]))}

    def _activation(self, prefix, gate, up, out):
        if self.shape.activation == "relu":
            return [helper.make_node("Relu", [gate], [out])]
        return [
            helper.make_node("Sigmoid", [gate], [prefix + "sigmoid"]),
            helper.make_node("Mul", [gate, prefix + "sigmoid"], [prefix + "silu"]),
            helper.make_node("Mul", [prefix + "silu", up], [out]),
        ]

    def _nonzero(self):
        """Expert by expert: the tokens that chose it, gathered, and their results scattered back."""
        s = self.shape
        nodes, weights = self._routing()
        scalar = lambda v: array(np.array(v))
        weights |= {"zero": array(np.float32(0)), "i0": scalar(0), "axis1": array(np.array([1]))}
        nodes.append(helper.make_node("Mul", ["x", "zero"], ["sum0"]))
        for e in range(s.experts):
            p = f"expert{e}_"
            one = functools.partial(self.transposed, e)
            weights |= {p + "id": scalar(e), p + "gate": one("gate", (s.hidden, s.ffn))}
            nodes += [
                helper.make_node("Equal", ["ids", p + "id"], [p + "chosen"]),
                helper.make_node("NonZero", [p + "chosen"], [p + "where"]),
                helper.make_node("Gather", [p + "where", "i0"], [p + "tokens"], axis=0),
                helper.make_node("Transpose", [p + "where"], [p + "pairs"], perm=[1, 0]),
                helper.make_node("GatherND", ["gates", p + "pairs"], [p + "weight"]),
                helper.make_node("Unsqueeze", [p + "weight", "axis1"], [p + "weights"]),
                helper.make_node("Gather", ["x", p + "tokens"], [p + "rows"], axis=0),
                helper.make_node("MatMul", [p + "rows", p + "gate"], [p + "g"]),
            ]
            if s.activation == "swiglu":
                weights[p + "up"] = one("up", (s.hidden, s.ffn))
                nodes.append(helper.make_node("MatMul", [p + "rows", p + "up"], [p + "u"]))
            weights[p + "down"] = one("down", (s.ffn, s.hidden))
            nodes += self._activation(p, p + "g", p + "u", p + "h")
            nodes += [
                helper.make_node("MatMul", [p + "h", p + "down"], [p + "out"]),
                helper.make_node("Mul", [p + "out", p + "weights"], [p + "weighted"]),
                helper.make_node("Unsqueeze", [p + "tokens", "axis1"], [p + "at"]),
                helper.make_node(
                    "ScatterND",
                    [f"sum{e}", p + "at", p + "weighted"],
                    ["y" if e == s.experts - 1 else f"sum{e + 1}"],
                    reduction="add",
                ),
            ]
        return nodes, weights, False

    def _batched(self):
        """As torch.onnx.export writes the batched experts of transformers."""
        s = self.shape
        if s.activation != "swiglu":
            raise ValueError("the batched form is one of SwiGLU experts")
        nodes, weights = self._routing()
        vector = lambda *v: array(np.array(v))
        weights |= {
            "one": vector(1),
            "minus1": vector(-1),
            "expanded": vector(1, s.k, 1),
            "rows_shape": vector(-1, s.hidden),
            "tokens_shape": vector(-1, s.k, s.hidden),
            "w13": self.stacked(lambda e: self.up_gate(e, interleaved=False), (2 * s.ffn, s.hidden)),
            "w2": self.stacked(lambda e: self.matrix("down", e), (s.hidden, s.ffn)),
        }
        node = helper.make_node
        nodes += [
            node("Unsqueeze", ["x", "one"], ["x3"]),
            node("Expand", ["x3", "expanded"], ["xk"]),
            node("Reshape", ["xk", "rows_shape"], ["rows"]),
            node("Reshape", ["ids", "minus1"], ["flat"]),
            node("Unsqueeze", ["flat", "minus1"], ["at"]),
            node("GatherND", ["w13", "at"], ["w13rows"]),
            node("Unsqueeze", ["rows", "minus1"], ["columns"]),
            node("MatMul", ["w13rows", "columns"], ["gu1"]),
            node("Squeeze", ["gu1", "minus1"], ["gu"]),
            node("Split", ["gu"], ["g", "u"], axis=1, num_outputs=2),
            *self._activation("", "g", "u", "h"),
            node("GatherND", ["w2", "at"], ["w2rows"]),
            node("Unsqueeze", ["h", "minus1"], ["h1"]),
            node("MatMul", ["w2rows", "h1"], ["out1"]),
            node("Squeeze", ["out1", "minus1"], ["out"]),
            node("Reshape", ["gates", "minus1"], ["flatgates"]),
            node("Unsqueeze", ["flatgates", "minus1"], ["gates1"]),
            node("Mul", ["out", "gates1"], ["weighted"]),
            node("Reshape", ["weighted", "tokens_shape"], ["perchoice"]),
            node("ReduceSum", ["perchoice", "one"], ["y"], keepdims=0),
        ]
        return nodes, weights, False

    # Inputs and oracle ----------------------------------------------------------------------------------------------

    def route(self, x):
        """ids and weights of the experts of each row, in float64."""
        logits = x.astype(np.float64) @ self.router.astype(np.float64)
        scores = np.exp(logits - logits.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        ids = np.argsort(-scores, axis=-1, kind="stable")[:, : self.shape.k]
        gates = np.take_along_axis(scores, ids, -1)
        return ids, gates / gates.sum(-1, keepdims=True) if self.shape.normalize else gates

    def inputs(self, tokens):
        """Inputs to be run in turn. A single token's experts are as far as possible not those of the last tokens:
        decoding must read its weights from memory, not find them in the cache."""
        rng = np.random.default_rng([3, tokens])
        if tokens > 1:
            count = {8: 8, 32: 4}.get(tokens, 2)
            return rng.standard_normal((count, tokens, self.shape.hidden), dtype=np.float32)
        candidates = rng.standard_normal((512, 1, self.shape.hidden), dtype=np.float32)
        experts = [set(ids) for ids in self.route(candidates[:, 0])[0]]
        age = np.zeros(self.shape.experts)  # when an expert was last used
        order = []
        for turn in range(1, 17):
            best = min((i for i in range(512) if i not in order), key=lambda i: max(age[list(experts[i])]))
            order.append(best)
            age[list(experts[best])] = turn
        return candidates[order]

    def experts_used(self, inputs):
        """Mean number of different experts of a run."""
        return float(np.mean([len(np.unique(self.route(x)[0])) for x in inputs]))

    def oracle(self, x):
        ids, gates = self.route(x)
        result = np.zeros(x.shape)
        rows = x.astype(np.float64)
        for expert in np.unique(ids):
            t, slot = np.where(ids == expert)
            h = rows[t] @ self.matrix("gate", expert).T.astype(np.float64)
            if self.shape.activation == "relu":
                h = np.maximum(h, 0)
            else:
                h = h / (1 + np.exp(-h)) * (rows[t] @ self.matrix("up", expert).T.astype(np.float64))
            result[t] += gates[t, slot, None] * (h @ self.matrix("down", expert).T.astype(np.float64))
        return result

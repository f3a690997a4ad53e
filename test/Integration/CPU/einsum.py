# REQUIRES: python-numpy, python-onnx, python-ml_dtypes
# RUN: rm -rf %t && mkdir -p %t && %python %s %t | FileCheck %s
"""Einsum against numpy in float64: equations of every kind, element types, odd, unit and empty sizes, and operands of
which only the run decides whether they broadcast. All nodes are of one model, which is compiled once."""

import os
import sys

import ml_dtypes
import moe_mlir
import numpy as np
import onnx
from onnx import helper, numpy_helper

# Operands are lists of dimensions: one letter is a symbolic size, a number a static one. Those in capitals have size 1
# in some runs where the small letter has more.
EQUATIONS = [
    # one operand: transposes, sums, diagonals
    ("ij->ji", "i j"), ("ji", "j i"), ("ij", "i j"), ("i->", "i"), ("ij->j", "i j"), ("ij->", "i j"), ("->", ""), ("", ""),
    ("ii->i", "i i"), ("ii", "i i"), ("bii->bi", "b i i"), ("iji->j", "i j i"), ("ijij->ji", "i j i j"), ("iii->", "i i i"),
    ("jiJ", "j i k"), ("ijk->ki", "i 3 k"),
    # two: inner, outer and elementwise products
    ("i,i", "i", "i"), ("i,i->i", "i", "i"), ("i,j->ij", "i", "j"), ("i,j->ji", "i", "j"), ("ij,ij->", "i j", "i j"),
    ("ij,ji->ij", "i j", "j i"), ("ij,j->i", "i j", "j"), ("ij,j->ij", "i j", "j"), (",ij->ji", "", "i j"), (",", "", ""),
    # matrix products, transposed and in batches
    ("ij,jk", "i j", "j k"), ("ij,jk->ki", "i j", "j k"), ("ij,kj->ik", "i j", "k j"), ("ji,jk->ik", "j i", "j k"),
    ("ji,kj->ki", "j i", "k j"), (" i j , j k -> i k ", "i j", "j k"), ("bij,bjk->bik", "b i j", "b j k"),
    ("bij,bjk->ikb", "b i j", "b j k"), ("bqhd,bkhd->bhqk", "b i 2 j", "b k 2 j"), ("bhqk,bkhd->bqhd", "b 2 i k", "b k 2 j"),
    ("ijk,jil->kl", "i j k", "j i 5"), ("ijk,kji->", "i j k", "k j i"), ("tec,th->ech", "i b k", "i j"),
    ("tec,ech->th", "i b k", "b k j"), ("ab,cd->dcba", "i j", "k b"),
    # labels that one operand sums alone, diagonals in products
    ("ij,kl->i", "i j", "k b"), ("ij,k->", "i j", "k"), ("iij,jk->ik", "i i j", "j k"), ("ii,jj->ij", "i i", "j j"),
    # more operands
    ("i,i,i->", "i", "i", "i"), ("i,j,k->kji", "i", "j", "k"), ("ab,bc,cd->ad", "i j", "j k", "k b"),
    ("ab,cd,bc->ad", "i j", "k b", "j k"), ("abc,cd,bde->ae", "i j k", "k b", "j b 3"), ("a,ab,abc->abc", "i", "i j", "i j k"),
    ("ij,j,jk,k->i", "i j", "j", "j k", "k"),
    # ellipses
    ("...", "i j"), ("...->...", "i j"), ("...ij->...ji", "b i j"), ("...ii->...i", "b k i i"), ("i...->...", "i j k"),
    ("...i,...i->...", "b k i", "b k i"), ("...ij,...jk->...ik", "b 2 i j", "b 2 j k"), ("...ij,...jk->...ik", "i j", "j k"),
    ("...ij,jk", "b i j", "j k"), ("i...j,j...->...i", "i b j", "j b"), ("...,...->...", "b i j", "b 1 j"), ("b...,...c->cb...", "b i", "i k"),
    ("...,j->...j", "i b", "j"), ("...i->...", "i"),
    # sizes of 1 that broadcast, known when the model is compiled or not
    ("ij,ij->ij", "i j", "1 j"), ("ij,ij->i", "i 1", "i j"), ("ij,jk->ik", "i 1", "j k"), ("ij,ij->ij", "I j", "i J"),
    ("ij,jk->ik", "i J", "j k"), ("bij,bjk->bik", "B i j", "b j k"), ("...ij,...jk->...ik", "B i j", "b j k"), ("...i,...i->...", "B i", "b I"),
]  # fmt: skip
TYPED = ["ij,jk->ik", "ij->j", "i,j->ij", "ab,bc,cd->ad"]
TYPES = [np.float64, np.float16, ml_dtypes.bfloat16, np.int64, np.int32, np.int16, np.int8, np.uint64, np.uint32, np.uint16, np.uint8]
# A constant operand: its position and sizes. These take the packed kernels where they are matrices of weights.
CONSTANT = [
    ("bti,io->bto", "b i 7", 1, (7, 11)), ("bti,oi->bto", "b i 7", 1, (11, 7)), ("io,bti->bto", "b i 7", 0, (7, 11)),
    ("tm,mhd->thd", "i 12", 1, (12, 2, 5)), ("thd,hdm->tm", "i 2 6", 1, (2, 6, 9)), ("tm,hmd->htd", "i 6", 1, (3, 6, 5)),
    ("thd,hde->the", "i 3 6", 1, (3, 6, 5)), ("etd,edf->etf", "3 i 6", 1, (3, 6, 5)), ("ti,ii->t", "i 7", 1, (7, 7)),
    ("ti,i->ti", "i 7", 1, (7,)), ("ti,io->o", "i 7", 1, (7, 5)), ("ti,oi,t->o", "i 7;i", 1, (5, 7)),
]  # fmt: skip
LIMITS = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2}

random = np.random.default_rng(5)


class Node:
    def __init__(self, name, equation, operands, dtype, constant=None):
        self.name, self.equation, self.operands, self.dtype = name, equation, [o.split() for o in operands], np.dtype(dtype)
        self.constant = None
        if constant:
            at, shape = constant
            self.constant = (at, self.draw(shape))

    def draw(self, shape):
        if self.dtype.kind in "iu":
            return random.integers(0 if self.dtype.kind == "u" else -9, 10, shape).astype(self.dtype)
        return np.asarray(random.standard_normal(shape)).astype(self.dtype)

    def proto(self):
        """The node, its inputs, output and initializers."""
        element = helper.np_dtype_to_tensor_dtype(self.dtype)
        inputs = [helper.make_tensor_value_info(f"{self.name}_{i}", element, [int(d) if d.isdigit() else d for d in o])
                  for i, o in enumerate(self.operands)]  # fmt: skip
        names, initializers = [v.name for v in inputs], []
        if self.constant:
            at, value = self.constant
            names.insert(at, self.name + "_w")
            initializers.append(numpy_helper.from_array(value, self.name + "_w"))
        node = helper.make_node("Einsum", names, [self.name], name=self.name, equation=self.equation)
        return node, inputs, helper.make_tensor_value_info(self.name, element, None), initializers

    def feed(self, sizes):
        shapes = [[int(d) if d.isdigit() else sizes[d] for d in o] for o in self.operands]
        return {f"{self.name}_{i}": self.draw(shape) for i, shape in enumerate(shapes)}

    def wrong(self, feed, found):
        operands = [feed[f"{self.name}_{i}"] for i in range(len(self.operands))]
        if self.constant:
            operands.insert(*self.constant)
        exact = self.dtype.kind in "iu"
        wide = [a if exact else a.astype(np.float64) for a in operands]
        expected = np.einsum(self.equation, *wide)
        if found.shape != expected.shape or found.dtype != self.dtype:
            return f"{self.name} '{self.equation}': {found.dtype} {found.shape}, expected {self.dtype} {expected.shape}"
        if exact:
            bad = not np.array_equal(found, expected)
        else:
            limit = np.einsum(self.equation, *map(np.abs, wide))
            bad = not (np.abs(found.astype(np.float64) - expected) <= LIMITS[self.dtype.name] * np.maximum(1, limit)).all()
        return f"{self.name} '{self.equation}': {found.ravel()[:4]}, expected {expected.ravel()[:4]}" if bad else None


def build():
    nodes = []
    add = lambda equation, operands, dtype, constant=None: nodes.append(Node(f"n{len(nodes)}", equation, operands, dtype, constant))
    for equation, *operands in EQUATIONS:
        add(equation, operands, np.float32)
    for equation, *operands in EQUATIONS:
        if equation in TYPED and "1" not in " ".join(operands) and not any(map(str.isupper, operands)):
            for dtype in TYPES:
                add(equation, operands, dtype)
    for equation, operands, at, shape in CONSTANT:
        for dtype in (np.float32, ml_dtypes.bfloat16, np.float64, np.int32):
            add(equation, operands.split(";"), dtype, (at, shape))
    return nodes


def main(folder):
    nodes = build()
    protos = [n.proto() for n in nodes]
    graph = helper.make_graph([p[0] for p in protos], "g", [v for p in protos for v in p[1]], [p[2] for p in protos],
                              [w for p in protos for w in p[3]])  # fmt: skip
    path = os.path.join(folder, "einsum.onnx")
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]), path)
    model = moe_mlir.Model(moe_mlir.compile(path, os.path.join(folder, "einsum")))
    odd = dict(i=5, j=7, k=3, b=2)
    runs = [odd, dict(i=1, j=1, k=1, b=1), dict(i=17, j=13, k=2, b=3)] + [dict(odd, **{empty: 0}) for empty in "ijkb"]
    wrong = []
    for run in runs:
        for unit in (False, True):
            sizes = {**run, **{d.upper(): 1 if unit else n for d, n in run.items()}}
            feed = {name: array for node in nodes for name, array in node.feed(sizes).items()}
            found = model.run(feed)
            wrong += [f"{sizes}: {message}" for message in (n.wrong(feed, found[n.name]) for n in nodes) if message]
    if wrong:
        sys.exit(f"{len(wrong)} wrong\n" + "\n".join(wrong[:40]))
    print(f"{len(nodes)} nodes, {2 * len(runs)} runs")
    # CHECK: {{[0-9]+}} nodes, 14 runs


if __name__ == "__main__":
    main(sys.argv[1])

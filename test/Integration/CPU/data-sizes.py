# Sizes that are data: what onnxruntime computes, and for a size that is none, or a product of sizes that does not fit
# or that no memory holds, an error that names the node, what it found and what it requires.
# REQUIRES: python-numpy, python-onnx, python-onnxruntime
# RUN: rm -rf %t && mkdir -p %t && %python %s %t
import sys
import unittest

import moe_mlir
import numpy as np
from node_testing import NodeTest
from onnx import helper

NodeTest.folder = sys.argv.pop()
MOST, LEAST, GREATEST = 2**47, -(2**63), 2**63 - 1
UNFIT = f"at least {GREATEST}"
SHAPE = f"expects a shape of at most {MOST} elements beside sizes of 0, got "


def ints(*values):
    return np.array(values, np.int64)


def number(value, dtype=np.int64):
    return np.array(value, dtype)


def floats(*shape):
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


class DataSizes(NodeTest):
    def test_constant_of_shape(self):
        self.node("ConstantOfShape", ints(1, 1), rank=2)
        for sizes in ((2, 3), (0, 7), (2**40, 0)):
            self.accept(ints(*sizes), expected=np.zeros(sizes, np.float32))
        self.refuse(SHAPE + str(2**62), ints(2**31, 2**31))
        self.refuse(SHAPE + str(2**62 + 2**31), ints(2**31, 2**31 + 1))
        for sizes in ((2**62, 4), (2**62 + 1, 4), (2**60 + 1, 16), (2**32, 2**32)):
            self.refuse(SHAPE + UNFIT, ints(*sizes))
        self.refuse(SHAPE + str(MOST + 1), ints(MOST + 1, 0))
        self.refuse("expects no negative size, got -1", ints(3, -1))

    def test_memory(self):
        """Not too many elements, but more than there is memory for."""
        self.node("ConstantOfShape", ints(1), rank=1)
        with self.assertRaisesRegex(moe_mlir.OutOfMemoryError, f"needs another {4 * MOST} bytes besides"):
            self.model.run({"x0": ints(MOST)})

    def test_expand(self):
        self.node("Expand", floats(1, 1), ints(1, 1), rank=2)
        self.accept(floats(1, 3), ints(2, 1))
        self.accept(floats(1, 1), ints(0, 5))
        self.refuse(SHAPE + UNFIT, floats(1, 1), ints(2**62, 4))
        self.refuse(SHAPE + str(2**48), floats(1, 4), ints(2**46, 1))
        self.refuse("expects no negative size, got -1", floats(1, 1), ints(-1, 4))

    def test_tile(self):
        self.node("Tile", floats(2, 2), ints(1, 1), rank=2)
        self.accept(floats(2, 3), ints(2, 3))
        self.accept(floats(2, 3), ints(0, 1))
        self.refuse(SHAPE + UNFIT, floats(2, 2), ints(2**62, 2**62))
        self.refuse(SHAPE + UNFIT, floats(2, 2), ints(GREATEST, 0))
        self.refuse("expects no negative repeat, got -3", floats(2, 2), ints(1, -3))

    def test_reshape(self):
        self.node("Reshape", floats(2, 2), ints(1, 1), rank=2)
        self.accept(floats(2, 2), ints(4, 1))
        self.accept(floats(2, 2), ints(-1, 2))
        self.accept(floats(2, 2), ints(0, -1))
        # 2^64 + 4 is 4.
        for sizes in ((2**62 + 1, 4), (GREATEST, 2), (2**33, 2**31)):
            self.refuse("expects a shape of 4 elements, got " + UNFIT, floats(2, 2), ints(*sizes))
        self.refuse("expects a shape of 4 elements, got 6", floats(2, 2), ints(3, 2))
        self.refuse("expects a shape of 4 elements, got 0", floats(2, 2), ints(2**62, -1))
        self.refuse("expects no negative size, got -2", floats(2, 2), ints(-2, -2))

    def test_integer_range(self):
        self.node("Range", number(0), number(0), number(1), dtype=np.int64)
        for bounds in ((0, 5, 1), (5, -4, -3), (-2, 40, 5), (4, 0, 1), (0, 4, -1), (7, 7, 2)):
            self.accept(*map(number, bounds), expected=np.arange(*bounds))
        # Spans of more than 63 bits.
        self.accept(number(LEAST), number(GREATEST), number(GREATEST), expected=ints(LEAST, -1, GREATEST - 1))
        self.accept(number(GREATEST), number(LEAST), number(LEAST), expected=ints(GREATEST, -1))
        self.accept(number(0), number(LEAST), number(LEAST), expected=ints(0))
        self.accept(number(GREATEST), number(LEAST), number(GREATEST), expected=ints())
        many = f"expects at most {MOST} elements, got "
        self.refuse(many + str(2**62), number(0), number(2**62), number(1))
        self.refuse(many + str(2**62), number(LEAST), number(GREATEST), number(4))
        self.refuse(many + UNFIT, number(LEAST), number(GREATEST), number(1))
        self.refuse(many + UNFIT, number(GREATEST), number(LEAST), number(-1))
        self.refuse("expects a delta other than 0, got 0", number(0), number(5), number(0))

    def test_range_by_constant(self):
        """Steps of which the sign is known."""
        for step, cases in {
            2: ((0, 9), (9, 0), (-4, 3), (LEAST, LEAST + 3), (GREATEST, LEAST)),
            -3: ((0, 9), (9, 0), (3, -4), (LEAST + 3, LEAST), (LEAST, GREATEST)),
        }.items():
            self.node("Range", number(0), number(0), dtype=np.int64, constants={"step": number(step)})
            for start, limit in cases:
                self.accept(number(start), number(limit), expected=ints(*range(start, limit, step)))
            ends = (LEAST, GREATEST) if step > 0 else (GREATEST, LEAST)
            count = len_of(*ends, step)
            found = UNFIT if count > GREATEST else str(count)
            self.refuse(f"expects at most {MOST} elements, got {found}", *map(number, ends))

    def test_float_range(self):
        self.node("Range", number(0, np.float32), number(0, np.float32), number(1, np.float32))
        given = lambda *bounds: [number(v, np.float32) for v in bounds]
        for bounds in ((0, 5, 1), (5, -4, -1.5), (1, 0, 1)):
            self.accept(*given(*bounds))
        self.refuse("expects a delta other than 0", *given(0, 5, 0))
        self.refuse(f"expects at most {MOST} elements, got {2**60}", *given(0, 2**60, 1))
        for limit in (1e30, np.inf):
            self.refuse(f"expects at most {MOST} elements, got {UNFIT}", *given(0, limit, 1))

    def test_one_hot(self):
        self.node("OneHot", ints(0, 1), number(3), floats(2), rank=2)
        self.accept(ints(0, -1), number(3), floats(2))
        self.refuse(SHAPE + str(2**63 - 2), ints(0, 1), number(2**62 - 1), floats(2))
        self.refuse(SHAPE + UNFIT, ints(0, 1), number(2**62), floats(2))
        self.refuse("expects a depth of at least 1, got -1", ints(0, 1), number(-1), floats(2))

    def test_pad(self):
        for mode in ("constant", "edge", "wrap", "reflect"):
            self.node("Pad", floats(2, 2), ints(0, 0, 0, 0), rank=2, mode=mode)
            self.accept(floats(3, 4), ints(1, 2, 0, 1))
            self.accept(floats(3, 4), ints(0, 0, 0, 0))
            self.refuse(SHAPE + str(6 * (2**46 + 4)), floats(3, 4), ints(2, 2**46, 1, 0))
            self.refuse(f"expects pads of at most {MOST} in magnitude, got {2**62}", floats(2, 2), ints(2**62, 0, 2**62, 0))
            self.refuse(f"expects pads of at most {MOST} in magnitude, got {LEAST}", floats(2, 2), ints(0, 0, LEAST, 0))
            self.refuse("expects no negative size, got -1", floats(2, 2), ints(0, -2, 0, -1))
        self.node("Pad", floats(2, 2), ints(0, 0, 0, 0), rank=2)
        for shape in ((0, 6), (3, 6), (1, 6)):
            self.accept(floats(*shape), ints(1, 0, -1, 0))
            self.accept(floats(*shape), ints(-1, 0, 1, 0))
            self.accept(floats(*shape), ints(2, -3, 0, -2))
        # Cut and then extended: what is not of the input is padding.
        self.accept(floats(2, 1), ints(-3, 0, 5, 0), expected=np.zeros((4, 1), np.float32))
        self.accept(floats(2, 1) + 1, ints(4, 0, -3, 0), expected=np.zeros((3, 1), np.float32))

    def test_pad_by_constants(self):
        self.node("Pad", floats(2, 2), rank=2, constants={"pads": ints(1, 0, -1, 2)})
        for rows in (0, 1, 5):
            self.accept(floats(rows, 4))

    def test_split(self):
        """Four sizes whose sum is 2^64 + 4."""
        self.node("Split", floats(4), ints(1, 1, 1, 1), outputs=4, axis=0)
        self.accept(floats(4), ints(2, 0, 1, 1))
        self.refuse(f"expects sizes of at most 4, the size of the axis, got {2**62}", floats(4), ints(2**62, 2**62, 2**62, 2**62 + 4))
        self.refuse("expects no negative size, got -1", floats(4), ints(-1, 5, 0, 0))

    def test_trilu(self):
        for upper in (0, 1):
            self.node("Trilu", floats(3, 4), number(0), rank=2, upper=upper)
            for k in (0, 2, -2, 9, -9):
                self.accept(floats(3, 4) + 1, number(k))
            for k in (LEAST, GREATEST):
                self.accept(floats(3, 4) + 1, number(k), expected=(floats(3, 4) + 1) * ((k < 0) == upper))

    def test_quotient_of_sizes(self):
        """The one quotient that does not fit wraps, also where it is a size."""
        for op in ("Div", "Mod"):
            before = [
                helper.make_node("Concat", ["x0", "one"], ["a"], name="a", axis=0),
                helper.make_node("Concat", ["x1", "one"], ["b"], name="b", axis=0),
            ]
            self.node(op, ints(1), ints(1), dtype=np.int64, constants={"one": ints(1)}, before=before, taken=["a", "b"])
            self.accept(ints(7), ints(-2))
            self.accept(ints(LEAST), ints(-1), expected=ints(LEAST if op == "Div" else 0, 1 if op == "Div" else 0))


def len_of(start, limit, step):
    """len(range(...)), of any size."""
    return max(0, -((start - limit) // step))


if __name__ == "__main__":
    unittest.main()

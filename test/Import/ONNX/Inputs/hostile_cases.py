"""What the hostile models are made with, and the list that they are put into."""

import os

from models import F32, I64, array, external, model, value
from onnx import TensorProto, helper

CASES = []


class Case:
    """A file that must be refused. `write(folder)` returns the model or its bytes, or writes FOLDER/model.onnx itself;
    `expected` is part of the message."""

    def __init__(self, name, expected, write):
        self.name, self.expected, self.write = name, expected, write

    def make(self, folder):
        os.makedirs(folder)
        found = self.write(folder)
        if found is not None:
            with open(os.path.join(folder, "model.onnx"), "wb") as file:
                file.write(found if isinstance(found, bytes) else found.SerializeToString())


def add(name, expected, write):
    """Lists a case; `write` may be the model itself."""
    CASES.append(Case(name, expected, write if callable(write) else lambda folder: write))


def case(expected):
    """Lists a function that writes a case under its own name."""
    def register(write):
        add(write.__name__, expected, write)
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
    """An initializer that lies outside of the model's file."""
    return identity(external("w", list(dims), dtype, **entries))


def two_nodes(first, second, **options):
    return model([first, second], [value("x", ["n", 4])], [value("y", ["n", 4])], **options)

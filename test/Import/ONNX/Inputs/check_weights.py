"""Reads the bytes that FOLDER/model.mlir's weights name and compares them with FOLDER/model.onnx."""

import os
import re
import sys

import onnx
from onnx import numpy_helper

folder = sys.argv[1]
tensors = {t.name: t for t in onnx.load(os.path.join(folder, "model.onnx")).graph.initializer}
pattern = re.compile(r'moe\.weight @(\S+) \{file = "([^"]+)", length = (\d+) : i64, offset = (\d+) : i64\}')
count = 0
with open(os.path.join(folder, "model.mlir")) as text:
    for name, path, length, offset in pattern.findall(text.read()):
        with open(os.path.join(folder, path), "rb") as file:
            file.seek(int(offset))
            found = file.read(int(length))
        assert found == numpy_helper.to_array(tensors[name]).tobytes(), name
        count += 1
assert count == 5, count

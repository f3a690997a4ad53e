"""Copies scale.mlir into a folder, with its weight, an input and the result."""

import os
import shutil
import sys

import numpy as np

folder = sys.argv[1]
shutil.rmtree(folder, ignore_errors=True)
os.makedirs(folder)
shutil.copy(os.path.join(os.path.dirname(__file__), "scale.mlir"), folder)
scale = np.array([2, 3, 4], np.float32)
x = np.arange(15, dtype=np.float32).reshape(5, 3)
scale.tofile(os.path.join(folder, "scale.bin"))
np.save(os.path.join(folder, "x.npy"), x)
np.save(os.path.join(folder, "y.npy"), x * scale)

"""damage_weights.py MODEL COPY: the model with one weight that is slightly off."""

import sys

import numpy as np
import onnx
from onnx import numpy_helper

model = onnx.load(sys.argv[1])
(tensor,) = [t for t in model.graph.initializer if t.name.endswith("layers.1.mlp.gate.weight")]
array = numpy_helper.to_array(tensor).copy()
array[3] += np.float32(0.01)
tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
onnx.save(model, sys.argv[2])

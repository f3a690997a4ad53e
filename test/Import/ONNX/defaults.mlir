// An initializer that is an input as well is a constant, not an argument.
// REQUIRES: python-onnx
// RUN: %python %S/Inputs/models.py defaults %t
// RUN: moe-translate --import-onnx %t/model.onnx | FileCheck %s

// CHECK: func.func @main(%[[X:.*]]: tensor<1x2xf32> {moe.dims = ["", ""], moe.name = "x"}) -> (tensor<1x2xf32>
// CHECK: %[[W:.*]] = onnx.constant dense<{{.*}}> : tensor<2x2xf32>
// CHECK: onnx.node "MatMul"(%[[X]], %[[W]])

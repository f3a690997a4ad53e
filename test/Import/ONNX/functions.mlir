// A model's own functions are inlined, and their nodes get names of their own.
// REQUIRES: python-onnx
// RUN: %python %S/Inputs/models.py functions %t
// RUN: moe-translate --import-onnx %t/model.onnx | FileCheck %s

// CHECK: func.func @main(%[[X:.*]]: tensor<?x4xf32>
// CHECK-NOT: custom::
// CHECK: %[[S:.*]] = onnx.constant dense<2.000000e+00> : tensor<f32>
// CHECK: %[[H:.*]] = onnx.node "Mul"(%[[X]], %[[S]]) name "[[NAME:[^"]*]]" opset 20 : (tensor<?x4xf32>, tensor<f32>) -> tensor<?x4xf32>
// CHECK-NOT: name "[[NAME]]"
// CHECK: %[[Y:.*]] = onnx.node "Mul"(%[[H]], %{{.*}}) name
// CHECK: return %[[Y]]

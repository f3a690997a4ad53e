// Constant nodes become the tensors that they stand for, under their location.
// REQUIRES: python-onnx
// RUN: %python %S/Inputs/models.py constants %t
// RUN: moe-translate --import-onnx %t/model.onnx | FileCheck %s

// CHECK: moe.weight @c6
// CHECK: %[[C0:.*]] = onnx.constant dense<5.000000e-01> : tensor<f32>
// CHECK: %[[C1:.*]] = onnx.constant dense<[5.000000e-01, 1.000000e+00]> : tensor<2xf32>
// CHECK: %[[C2:.*]] = onnx.constant dense<-7> : tensor<i64>
// CHECK: %[[C3:.*]] = onnx.constant dense<[1, 2, 3]> : tensor<3xi64>
// CHECK: %[[C4:.*]] = onnx.constant dense<"text"> : tensor<!onnx.string>
// CHECK: %[[C5:.*]] = onnx.constant dense<{{\[\[}}1.000000e+00, 2.000000e+00]]> : tensor<1x2xf32>
// CHECK: %[[C6:.*]] = moe.get_weight @c6 : tensor<512xf32>
// CHECK: %[[C7:.*]] = onnx.node "ConstantOfShape"(%[[C3]]) {value = dense<3.000000e+00> : tensor<1xf32>} name "fill" opset 20 : (tensor<3xi64>) -> tensor<1x2x3xf32>
// CHECK: return %[[C0]], %[[C1]], %[[C2]], %[[C3]], %[[C4]], %[[C5]], %[[C6]], %[[C7]]

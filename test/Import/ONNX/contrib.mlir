// Operators that runtimes define beside the standard have their types inferred.
// REQUIRES: python-onnx
// RUN: %python %S/Inputs/models.py contrib %t
// RUN: moe-translate --import-onnx %t/model.onnx | FileCheck %s

// CHECK: onnx.node "SimplifiedLayerNormalization"{{.*}} opset 22 {{.*}} -> tensor<?x?x32xf32>
// CHECK: onnx.node "com.microsoft::SkipSimplifiedLayerNormalization"{{.*}} opset 1 {{.*}} -> (tensor<?x?x32xf32>, none, none, tensor<?x?x32xf32>)
// CHECK: onnx.node "com.microsoft::RotaryEmbedding"{{.*}} -> tensor<?x?x32xf32>
// CHECK: onnx.node "com.microsoft::GroupQueryAttention"(%{{.*}}, %[[NONE:.*]], %[[NONE]], {{.*}} -> (tensor<?x?x32xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>)
// CHECK: onnx.node "com.microsoft::MultiHeadAttention"{{.*}} -> (tensor<?x?x32xf32>, tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>)
// CHECK: onnx.node "com.microsoft::MatMulNBits"{{.*}} -> tensor<?x?x96xf32>
// CHECK: onnx.node "com.microsoft::FusedMatMul"{{.*}} -> tensor<?x?x24xf32>
// CHECK: onnx.node "com.microsoft::QuickGelu"{{.*}} -> tensor<?x?x24xf32>

// Inferred types win over declared ones, which serve only where inference knows
// nothing; names of dimensions come from the file alone.
// REQUIRES: python-onnx
// RUN: %python %S/Inputs/models.py types %t
// RUN: moe-translate --import-onnx %t/model.onnx | FileCheck %s

// CHECK: func.func @main(%{{.*}}: tensor<?x3x4xf32> {moe.dims = ["batch", "", ""], moe.name = "x"}, %{{.*}}: tensor<?xi64>
// CHECK-SAME: -> (tensor<?x?xf32> {moe.dims = ["rows", ""], moe.name = "flat"}, tensor<3x?xi64> {moe.dims = ["", "found"], moe.name = "where"}, tensor<?x?xf32> {moe.dims = ["p", "q"], moe.name = "relu"}, tensor<?x5xf32>
// Declared as a scalar.
// CHECK: onnx.node "Shape"{{.*}} -> tensor<3xi64>
// CHECK: onnx.node "NonZero"{{.*}} -> tensor<3x?xi64>
// Only the declaration has a rank here, and what follows profits.
// CHECK: onnx.node "Reshape"{{.*}} name "guess" {{.*}} -> tensor<?x?xf32>
// CHECK: onnx.node "Relu"{{.*}} name "relu" {{.*}} -> tensor<?x?xf32>
// CHECK: onnx.node "com.example::Mystery"{{.*}} -> tensor<?x5xf32>
// CHECK: onnx.node "Relu"{{.*}} name "after" {{.*}} -> tensor<?x5xf32>

// Old models are converted where every node has an adapter, and kept otherwise.
// REQUIRES: python-onnx
// RUN: %python %S/Inputs/models.py versions %t/old
// RUN: moe-translate --import-onnx %t/old/model.onnx | FileCheck %s
// RUN: moe-translate --import-onnx %t/old/model.onnx --mlir-print-debuginfo | FileCheck %s --check-prefix=LOC
// RUN: moe-translate --import-onnx %t/old/model.onnx --target-opset=0 | FileCheck %s --check-prefix=KEPT
// RUN: %python %S/Inputs/models.py unconvertible %t/unknown
// RUN: moe-translate --import-onnx %t/unknown/model.onnx | FileCheck %s --check-prefix=UNKNOWN

// CHECK: %[[AXES:.*]] = onnx.constant dense<-1> : tensor<1xi64>
// CHECK: %[[M:.*]] = onnx.node "ReduceMean"(%{{.*}}, %[[AXES]]) name "mean" opset 20 : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x1xf32>
// CHECK: onnx.node "Sub"(%{{.*}}, %[[M]]) name "sub" opset 20

// Conversion does not lose where a node comes from.
// LOC: loc("root.norm"(

// KEPT: onnx.node "ReduceMean"(%{{[^,]*}}) {axes = array<i64: -1>} name "mean" opset 13
// KEPT: onnx.node "Sub"{{.*}} opset 13

// UNKNOWN: onnx.node "ReduceMean"(%{{[^,]*}}) {axes = array<i64: -1>} name "mean" opset 13
// UNKNOWN: onnx.node "NoSuchOperator"(%{{.*}}) name "unknown" opset 13 : (tensor<?x1xf32>) -> !onnx.opaque<"unknown">

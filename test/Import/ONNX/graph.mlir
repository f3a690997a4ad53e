// Nodes, names, omitted values, attributes, unknown operators, the signature.
// REQUIRES: python-onnx
// RUN: %python %S/Inputs/models.py graph %t
// RUN: moe-translate --import-onnx %t/model.onnx -o %t/model.mlir
// RUN: FileCheck %s < %t/model.mlir
// RUN: moe-opt %t/model.mlir | diff %t/model.mlir -
// RUN: moe-translate --import-onnx %t/model.onnx --mlir-print-debuginfo | FileCheck %s --check-prefix=LOC

// CHECK: module attributes {moe.source_dir = "{{/.*}}"} {
// CHECK-NEXT: moe.weight @w {file = "model.onnx", length = 12288 : i64, offset = [[#]] : i64} : tensor<96x32xf32>
// CHECK-NEXT: moe.weight @fc1
// CHECK-NEXT: moe.weight @fc2
// CHECK-NEXT: func.func @main(
// CHECK-SAME: %[[IDS:.*]]: tensor<?x?x7xi64> {moe.dims = ["batch", "", ""], moe.name = "ids"},
// CHECK-SAME: %[[ROUTER:.*]]: tensor<?x4xf32> {moe.dims = ["tokens", ""], moe.name = "router"})
// CHECK-SAME: -> (tensor<?x?x7x3xi64> {moe.dims = ["batch", "", "", ""], moe.name = "best"},
// CHECK-SAME: tensor<?x?x7x32xf32> {moe.dims = ["batch", "", "", ""], moe.name = "z"},
// CHECK-SAME: tensor<?xf32> {moe.dims = ["n"], moe.name = "b"})
// CHECK-NEXT: %[[W:.*]] = moe.get_weight @w : tensor<96x32xf32>
// CHECK-NEXT: %[[X:.*]] = onnx.node "Gather"(%[[W]], %[[IDS]]) {axis = 0 : i64} name "embed" opset 20 : (tensor<96x32xf32>, tensor<?x?x7xi64>) -> tensor<?x?x7x32xf32>
// CHECK-NEXT: %[[NONE:.*]] = onnx.none : none
// CHECK-NEXT: %[[MAX:.*]] = onnx.constant dense<6.000000e+00> : tensor<f32>
// CHECK-NEXT: %[[C:.*]] = onnx.node "Clip"(%[[X]], %[[NONE]], %[[MAX]]) name "Clip_clipped" opset 20
// CHECK-NEXT: %[[Y:.*]] = onnx.node "Clip"(%[[C]], %[[MAX]]) name "embed_2" opset 20
// CHECK-NEXT: %[[K:.*]] = onnx.constant dense<3> : tensor<1xi64>
// CHECK-NEXT: %[[TOP:.*]]:2 = onnx.node "TopK"(%[[Y]], %[[K]]) {axis = -1 : i64} name "top" opset 20
// CHECK-SAME: -> (tensor<?x?x7x3xf32>, tensor<?x?x7x3xi64>)
// CHECK: %[[COPY:.*]] = onnx.node "Identity"
// CHECK: %[[Z:.*]] = onnx.node "com.microsoft::MoE"(%[[COPY]], %[[ROUTER]], %{{.*}}, %[[NONE]], %{{.*}}) {activation_type = "silu", k = 2 : i64} name "moe" opset 1
// CHECK-SAME: -> tensor<?x?x7x32xf32>
// CHECK-NEXT: %[[A:.*]] = onnx.node "com.example::Mystery"(%[[Z]]) {mode = "fast", names = ["p", "q"], rate = 2.500000e-01 : f32, scales = array<f32: 5.000000e-01, 2.000000e+00>, sizes = array<i64: 1, 2>} name "m1" opset 7
// CHECK-SAME: -> !onnx.opaque<"unknown">
// CHECK-NEXT: %[[B:.*]] = onnx.node "NotYetThere"(%[[A]]) name "m2" opset 20 : (!onnx.opaque<"unknown">) -> tensor<?xf32>
// CHECK-NEXT: return %[[TOP]]#1, %[[Z]], %[[B]]

// LOC-DAG: loc("embed"(
// LOC-DAG: loc("root.embed"(
// LOC-NOT: x.py

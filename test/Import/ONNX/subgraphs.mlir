// Subgraphs are regions that may use what lies around them.
// REQUIRES: python-onnx
// RUN: %python %S/Inputs/models.py subgraphs %t
// RUN: moe-translate --import-onnx %t/model.onnx | FileCheck %s

// A weight that only branches use stands in front of the node.
// CHECK: func.func @main(%[[COND:.*]]: tensor<i1> {{.*}}, %[[X:.*]]: tensor<16x32xf32> {{.*}}, %[[N:.*]]: tensor<i64>
// CHECK-NEXT: %[[W:.*]] = moe.get_weight @w
// CHECK-NEXT: %[[Y:.*]] = onnx.node "If"(%[[COND]]) name "choose" opset 20 : (tensor<i1>) -> tensor<16x32xf32> graph "else_branch" {
// CHECK-NEXT:   %[[OWN:.*]] = onnx.constant dense<[1.000000e+00, 2.000000e+00]>
// CHECK-NEXT:   onnx.node "If"(%[[COND]]) name "nested" opset 20 : (tensor<i1>) -> tensor<2xf32> graph "else_branch" {
// CHECK-NEXT:     %[[A:.*]] = onnx.node "Neg"(%[[OWN]]) name "inner" opset 20
// CHECK-NEXT:     onnx.yield %[[A]] : tensor<2xf32>
// CHECK-NEXT:   } graph "then_branch" {
// CHECK-NEXT:     onnx.node "Neg"(%[[OWN]]) name "inner_2" opset 20
// CHECK:        %[[E:.*]] = onnx.node "Sub"(%[[W]], %[[X]]) name "else_sub"
// CHECK-NEXT:   onnx.yield %[[E]] : tensor<16x32xf32>
// CHECK-NEXT: } graph "then_branch" {
// CHECK-NEXT:   %[[T:.*]] = onnx.node "Add"(%[[X]], %[[W]]) name "then_add"
// CHECK-NEXT:   onnx.yield %[[T]]
// CHECK-NEXT: }
// CHECK-NEXT: %[[NONE:.*]] = onnx.none : none
// CHECK-NEXT: %[[ONE:.*]] = onnx.constant dense<1.000000e+00> : tensor<1xf32>
// CHECK-NEXT: %[[LAST:.*]] = onnx.node "Loop"(%[[N]], %[[NONE]], %[[ONE]]) name "repeat" opset 20 : (tensor<i64>, none, tensor<1xf32>) -> tensor<1xf32> graph "body" {
// CHECK-NEXT: ^bb0(%{{.*}}: tensor<i64>, %[[C:.*]]: tensor<i1>, %[[S:.*]]: tensor<1xf32>):
// CHECK-NEXT:   %[[CO:.*]] = onnx.node "Identity"(%[[C]])
// CHECK-NEXT:   %[[SO:.*]] = onnx.node "Add"(%[[S]], %[[ONE]])
// CHECK-NEXT:   onnx.yield %[[CO]], %[[SO]] : tensor<i1>, tensor<1xf32>
// CHECK-NEXT: }
// CHECK-NEXT: return %[[Y]], %[[LAST]]

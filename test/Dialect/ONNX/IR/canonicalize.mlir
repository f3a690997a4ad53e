// RUN: moe-opt %s --canonicalize --cse | FileCheck %s

// CHECK-LABEL: func.func @trailing_none
func.func @trailing_none(%x: tensor<?xf32>, %a: tensor<f32>) -> (tensor<?xf32>, tensor<?xf32>) {
  // CHECK-DAG: %[[NONE:.*]] = onnx.none : none
  // CHECK-DAG: onnx.node "Clip"(%[[X:[^,]*]], %[[A:[^,)]*]]) opset 13
  // CHECK-DAG: onnx.node "Clip"(%[[X]], %[[NONE]], %[[A]]) opset 13
  // CHECK-NOT: onnx.none
  %0 = onnx.none : none
  %1 = onnx.none : none
  %2 = onnx.node "Clip"(%x, %a, %0) opset 13
      : (tensor<?xf32>, tensor<f32>, none) -> tensor<?xf32>
  %3 = onnx.node "Clip"(%x, %1, %a) opset 13
      : (tensor<?xf32>, none, tensor<f32>) -> tensor<?xf32>
  return %2, %3 : tensor<?xf32>, tensor<?xf32>
}

// CHECK-LABEL: func.func @identity
// CHECK-SAME: (%[[X:.*]]: tensor<?xf32>)
func.func @identity(%x: tensor<?xf32>) -> (tensor<?xf32>, tensor<4xf32>) {
  // A refined type is information: that Identity stays.
  // CHECK-NEXT: %[[Y:.*]] = onnx.node "Identity"(%[[X]]) opset 16 : (tensor<?xf32>) -> tensor<4xf32>
  // CHECK-NEXT: return %[[X]], %[[Y]]
  %0 = onnx.node "Identity"(%x) opset 16 : (tensor<?xf32>) -> tensor<?xf32>
  %1 = onnx.node "Identity"(%x) opset 16 : (tensor<?xf32>) -> tensor<4xf32>
  return %0, %1 : tensor<?xf32>, tensor<4xf32>
}

// CHECK-LABEL: func.func @unused_and_repeated
func.func @unused_and_repeated(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  // CHECK-NEXT: %[[N:.*]] = onnx.node "Neg"
  // CHECK-NEXT: return %[[N]], %[[N]]
  %0 = onnx.node "Neg"(%x) opset 13 : (tensor<4xf32>) -> tensor<4xf32>
  %1 = onnx.node "Neg"(%x) opset 13 : (tensor<4xf32>) -> tensor<4xf32>
  %2 = onnx.node "Abs"(%x) opset 13 : (tensor<4xf32>) -> tensor<4xf32>
  return %0, %1 : tensor<4xf32>, tensor<4xf32>
}

// CHECK-LABEL: func.func @random
func.func @random(%c: tensor<i1>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  // CHECK-COUNT-3: onnx.node "RandomNormal"
  %0 = onnx.node "RandomNormal"() {shape = array<i64: 4>} opset 22 : () -> tensor<4xf32>
  %1 = onnx.node "RandomNormal"() {shape = array<i64: 4>} opset 22 : () -> tensor<4xf32>
  %2 = onnx.node "If"(%c) opset 20 : (tensor<i1>) -> tensor<4xf32> graph "then_branch" {
    %3 = onnx.node "RandomNormal"() {shape = array<i64: 4>} opset 22 : () -> tensor<4xf32>
    onnx.yield %3 : tensor<4xf32>
  } graph "else_branch" {
    onnx.yield %0 : tensor<4xf32>
  }
  return %0, %1, %2 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}

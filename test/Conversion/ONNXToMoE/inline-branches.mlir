// RUN: moe-opt %s --onnx-inline-branches | FileCheck %s

// A condition on a static size.
// CHECK-LABEL: func @shape(
// CHECK-NOT:     "If"
// CHECK:         %[[Y:.*]] = onnx.node "Squeeze"
// CHECK-NOT:     "If"
// CHECK:         return %[[Y]]
func.func @shape(%x: tensor<1x?xf32>, %zero: tensor<1xi64>) -> tensor<*xf32> {
  %first = onnx.constant dense<0> : tensor<i64>
  %one = onnx.constant dense<1> : tensor<i64>
  %s = onnx.node "Shape"(%x) opset 20 : (tensor<1x?xf32>) -> tensor<2xi64>
  %d = onnx.node "Gather"(%s, %first) opset 20 : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  %c = onnx.node "Equal"(%d, %one) opset 20 : (tensor<i64>, tensor<i64>) -> tensor<i1>
  %y = onnx.node "If"(%c) opset 20 : (tensor<i1>) -> tensor<*xf32> graph "then_branch" {
    %a = onnx.node "Squeeze"(%x, %zero) opset 20 : (tensor<1x?xf32>, tensor<1xi64>) -> tensor<*xf32>
    onnx.yield %a : tensor<*xf32>
  } graph "else_branch" {
    onnx.yield %x : tensor<1x?xf32>
  }
  return %y : tensor<*xf32>
}

// Nested, the other branch, and types that differ.
// CHECK-LABEL: func @nested(
// CHECK-SAME:    %[[X:.*]]: tensor<4xf32>
// CHECK-NOT:     "If"
// CHECK:         %[[N:.*]] = onnx.node "Neg"(%[[X]])
// CHECK:         %[[Y:.*]] = onnx.node "Identity"(%[[N]]) {{.*}} : (tensor<4xf32>) -> tensor<*xf32>
// CHECK:         return %[[Y]]
func.func @nested(%x: tensor<4xf32>) -> tensor<*xf32> {
  %false = onnx.constant dense<false> : tensor<1xi1>
  %c = onnx.node "Not"(%false) opset 20 : (tensor<1xi1>) -> tensor<1xi1>
  %y = onnx.node "If"(%c) opset 20 : (tensor<1xi1>) -> tensor<*xf32> graph "then_branch" {
    %z = onnx.node "If"(%false) opset 20 : (tensor<1xi1>) -> tensor<4xf32> graph "then_branch" {
      onnx.yield %x : tensor<4xf32>
    } graph "else_branch" {
      %b = onnx.node "Neg"(%x) opset 20 : (tensor<4xf32>) -> tensor<4xf32>
      onnx.yield %b : tensor<4xf32>
    }
    onnx.yield %z : tensor<4xf32>
  } graph "else_branch" {
    onnx.yield %x : tensor<4xf32>
  }
  return %y : tensor<*xf32>
}

// What data decides stays.
// CHECK-LABEL: func @data(
// CHECK:         "If"
func.func @data(%x: tensor<4xf32>, %c: tensor<i1>) -> tensor<4xf32> {
  %y = onnx.node "If"(%c) opset 20 : (tensor<i1>) -> tensor<4xf32> graph "then_branch" {
    onnx.yield %x : tensor<4xf32>
  } graph "else_branch" {
    %b = onnx.node "Neg"(%x) opset 20 : (tensor<4xf32>) -> tensor<4xf32>
    onnx.yield %b : tensor<4xf32>
  }
  return %y : tensor<4xf32>
}

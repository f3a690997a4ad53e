// RUN: moe-opt %s --onnx-recognize-moe --split-input-file --verify-diagnostics | FileCheck %s

// Tokens are multiplied by the scores in front of the experts (Llama 4): every choice is a token of its own.

// CHECK-LABEL: func.func @scaled(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK: %[[W:.+]], %[[IDS:.+]] = moe.route {{.*}}k = 2 {{.*}}after_selection{{.*}}sigmoid
// CHECK: %[[SCALED:.+]] = linalg.generic {{.*}} ins(%[[X]], %[[W]] : tensor<?x4xf32>, tensor<?x2xf32>)
// CHECK: arith.mulf
// CHECK: %[[ROWS:.+]] = tensor.collapse_shape %[[SCALED]] {{\[\[}}0, 1], [2]]
// CHECK: %[[LIST:.+]] = tensor.collapse_shape %[[IDS]] {{\[\[}}0, 1]]
// CHECK: %[[COLUMN:.+]] = tensor.expand_shape %[[LIST]] {{\[\[}}0, 1]] {{.*}} into tensor<?x1xi32>
// CHECK: moe.dispatch %[[ROWS]], %[[COLUMN]]
// CHECK: moe.grouped_matmul
// CHECK: %[[MAP:.+]] = tensor.expand_shape {{.*}} into tensor<?x2xi32>
// CHECK: %[[ONES:.+]] = linalg.fill {{.*}} -> tensor<?x2xf32>
// CHECK: moe.combine %{{.+}}, %[[ONES]], %[[MAP]]
// CHECK-NOT: onnx.node "Tile"
// CHECK: return
func.func @scaled(%x: tensor<?x4xf32>, %probe: tensor<4x3xf32>, %w: tensor<3x4x4xf32>) -> tensor<?x4xf32> {
  %k = onnx.constant dense<2> : tensor<1xi64>
  %zero = onnx.constant dense<0> : tensor<1xi64>
  %none = onnx.constant dense<0xFF800000> : tensor<f32>
  %copies = onnx.constant dense<[3, 1]> : tensor<2xi64>
  %column = onnx.constant dense<[-1, 1]> : tensor<2xi64>
  %perExpert = onnx.constant dense<[3, -1, 4]> : tensor<3xi64>
  %logits = onnx.node "MatMul"(%x, %probe) opset 20 : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %top:2 = onnx.node "TopK"(%logits, %k) {axis = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %shape = onnx.node "Shape"(%logits) opset 20 : (tensor<?x3xf32>) -> tensor<2xi64>
  %empty = onnx.node "Expand"(%none, %shape) opset 20 : (tensor<f32>, tensor<2xi64>) -> tensor<?x3xf32>
  %chosen = onnx.node "ScatterElements"(%empty, %top#1, %top#0) {axis = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<?x2xi64>, tensor<?x2xf32>) -> tensor<?x3xf32>
  %gates = onnx.node "Sigmoid"(%chosen) opset 20 : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %turned = onnx.node "Transpose"(%gates) {perm = array<i64: 1, 0>} opset 20 : (tensor<?x3xf32>) -> tensor<3x?xf32>
  %flat = onnx.node "Reshape"(%turned, %column) opset 20 : (tensor<3x?xf32>, tensor<2xi64>) -> tensor<?x1xf32>
  %tiled = onnx.node "Tile"(%x, %copies) opset 20 : (tensor<?x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
  %scaled = onnx.node "Mul"(%tiled, %flat) opset 20 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %rows = onnx.node "Reshape"(%scaled, %perExpert) opset 20 : (tensor<?x4xf32>, tensor<3xi64>) -> tensor<3x?x4xf32>
  %o = onnx.node "MatMul"(%rows, %w) opset 20 : (tensor<3x?x4xf32>, tensor<3x4x4xf32>) -> tensor<3x?x4xf32>
  %y = onnx.node "ReduceSum"(%o, %zero) {keepdims = 0 : i64} opset 20 : (tensor<3x?x4xf32>, tensor<1xi64>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// An expert that makes something of zeros adds it to every token.

// CHECK-LABEL: func.func @exponential(
// CHECK-NOT: moe.
// CHECK: return
func.func @exponential(%x: tensor<?x4xf32>, %probe: tensor<4x3xf32>, %w: tensor<3x4x4xf32>) -> tensor<?x4xf32> {
  %k = onnx.constant dense<2> : tensor<1xi64>
  %zero = onnx.constant dense<0> : tensor<1xi64>
  %none = onnx.constant dense<0xFF800000> : tensor<f32>
  %copies = onnx.constant dense<[3, 1]> : tensor<2xi64>
  %column = onnx.constant dense<[-1, 1]> : tensor<2xi64>
  %perExpert = onnx.constant dense<[3, -1, 4]> : tensor<3xi64>
  %logits = onnx.node "MatMul"(%x, %probe) opset 20 : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %top:2 = onnx.node "TopK"(%logits, %k) {axis = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %shape = onnx.node "Shape"(%logits) opset 20 : (tensor<?x3xf32>) -> tensor<2xi64>
  %empty = onnx.node "Expand"(%none, %shape) opset 20 : (tensor<f32>, tensor<2xi64>) -> tensor<?x3xf32>
  %chosen = onnx.node "ScatterElements"(%empty, %top#1, %top#0) {axis = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<?x2xi64>, tensor<?x2xf32>) -> tensor<?x3xf32>
  %gates = onnx.node "Sigmoid"(%chosen) opset 20 : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %turned = onnx.node "Transpose"(%gates) {perm = array<i64: 1, 0>} opset 20 : (tensor<?x3xf32>) -> tensor<3x?xf32>
  %flat = onnx.node "Reshape"(%turned, %column) opset 20 : (tensor<3x?xf32>, tensor<2xi64>) -> tensor<?x1xf32>
  %tiled = onnx.node "Tile"(%x, %copies) opset 20 : (tensor<?x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
  %scaled = onnx.node "Mul"(%tiled, %flat) opset 20 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %rows = onnx.node "Reshape"(%scaled, %perExpert) opset 20 : (tensor<?x4xf32>, tensor<3xi64>) -> tensor<3x?x4xf32>
  %o = onnx.node "MatMul"(%rows, %w) opset 20 : (tensor<3x?x4xf32>, tensor<3x4x4xf32>) -> tensor<3x?x4xf32>
  %e = onnx.node "Exp"(%o) opset 20 : (tensor<3x?x4xf32>) -> tensor<3x?x4xf32>
  // expected-remark @+1 {{expects experts that make 0 of the zeros that tokens are for those that were not chosen}}
  %y = onnx.node "ReduceSum"(%e, %zero) {keepdims = 0 : i64} opset 20 : (tensor<3x?x4xf32>, tensor<1xi64>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

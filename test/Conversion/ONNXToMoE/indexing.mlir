// RUN: moe-opt %s --convert-onnx-to-moe --canonicalize --cse | FileCheck %s

// All indices are checked in one pass in front of the loop that uses them.
// CHECK-LABEL: func.func @gather
// CHECK: %[[R:.*]]:2 = linalg.generic {{.*}} iterator_types = ["reduction", "reduction"]
// CHECK: arith.minsi
// CHECK: arith.maxsi
// CHECK: moe.check {{.*}} {message = "expects every index to lie in an axis of size {limit}, got {found}", node = "node 'n' (Gather)"}
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "parallel"]
// CHECK: tensor.extract %{{.*}}[%{{.*}}, %{{.*}}] : tensor<96x8xf32>
func.func @gather(%x: tensor<96x8xf32>, %i: tensor<?x?xi64>) -> tensor<*xf32> {
  %0 = onnx.node "Gather"(%x, %i) name "n" opset 13 : (tensor<96x8xf32>, tensor<?x?xi64>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// One constant index is a slice.
// CHECK-LABEL: func.func @gather_one
// CHECK: tensor.extract_slice %{{.*}}[0, 7, 0] [%{{.*}}, 1, 4] [1, 1, 1]
// CHECK-NOT: linalg.generic
// CHECK: return {{.*}} : tensor<?x4xf32>
func.func @gather_one(%x: tensor<?x8x4xf32>) -> tensor<*xf32> {
  %i = onnx.constant dense<-1> : tensor<i64>
  %0 = onnx.node "Gather"(%x, %i) {axis = 1 : i64} opset 13 : (tensor<?x8x4xf32>, tensor<i64>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// CHECK-LABEL: func.func @slice
// CHECK: tensor.extract_slice %{{.*}}[0, 4] [%{{.*}}, 4] [1, 1] : tensor<?x8xf32> to tensor<?x4xf32>
func.func @slice(%x: tensor<?x8xf32>) -> tensor<*xf32> {
  %s = onnx.constant dense<4> : tensor<1xi64>
  %e = onnx.constant dense<9223372036854775807> : tensor<1xi64>
  %a = onnx.constant dense<-1> : tensor<1xi64>
  %0 = onnx.node "Slice"(%x, %s, %e, %a) opset 13 : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// What a recogniser left stays, over the converted operands, and its sizes are
// known: the reshape needs no check.
// CHECK-LABEL: func.func @kept
// CHECK: %[[ROWS:.*]] = tensor.collapse_shape
// CHECK: %[[W:.*]], %[[E:.*]] = moe.route %[[ROWS]]
// CHECK-NOT: moe.check
// CHECK: tensor.expand_shape %[[W]]
func.func @kept(%x: tensor<?x?x8xf32> {moe.dims = ["b", "s", ""]}) -> tensor<*xf32> {
  %c = onnx.constant dense<[-1, 8]> : tensor<2xi64>
  %rows = onnx.node "Reshape"(%x, %c) opset 14 : (tensor<?x?x8xf32>, tensor<2xi64>) -> tensor<?x8xf32>
  %w, %e = moe.route %rows {k = 2 : i64} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  %two = onnx.constant dense<2> : tensor<1xi64>
  %n = onnx.node "Shape"(%x) {end = 2 : i64} opset 15 : (tensor<?x?x8xf32>) -> tensor<2xi64>
  %s = onnx.node "Concat"(%n, %two) {axis = 0 : i64} opset 13 : (tensor<2xi64>, tensor<1xi64>) -> tensor<3xi64>
  %r = onnx.node "Reshape"(%w, %s) opset 14 : (tensor<?x2xf32>, tensor<3xi64>) -> tensor<*xf32>
  return %r : tensor<*xf32>
}

// The places where the condition holds need no check of each, only their number.
// CHECK-LABEL: func.func @compress
// CHECK: moe.check {{.*}} {message = "expects at most {limit} conditions, got {found}", node = "node 'n' (Compress)"}
// CHECK: %[[AT:.*]]:2 = scf.for
// CHECK-NOT: moe.check
// CHECK: linalg.generic {{.*}} ins(%[[AT]]#0 : tensor<1x?xi64>) outs(%{{.*}} : tensor<?x?xf32>)
func.func @compress(%x: tensor<?x?xf32>, %c: tensor<?xi1>) -> tensor<*xf32> {
  %0 = onnx.node "Compress"(%x, %c) {axis = -1 : i64} name "n" opset 13 : (tensor<?x?xf32>, tensor<?xi1>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

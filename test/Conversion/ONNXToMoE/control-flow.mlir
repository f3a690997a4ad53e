// RUN: moe-opt %s --convert-onnx-to-moe --canonicalize --cse --split-input-file | FileCheck %s

// Sizes that both branches know are those of one buffer, which they write.
// CHECK-LABEL: func @branches(
// CHECK-SAME:    %[[C:.*]]: tensor<i1>, %[[X:.*]]: tensor<?x4xf32> {{.*}}, %[[Y:.*]]: tensor<?x4xf32>
// CHECK:         %[[FLAG:.*]] = tensor.extract %[[C]][]
// CHECK-DAG:     %[[M:.*]] = tensor.dim %[[X]], %c0
// CHECK-DAG:     %[[N:.*]] = tensor.dim %[[Y]], %c0
// CHECK:         %[[SIZE:.*]] = arith.select %[[FLAG]], %[[M]], %[[N]]
// CHECK:         %[[TO:.*]] = bufferization.alloc_tensor(%[[SIZE]]) : tensor<?x4xf32>
// CHECK:         %[[R:.*]] = scf.if %[[FLAG]] -> (tensor<?x4xf32>)
// CHECK:           %[[E:.*]] = linalg.generic {{.*}} ins(%[[X]]
// CHECK:           bufferization.materialize_in_destination %[[E]] in %[[TO]]
// CHECK:         else
// CHECK:           bufferization.materialize_in_destination %[[Y]] in %[[TO]]
// CHECK:         return %[[R]]
func.func @branches(%c: tensor<i1>, %x: tensor<?x4xf32> {moe.dims = ["M", ""]}, %y: tensor<?x4xf32> {moe.dims = ["N", ""]}) -> tensor<*xf32> {
  %r = onnx.node "If"(%c) opset 20 : (tensor<i1>) -> tensor<*xf32> graph "then_branch" {
    %a = onnx.node "Neg"(%x) opset 20 : (tensor<?x4xf32>) -> tensor<?x4xf32>
    onnx.yield %a : tensor<?x4xf32>
  } graph "else_branch" {
    onnx.yield %y : tensor<?x4xf32>
  }
  return %r : tensor<*xf32>
}

// -----

// Sizes stay scalars, also through branches and iterations.
// CHECK-LABEL: func @sizes(
// CHECK:         %[[S:.*]] = arith.select %{{.*}}, %{{.*}}, %{{.*}} : index
// CHECK-NOT:     scf.if
// CHECK:         tensor.expand_shape
func.func @sizes(%c: tensor<i1>, %x: tensor<?x4xf32> {moe.dims = ["M", ""]}) -> tensor<*xf32> {
  %two = onnx.constant dense<[2, -1]> : tensor<2xi64>
  %four = onnx.constant dense<[4, -1]> : tensor<2xi64>
  %s = onnx.node "If"(%c) opset 20 : (tensor<i1>) -> tensor<2xi64> graph "then_branch" {
    onnx.yield %two : tensor<2xi64>
  } graph "else_branch" {
    onnx.yield %four : tensor<2xi64>
  }
  %r = onnx.node "Reshape"(%x, %s) opset 20 : (tensor<?x4xf32>, tensor<2xi64>) -> tensor<*xf32>
  return %r : tensor<*xf32>
}

// -----

// A carried value keeps its sizes and its buffer; one that grows has open sizes
// and a buffer per iteration; slices go where they belong.
// CHECK-LABEL: func @loop(
// CHECK-SAME:    %[[N:.*]]: tensor<i64>, %[[X:.*]]: tensor<2x4xf32>
// CHECK:         bufferization.alloc_tensor() copy(%[[X]]) : tensor<2x4xf32>
// CHECK:         %[[FIRST:.*]] = bufferization.alloc_tensor() copy(%{{.*}}) : tensor<?x4xf32>
// CHECK:         %[[ALL:.*]] = bufferization.alloc_tensor(%[[TRIPS:.*]]) : tensor<?x2x4xf32>
// CHECK:         %[[R:.*]]:3 = scf.for %[[I:.*]] = %c0 to %[[TRIPS]] step %c1 iter_args(%[[A:.*]] = %{{.*}}, %[[B:.*]] = %[[FIRST]], %[[C:.*]] = %[[ALL]])
// CHECK:           %[[NEXT:.*]] = linalg.generic {{.*}} ins(%[[A]] : tensor<2x4xf32>)
// CHECK:           %[[GROWN:.*]] = tensor.concat dim(0) %[[B]], %[[X]]
// CHECK:           %[[D:.*]] = tensor.insert_slice %[[NEXT]] into %[[C]][%[[I]], 0, 0] [1, 2, 4] [1, 1, 1]
// CHECK:           %[[NEW:.*]] = bufferization.alloc_tensor() copy(%[[GROWN]])
// CHECK:           %[[SAME:.*]] = bufferization.materialize_in_destination %[[NEXT]] in %[[A]]
// CHECK:           scf.yield %[[SAME]], %[[NEW]], %[[D]]
// CHECK:         return %[[R]]#0, %[[R]]#1, %[[R]]#2 : tensor<2x4xf32>, tensor<?x4xf32>, tensor<?x2x4xf32>
func.func @loop(%n: tensor<i64>, %x: tensor<2x4xf32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) {
  %none = onnx.none : none
  %r:3 = onnx.node "Loop"(%n, %none, %x, %x) opset 20 : (tensor<i64>, none, tensor<2x4xf32>, tensor<2x4xf32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) graph "body" {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<*xf32>, %b: tensor<*xf32>):
    %d = onnx.node "Identity"(%c) opset 20 : (tensor<i1>) -> tensor<i1>
    %e = onnx.node "Neg"(%a) opset 20 : (tensor<*xf32>) -> tensor<*xf32>
    %f = onnx.node "Concat"(%b, %x) {axis = 0 : i64} opset 20 : (tensor<*xf32>, tensor<2x4xf32>) -> tensor<*xf32>
    onnx.yield %d, %e, %f, %e : tensor<i1>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
  }
  return %r#0, %r#1, %r#2 : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

// -----

// Where data ends the loop, buffers of slices double in an outer loop.
// CHECK-LABEL: func @while(
// CHECK:         scf.while
// CHECK:           scf.condition
// CHECK:           arith.muli %{{.*}}, %c2
// CHECK:           bufferization.alloc_tensor
// CHECK:           tensor.insert_slice
// CHECK:           scf.while
// CHECK:         %[[Y:.*]] = tensor.extract_slice
// CHECK:         return %[[Y]] : tensor<?x3xf32>
func.func @while(%n: tensor<i64>, %x: tensor<3xf32>) -> tensor<*xf32> {
  %none = onnx.none : none
  %limit = onnx.constant dense<4.0> : tensor<f32>
  %r:2 = onnx.node "Loop"(%n, %none, %x) opset 20 : (tensor<i64>, none, tensor<3xf32>) -> (tensor<*xf32>, tensor<*xf32>) graph "body" {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<*xf32>):
    %e = onnx.node "Exp"(%a) opset 20 : (tensor<*xf32>) -> tensor<*xf32>
    %s = onnx.node "ReduceMax"(%e) {keepdims = 0 : i64} opset 20 : (tensor<*xf32>) -> tensor<*xf32>
    %d = onnx.node "Less"(%s, %limit) opset 20 : (tensor<*xf32>, tensor<f32>) -> tensor<*xi1>
    onnx.yield %d, %e, %e : tensor<*xi1>, tensor<*xf32>, tensor<*xf32>
  }
  return %r#1 : tensor<*xf32>
}

// Experts that only read their tokens, and what recognition says after one
// thing was changed.
//
// RUN: moe-opt %s --onnx-recognize-moe --verify-diagnostics | FileCheck %s
// CHECK: moe.route %{{.+}} {k = 2 : i64, position = #moe.position<after_selection>}
// CHECK: moe.combine
//
// RUN: sed 's/(%%y0, %%t1, %%s1)/(%%y0, %%t0, %%s1)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=TOKENS,PLAIN
// TOKENS: stopped at node 'add1' (ScatterND): expects rows [hit, feature] of one expert to be written to its tokens, found [hit of expert 1, feature] and indices [hit of expert 0, 1]
//
// RUN: sed 's/(%%weights, %%p1)/(%%weights, %%p0)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=WEIGHTS,PLAIN
// WEIGHTS: stopped at node 'weigh1' (Mul): expects the rows of one expert times the routing weights of the same tokens, found [hit of expert 1, feature] and [hit of expert 0, 1]
//
// RUN: sed 's/{reduction = "add"} name "add1"/name "add1"/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=OVER,PLAIN
// OVER: stopped at node 'add1' (ScatterND): expects rows to be added to what was written before
//
// RUN: sed 's/(%%init, %%t0/(%%z, %%t0/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=BASE,PLAIN
// BASE: stopped at node 'add0' (ScatterND): expects zeros, or the sum over other experts, to write rows to
//
// RUN: sed 's/(%%p1, %%first, %%one, %%one)/(%%p1, %%one, %%two, %%one)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=CHOICE,PLAIN
// CHOICE: stopped at node 'rows1' (GatherND): expects the indices of [token, feature]
//
// RUN: sed 's/(%%x, %%t1)/(%%z, %%t1)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=OTHER,PLAIN
// OTHER: stopped at node 'rows1' (GatherND): expects all experts to read the same tokens, as many as the router has
//
// RUN: sed 's/%%depth = onnx.constant dense<2>/%%depth = onnx.constant dense<1>/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=DEPTH,PLAIN
// DEPTH: stopped at node 'hot' (OneHot): expects one class per expert (2)
//
// RUN: sed 's/dense<\[0, 1\]>/dense<[1, 0]>/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=VALUES,PLAIN
// VALUES: stopped at node 'hot' (OneHot): expects the values 0 and 1
//
// Experts chosen by which of them get tokens at all, as many as there were when
// the model was traced.
// RUN: sed 's/(%%hot, %%e1)/(%%hot, %%which)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=FIXED,PLAIN
// FIXED: warning: node 'choose' (TopK) chooses experts, but the number of experts that get tokens is fixed to 2, as it was for the input that the model was traced with
//
// PLAIN-NOT: moe.

func.func @block(%x: tensor<?x3xf32>, %z: tensor<?x3xf32>, %probe: tensor<3x2xf32>, %w0: tensor<3x3xf32>, %w1: tensor<3x3xf32>) -> tensor<?x3xf32> {
  %k = onnx.constant dense<2> : tensor<1xi64>
  %one = onnx.constant dense<1> : tensor<1xi64>
  %two = onnx.constant dense<2> : tensor<1xi64>
  %first = onnx.constant dense<0> : tensor<1xi64>
  %e0 = onnx.constant dense<0> : tensor<i64>
  %e1 = onnx.constant dense<1> : tensor<i64>
  %depth = onnx.constant dense<2> : tensor<i64>
  %values = onnx.constant dense<[0, 1]> : tensor<2xi64>
  %axes = onnx.constant dense<[1, 2]> : tensor<2xi64>
  %ones = onnx.constant dense<[1, 1]> : tensor<2xi64>
  %logits = onnx.node "MatMul"(%x, %probe) opset 20 : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  %top:2 = onnx.node "TopK"(%logits, %k) {axis = -1 : i64} name "choose" opset 20 : (tensor<?x2xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %weights = onnx.node "Softmax"(%top#0) {axis = -1 : i64} opset 20 : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %hot = onnx.node "OneHot"(%top#1, %depth, %values) {axis = 0 : i64} name "hot" opset 20 : (tensor<?x2xi64>, tensor<i64>, tensor<2xi64>) -> tensor<2x?x2xi64>
  %used = onnx.node "ReduceSum"(%hot, %axes) {keepdims = 0 : i64} opset 20 : (tensor<2x?x2xi64>, tensor<2xi64>) -> tensor<2xi64>
  %any = onnx.node "Greater"(%used, %e0) opset 20 : (tensor<2xi64>, tensor<i64>) -> tensor<2xi1>
  %hit = onnx.node "NonZero"(%any) opset 20 : (tensor<2xi1>) -> tensor<1x?xi64>
  %list = onnx.node "Transpose"(%hit) opset 20 : (tensor<1x?xi64>) -> tensor<?x1xi64>
  %part:2 = onnx.node "Split"(%list, %ones) name "fixed" opset 20 : (tensor<?x1xi64>, tensor<2xi64>) -> (tensor<1x1xi64>, tensor<1x1xi64>)
  %which = onnx.node "Squeeze"(%part#0) opset 20 : (tensor<1x1xi64>) -> tensor<i64>
  %shape = onnx.node "Shape"(%x) opset 20 : (tensor<?x3xf32>) -> tensor<2xi64>
  %init = onnx.node "ConstantOfShape"(%shape) opset 20 : (tensor<2xi64>) -> tensor<?x3xf32>
  %m0 = onnx.node "Gather"(%hot, %e0) name "mask0" opset 20 : (tensor<2x?x2xi64>, tensor<i64>) -> tensor<?x2xi64>
  %n0 = onnx.node "NonZero"(%m0) opset 20 : (tensor<?x2xi64>) -> tensor<2x?xi64>
  %p0 = onnx.node "Transpose"(%n0) opset 20 : (tensor<2x?xi64>) -> tensor<?x2xi64>
  %t0 = onnx.node "Slice"(%p0, %first, %one, %one) opset 20 : (tensor<?x2xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %x0 = onnx.node "GatherND"(%x, %t0) name "rows0" opset 20 : (tensor<?x3xf32>, tensor<?x1xi64>) -> tensor<?x3xf32>
  %o0 = onnx.node "Gemm"(%x0, %w0) {transB = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<3x3xf32>) -> tensor<?x3xf32>
  %r0 = onnx.node "GatherND"(%weights, %p0) opset 20 : (tensor<?x2xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %c0 = onnx.node "Unsqueeze"(%r0, %one) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %s0 = onnx.node "Mul"(%o0, %c0) name "weigh0" opset 20 : (tensor<?x3xf32>, tensor<?x1xf32>) -> tensor<?x3xf32>
  %y0 = onnx.node "ScatterND"(%init, %t0, %s0) {reduction = "add"} name "add0" opset 20 : (tensor<?x3xf32>, tensor<?x1xi64>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %m1 = onnx.node "Gather"(%hot, %e1) name "mask1" opset 20 : (tensor<2x?x2xi64>, tensor<i64>) -> tensor<?x2xi64>
  %n1 = onnx.node "NonZero"(%m1) opset 20 : (tensor<?x2xi64>) -> tensor<2x?xi64>
  %p1 = onnx.node "Transpose"(%n1) opset 20 : (tensor<2x?xi64>) -> tensor<?x2xi64>
  %t1 = onnx.node "Slice"(%p1, %first, %one, %one) opset 20 : (tensor<?x2xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %x1 = onnx.node "GatherND"(%x, %t1) name "rows1" opset 20 : (tensor<?x3xf32>, tensor<?x1xi64>) -> tensor<?x3xf32>
  %o1 = onnx.node "Gemm"(%x1, %w1) {transB = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<3x3xf32>) -> tensor<?x3xf32>
  %r1 = onnx.node "GatherND"(%weights, %p1) opset 20 : (tensor<?x2xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %c1 = onnx.node "Unsqueeze"(%r1, %one) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %s1 = onnx.node "Mul"(%o1, %c1) name "weigh1" opset 20 : (tensor<?x3xf32>, tensor<?x1xf32>) -> tensor<?x3xf32>
  %y1 = onnx.node "ScatterND"(%y0, %t1, %s1) {reduction = "add"} name "add1" opset 20 : (tensor<?x3xf32>, tensor<?x1xi64>, tensor<?x3xf32>) -> tensor<?x3xf32>
  return %y1 : tensor<?x3xf32>
}

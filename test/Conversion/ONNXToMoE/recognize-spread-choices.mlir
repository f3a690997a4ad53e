// RUN: moe-opt %s --onnx-recognize-moe --split-input-file --verify-diagnostics | FileCheck %s

// Two choices, and a sum of what they weigh (NLLB): the route is by that sum.

// CHECK-LABEL: func.func @two(
// CHECK: %[[GATES:.+]] = onnx.node "Add"{{.*}} name "gates"
// CHECK: moe.route %[[GATES]] {{.*}}k = 2
// CHECK: moe.dispatch
// CHECK: moe.grouped_matmul
// CHECK: %[[Y:.+]] = moe.combine
// CHECK: return %[[Y]]
func.func @two(%x: tensor<?x4xf32>, %probe: tensor<4x3xf32>, %w0: tensor<4x4xf32>, %w1: tensor<4x4xf32>, %w2: tensor<4x4xf32>) -> tensor<?x4xf32> {
  %minus = onnx.constant dense<-1> : tensor<1xi64>
  %one = onnx.constant dense<1> : tensor<1xi64>
  %all = onnx.constant dense<[0, 1, 2]> : tensor<3xi64>
  %none = onnx.constant dense<0xFF800000> : tensor<f32>
  %e0 = onnx.constant dense<0> : tensor<i64>
  %e1 = onnx.constant dense<1> : tensor<i64>
  %e2 = onnx.constant dense<2> : tensor<i64>
  %logits = onnx.node "MatMul"(%x, %probe) opset 20 : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %probs = onnx.node "Softmax"(%logits) {axis = -1 : i64} opset 20 : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %best = onnx.node "ArgMax"(%probs) {axis = -1 : i64, keepdims = 0 : i64} name "first" opset 20 : (tensor<?x3xf32>) -> tensor<?xi64>
  %bc = onnx.node "Unsqueeze"(%best, %minus) opset 20 : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %b = onnx.node "Equal"(%bc, %all) opset 20 : (tensor<?x1xi64>, tensor<3xi64>) -> tensor<?x3xi1>
  %rest = onnx.node "Where"(%b, %none, %logits) opset 20 : (tensor<?x3xi1>, tensor<f32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %next = onnx.node "ArgMax"(%rest) {axis = -1 : i64, keepdims = 0 : i64} opset 20 : (tensor<?x3xf32>) -> tensor<?xi64>
  %nc = onnx.node "Unsqueeze"(%next, %minus) opset 20 : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %n = onnx.node "Equal"(%nc, %all) opset 20 : (tensor<?x1xi64>, tensor<3xi64>) -> tensor<?x3xi1>
  %bm = onnx.node "Cast"(%b) {to = 1 : i64} opset 20 : (tensor<?x3xi1>) -> tensor<?x3xf32>
  %nm = onnx.node "Cast"(%n) {to = 1 : i64} opset 20 : (tensor<?x3xi1>) -> tensor<?x3xf32>
  %bw = onnx.node "Mul"(%probs, %bm) opset 20 : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %nw = onnx.node "Mul"(%probs, %nm) opset 20 : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %gates = onnx.node "Add"(%bw, %nw) name "gates" opset 20 : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %g0 = onnx.node "Gather"(%gates, %e0) {axis = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<i64>) -> tensor<?xf32>
  %u0 = onnx.node "Unsqueeze"(%g0, %one) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %o0 = onnx.node "MatMul"(%x, %w0) opset 20 : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %s0 = onnx.node "Mul"(%o0, %u0) opset 20 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %g1 = onnx.node "Gather"(%gates, %e1) {axis = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<i64>) -> tensor<?xf32>
  %u1 = onnx.node "Unsqueeze"(%g1, %one) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %o1 = onnx.node "MatMul"(%x, %w1) opset 20 : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %s1 = onnx.node "Mul"(%o1, %u1) opset 20 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %g2 = onnx.node "Gather"(%gates, %e2) {axis = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<i64>) -> tensor<?xf32>
  %u2 = onnx.node "Unsqueeze"(%g2, %one) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %o2 = onnx.node "MatMul"(%x, %w2) opset 20 : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %s2 = onnx.node "Mul"(%o2, %u2) opset 20 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y01 = onnx.node "Add"(%s0, %s1) opset 20 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = onnx.node "Add"(%y01, %s2) opset 20 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// The same, written with OneHot of the choices without an axis of size 1.

// CHECK-LABEL: func.func @one_hot(
// CHECK: %[[GATES:.+]] = onnx.node "Add"{{.*}} name "gates"
// CHECK: moe.route %[[GATES]] {{.*}}k = 2
// CHECK: moe.dispatch
// CHECK: moe.grouped_matmul
// CHECK: %[[Y:.+]] = moe.combine
// CHECK: return %[[Y]]
func.func @one_hot(%x: tensor<?x4xf32>, %probe: tensor<4x3xf32>, %w0: tensor<4x4xf32>, %w1: tensor<4x4xf32>, %w2: tensor<4x4xf32>) -> tensor<?x4xf32> {
  %one = onnx.constant dense<1> : tensor<1xi64>
  %depth = onnx.constant dense<3> : tensor<i64>
  %zo = onnx.constant dense<[0.0, 1.0]> : tensor<2xf32>
  %none = onnx.constant dense<0xFF800000> : tensor<f32>
  %e0 = onnx.constant dense<0> : tensor<i64>
  %e1 = onnx.constant dense<1> : tensor<i64>
  %e2 = onnx.constant dense<2> : tensor<i64>
  %logits = onnx.node "MatMul"(%x, %probe) opset 20 : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %probs = onnx.node "Softmax"(%logits) {axis = -1 : i64} opset 20 : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %best = onnx.node "ArgMax"(%probs) {axis = -1 : i64, keepdims = 0 : i64} name "first" opset 20 : (tensor<?x3xf32>) -> tensor<?xi64>
  %bm = onnx.node "OneHot"(%best, %depth, %zo) {axis = -1 : i64} opset 20 : (tensor<?xi64>, tensor<i64>, tensor<2xf32>) -> tensor<?x3xf32>
  %b = onnx.node "Cast"(%bm) {to = 9 : i64} opset 20 : (tensor<?x3xf32>) -> tensor<?x3xi1>
  %rest = onnx.node "Where"(%b, %none, %logits) opset 20 : (tensor<?x3xi1>, tensor<f32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %next = onnx.node "ArgMax"(%rest) {axis = -1 : i64, keepdims = 0 : i64} opset 20 : (tensor<?x3xf32>) -> tensor<?xi64>
  %nm = onnx.node "OneHot"(%next, %depth, %zo) {axis = -1 : i64} opset 20 : (tensor<?xi64>, tensor<i64>, tensor<2xf32>) -> tensor<?x3xf32>
  %bw = onnx.node "Mul"(%probs, %bm) opset 20 : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %nw = onnx.node "Mul"(%probs, %nm) opset 20 : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %gates = onnx.node "Add"(%bw, %nw) name "gates" opset 20 : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %g0 = onnx.node "Gather"(%gates, %e0) {axis = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<i64>) -> tensor<?xf32>
  %u0 = onnx.node "Unsqueeze"(%g0, %one) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %o0 = onnx.node "MatMul"(%x, %w0) opset 20 : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %s0 = onnx.node "Mul"(%o0, %u0) opset 20 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %g1 = onnx.node "Gather"(%gates, %e1) {axis = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<i64>) -> tensor<?xf32>
  %u1 = onnx.node "Unsqueeze"(%g1, %one) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %o1 = onnx.node "MatMul"(%x, %w1) opset 20 : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %s1 = onnx.node "Mul"(%o1, %u1) opset 20 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %g2 = onnx.node "Gather"(%gates, %e2) {axis = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<i64>) -> tensor<?xf32>
  %u2 = onnx.node "Unsqueeze"(%g2, %one) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %o2 = onnx.node "MatMul"(%x, %w2) opset 20 : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %s2 = onnx.node "Mul"(%o2, %u2) opset 20 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y01 = onnx.node "Add"(%s0, %s1) opset 20 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = onnx.node "Add"(%y01, %s2) opset 20 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// Of weights that may be negative the greatest are others.

// CHECK-LABEL: func.func @negative(
// CHECK-NOT: moe.
// CHECK: return
func.func @negative(%x: tensor<?x4xf32>, %probe: tensor<4x3xf32>, %w0: tensor<4x4xf32>, %w1: tensor<4x4xf32>, %w2: tensor<4x4xf32>) -> tensor<?x4xf32> {
  %minus = onnx.constant dense<-1> : tensor<1xi64>
  %one = onnx.constant dense<1> : tensor<1xi64>
  %all = onnx.constant dense<[0, 1, 2]> : tensor<3xi64>
  %none = onnx.constant dense<0xFF800000> : tensor<f32>
  %e0 = onnx.constant dense<0> : tensor<i64>
  %e1 = onnx.constant dense<1> : tensor<i64>
  %e2 = onnx.constant dense<2> : tensor<i64>
  %logits = onnx.node "MatMul"(%x, %probe) opset 20 : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %probs = onnx.node "Softmax"(%logits) {axis = -1 : i64} opset 20 : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %best = onnx.node "ArgMax"(%probs) {axis = -1 : i64, keepdims = 0 : i64} name "first" opset 20 : (tensor<?x3xf32>) -> tensor<?xi64>
  %bc = onnx.node "Unsqueeze"(%best, %minus) opset 20 : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %b = onnx.node "Equal"(%bc, %all) opset 20 : (tensor<?x1xi64>, tensor<3xi64>) -> tensor<?x3xi1>
  // expected-remark @+1 {{expects routing weights where an expert was chosen, and 0 elsewhere}}
  %rest = onnx.node "Where"(%b, %none, %logits) opset 20 : (tensor<?x3xi1>, tensor<f32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %next = onnx.node "ArgMax"(%rest) {axis = -1 : i64, keepdims = 0 : i64} opset 20 : (tensor<?x3xf32>) -> tensor<?xi64>
  %nc = onnx.node "Unsqueeze"(%next, %minus) opset 20 : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %n = onnx.node "Equal"(%nc, %all) opset 20 : (tensor<?x1xi64>, tensor<3xi64>) -> tensor<?x3xi1>
  %bm = onnx.node "Cast"(%b) {to = 1 : i64} opset 20 : (tensor<?x3xi1>) -> tensor<?x3xf32>
  %nm = onnx.node "Cast"(%n) {to = 1 : i64} opset 20 : (tensor<?x3xi1>) -> tensor<?x3xf32>
  %bw = onnx.node "Mul"(%logits, %bm) opset 20 : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %nw = onnx.node "Mul"(%logits, %nm) opset 20 : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %gates = onnx.node "Add"(%bw, %nw) name "gates" opset 20 : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %g0 = onnx.node "Gather"(%gates, %e0) {axis = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<i64>) -> tensor<?xf32>
  %u0 = onnx.node "Unsqueeze"(%g0, %one) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %o0 = onnx.node "MatMul"(%x, %w0) opset 20 : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %s0 = onnx.node "Mul"(%o0, %u0) opset 20 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %g1 = onnx.node "Gather"(%gates, %e1) {axis = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<i64>) -> tensor<?xf32>
  %u1 = onnx.node "Unsqueeze"(%g1, %one) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %o1 = onnx.node "MatMul"(%x, %w1) opset 20 : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %s1 = onnx.node "Mul"(%o1, %u1) opset 20 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %g2 = onnx.node "Gather"(%gates, %e2) {axis = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<i64>) -> tensor<?xf32>
  %u2 = onnx.node "Unsqueeze"(%g2, %one) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %o2 = onnx.node "MatMul"(%x, %w2) opset 20 : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %s2 = onnx.node "Mul"(%o2, %u2) opset 20 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y01 = onnx.node "Add"(%s0, %s1) opset 20 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = onnx.node "Add"(%y01, %s2) opset 20 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// What is not known to be no less than 0: a one-hot of other values.

// CHECK-LABEL: func.func @signs(
// CHECK-NOT: moe.
// CHECK: return
func.func @signs(%x: tensor<?x4xf32>, %probe: tensor<4x3xf32>, %w0: tensor<4x4xf32>, %w1: tensor<4x4xf32>, %w2: tensor<4x4xf32>) -> tensor<?x4xf32> {
  %minus = onnx.constant dense<-1> : tensor<1xi64>
  %one = onnx.constant dense<1> : tensor<1xi64>
  %all = onnx.constant dense<[0, 1, 2]> : tensor<3xi64>
  %none = onnx.constant dense<0xFF800000> : tensor<f32>
  %e0 = onnx.constant dense<0> : tensor<i64>
  %e1 = onnx.constant dense<1> : tensor<i64>
  %e2 = onnx.constant dense<2> : tensor<i64>
  %logits = onnx.node "MatMul"(%x, %probe) opset 20 : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %probs = onnx.node "Softmax"(%logits) {axis = -1 : i64} opset 20 : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %best = onnx.node "ArgMax"(%probs) {axis = -1 : i64, keepdims = 0 : i64} name "first" opset 20 : (tensor<?x3xf32>) -> tensor<?xi64>
  %bc = onnx.node "Unsqueeze"(%best, %minus) opset 20 : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %b = onnx.node "Equal"(%bc, %all) opset 20 : (tensor<?x1xi64>, tensor<3xi64>) -> tensor<?x3xi1>
  // expected-remark @+1 {{expects routing weights where an expert was chosen, and 0 elsewhere}}
  %rest = onnx.node "Where"(%b, %none, %logits) opset 20 : (tensor<?x3xi1>, tensor<f32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %next = onnx.node "ArgMax"(%rest) {axis = -1 : i64, keepdims = 0 : i64} opset 20 : (tensor<?x3xf32>) -> tensor<?xi64>
  %nc = onnx.node "Unsqueeze"(%next, %minus) opset 20 : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %n = onnx.node "Equal"(%nc, %all) opset 20 : (tensor<?x1xi64>, tensor<3xi64>) -> tensor<?x3xi1>
  %bm = onnx.node "Cast"(%b) {to = 1 : i64} opset 20 : (tensor<?x3xi1>) -> tensor<?x3xf32>
  %nm = onnx.node "Cast"(%n) {to = 1 : i64} opset 20 : (tensor<?x3xi1>) -> tensor<?x3xf32>
  %depth = onnx.constant dense<3> : tensor<i64>
  %signs = onnx.constant dense<[-1.0, 1.0]> : tensor<2xf32>
  %sign = onnx.node "OneHot"(%best, %depth, %signs) {axis = -1 : i64} opset 20 : (tensor<?xi64>, tensor<i64>, tensor<2xf32>) -> tensor<?x3xf32>
  %signed = onnx.node "Mul"(%probs, %sign) opset 20 : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %bw = onnx.node "Mul"(%signed, %bm) opset 20 : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %nw = onnx.node "Mul"(%probs, %nm) opset 20 : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %gates = onnx.node "Add"(%bw, %nw) name "gates" opset 20 : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %g0 = onnx.node "Gather"(%gates, %e0) {axis = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<i64>) -> tensor<?xf32>
  %u0 = onnx.node "Unsqueeze"(%g0, %one) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %o0 = onnx.node "MatMul"(%x, %w0) opset 20 : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %s0 = onnx.node "Mul"(%o0, %u0) opset 20 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %g1 = onnx.node "Gather"(%gates, %e1) {axis = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<i64>) -> tensor<?xf32>
  %u1 = onnx.node "Unsqueeze"(%g1, %one) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %o1 = onnx.node "MatMul"(%x, %w1) opset 20 : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %s1 = onnx.node "Mul"(%o1, %u1) opset 20 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %g2 = onnx.node "Gather"(%gates, %e2) {axis = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<i64>) -> tensor<?xf32>
  %u2 = onnx.node "Unsqueeze"(%g2, %one) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %o2 = onnx.node "MatMul"(%x, %w2) opset 20 : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %s2 = onnx.node "Mul"(%o2, %u2) opset 20 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y01 = onnx.node "Add"(%s0, %s1) opset 20 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = onnx.node "Add"(%y01, %s2) opset 20 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// RUN: moe-opt %s --split-input-file --onnx-recognize-moe --verify-diagnostics | FileCheck %s

// Each expert on all tokens, which are in two dimensions: the matrices [K, N]
// become transposed views of the same bytes, one stack per projection.

// CHECK-DAG: moe.weight @[[G0:gate0__view.*]] {file = "w", length = 60 : i64, offset = 0 : i64, strides = array<i64: 1, 5>} : tensor<5x3xf32>
// CHECK-DAG: moe.weight @[[G1:gate1__view.*]] {file = "w", length = 60 : i64, offset = 60 : i64, strides = array<i64: 1, 5>} : tensor<5x3xf32>
// CHECK-DAG: moe.weight_stack @[[G:gate.*]] [@[[G0]], @[[G1]]] : tensor<2x5x3xf32>
// CHECK-DAG: moe.weight_stack @[[D:down.*]] [@down0, @down1] : tensor<2x3x5xf32>
moe.weight @gate0 {file = "w", offset = 0 : i64, length = 60 : i64} : tensor<3x5xf32>
moe.weight @gate1 {file = "w", offset = 60 : i64, length = 60 : i64} : tensor<3x5xf32>
moe.weight @down0 {file = "w", offset = 120 : i64, length = 60 : i64} : tensor<3x5xf32>
moe.weight @down1 {file = "w", offset = 180 : i64, length = 60 : i64} : tensor<3x5xf32>

// CHECK-LABEL: func @masked(
// CHECK-SAME: %[[X:.+]]: tensor<?x?x3xf32>)
func.func @masked(%x: tensor<?x?x3xf32>) -> tensor<?x?x3xf32> {
  %k = onnx.constant dense<1> : tensor<1xi64>
  %minus = onnx.constant dense<-1> : tensor<1xi64>
  %e0 = onnx.constant dense<0> : tensor<i64>
  %e1 = onnx.constant dense<1> : tensor<i64>
  %gate0 = moe.get_weight @gate0 : tensor<3x5xf32>
  %gate1 = moe.get_weight @gate1 : tensor<3x5xf32>
  %down0 = moe.get_weight @down0 : tensor<3x5xf32>
  %down1 = moe.get_weight @down1 : tensor<3x5xf32>
  %b0 = onnx.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
  %b1 = onnx.constant dense<[4.0, 5.0, 6.0]> : tensor<3xf32>
  // Tokens that the router shares with the experts, as a product of its own.
  %probe = onnx.constant dense<0.5> : tensor<3x2xf32>
  %logits = onnx.node "MatMul"(%x, %probe) opset 20 : (tensor<?x?x3xf32>, tensor<3x2xf32>) -> tensor<?x?x2xf32>
  // CHECK: %[[LOGITS:.+]] = onnx.node "MatMul"
  // CHECK: %[[FLAT:.+]] = tensor.collapse_shape %[[LOGITS]] {{\[\[}}0, 1], [2]]
  // CHECK: %[[W:.+]], %[[E:.+]] = moe.route %[[FLAT]] {k = 1 : i64}
  // CHECK: %[[T:.+]] = tensor.collapse_shape %[[X]] {{\[\[}}0, 1], [2]]
  // CHECK: %[[R:.+]], %[[S:.+]], %[[M:.+]] = moe.dispatch %[[T]], %[[E]]
  // CHECK: %[[GATE:.+]] = moe.get_weight @[[G]] : tensor<2x5x3xf32>
  // CHECK: %[[H:.+]] = moe.grouped_matmul %[[R]], %[[S]] weights(%[[GATE]])
  // CHECK: arith.maximumf
  // CHECK: %[[DOWN:.+]] = moe.get_weight @[[D]] : tensor<2x3x5xf32>
  // CHECK: %[[B:.+]] = arith.constant dense<{{\[\[}}1.000000e+00, 2.000000e+00, 3.000000e+00], [4.000000e+00, 5.000000e+00, 6.000000e+00]]> : tensor<2x3xf32>
  // CHECK: %[[O:.+]] = moe.grouped_matmul %[[H]], %[[S]] weights(%[[DOWN]]) biases(%[[B]]
  // CHECK: %[[Y:.+]] = moe.combine %[[O]], %[[W]], %[[M]]
  // CHECK: %[[YS:.+]] = tensor.expand_shape %[[Y]] {{\[\[}}0, 1], [2]] output_shape [%{{.+}}, %{{.+}}, 3]
  // CHECK: return %[[YS]]
  %probs = onnx.node "Softmax"(%logits) {axis = -1 : i64} opset 20 : (tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  %top:2 = onnx.node "TopK"(%probs, %k) {axis = -1 : i64} opset 20 : (tensor<?x?x2xf32>, tensor<1xi64>) -> (tensor<?x?x1xf32>, tensor<?x?x1xi64>)
  %g0 = onnx.node "MatMul"(%x, %gate0) opset 20 : (tensor<?x?x3xf32>, tensor<3x5xf32>) -> tensor<?x?x5xf32>
  %h0 = onnx.node "Relu"(%g0) opset 20 : (tensor<?x?x5xf32>) -> tensor<?x?x5xf32>
  %t0 = onnx.node "Transpose"(%down0) {perm = array<i64: 1, 0>} opset 20 : (tensor<3x5xf32>) -> tensor<5x3xf32>
  %d0 = onnx.node "MatMul"(%h0, %t0) opset 20 : (tensor<?x?x5xf32>, tensor<5x3xf32>) -> tensor<?x?x3xf32>
  %o0 = onnx.node "Add"(%b0, %d0) opset 20 : (tensor<3xf32>, tensor<?x?x3xf32>) -> tensor<?x?x3xf32>
  %is0 = onnx.node "Equal"(%top#1, %e0) opset 20 : (tensor<?x?x1xi64>, tensor<i64>) -> tensor<?x?x1xi1>
  %m0 = onnx.node "Cast"(%is0) {to = 1 : i64} opset 20 : (tensor<?x?x1xi1>) -> tensor<?x?x1xf32>
  %w0 = onnx.node "Mul"(%top#0, %m0) opset 20 : (tensor<?x?x1xf32>, tensor<?x?x1xf32>) -> tensor<?x?x1xf32>
  %s0 = onnx.node "ReduceSum"(%w0, %minus) {keepdims = 1 : i64} opset 20 : (tensor<?x?x1xf32>, tensor<1xi64>) -> tensor<?x?x1xf32>
  %y0 = onnx.node "Mul"(%o0, %s0) opset 20 : (tensor<?x?x3xf32>, tensor<?x?x1xf32>) -> tensor<?x?x3xf32>
  %g1 = onnx.node "MatMul"(%x, %gate1) opset 20 : (tensor<?x?x3xf32>, tensor<3x5xf32>) -> tensor<?x?x5xf32>
  %h1 = onnx.node "Relu"(%g1) opset 20 : (tensor<?x?x5xf32>) -> tensor<?x?x5xf32>
  %t1 = onnx.node "Transpose"(%down1) {perm = array<i64: 1, 0>} opset 20 : (tensor<3x5xf32>) -> tensor<5x3xf32>
  %d1 = onnx.node "MatMul"(%h1, %t1) opset 20 : (tensor<?x?x5xf32>, tensor<5x3xf32>) -> tensor<?x?x3xf32>
  %o1 = onnx.node "Add"(%d1, %b1) opset 20 : (tensor<?x?x3xf32>, tensor<3xf32>) -> tensor<?x?x3xf32>
  %is1 = onnx.node "Equal"(%e1, %top#1) opset 20 : (tensor<i64>, tensor<?x?x1xi64>) -> tensor<?x?x1xi1>
  %zero = onnx.constant dense<0.0> : tensor<f32>
  %w1 = onnx.node "Where"(%is1, %top#0, %zero) opset 20 : (tensor<?x?x1xi1>, tensor<?x?x1xf32>, tensor<f32>) -> tensor<?x?x1xf32>
  %y1 = onnx.node "Mul"(%w1, %o1) opset 20 : (tensor<?x?x1xf32>, tensor<?x?x3xf32>) -> tensor<?x?x3xf32>
  %y = onnx.node "Add"(%y0, %y1) opset 20 : (tensor<?x?x3xf32>, tensor<?x?x3xf32>) -> tensor<?x?x3xf32>
  return %y : tensor<?x?x3xf32>
}

// -----

// The tokens of each expert, its matrices out of one tensor, results added
// where they belong.

moe.weight @w {file = "w", offset = 0 : i64, length = 72 : i64} : tensor<2x3x3xf32>

// CHECK-LABEL: func @sparse(
// CHECK: %[[W:.+]], %[[E:.+]] = moe.route %{{.+}} {k = 2 : i64, position = #moe.position<after_selection>}
// CHECK: %[[R:.+]], %[[S:.+]], %[[M:.+]] = moe.dispatch %{{.+}}, %[[E]]
// CHECK: %[[ALL:.+]] = moe.get_weight @w : tensor<2x3x3xf32>
// CHECK: %[[O:.+]] = moe.grouped_matmul %[[R]], %[[S]] weights(%[[ALL]])
// CHECK: %[[Y:.+]] = moe.combine %[[O]], %[[W]], %[[M]]
// CHECK: return %[[Y]]
func.func @sparse(%x: tensor<?x3xf32>, %probe: tensor<3x2xf32>) -> tensor<?x3xf32> {
  %k = onnx.constant dense<2> : tensor<1xi64>
  %minus = onnx.constant dense<-1> : tensor<1xi64>
  %one = onnx.constant dense<1> : tensor<1xi64>
  %zero = onnx.constant dense<0> : tensor<1xi64>
  %e0 = onnx.constant dense<0> : tensor<i64>
  %e1 = onnx.constant dense<1> : tensor<i64>
  %depth = onnx.constant dense<2> : tensor<i64>
  %values = onnx.constant dense<[0, 1]> : tensor<2xi64>
  %w = moe.get_weight @w : tensor<2x3x3xf32>
  %logits = onnx.node "MatMul"(%x, %probe) opset 20 : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  %top:2 = onnx.node "TopK"(%logits, %k) {axis = -1 : i64} opset 20 : (tensor<?x2xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %weights = onnx.node "Softmax"(%top#0) {axis = -1 : i64} opset 20 : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %hot = onnx.node "OneHot"(%top#1, %depth, %values) {axis = 0 : i64} opset 20 : (tensor<?x2xi64>, tensor<i64>, tensor<2xi64>) -> tensor<2x?x2xi64>
  %shape = onnx.node "Shape"(%x) opset 20 : (tensor<?x3xf32>) -> tensor<2xi64>
  %init = onnx.node "ConstantOfShape"(%shape) opset 20 : (tensor<2xi64>) -> tensor<?x3xf32>
  %m0 = onnx.node "Gather"(%hot, %e0) opset 20 : (tensor<2x?x2xi64>, tensor<i64>) -> tensor<?x2xi64>
  %n0 = onnx.node "NonZero"(%m0) opset 20 : (tensor<?x2xi64>) -> tensor<2x?xi64>
  %p0 = onnx.node "Transpose"(%n0) opset 20 : (tensor<2x?xi64>) -> tensor<?x2xi64>
  %t0 = onnx.node "Slice"(%p0, %zero, %one, %one) opset 20 : (tensor<?x2xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %x0 = onnx.node "GatherND"(%x, %t0) opset 20 : (tensor<?x3xf32>, tensor<?x1xi64>) -> tensor<?x3xf32>
  %w0 = onnx.node "Gather"(%w, %e0) opset 20 : (tensor<2x3x3xf32>, tensor<i64>) -> tensor<3x3xf32>
  %o0 = onnx.node "Gemm"(%x0, %w0) {transB = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<3x3xf32>) -> tensor<?x3xf32>
  %r0 = onnx.node "GatherND"(%weights, %p0) opset 20 : (tensor<?x2xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %c0 = onnx.node "Unsqueeze"(%r0, %one) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %s0 = onnx.node "Mul"(%o0, %c0) opset 20 : (tensor<?x3xf32>, tensor<?x1xf32>) -> tensor<?x3xf32>
  %y0 = onnx.node "ScatterND"(%init, %t0, %s0) {reduction = "add"} opset 20 : (tensor<?x3xf32>, tensor<?x1xi64>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %m1 = onnx.node "Gather"(%hot, %e1) opset 20 : (tensor<2x?x2xi64>, tensor<i64>) -> tensor<?x2xi64>
  %n1 = onnx.node "NonZero"(%m1) opset 20 : (tensor<?x2xi64>) -> tensor<2x?xi64>
  %p1 = onnx.node "Transpose"(%n1) opset 20 : (tensor<2x?xi64>) -> tensor<?x2xi64>
  %t1 = onnx.node "Slice"(%p1, %zero, %one, %one) opset 20 : (tensor<?x2xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %x1 = onnx.node "GatherND"(%x, %t1) opset 20 : (tensor<?x3xf32>, tensor<?x1xi64>) -> tensor<?x3xf32>
  %w1 = onnx.node "Gather"(%w, %e1) opset 20 : (tensor<2x3x3xf32>, tensor<i64>) -> tensor<3x3xf32>
  %o1 = onnx.node "Gemm"(%x1, %w1) {transB = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<3x3xf32>) -> tensor<?x3xf32>
  %r1 = onnx.node "GatherND"(%weights, %p1) opset 20 : (tensor<?x2xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %c1 = onnx.node "Unsqueeze"(%r1, %one) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %s1 = onnx.node "Mul"(%o1, %c1) opset 20 : (tensor<?x3xf32>, tensor<?x1xf32>) -> tensor<?x3xf32>
  %y1 = onnx.node "ScatterND"(%y0, %t1, %s1) {reduction = "add"} opset 20 : (tensor<?x3xf32>, tensor<?x1xi64>, tensor<?x3xf32>) -> tensor<?x3xf32>
  return %y1 : tensor<?x3xf32>
}

// -----

// All experts at once: the result keeps the two dimensions that the tokens were
// divided into.

// CHECK-LABEL: func @all(
// CHECK-SAME: %[[X:.+]]: tensor<?x?x3xf32>
// CHECK: moe.route
// CHECK: %[[O:.+]] = moe.grouped_matmul
// CHECK: %[[Y:.+]] = moe.combine %[[O]]
// CHECK: %[[B:.+]] = tensor.dim %[[X]]
// CHECK: %[[SEQ:.+]] = tensor.dim %[[X]]
// CHECK: tensor.expand_shape %[[Y]] {{\[\[}}0, 1], [2]] output_shape [%[[B]], %[[SEQ]], 3]
func.func @all(%in: tensor<?x?x3xf32>, %probe: tensor<3x2xf32>, %w: tensor<2x3x3xf32>) -> tensor<?x?x3xf32> {
  %k = onnx.constant dense<1> : tensor<1xi64>
  %minus = onnx.constant dense<-1> : tensor<1xi64>
  %zero = onnx.constant dense<0> : tensor<1xi64>
  %two = onnx.constant dense<2> : tensor<1xi64>
  %three = onnx.constant dense<3> : tensor<1xi64>
  %flat = onnx.constant dense<[-1, 3]> : tensor<2xi64>
  %copies = onnx.constant dense<[2, 1]> : tensor<2xi64>
  %perExpert = onnx.constant dense<[2, -1, 3]> : tensor<3xi64>
  %x = onnx.node "Reshape"(%in, %flat) opset 20 : (tensor<?x?x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  %logits = onnx.node "MatMul"(%x, %probe) opset 20 : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  %top:2 = onnx.node "TopK"(%logits, %k) {axis = -1 : i64} opset 20 : (tensor<?x2xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
  %weights = onnx.node "Softmax"(%top#0) {axis = -1 : i64} opset 20 : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %shape = onnx.node "Shape"(%logits) opset 20 : (tensor<?x2xf32>) -> tensor<2xi64>
  %init = onnx.node "ConstantOfShape"(%shape) opset 20 : (tensor<2xi64>) -> tensor<?x2xf32>
  %gates = onnx.node "ScatterElements"(%init, %top#1, %weights) {axis = 1 : i64} opset 20 : (tensor<?x2xf32>, tensor<?x1xi64>, tensor<?x1xf32>) -> tensor<?x2xf32>
  %tiled = onnx.node "Tile"(%x, %copies) opset 20 : (tensor<?x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  %rows = onnx.node "Reshape"(%tiled, %perExpert) opset 20 : (tensor<?x3xf32>, tensor<3xi64>) -> tensor<2x?x3xf32>
  %o = onnx.node "MatMul"(%rows, %w) opset 20 : (tensor<2x?x3xf32>, tensor<2x3x3xf32>) -> tensor<2x?x3xf32>
  %batch = onnx.node "Shape"(%in) {start = 0 : i64, end = 1 : i64} opset 20 : (tensor<?x?x3xf32>) -> tensor<1xi64>
  %divided = onnx.node "Concat"(%two, %batch, %minus, %three) {axis = 0 : i64} opset 20 : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %od = onnx.node "Reshape"(%o, %divided) opset 20 : (tensor<2x?x3xf32>, tensor<4xi64>) -> tensor<2x?x?x3xf32>
  %gt = onnx.node "Transpose"(%gates) opset 20 : (tensor<?x2xf32>) -> tensor<2x?xf32>
  %dividedGates = onnx.node "Concat"(%two, %batch, %minus) {axis = 0 : i64} opset 20 : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<3xi64>
  %gd = onnx.node "Reshape"(%gt, %dividedGates) opset 20 : (tensor<2x?xf32>, tensor<3xi64>) -> tensor<2x?x?xf32>
  %gu = onnx.node "Unsqueeze"(%gd, %minus) opset 20 : (tensor<2x?x?xf32>, tensor<1xi64>) -> tensor<2x?x?x1xf32>
  %shares = onnx.node "Mul"(%od, %gu) opset 20 : (tensor<2x?x?x3xf32>, tensor<2x?x?x1xf32>) -> tensor<2x?x?x3xf32>
  %y = onnx.node "ReduceSum"(%shares, %zero) {keepdims = 0 : i64} opset 20 : (tensor<2x?x?x3xf32>, tensor<1xi64>) -> tensor<?x?x3xf32>
  return %y : tensor<?x?x3xf32>
}

// -----

// The first of the two is a product itself.

// CHECK-LABEL: func @four(
// CHECK-SAME: %[[X:.+]]: tensor<?x?x?x3xf32>
// CHECK: %[[Y:.+]] = moe.combine
// CHECK: %[[D0:.+]] = tensor.dim %[[X]]
// CHECK: %[[D1:.+]] = tensor.dim %[[X]]
// CHECK: %[[B:.+]] = arith.muli %[[D0]], %[[D1]] : index
// CHECK: tensor.expand_shape %[[Y]] {{\[\[}}0, 1], [2]] output_shape [%[[B]], %{{.+}}, 3]
func.func @four(%four: tensor<?x?x?x3xf32>, %probe: tensor<3x2xf32>, %w: tensor<2x3x3xf32>) -> tensor<?x?x3xf32> {
  %k = onnx.constant dense<1> : tensor<1xi64>
  %minus = onnx.constant dense<-1> : tensor<1xi64>
  %zero = onnx.constant dense<0> : tensor<1xi64>
  %two = onnx.constant dense<2> : tensor<1xi64>
  %three = onnx.constant dense<3> : tensor<1xi64>
  %flat = onnx.constant dense<[-1, 3]> : tensor<2xi64>
  %copies = onnx.constant dense<[2, 1]> : tensor<2xi64>
  %perExpert = onnx.constant dense<[2, -1, 3]> : tensor<3xi64>
  %outer = onnx.node "Shape"(%four) {start = 0 : i64, end = 1 : i64} opset 20 : (tensor<?x?x?x3xf32>) -> tensor<1xi64>
  %inner = onnx.node "Shape"(%four) {start = 1 : i64, end = 2 : i64} opset 20 : (tensor<?x?x?x3xf32>) -> tensor<1xi64>
  %both = onnx.node "Mul"(%outer, %inner) opset 20 : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %to3 = onnx.node "Concat"(%both, %minus, %three) {axis = 0 : i64} opset 20 : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<3xi64>
  %in = onnx.node "Reshape"(%four, %to3) opset 20 : (tensor<?x?x?x3xf32>, tensor<3xi64>) -> tensor<?x?x3xf32>
  %x = onnx.node "Reshape"(%in, %flat) opset 20 : (tensor<?x?x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  %logits = onnx.node "MatMul"(%x, %probe) opset 20 : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  %top:2 = onnx.node "TopK"(%logits, %k) {axis = -1 : i64} opset 20 : (tensor<?x2xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
  %weights = onnx.node "Softmax"(%top#0) {axis = -1 : i64} opset 20 : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %shape = onnx.node "Shape"(%logits) opset 20 : (tensor<?x2xf32>) -> tensor<2xi64>
  %init = onnx.node "ConstantOfShape"(%shape) opset 20 : (tensor<2xi64>) -> tensor<?x2xf32>
  %gates = onnx.node "ScatterElements"(%init, %top#1, %weights) {axis = 1 : i64} opset 20 : (tensor<?x2xf32>, tensor<?x1xi64>, tensor<?x1xf32>) -> tensor<?x2xf32>
  %tiled = onnx.node "Tile"(%x, %copies) opset 20 : (tensor<?x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  %rows = onnx.node "Reshape"(%tiled, %perExpert) opset 20 : (tensor<?x3xf32>, tensor<3xi64>) -> tensor<2x?x3xf32>
  %o = onnx.node "MatMul"(%rows, %w) opset 20 : (tensor<2x?x3xf32>, tensor<2x3x3xf32>) -> tensor<2x?x3xf32>
  %batch = onnx.node "Shape"(%in) {start = 0 : i64, end = 1 : i64} opset 20 : (tensor<?x?x3xf32>) -> tensor<1xi64>
  %divided = onnx.node "Concat"(%two, %batch, %minus, %three) {axis = 0 : i64} opset 20 : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %od = onnx.node "Reshape"(%o, %divided) opset 20 : (tensor<2x?x3xf32>, tensor<4xi64>) -> tensor<2x?x?x3xf32>
  %gt = onnx.node "Transpose"(%gates) opset 20 : (tensor<?x2xf32>) -> tensor<2x?xf32>
  %dividedGates = onnx.node "Concat"(%two, %batch, %minus) {axis = 0 : i64} opset 20 : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<3xi64>
  %gd = onnx.node "Reshape"(%gt, %dividedGates) opset 20 : (tensor<2x?xf32>, tensor<3xi64>) -> tensor<2x?x?xf32>
  %gu = onnx.node "Unsqueeze"(%gd, %minus) opset 20 : (tensor<2x?x?xf32>, tensor<1xi64>) -> tensor<2x?x?x1xf32>
  %shares = onnx.node "Mul"(%od, %gu) opset 20 : (tensor<2x?x?x3xf32>, tensor<2x?x?x1xf32>) -> tensor<2x?x?x3xf32>
  %y = onnx.node "ReduceSum"(%shares, %zero) {keepdims = 0 : i64} opset 20 : (tensor<2x?x?x3xf32>, tensor<1xi64>) -> tensor<?x?x3xf32>
  return %y : tensor<?x?x3xf32>
}

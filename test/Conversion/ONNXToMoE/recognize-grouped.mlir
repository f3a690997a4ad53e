// Rows sorted by expert, and what recognition says after one thing was changed.
//
// RUN: moe-opt %s --onnx-recognize-moe --verify-diagnostics | FileCheck %s
// CHECK: %[[W:.+]], %[[E:.+]] = moe.route %{{.+}} {k = 2 : i64, renormalize, score = #moe.score<none>}
// CHECK: %[[R:.+]], %[[S:.+]], %[[M:.+]] = moe.dispatch %{{.+}}, %[[E]]
// CHECK: %[[UP:.+]] = moe.get_weight @up__view
// CHECK: %[[H:.+]] = moe.grouped_matmul %[[R]], %[[S]] weights(%[[UP]]) biases
// CHECK: arith.maximumf
// CHECK: %[[DOWN:.+]] = moe.get_weight @down__view
// CHECK: %[[O:.+]] = moe.grouped_matmul %[[H]], %[[S]] weights(%[[DOWN]])
// CHECK: %[[Y:.+]] = moe.combine %[[O]], %[[W]], %[[M]]
// CHECK-NOT: onnx.node
// CHECK: return %[[Y]]
//
// RUN: sed 's/largest = 0/largest = 1/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=SORT,PLAIN
// SORT: stopped at node 'sort' (TopK): expects all expert ids to be sorted, smallest first
//
// RUN: sed 's/"Div"(%%order, %%two)/"Div"(%%order, %%three)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=TOKEN,PLAIN
// TOKEN: stopped at node 'token' (Div): expects the tokens that the order stands for: its quotient by k = 2
//
// RUN: sed 's/dense<0.66/dense<0.33/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=COUNT,PLAIN
// COUNT: stopped at node 'count' (ScatterElements): expects each expert to be counted as itself
//
// RUN: sed 's/exclusive = 0/exclusive = 1/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=ENDS,PLAIN
// ENDS: stopped at node 'ends' (CumSum): expects the sum of all rows up to each expert
//
// RUN: sed 's/"Range"(%%end0, %%end1/"Range"(%%end0, %%end2/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=RANGE,PLAIN
// RANGE: stopped at node 'range1' (Range): expects the rows of one expert: from the end of the expert before it to its own
//
// RUN: sed 's/"Concat"(%%p0, %%p1, %%p2)/"Concat"(%%p1, %%p0, %%p2)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=ORDER,PLAIN
// ORDER: stopped at node 'rows' (Concat): expects the rows of all experts in order, found something else as operand 0
//
// RUN: sed 's/"GatherND"(%%weighted, %%back)/"GatherND"(%%weighted, %%position)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=INVERSE,PLAIN
// INVERSE: stopped at node 'unsort' (GatherND): expects the indices of [sorted, feature]
//
// PLAIN-NOT: moe.route

moe.weight @up {file = "w", offset = 0 : i64, length = 180 : i64} : tensor<3x3x5xf32>
moe.weight @down {file = "w", offset = 180 : i64, length = 180 : i64} : tensor<3x5x3xf32>

func.func @block(%x: tensor<?x3xf32>, %probe: tensor<3x3xf32>, %bias: tensor<3x5xf32>) -> tensor<?x3xf32> {
  %k = onnx.constant dense<2> : tensor<1xi64>
  %minus = onnx.constant dense<-1> : tensor<1xi64>
  %one = onnx.constant dense<1> : tensor<1xi64>
  %first = onnx.constant dense<0> : tensor<1xi64>
  %zero = onnx.constant dense<0> : tensor<i64>
  %step = onnx.constant dense<1> : tensor<i64>
  %two = onnx.constant dense<2> : tensor<i64>
  %three = onnx.constant dense<3> : tensor<i64>
  %true = onnx.constant dense<true> : tensor<i1>
  %perChoice = onnx.constant dense<[-1, 2, 3]> : tensor<3xi64>
  %zeros = onnx.constant dense<0.0> : tensor<3xf32>
  %1 = onnx.constant dense<1.0> : tensor<f32>
  %ratio = onnx.constant dense<0.666666686> : tensor<f32>
  %up = moe.get_weight @up : tensor<3x3x5xf32>
  %down = moe.get_weight @down : tensor<3x5x3xf32>
  %scores = onnx.node "MatMul"(%x, %probe) opset 20 : (tensor<?x3xf32>, tensor<3x3xf32>) -> tensor<?x3xf32>
  %top:2 = onnx.node "TopK"(%scores, %k) {axis = -1 : i64} name "choose" opset 20 : (tensor<?x3xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %total = onnx.node "ReduceSum"(%top#0, %minus) opset 20 : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %w = onnx.node "Div"(%top#0, %total) opset 20 : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  %ids = onnx.node "Reshape"(%top#1, %minus) opset 20 : (tensor<?x2xi64>, tensor<1xi64>) -> tensor<?xi64>
  %count = onnx.node "Shape"(%ids) opset 20 : (tensor<?xi64>) -> tensor<1xi64>
  %sorted, %order = onnx.node "TopK"(%ids, %count) {axis = -1 : i64, largest = 0 : i64} name "sort" opset 20 : (tensor<?xi64>, tensor<1xi64>) -> (tensor<?xi64>, tensor<?xi64>)
  %less = onnx.node "Less"(%order, %zero) opset 20 : (tensor<?xi64>, tensor<i64>) -> tensor<?xi1>
  %neg = onnx.node "Equal"(%less, %true) opset 20 : (tensor<?xi1>, tensor<i1>) -> tensor<?xi1>
  %mod = onnx.node "Mod"(%order, %two) opset 20 : (tensor<?xi64>, tensor<i64>) -> tensor<?xi64>
  %odd = onnx.node "Cast"(%mod) {to = 9 : i64} opset 20 : (tensor<?xi64>) -> tensor<?xi1>
  %both = onnx.node "And"(%neg, %odd) opset 20 : (tensor<?xi1>, tensor<?xi1>) -> tensor<?xi1>
  %fix = onnx.node "Cast"(%both) {to = 7 : i64} opset 20 : (tensor<?xi1>) -> tensor<?xi64>
  %div = onnx.node "Div"(%order, %two) name "token" opset 20 : (tensor<?xi64>, tensor<i64>) -> tensor<?xi64>
  %token = onnx.node "Sub"(%div, %fix) opset 20 : (tensor<?xi64>, tensor<?xi64>) -> tensor<?xi64>
  %at = onnx.node "Unsqueeze"(%token, %minus) opset 20 : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %r = onnx.node "GatherND"(%x, %at) opset 20 : (tensor<?x3xf32>, tensor<?x1xi64>) -> tensor<?x3xf32>
  %flatWeights = onnx.node "Reshape"(%w, %minus) opset 20 : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?xf32>
  %position = onnx.node "Unsqueeze"(%order, %minus) opset 20 : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %sortedWeights = onnx.node "GatherND"(%flatWeights, %position) opset 20 : (tensor<?xf32>, tensor<?x1xi64>) -> tensor<?xf32>
  %float = onnx.node "Cast"(%sorted) {to = 1 : i64} opset 20 : (tensor<?xi64>) -> tensor<?xf32>
  %bucketf = onnx.node "Div"(%float, %ratio) opset 20 : (tensor<?xf32>, tensor<f32>) -> tensor<?xf32>
  %bucketi = onnx.node "Cast"(%bucketf) {to = 7 : i64} opset 20 : (tensor<?xf32>) -> tensor<?xi64>
  %bucket = onnx.node "Clip"(%bucketi, %zero, %two) opset 20 : (tensor<?xi64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %bshape = onnx.node "Shape"(%bucket) opset 20 : (tensor<?xi64>) -> tensor<1xi64>
  %ones = onnx.node "Expand"(%1, %bshape) opset 20 : (tensor<f32>, tensor<1xi64>) -> tensor<?xf32>
  %counts = onnx.node "ScatterElements"(%zeros, %bucket, %ones) {reduction = "add"} name "count" opset 20 : (tensor<3xf32>, tensor<?xi64>, tensor<?xf32>) -> tensor<3xf32>
  %counts32 = onnx.node "Cast"(%counts) {to = 6 : i64} opset 20 : (tensor<3xf32>) -> tensor<3xi32>
  %ends32 = onnx.node "CumSum"(%counts32, %zero) {exclusive = 0 : i64} name "ends" opset 20 : (tensor<3xi32>, tensor<i64>) -> tensor<3xi32>
  %ends = onnx.node "Cast"(%ends32) {to = 7 : i64} opset 20 : (tensor<3xi32>) -> tensor<3xi64>
  %e:3 = onnx.node "Split"(%ends) {num_outputs = 3 : i64} opset 20 : (tensor<3xi64>) -> (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>)
  %end0 = onnx.node "Squeeze"(%e#0, %first) opset 20 : (tensor<1xi64>, tensor<1xi64>) -> tensor<i64>
  %end1 = onnx.node "Squeeze"(%e#1, %first) opset 20 : (tensor<1xi64>, tensor<1xi64>) -> tensor<i64>
  %end2 = onnx.node "Squeeze"(%e#2, %first) opset 20 : (tensor<1xi64>, tensor<1xi64>) -> tensor<i64>
  %range0 = onnx.node "Range"(%zero, %end0, %step) name "range0" opset 20 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %range1 = onnx.node "Range"(%end0, %end1, %step) name "range1" opset 20 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %range2 = onnx.node "Range"(%end1, %end2, %step) name "range2" opset 20 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %u:3 = onnx.node "Split"(%up) {num_outputs = 3 : i64} opset 20 : (tensor<3x3x5xf32>) -> (tensor<1x3x5xf32>, tensor<1x3x5xf32>, tensor<1x3x5xf32>)
  %x0 = onnx.node "Gather"(%r, %range0) opset 20 : (tensor<?x3xf32>, tensor<?xi64>) -> tensor<?x3xf32>
  %u0 = onnx.node "Squeeze"(%u#0, %first) opset 20 : (tensor<1x3x5xf32>, tensor<1xi64>) -> tensor<3x5xf32>
  %p0 = onnx.node "MatMul"(%x0, %u0) opset 20 : (tensor<?x3xf32>, tensor<3x5xf32>) -> tensor<?x5xf32>
  %x1 = onnx.node "Gather"(%r, %range1) opset 20 : (tensor<?x3xf32>, tensor<?xi64>) -> tensor<?x3xf32>
  %u1 = onnx.node "Squeeze"(%u#1, %first) opset 20 : (tensor<1x3x5xf32>, tensor<1xi64>) -> tensor<3x5xf32>
  %p1 = onnx.node "MatMul"(%x1, %u1) opset 20 : (tensor<?x3xf32>, tensor<3x5xf32>) -> tensor<?x5xf32>
  %x2 = onnx.node "Gather"(%r, %range2) opset 20 : (tensor<?x3xf32>, tensor<?xi64>) -> tensor<?x3xf32>
  %u2 = onnx.node "Squeeze"(%u#2, %first) opset 20 : (tensor<1x3x5xf32>, tensor<1xi64>) -> tensor<3x5xf32>
  %p2 = onnx.node "MatMul"(%x2, %u2) opset 20 : (tensor<?x3xf32>, tensor<3x5xf32>) -> tensor<?x5xf32>
  %h = onnx.node "Concat"(%p0, %p1, %p2) {axis = 0 : i64} name "rows" opset 20 : (tensor<?x5xf32>, tensor<?x5xf32>, tensor<?x5xf32>) -> tensor<?x5xf32>
  %which = onnx.node "Unsqueeze"(%sorted, %minus) opset 20 : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %b = onnx.node "GatherND"(%bias, %which) opset 20 : (tensor<3x5xf32>, tensor<?x1xi64>) -> tensor<?x5xf32>
  %hb = onnx.node "Add"(%h, %b) opset 20 : (tensor<?x5xf32>, tensor<?x5xf32>) -> tensor<?x5xf32>
  %relu = onnx.node "Relu"(%hb) opset 20 : (tensor<?x5xf32>) -> tensor<?x5xf32>
  %d:3 = onnx.node "Split"(%down) {num_outputs = 3 : i64} opset 20 : (tensor<3x5x3xf32>) -> (tensor<1x5x3xf32>, tensor<1x5x3xf32>, tensor<1x5x3xf32>)
  %h0 = onnx.node "Gather"(%relu, %range0) opset 20 : (tensor<?x5xf32>, tensor<?xi64>) -> tensor<?x5xf32>
  %d0 = onnx.node "Squeeze"(%d#0, %first) opset 20 : (tensor<1x5x3xf32>, tensor<1xi64>) -> tensor<5x3xf32>
  %q0 = onnx.node "MatMul"(%h0, %d0) opset 20 : (tensor<?x5xf32>, tensor<5x3xf32>) -> tensor<?x3xf32>
  %h1 = onnx.node "Gather"(%relu, %range1) opset 20 : (tensor<?x5xf32>, tensor<?xi64>) -> tensor<?x5xf32>
  %d1 = onnx.node "Squeeze"(%d#1, %first) opset 20 : (tensor<1x5x3xf32>, tensor<1xi64>) -> tensor<5x3xf32>
  %q1 = onnx.node "MatMul"(%h1, %d1) opset 20 : (tensor<?x5xf32>, tensor<5x3xf32>) -> tensor<?x3xf32>
  %h2 = onnx.node "Gather"(%relu, %range2) opset 20 : (tensor<?x5xf32>, tensor<?xi64>) -> tensor<?x5xf32>
  %d2 = onnx.node "Squeeze"(%d#2, %first) opset 20 : (tensor<1x5x3xf32>, tensor<1xi64>) -> tensor<5x3xf32>
  %q2 = onnx.node "MatMul"(%h2, %d2) opset 20 : (tensor<?x5xf32>, tensor<5x3xf32>) -> tensor<?x3xf32>
  %out = onnx.node "Concat"(%q0, %q1, %q2) {axis = 0 : i64} opset 20 : (tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %column = onnx.node "Unsqueeze"(%sortedWeights, %minus) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %weighted = onnx.node "Mul"(%out, %column) opset 20 : (tensor<?x3xf32>, tensor<?x1xf32>) -> tensor<?x3xf32>
  %all = onnx.node "Squeeze"(%count) opset 20 : (tensor<1xi64>) -> tensor<i64>
  %every = onnx.node "Range"(%zero, %all, %step) opset 20 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %oshape = onnx.node "Shape"(%order) opset 20 : (tensor<?xi64>) -> tensor<1xi64>
  %base = onnx.node "Expand"(%zero, %oshape) opset 20 : (tensor<i64>, tensor<1xi64>) -> tensor<?xi64>
  %inverse = onnx.node "ScatterND"(%base, %position, %every) opset 20 : (tensor<?xi64>, tensor<?x1xi64>, tensor<?xi64>) -> tensor<?xi64>
  %back = onnx.node "Unsqueeze"(%inverse, %minus) opset 20 : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %unsorted = onnx.node "GatherND"(%weighted, %back) name "unsort" opset 20 : (tensor<?x3xf32>, tensor<?x1xi64>) -> tensor<?x3xf32>
  %choices = onnx.node "Reshape"(%unsorted, %perChoice) opset 20 : (tensor<?x3xf32>, tensor<3xi64>) -> tensor<?x2x3xf32>
  %y = onnx.node "ReduceSum"(%choices, %one) {keepdims = 0 : i64} opset 20 : (tensor<?x2x3xf32>, tensor<1xi64>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

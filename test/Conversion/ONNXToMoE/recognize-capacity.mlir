// Switch: one expert per token, with a number of places in each sequence; and
// what recognition says of it after one thing was changed.
//
// RUN: moe-opt %s --onnx-recognize-moe --canonicalize --verify-diagnostics | FileCheck %s
// CHECK-LABEL: func.func @block
// CHECK-DAG:   %[[PLACES:.+]] = arith.constant 4 : index
// CHECK-DAG:   %[[LOGITS:.+]] = onnx.node "MatMul"
// CHECK-NOT:   "{{ArgMax|CumSum|Softmax|Equal|Gather}}"
// CHECK:       %[[ROWS:.+]] = tensor.collapse_shape %[[LOGITS]] {{\[}}[0, 1], [2]]
// CHECK:       %{{.+}}, %[[E:.+]] = moe.route %[[ROWS]] {k = 1 : i64} : tensor<?x2xf32>
// CHECK:       %[[SEQUENCE:.+]] = tensor.dim %[[LOGITS]], %c1
// CHECK:       moe.dispatch %{{.+}}, %[[E]] capacity(%[[PLACES]]) segment(%[[SEQUENCE]])
// CHECK:       moe.combine
//
// Counted from 0, and places that are only known when the program runs.
// RUN: sed 's/"LessOrEqual"(%%number, %%four)/"Less"(%%number0, %%places)/' %s | moe-opt --onnx-recognize-moe --canonicalize --verify-diagnostics | FileCheck %s --check-prefix=GIVEN
// GIVEN: %[[PLACES:.+]] = tensor.extract %{{.+}}[] : tensor<i64>
// GIVEN: %[[C:.+]] = arith.index_cast %[[PLACES]] : i64 to index
// GIVEN: moe.dispatch {{.*}} capacity(%[[C]]) segment(
//
// RUN: sed 's/"LessOrEqual"(%%number/"Less"(%%number/' %s | moe-opt --onnx-recognize-moe --canonicalize --verify-diagnostics | FileCheck %s --check-prefix=LESS
// RUN: sed 's/{exclusive = 0 /{exclusive = 1 /' %s | moe-opt --onnx-recognize-moe --canonicalize --verify-diagnostics | FileCheck %s --check-prefix=MORE
// LESS: %[[C:.+]] = arith.constant 3 : index
// LESS: capacity(%[[C]])
// MORE: %[[C:.+]] = arith.constant 5 : index
// MORE: capacity(%[[C]])
//
// Without a use of the mask that is limited, there is no capacity.
// RUN: sed 's/"Reshape"(%%limited/"Reshape"(%%mask/' %s | moe-opt --onnx-recognize-moe --verify-diagnostics | FileCheck %s --check-prefix=UNUSED
// UNUSED: moe.dispatch %{{[^ ]+}}, %{{[^ ]+}} : tensor
//
// A mask for something else, and experts that all tokens reach.
// RUN: sed 's/"Reshape"(%%limited/"Reshape"(%%mask/; s/return %%y : tensor<?x3xf32>/return %%y, %%limited : tensor<?x3xf32>, tensor<?x?x2xi64>/; s/-> tensor<?x3xf32> {/-> (tensor<?x3xf32>, tensor<?x?x2xi64>) {/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=OTHER,PLAIN
// OTHER: remark: experts chosen by node 'best' (ArgMax) are not recognised and stay plain operators: stopped at node (Mul): expects a mask times routing weights, or rows times either
//
// The last tokens first, numbers along the experts, too few bits to count with,
// ids that are not in order.
// RUN: sed 's/reverse = 0/reverse = 1/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=NUMBER,PLAIN
// RUN: sed 's/"CumSum"(%%mask, %%axis)/"CumSum"(%%mask, %%last)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=NUMBER,PLAIN
// NUMBER: stopped at node 'number' (CumSum): expects an operator that makes masks, gates or rows of single experts
// RUN: sed 's/dense<\[0, 1\]>/dense<[1, 0]>/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=ORDER,PLAIN
// ORDER: stopped at node (Equal): expects
//
// RUN: sed 's/select_last_index = 0/select_last_index = 1/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=LAST,PLAIN
// LAST: stopped at node 'best' (ArgMax): expects the first of the greatest scores of each token, [.., 1]
//
// RUN: sed 's/"ReduceMax"(%%scores/"ReduceMax"(%%logits/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=WEIGHTS,PLAIN
// WEIGHTS: stopped at node (Mul): expects a mask times routing weights, or rows times either
//
// PLAIN-NOT: moe.

func.func @block(%x: tensor<?x?x3xf32>, %places: tensor<i64>, %router: tensor<3x2xf32>, %w0: tensor<3x3xf32>, %w1: tensor<3x3xf32>) -> tensor<?x3xf32> {
  %minus = onnx.constant dense<-1> : tensor<1xi64>
  %axis = onnx.constant dense<-2> : tensor<i64>
  %last = onnx.constant dense<-1> : tensor<i64>
  %zero = onnx.constant dense<0> : tensor<i64>
  %one = onnx.constant dense<1> : tensor<i64>
  %four = onnx.constant dense<4> : tensor<i64>
  %all = onnx.constant dense<[0, 1]> : tensor<2xi64>
  %flat = onnx.constant dense<[-1, 3]> : tensor<2xi64>
  %perExpert = onnx.constant dense<[-1, 2]> : tensor<2xi64>
  %perToken = onnx.constant dense<[-1, 1]> : tensor<2xi64>
  %logits = onnx.node "MatMul"(%x, %router) opset 20 : (tensor<?x?x3xf32>, tensor<3x2xf32>) -> tensor<?x?x2xf32>
  %scores = onnx.node "Softmax"(%logits) {axis = -1 : i64} opset 20 : (tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  %best = onnx.node "ArgMax"(%scores) {axis = -1 : i64, keepdims = 0 : i64, select_last_index = 0 : i64} name "best" opset 20 : (tensor<?x?x2xf32>) -> tensor<?x?xi64>
  %ids = onnx.node "Unsqueeze"(%best, %minus) opset 20 : (tensor<?x?xi64>, tensor<1xi64>) -> tensor<?x?x1xi64>
  %is = onnx.node "Equal"(%ids, %all) opset 20 : (tensor<?x?x1xi64>, tensor<2xi64>) -> tensor<?x?x2xi1>
  %mask = onnx.node "Cast"(%is) {to = 7 : i64} opset 20 : (tensor<?x?x2xi1>) -> tensor<?x?x2xi64>
  %number = onnx.node "CumSum"(%mask, %axis) {exclusive = 0 : i64, reverse = 0 : i64} name "number" opset 20 : (tensor<?x?x2xi64>, tensor<i64>) -> tensor<?x?x2xi64>
  %number0 = onnx.node "Sub"(%number, %one) opset 20 : (tensor<?x?x2xi64>, tensor<i64>) -> tensor<?x?x2xi64>
  %fits = onnx.node "LessOrEqual"(%number, %four) opset 20 : (tensor<?x?x2xi64>, tensor<i64>) -> tensor<?x?x2xi1>
  %fits64 = onnx.node "Cast"(%fits) {to = 7 : i64} opset 20 : (tensor<?x?x2xi1>) -> tensor<?x?x2xi64>
  %limited = onnx.node "Mul"(%mask, %fits64) name "limited" opset 20 : (tensor<?x?x2xi64>, tensor<?x?x2xi64>) -> tensor<?x?x2xi64>
  %max = onnx.node "ReduceMax"(%scores, %minus) {keepdims = 1 : i64} opset 20 : (tensor<?x?x2xf32>, tensor<1xi64>) -> tensor<?x?x1xf32>
  %rows = onnx.node "Reshape"(%x, %flat) opset 20 : (tensor<?x?x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  %hot = onnx.node "Reshape"(%limited, %perExpert) opset 20 : (tensor<?x?x2xi64>, tensor<2xi64>) -> tensor<?x2xi64>
  %hotF = onnx.node "Cast"(%hot) {to = 1 : i64} opset 20 : (tensor<?x2xi64>) -> tensor<?x2xf32>
  %w = onnx.node "Reshape"(%max, %perToken) opset 20 : (tensor<?x?x1xf32>, tensor<2xi64>) -> tensor<?x1xf32>
  %gates = onnx.node "Mul"(%hotF, %w) opset 20 : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  %gate:2 = onnx.node "Split"(%gates) {axis = 1 : i64, num_outputs = 2 : i64} opset 20 : (tensor<?x2xf32>) -> (tensor<?x1xf32>, tensor<?x1xf32>)
  %y0 = onnx.node "MatMul"(%rows, %w0) opset 20 : (tensor<?x3xf32>, tensor<3x3xf32>) -> tensor<?x3xf32>
  %y1 = onnx.node "MatMul"(%rows, %w1) opset 20 : (tensor<?x3xf32>, tensor<3x3xf32>) -> tensor<?x3xf32>
  %share0 = onnx.node "Mul"(%y0, %gate#0) opset 20 : (tensor<?x3xf32>, tensor<?x1xf32>) -> tensor<?x3xf32>
  %share1 = onnx.node "Mul"(%y1, %gate#1) opset 20 : (tensor<?x3xf32>, tensor<?x1xf32>) -> tensor<?x3xf32>
  %y = onnx.node "Add"(%share0, %share1) opset 20 : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

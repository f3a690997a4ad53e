// One block, and what recognition says of it after one thing was changed.
//
// RUN: moe-opt %s --onnx-recognize-moe --verify-diagnostics | FileCheck %s
// CHECK: moe.route %{{.+}} {k = 2 : i64, renormalize}
// CHECK: moe.combine
//
// RUN: sed 's/ 1 : i64 } name "choose"/ 0 : i64 } name "choose"/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=LARGEST,PLAIN
// LARGEST: remark: experts chosen by node 'choose' (TopK) are not recognised and stay plain operators: stopped at node 'choose' (TopK): expects the largest scores, found largest = 0
//
// RUN: sed 's/%%k) {axis = -1/%%k) {axis = 0/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=AXIS,PLAIN
// AXIS: stopped at node 'choose' (TopK): expects a selection along the experts, found axis 0
//
// RUN: sed 's/"TopK"(%%probs, %%k)/"TopK"(%%probs, %%anyK)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=K,PLAIN
// K: stopped at node 'choose' (TopK): expects a constant k of at least 1
//
// RUN: sed 's/%%k = onnx.constant dense<2>/%%k = onnx.constant dense<9>/' %s | not moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefix=TOOBIG
// TOOBIG: error: node 'choose' (TopK): expects k to be at most the number of experts, found 9 > 4
//
// RUN: sed 's/"TopK"(%%probs, %%k)/"TopK"(%%probs, %%one)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=REPEAT,PLAIN
// REPEAT: stopped at node 'repeat' (Expand): expects to repeat rows once per choice (k = 1), found other sizes
//
// RUN: sed 's/dense<\[1, 2, 1\]>/dense<[2, 1, 1]>/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=TOKENS,PLAIN
// TOKENS: stopped at node 'repeat' (Expand): expects to repeat rows once per choice (k = 2), found other sizes
//
// RUN: sed 's/"Unsqueeze"(%%x, %%one)/"Unsqueeze"(%%z, %%one)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=OTHER,PLAIN
// OTHER: stopped at node 'up' (MatMul): expects as many tokens as the router has, which cannot be shown here
//
// RUN: sed 's/"Reshape"(%%x4, %%flat)/"Reshape"(%%x4, %%swap)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=ROWS,PLAIN
// ROWS: stopped at node 'rows' (Reshape): expects a shape that keeps tokens, choices and features apart, found a reshape of [token, choice, feature]
//
// RUN: sed 's/batch_dims = 0/batch_dims = 1/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=BATCH,PLAIN
// BATCH: stopped at node 'gather' (GatherND): expects one expert id per row, found indices [token x choice, 1]
//
// RUN: sed 's/"GatherND"(%%w1, %%at)/"GatherND"(%%w1, %%shifted)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=IDS,PLAIN
// IDS: stopped at node 'shift' (Add): expects rows of experts of one shape
//
// RUN: sed 's/%%w1: tensor<4x5x3xf32>/%%w1: tensor<6x5x3xf32>/; s/(tensor<4x5x3xf32>, tensor<?x1xi64>)/(tensor<6x5x3xf32>, tensor<?x1xi64>)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=EXPERTS,PLAIN
// EXPERTS: stopped at node 'gather' (GatherND): expects the weights of 4 experts, found 6
//
// RUN: sed 's/"MatMul"(%%g1, %%col)/"MatMul"(%%col, %%g1)/; s/(tensor<?x5x3xf32>, tensor<?x3x1xf32>)/(tensor<?x3x1xf32>, tensor<?x5x3xf32>)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=SIDE,PLAIN
// SIDE: stopped at node 'up' (MatMul): expects one matrix and one row per choice, found [token x choice, row, column] and [token x choice, feature, 1]
//
// RUN: sed 's/onnx.node "Relu"/onnx.node "CumSum"/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=OP,PLAIN
// OP: stopped at node 'activate' (CumSum): expects an operator that gathers, multiplies or activates the rows of experts
//
// RUN: sed 's/"Relu"(%%h)/"Add"(%%h, %%z5)/; s/: (tensor<?x5xf32>) -> tensor<?x5xf32>/: (tensor<?x5xf32>, tensor<?x5xf32>) -> tensor<?x5xf32>/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=TENSOR,PLAIN
// TENSOR: stopped at node 'activate' (Add): expects operands that are rows of experts or one constant, found another tensor as operand 1
//
// RUN: sed 's/"Mul"(%%out, %%wc)/"Add"(%%out, %%wc)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=MUL,PLAIN
// MUL: stopped at node 'weigh' (Add): expects rows times one routing weight each
//
// RUN: sed 's/dense<\[-1, 2, 3\]>/dense<[2, -1, 3]>/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=CHOICES,PLAIN
// CHOICES: stopped at node 'choices' (Reshape): expects a shape that keeps tokens, choices and features apart, found a reshape of [token x choice, feature]
//
// RUN: sed 's/"ReduceSum"(%%choices, %%one)/"ReduceSum"(%%choices, %%k)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=SUM,PLAIN
// SUM: stopped at node 'combine' (ReduceSum): expects a sum over the choices of a token, found a sum over other axes of [token, choice, feature]
//
// RUN: sed 's/"ReduceSum"(%%choices/"ReduceMax"(%%choices/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=REDUCE,PLAIN
// REDUCE: stopped at node 'combine' (ReduceMax): expects an operator that gathers, multiplies or activates the rows of experts
//
// RUN: sed 's/"ReduceSum"(%%top#0, %%minus)/"ReduceSum"(%%top#0, %%zero)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=WEIGHTS,PLAIN
// WEIGHTS: stopped at node 'normalize' (Div): expects routing weights that are the chosen scores, as they are or divided by their sum
//
// Scores that are no softmax over the experts are routed by as they are: the
// odd softmax stays a plain operator in front.
// RUN: sed 's/"Softmax"(%%logits) {axis = -1/"Softmax"(%%logits) {axis = 0/' %s | moe-opt --onnx-recognize-moe | FileCheck %s --check-prefix=SCORES
// SCORES: %[[P:.+]] = onnx.node "Softmax"
// SCORES: moe.route %[[P]] {k = 2 : i64, renormalize, score = #moe.score<none>}
//
// What something else reads stays for it.
// RUN: sed 's/return %%y : tensor<?x3xf32>/return %%y, %%out : tensor<?x3xf32>, tensor<?x3xf32>/; s/-> tensor<?x3xf32> {/-> (tensor<?x3xf32>, tensor<?x3xf32>) {/' %s | moe-opt --onnx-recognize-moe | FileCheck %s --check-prefix=USED
// USED: %[[OUT:.+]] = onnx.node "Squeeze"{{.*}} name "out"
// USED: %[[Y:.+]] = moe.combine
// USED: return %[[Y]], %[[OUT]]
//
// PLAIN-NOT: moe.

func.func @block(%x: tensor<?x3xf32>, %z: tensor<?x3xf32>, %z5: tensor<?x5xf32>, %anyK: tensor<1xi64>,
                 %router: tensor<3x4xf32>, %w1: tensor<4x5x3xf32>, %w2: tensor<4x3x5xf32>) -> tensor<?x3xf32> {
  %zero = onnx.constant dense<0> : tensor<1xi64>
  %one = onnx.constant dense<1> : tensor<1xi64>
  %minus = onnx.constant dense<-1> : tensor<1xi64>
  %k = onnx.constant dense<2> : tensor<1xi64>
  %repeat = onnx.constant dense<[1, 2, 1]> : tensor<3xi64>
  %flat = onnx.constant dense<[-1, 3]> : tensor<2xi64>
  %swap = onnx.constant dense<[3, -1]> : tensor<2xi64>
  %perChoice = onnx.constant dense<[-1, 2, 3]> : tensor<3xi64>
  %logits = onnx.node "MatMul"(%x, %router) opset 20 : (tensor<?x3xf32>, tensor<3x4xf32>) -> tensor<?x4xf32>
  %probs = onnx.node "Softmax"(%logits) {axis = -1 : i64} opset 20 : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %top:2 = onnx.node "TopK"(%probs, %k) {axis = -1 : i64, largest = 1 : i64 } name "choose" opset 20 : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %sum = onnx.node "ReduceSum"(%top#0, %minus) opset 20 : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %w = onnx.node "Div"(%top#0, %sum) name "normalize" opset 20 : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  %x3 = onnx.node "Unsqueeze"(%x, %one) opset 20 : (tensor<?x3xf32>, tensor<1xi64>) -> tensor<?x1x3xf32>
  %x4 = onnx.node "Expand"(%x3, %repeat) name "repeat" opset 20 : (tensor<?x1x3xf32>, tensor<3xi64>) -> tensor<?x2x3xf32>
  %rows = onnx.node "Reshape"(%x4, %flat) name "rows" opset 20 : (tensor<?x2x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  %ids = onnx.node "Reshape"(%top#1, %minus) opset 20 : (tensor<?x2xi64>, tensor<1xi64>) -> tensor<?xi64>
  %at = onnx.node "Unsqueeze"(%ids, %minus) opset 20 : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %shifted = onnx.node "Add"(%at, %at) name "shift" opset 20 : (tensor<?x1xi64>, tensor<?x1xi64>) -> tensor<?x1xi64>
  %g1 = onnx.node "GatherND"(%w1, %at) {batch_dims = 0 : i64} name "gather" opset 20 : (tensor<4x5x3xf32>, tensor<?x1xi64>) -> tensor<?x5x3xf32>
  %col = onnx.node "Unsqueeze"(%rows, %minus) opset 20 : (tensor<?x3xf32>, tensor<1xi64>) -> tensor<?x3x1xf32>
  %mm1 = onnx.node "MatMul"(%g1, %col) name "up" opset 20 : (tensor<?x5x3xf32>, tensor<?x3x1xf32>) -> tensor<?x5x1xf32>
  %h = onnx.node "Squeeze"(%mm1, %minus) opset 20 : (tensor<?x5x1xf32>, tensor<1xi64>) -> tensor<?x5xf32>
  %hidden = onnx.node "Relu"(%h) name "activate" opset 20 : (tensor<?x5xf32>) -> tensor<?x5xf32>
  %g2 = onnx.node "GatherND"(%w2, %at) opset 20 : (tensor<4x3x5xf32>, tensor<?x1xi64>) -> tensor<?x3x5xf32>
  %col2 = onnx.node "Unsqueeze"(%hidden, %minus) opset 20 : (tensor<?x5xf32>, tensor<1xi64>) -> tensor<?x5x1xf32>
  %mm2 = onnx.node "MatMul"(%g2, %col2) opset 20 : (tensor<?x3x5xf32>, tensor<?x5x1xf32>) -> tensor<?x3x1xf32>
  %out = onnx.node "Squeeze"(%mm2, %minus) name "out" opset 20 : (tensor<?x3x1xf32>, tensor<1xi64>) -> tensor<?x3xf32>
  %wf = onnx.node "Reshape"(%w, %minus) opset 20 : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?xf32>
  %wc = onnx.node "Unsqueeze"(%wf, %minus) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %weighted = onnx.node "Mul"(%out, %wc) name "weigh" opset 20 : (tensor<?x3xf32>, tensor<?x1xf32>) -> tensor<?x3xf32>
  %choices = onnx.node "Reshape"(%weighted, %perChoice) name "choices" opset 20 : (tensor<?x3xf32>, tensor<3xi64>) -> tensor<?x2x3xf32>
  %y = onnx.node "ReduceSum"(%choices, %one) {keepdims = 0 : i64} name "combine" opset 20 : (tensor<?x2x3xf32>, tensor<1xi64>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

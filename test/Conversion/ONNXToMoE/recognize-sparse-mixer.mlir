// SparseMixer of PhiMoE: two rounds of ArgMax, and what recognition says of it
// after one thing was changed.
//
// RUN: moe-opt %s --onnx-recognize-moe --canonicalize --verify-diagnostics | FileCheck %s
// CHECK:     %[[LOGITS:.+]] = onnx.node "MatMul"
// CHECK-NOT: "{{ArgMax|ReduceMax|Abs|Where|Softmax|GatherElements|Concat}}"
// CHECK:     moe.route %[[LOGITS]] {k = 2 : i64, mixer_threshold = 2.000000e-02 : f32, score = #moe.score<sparse_mixer>}
// CHECK:     moe.combine
//
// RUN: sed '/"Max"(%%abs, %%top)/s/(%%abs, %%top) opset 20 : (tensor<?x6xf32>, tensor<?x1xf32>)/(%%top, %%abs) opset 20 : (tensor<?x1xf32>, tensor<?x6xf32>)/; s/"Greater"(%%rel, %%t) opset 20 : (tensor<?x6xf32>, tensor<f32>)/"Less"(%%t, %%rel) opset 20 : (tensor<f32>, tensor<?x6xf32>)/' %s | moe-opt --onnx-recognize-moe --verify-diagnostics | FileCheck %s --check-prefix=SWAP
// SWAP: moe.route {{.*}}sparse_mixer
//
// RUN: sed 's/"Greater"(%%rel2, %%t)/"Greater"(%%rel2, %%t2)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=TWO,PLAIN
// TWO: remark: experts chosen by node 'ids' (Concat) are not recognised and stay plain operators: stopped at node 'gather2' (GatherElements): expects one threshold for all rounds
//
// RUN: sed 's/"Abs"(%%logits)/"Abs"(%%others)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=ABS,PLAIN
// ABS: stopped at node 'rel' (Div): expects distances relative to the absolute logits, or the greatest one of the round if that is greater
//
// RUN: sed 's/"Sub"(%%top, %%logits) opset 20 : (tensor<?x1xf32>, tensor<?x6xf32>)/"Sub"(%%logits, %%top) opset 20 : (tensor<?x6xf32>, tensor<?x1xf32>)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=SUB,PLAIN
// SUB: stopped at node 'rel' (Div): expects the distances of the logits from the greatest one of the round
//
// RUN: sed 's/"Softmax"(%%near) {axis = -1/"Softmax"(%%near) {axis = 0/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=AXIS,PLAIN
// AXIS: stopped at node 'share' (Softmax): expects shares by a Softmax over the experts
//
// RUN: sed 's/"Where"(%%far2, %%inf, %%rest)/"Where"(%%far2, %%inf, %%logits)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=REST,PLAIN
// REST: stopped at node 'share2' (Softmax): expects -inf for the experts that are far, and what the round chose from for the others
//
// RUN: sed 's/"Where"(%%far, %%inf/"Where"(%%far, %%t/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=FAR,PLAIN
// FAR: stopped at node 'share' (Softmax): expects -inf for the experts that are far, and what the round chose from for the others
//
// RUN: sed 's/"Greater"(%%rel, /"LessOrEqual"(%%rel, /' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=LESS,PLAIN
// LESS: stopped at node (LessOrEqual): expects distances above a threshold
//
// RUN: sed 's/keepdims = 1 : i64} name "second"/keepdims = 1 : i64, select_last_index = 1 : i64} name "second"/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=LAST,PLAIN
// LAST: stopped at node 'second' (ArgMax): expects the first of the greatest scores of each token, [.., 1]
//
// The first choice stays in the running.
// RUN: sed 's/"ArgMax"(%%rest)/"ArgMax"(%%logits)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=AGAIN,PLAIN
// AGAIN: stopped at node 'second' (ArgMax): expects the scores of the round before, with -inf for what it chose
//
// RUN: sed 's/"Reshape"(%%w, /"Reshape"(%%squared, /' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=WEIGHTS,PLAIN
// WEIGHTS: stopped at node 'square' (Mul): expects routing weights that are gathered round by round
//
// PLAIN-NOT: moe.

func.func @block(%x: tensor<?x3xf32>, %others: tensor<?x6xf32>, %router: tensor<3x6xf32>, %w1: tensor<6x5x3xf32>, %w2: tensor<6x3x5xf32>) -> tensor<?x3xf32> {
  %one = onnx.constant dense<1> : tensor<1xi64>
  %minus = onnx.constant dense<-1> : tensor<1xi64>
  %repeat = onnx.constant dense<[1, 2, 1]> : tensor<3xi64>
  %perChoice = onnx.constant dense<[-1, 2, 3]> : tensor<3xi64>
  %flat = onnx.constant dense<[-1, 3]> : tensor<2xi64>
  %inf = onnx.constant dense<0xFF800000> : tensor<f32>
  %t = onnx.constant dense<0.02> : tensor<f32>
  %t2 = onnx.constant dense<0.03> : tensor<f32>
  %logits = onnx.node "MatMul"(%x, %router) opset 20 : (tensor<?x3xf32>, tensor<3x6xf32>) -> tensor<?x6xf32>
  %abs = onnx.node "Abs"(%logits) opset 20 : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %top = onnx.node "ReduceMax"(%logits, %minus) {keepdims = 1 : i64} opset 20 : (tensor<?x6xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %first = onnx.node "ArgMax"(%logits) {axis = -1 : i64, keepdims = 1 : i64} name "first" opset 20 : (tensor<?x6xf32>) -> tensor<?x1xi64>
  %factor = onnx.node "Max"(%abs, %top) opset 20 : (tensor<?x6xf32>, tensor<?x1xf32>) -> tensor<?x6xf32>
  %distance = onnx.node "Sub"(%top, %logits) opset 20 : (tensor<?x1xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  %rel = onnx.node "Div"(%distance, %factor) name "rel" opset 20 : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  %far = onnx.node "Greater"(%rel, %t) opset 20 : (tensor<?x6xf32>, tensor<f32>) -> tensor<?x6xi1>
  %near = onnx.node "Where"(%far, %inf, %logits) opset 20 : (tensor<?x6xi1>, tensor<f32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  %share = onnx.node "Softmax"(%near) {axis = -1 : i64} name "share" opset 20 : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %wa = onnx.node "GatherElements"(%share, %first) {axis = -1 : i64} name "gather" opset 20 : (tensor<?x6xf32>, tensor<?x1xi64>) -> tensor<?x1xf32>
  %idsShape = onnx.node "Shape"(%first) opset 20 : (tensor<?x1xi64>) -> tensor<2xi64>
  %infs = onnx.node "Expand"(%inf, %idsShape) opset 20 : (tensor<f32>, tensor<2xi64>) -> tensor<?x1xf32>
  %rest = onnx.node "ScatterElements"(%logits, %first, %infs) {axis = -1 : i64} opset 20 : (tensor<?x6xf32>, tensor<?x1xi64>, tensor<?x1xf32>) -> tensor<?x6xf32>
  %top2 = onnx.node "ReduceMax"(%rest, %minus) {keepdims = 1 : i64} opset 20 : (tensor<?x6xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %second = onnx.node "ArgMax"(%rest) {axis = -1 : i64, keepdims = 1 : i64} name "second" opset 20 : (tensor<?x6xf32>) -> tensor<?x1xi64>
  %factor2 = onnx.node "Max"(%abs, %top2) opset 20 : (tensor<?x6xf32>, tensor<?x1xf32>) -> tensor<?x6xf32>
  %distance2 = onnx.node "Sub"(%top2, %logits) opset 20 : (tensor<?x1xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  %rel2 = onnx.node "Div"(%distance2, %factor2) name "rel2" opset 20 : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  %far2 = onnx.node "Greater"(%rel2, %t) opset 20 : (tensor<?x6xf32>, tensor<f32>) -> tensor<?x6xi1>
  %near2 = onnx.node "Where"(%far2, %inf, %rest) opset 20 : (tensor<?x6xi1>, tensor<f32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  %share2 = onnx.node "Softmax"(%near2) {axis = -1 : i64} name "share2" opset 20 : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %wb = onnx.node "GatherElements"(%share2, %second) {axis = -1 : i64} name "gather2" opset 20 : (tensor<?x6xf32>, tensor<?x1xi64>) -> tensor<?x1xf32>
  %w = onnx.node "Concat"(%wa, %wb) {axis = -1 : i64} opset 20 : (tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  %chosen = onnx.node "Concat"(%first, %second) {axis = -1 : i64} name "ids" opset 20 : (tensor<?x1xi64>, tensor<?x1xi64>) -> tensor<?x2xi64>
  %squared = onnx.node "Mul"(%w, %w) name "square" opset 20 : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %x3 = onnx.node "Unsqueeze"(%x, %one) opset 20 : (tensor<?x3xf32>, tensor<1xi64>) -> tensor<?x1x3xf32>
  %x4 = onnx.node "Expand"(%x3, %repeat) opset 20 : (tensor<?x1x3xf32>, tensor<3xi64>) -> tensor<?x2x3xf32>
  %rows = onnx.node "Reshape"(%x4, %flat) opset 20 : (tensor<?x2x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  %ids = onnx.node "Reshape"(%chosen, %minus) opset 20 : (tensor<?x2xi64>, tensor<1xi64>) -> tensor<?xi64>
  %at = onnx.node "Unsqueeze"(%ids, %minus) opset 20 : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %g1 = onnx.node "GatherND"(%w1, %at) opset 20 : (tensor<6x5x3xf32>, tensor<?x1xi64>) -> tensor<?x5x3xf32>
  %col = onnx.node "Unsqueeze"(%rows, %minus) opset 20 : (tensor<?x3xf32>, tensor<1xi64>) -> tensor<?x3x1xf32>
  %mm1 = onnx.node "MatMul"(%g1, %col) opset 20 : (tensor<?x5x3xf32>, tensor<?x3x1xf32>) -> tensor<?x5x1xf32>
  %hidden = onnx.node "Relu"(%mm1) opset 20 : (tensor<?x5x1xf32>) -> tensor<?x5x1xf32>
  %g2 = onnx.node "GatherND"(%w2, %at) opset 20 : (tensor<6x3x5xf32>, tensor<?x1xi64>) -> tensor<?x3x5xf32>
  %mm2 = onnx.node "MatMul"(%g2, %hidden) opset 20 : (tensor<?x3x5xf32>, tensor<?x5x1xf32>) -> tensor<?x3x1xf32>
  %out = onnx.node "Squeeze"(%mm2, %minus) opset 20 : (tensor<?x3x1xf32>, tensor<1xi64>) -> tensor<?x3xf32>
  %wf = onnx.node "Reshape"(%w, %minus) opset 20 : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?xf32>
  %wc = onnx.node "Unsqueeze"(%wf, %minus) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %weighted = onnx.node "Mul"(%out, %wc) opset 20 : (tensor<?x3xf32>, tensor<?x1xf32>) -> tensor<?x3xf32>
  %choices = onnx.node "Reshape"(%weighted, %perChoice) opset 20 : (tensor<?x3xf32>, tensor<3xi64>) -> tensor<?x2x3xf32>
  %y = onnx.node "ReduceSum"(%choices, %one) {keepdims = 0 : i64} opset 20 : (tensor<?x2x3xf32>, tensor<1xi64>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// Experts of the best groups, and what recognition says of it after one thing
// was changed.
//
// DeepSeek-V3: a bias for the selection, groups by their two best, -inf for the
// experts of the others, weights out of the scores.
// RUN: moe-opt %s --onnx-recognize-moe --canonicalize --verify-diagnostics | FileCheck %s
// CHECK-LABEL: func.func @block
// CHECK-SAME:    %[[BIAS:[^:]+]]: tensor<6xf32>
// CHECK-NOT:   "{{Sigmoid|TopK|ScatterElements|Where|GatherElements|Div}}"
// CHECK:       moe.route %{{.+}} bias(%[[BIAS]] : tensor<6xf32>) {group_fill = 0xFF800000 : f32, group_top = 2 : i64, k = 2 : i64, n_group = 3 : i64, renormalize, scale = 2.500000e+00 : f32, score = #moe.score<sigmoid>, topk_group = 2 : i64}
// CHECK:       moe.combine
//
// Zero as the value of the others, an epsilon in the sum, a bias of shape [1, E].
// RUN: sed 's/dense<0xFF800000>/dense<0.0>/; s/"Div"(%%chosen, %%sum)/"Div"(%%chosen, %%sumEps)/; s/%%bias: tensor<6xf32>/%%bias: tensor<1x6xf32>/; s/(tensor<?x6xf32>, tensor<6xf32>)/(tensor<?x6xf32>, tensor<1x6xf32>)/' %s | moe-opt --onnx-recognize-moe --verify-diagnostics | FileCheck %s --check-prefix=ZERO
// ZERO: %[[BIAS:.+]] = tensor.collapse_shape %{{.+}} {{\[}}[0, 1]] : tensor<1x6xf32> into tensor<6xf32>
// ZERO: moe.route %{{.+}} bias(%[[BIAS]] : tensor<6xf32>) {group_fill = 0.000000e+00 : f32, {{.*}}renormalize_epsilon = 9.99999968E-21 : f32
//
// A sum that is at least something.
// RUN: sed 's/"Div"(%%chosen, %%sum)/"Div"(%%chosen, %%clipped)/' %s | moe-opt --onnx-recognize-moe --verify-diagnostics | FileCheck %s --check-prefix=FLOOR
// FLOOR: moe.route {{.*}}renormalize, renormalize_floor = 9.99999968E-21 : f32, scale
//
// DeepSeek-V2: groups by their best, weights that are the values of TopK.
// RUN: sed 's/"ReduceSum"(%%best#0/"ReduceMax"(%%parts/; s/"Mul"(%%normalized/"Mul"(%%top#0/; s/dense<0xFF800000>/dense<0.0>/' %s | moe-opt --onnx-recognize-moe --verify-diagnostics | FileCheck %s --check-prefix=GREEDY
// GREEDY: moe.route %{{.+}} {group_fill = 0.000000e+00 : f32, k = 2 : i64, n_group = 3 : i64, scale = 2.500000e+00 : f32, score = #moe.score<sigmoid>, topk_group = 2 : i64, weigh_by = #moe.weigh_by<compared>}
//
// The mask marks the groups that go, and Where keeps where it is false.
// RUN: sed 's/dense<1.0> : tensor<1xf32>}/dense<0.0> : tensor<1xf32>}/; s/%%zero = onnx.constant dense<0.0>/%%zero = onnx.constant dense<1.0>/; s/"Where"(%%dropped/"Where"(%%marked/' %s | moe-opt --onnx-recognize-moe --verify-diagnostics | FileCheck %s --check-prefix=INVERSE
// INVERSE: moe.route {{.*}}n_group = 3 : i64
//
// RUN: sed 's/"Where"(%%dropped/"Where"(%%marked/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=WORST,PLAIN
// WORST: remark: experts chosen by node 'choose' (TopK) are not recognised and stay plain operators: stopped at node 'limit' (Where): expects to keep the scores of the best groups
//
// RUN: sed 's/"ReduceSum"(%%best#0/"ReduceMean"(%%best#0/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=MEAN,PLAIN
// MEAN: stopped at node 'worth' (ReduceMean): expects an operator that makes a mask of the best groups
//
// RUN: sed 's/"ReduceSum"(%%best#0/"ReduceMax"(%%best#0/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=MAX,PLAIN
// MAX: stopped at node 'worth' (ReduceMax): expects the sum of the greatest scores of a group, or the greatest one
//
// RUN: sed 's/"ReduceSum"(%%best#0, %%minus)/"ReduceSum"(%%best#0, %%one)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=SUM,PLAIN
// SUM: stopped at node 'worth' (ReduceSum): expects the sum of the greatest scores of a group, or the greatest one
//
// RUN: sed 's/name "best"/{largest = 0 : i64} name "best"/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=LEAST,PLAIN
// LEAST: stopped at node 'best' (TopK): expects the greatest along the last axis, a constant number of them
//
// RUN: sed 's/"TopK"(%%worth, %%two)/"TopK"(%%worth, %%anyK)/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=COUNT,PLAIN
// COUNT: stopped at node 'groups' (TopK): expects the greatest along the last axis, a constant number of them
//
// RUN: sed 's/dense<1.0> : tensor<1xf32>}/dense<2.0> : tensor<1xf32>}/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=ONES,PLAIN
// ONES: stopped at node 'mask' (ScatterElements): expects a mask of ones for the best groups in zeros, one row per token
//
// RUN: sed 's/{axis = 1 : i64} name "mask"/{axis = 0 : i64} name "mask"/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=AXIS,PLAIN
// AXIS: stopped at node 'mask' (ScatterElements): expects a mask of ones for the best groups in zeros, one row per token
//
// Groups of every third expert instead of neighbours.
// RUN: sed 's/"Unsqueeze"(%%mask, %%minus)/"Unsqueeze"(%%mask, %%one)/; s/tensor<?x3x1xf32>/tensor<?x1x3xf32>/g; s/dense<\[1, 3, 2\]>/dense<[1, 2, 3]>/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=STRIDED,PLAIN
// STRIDED: stopped at node 'limit' (Where): expects a mask over the experts, found [token, member x group]
//
// RUN: sed 's/"GatherElements"(%%scores/"GatherElements"(%%others/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=SCORES,PLAIN
// SCORES: stopped at node 'gather' (GatherElements): expects routing weights out of the scores that experts are chosen by, with or without a bias
//
// RUN: sed 's/%%w = onnx.node "Mul"(%%normalized/%%w = onnx.node "Mul"(%%scaled/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefixes=TWICE,PLAIN
// TWICE: stopped at node 'scale' (Mul): expects routing weights that are the chosen scores, as they are or divided by their sum
//
// A softmax over the tokens is none over the experts: it stays in front, and its
// results are the scores.
// RUN: sed 's/"Sigmoid"(%%logits)/"Softmax"(%%logits) {axis = 0 : i64}/' %s | moe-opt --onnx-recognize-moe --verify-diagnostics | FileCheck %s --check-prefix=OTHER
// OTHER: %[[P:.+]] = onnx.node "Softmax"
// OTHER: moe.route %[[P]] bias({{.*}}score = #moe.score<none>
//
// PLAIN-NOT: moe.

func.func @block(%x: tensor<?x3xf32>, %others: tensor<?x6xf32>, %anyK: tensor<1xi64>, %router: tensor<3x6xf32>,
                 %bias: tensor<6xf32>, %w1: tensor<6x5x3xf32>, %w2: tensor<6x3x5xf32>) -> tensor<?x3xf32> {
  %one = onnx.constant dense<1> : tensor<1xi64>
  %two = onnx.constant dense<2> : tensor<1xi64>
  %minus = onnx.constant dense<-1> : tensor<1xi64>
  %zero = onnx.constant dense<0.0> : tensor<f32>
  %fill = onnx.constant dense<0xFF800000> : tensor<f32>
  %epsilon = onnx.constant dense<1.0e-20> : tensor<f32>
  %scale = onnx.constant dense<2.5> : tensor<f32>
  %perGroup = onnx.constant dense<[-1, 3, 2]> : tensor<3xi64>
  %members = onnx.constant dense<[1, 3, 2]> : tensor<3xi64>
  %perExpert = onnx.constant dense<[-1, 6]> : tensor<2xi64>
  %repeat = onnx.constant dense<[1, 2, 1]> : tensor<3xi64>
  %flat = onnx.constant dense<[-1, 3]> : tensor<2xi64>
  %perChoice = onnx.constant dense<[-1, 2, 3]> : tensor<3xi64>
  %logits = onnx.node "MatMul"(%x, %router) opset 20 : (tensor<?x3xf32>, tensor<3x6xf32>) -> tensor<?x6xf32>
  %scores = onnx.node "Sigmoid"(%logits) opset 20 : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %biased = onnx.node "Add"(%scores, %bias) opset 20 : (tensor<?x6xf32>, tensor<6xf32>) -> tensor<?x6xf32>
  %parts = onnx.node "Reshape"(%biased, %perGroup) opset 20 : (tensor<?x6xf32>, tensor<3xi64>) -> tensor<?x3x2xf32>
  %best:2 = onnx.node "TopK"(%parts, %two) name "best" opset 20 : (tensor<?x3x2xf32>, tensor<1xi64>) -> (tensor<?x3x2xf32>, tensor<?x3x2xi64>)
  %worth = onnx.node "ReduceSum"(%best#0, %minus) {keepdims = 0 : i64} name "worth" opset 20 : (tensor<?x3x2xf32>, tensor<1xi64>) -> tensor<?x3xf32>
  %groups:2 = onnx.node "TopK"(%worth, %two) {sorted = 0 : i64} name "groups" opset 20 : (tensor<?x3xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %worthShape = onnx.node "Shape"(%worth) opset 20 : (tensor<?x3xf32>) -> tensor<2xi64>
  %zeros = onnx.node "Expand"(%zero, %worthShape) opset 20 : (tensor<f32>, tensor<2xi64>) -> tensor<?x3xf32>
  %idsShape = onnx.node "Shape"(%groups#1) opset 20 : (tensor<?x2xi64>) -> tensor<2xi64>
  %ones = onnx.node "ConstantOfShape"(%idsShape) {value = dense<1.0> : tensor<1xf32>} opset 20 : (tensor<2xi64>) -> tensor<?x2xf32>
  %mask = onnx.node "ScatterElements"(%zeros, %groups#1, %ones) {axis = 1 : i64} name "mask" opset 20 : (tensor<?x3xf32>, tensor<?x2xi64>, tensor<?x2xf32>) -> tensor<?x3xf32>
  %mask3 = onnx.node "Unsqueeze"(%mask, %minus) opset 20 : (tensor<?x3xf32>, tensor<1xi64>) -> tensor<?x3x1xf32>
  %spread = onnx.node "Expand"(%mask3, %members) opset 20 : (tensor<?x3x1xf32>, tensor<3xi64>) -> tensor<?x?x?xf32>
  %mask2 = onnx.node "Reshape"(%spread, %perExpert) opset 20 : (tensor<?x?x?xf32>, tensor<2xi64>) -> tensor<?x6xf32>
  %marked = onnx.node "Cast"(%mask2) {to = 9 : i64} opset 20 : (tensor<?x6xf32>) -> tensor<?x6xi1>
  %dropped = onnx.node "Not"(%marked) opset 20 : (tensor<?x6xi1>) -> tensor<?x6xi1>
  %limited = onnx.node "Where"(%dropped, %fill, %biased) name "limit" opset 20 : (tensor<?x6xi1>, tensor<f32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  %top:2 = onnx.node "TopK"(%limited, %two) {sorted = 0 : i64} name "choose" opset 20 : (tensor<?x6xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %chosen = onnx.node "GatherElements"(%scores, %top#1) {axis = 1 : i64} name "gather" opset 20 : (tensor<?x6xf32>, tensor<?x2xi64>) -> tensor<?x2xf32>
  %sum = onnx.node "ReduceSum"(%chosen, %minus) {keepdims = 1 : i64} opset 20 : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %sumEps = onnx.node "Add"(%sum, %epsilon) opset 20 : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %clipped = onnx.node "Clip"(%sum, %epsilon) opset 20 : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %normalized = onnx.node "Div"(%chosen, %sum) opset 20 : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  %scaled = onnx.node "Mul"(%normalized, %scale) name "scale" opset 20 : (tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xf32>
  %w = onnx.node "Mul"(%normalized, %scale) opset 20 : (tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xf32>
  %x3 = onnx.node "Unsqueeze"(%x, %one) opset 20 : (tensor<?x3xf32>, tensor<1xi64>) -> tensor<?x1x3xf32>
  %x4 = onnx.node "Expand"(%x3, %repeat) opset 20 : (tensor<?x1x3xf32>, tensor<3xi64>) -> tensor<?x2x3xf32>
  %rows = onnx.node "Reshape"(%x4, %flat) opset 20 : (tensor<?x2x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  %ids = onnx.node "Reshape"(%top#1, %minus) opset 20 : (tensor<?x2xi64>, tensor<1xi64>) -> tensor<?xi64>
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

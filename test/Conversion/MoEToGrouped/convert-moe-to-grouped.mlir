// RUN: moe-opt %s --convert-moe-to-grouped --canonicalize --cse | FileCheck %s

// A layer: the matmul reads the tokens through the plan's index, so no permuted
// copy is made; the recipe stays with the gate.

// CHECK-LABEL: func @layer(
// CHECK-SAME:    %[[L:.*]]: tensor<?x8xf32>, %[[B:.*]]: tensor<8xf32>, %[[X:.*]]: tensor<?x32xf32>,
// CHECK-SAME:    %[[G:.*]]: tensor<8x24x32xf32>, %[[U:.*]]: tensor<8x24x32xf32>, %[[D:.*]]: tensor<8x32x24xf32>)
// CHECK:         %[[GATE:.*]]:2 = grouped.gate %[[L]] bias(%[[B]] : tensor<8xf32>) outs(%{{.*}}, %{{.*}} : tensor<?x2xf32>, tensor<?x2xi32>)
// CHECK-SAME:      {group_top = 2 : i64, k = 2 : i64, n_group = 4 : i64, nan = #moe.nan<smallest>, position = #moe.position<after_selection>,
// CHECK-SAME:       renormalize, renormalize_epsilon = 1.000000e-03 : f32, scale = 2.500000e+00 : f32, score = #moe.score<sigmoid>,
// CHECK-SAME:       tie_break = #moe.tie_break<highest_index>, topk_group = 2 : i64}
// CHECK:         %[[PLAN:.*]]:3 = grouped.plan %[[GATE]]#1 layer(%c3_i32) outs(%{{.*}} : tensor<9xi64>, tensor<?x2xi32>, tensor<?xi32>)
// CHECK:         %[[P0:.*]] = grouped.pack %[[G]], %[[U]] : tensor<8x24x32xf32>, tensor<8x24x32xf32> -> tensor<8x4x32x16xf32>
// CHECK:         %[[H:.*]] = grouped.matmul %[[X]][%[[PLAN]]#2 : tensor<?xi32>] offsets(%[[PLAN]]#0 : tensor<9xi64>) panels(%[[P0]] : tensor<8x4x32x16xf32>)
// CHECK-SAME:      outs(%{{.*}} : tensor<?x24xf32>) : tensor<?x32xf32> -> tensor<?x24xf32> epilogue {
// CHECK-NEXT:    ^bb0(%[[A0:.*]]: f32, %[[A1:.*]]: f32):
// CHECK-NEXT:      %[[M:.*]] = arith.mulf %[[A0]], %[[A1]]
// CHECK-NEXT:      grouped.yield %[[M]] : f32
// CHECK:         %[[P1:.*]] = grouped.pack %[[D]]
// CHECK:         %[[R:.*]] = grouped.matmul %[[H]] offsets(%[[PLAN]]#0 : tensor<9xi64>) panels(%[[P1]]
// CHECK:         %[[Y:.*]] = grouped.combine %[[R]], %[[GATE]]#0, %[[PLAN]]#1 outs(
// CHECK:         return %[[Y]]
func.func @layer(%l: tensor<?x8xf32>, %b: tensor<8xf32>, %x: tensor<?x32xf32>, %g: tensor<8x24x32xf32>, %u: tensor<8x24x32xf32>, %d: tensor<8x32x24xf32>) -> tensor<?x32xf32> {
  %w, %e = moe.route %l bias(%b : tensor<8xf32>) {
    k = 2 : i64, score = #moe.score<sigmoid>, position = #moe.position<after_selection>, renormalize, renormalize_epsilon = 1.0e-3 : f32,
    scale = 2.5 : f32, tie_break = #moe.tie_break<highest_index>, nan = #moe.nan<smallest>, n_group = 4 : i64, topk_group = 2 : i64, group_top = 2 : i64}
    : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  %rows, %sizes, %map = moe.dispatch %x, %e {moe.layer = 3 : i64} : tensor<?x32xf32>, tensor<?x2xi32> -> tensor<?x32xf32>, tensor<8xi64>, tensor<?x2xi32>
  %h = moe.grouped_matmul %rows, %sizes weights(%g, %u) : tensor<?x32xf32>, tensor<8xi64>, (tensor<8x24x32xf32>, tensor<8x24x32xf32>) -> tensor<?x24xf32> epilogue {
  ^bb0(%0: f32, %1: f32):
    %2 = arith.mulf %0, %1 : f32
    moe.yield %2 : f32
  }
  %r = moe.grouped_matmul %h, %sizes weights(%d) : tensor<?x24xf32>, tensor<8xi64>, (tensor<8x32x24xf32>) -> tensor<?x32xf32>
  %y = moe.combine %r, %w, %map : tensor<?x32xf32>, tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// The rest of a recipe goes to the gate, a capacity to the plan, behind a check
// of its segments (C18).
// CHECK-LABEL: func @limited(
// CHECK-SAME:    %[[L:.*]]: tensor<?x8xf32>, %[[X:.*]]: tensor<?x32xf32>, %[[C:.*]]: index, %[[S:.*]]: index)
// CHECK:         %[[GATE:.*]]:2 = grouped.gate %[[L]] outs(
// CHECK-SAME:      {group_fill = 0.000000e+00 : f32, k = 2 : i64, n_group = 2 : i64, weigh_by = #moe.weigh_by<compared>}
// CHECK:         grouped.gate %[[L]] {{.*}} {k = 2 : i64, mixer_threshold = 2.000000e-02 : f32, renormalize, renormalize_floor = 1.000000e-01 : f32, score = #moe.score<sparse_mixer>}
// CHECK:         moe.check {{.*}}message = "expects segments of at least {limit} tokens, got {found}"
// CHECK:         grouped.plan %[[GATE]]#1 capacity(%[[C]]) segment(%[[S]]) outs(
func.func @limited(%l: tensor<?x8xf32>, %x: tensor<?x32xf32>, %c: index, %s: index) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %w, %e = moe.route %l {k = 2 : i64, n_group = 2 : i64, group_fill = 0.0 : f32, weigh_by = #moe.weigh_by<compared>} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  %v, %f = moe.route %l {k = 2 : i64, score = #moe.score<sparse_mixer>, mixer_threshold = 0.02 : f32, renormalize, renormalize_floor = 0.1 : f32} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  %rows, %sizes, %map = moe.dispatch %x, %e capacity(%c) segment(%s) : tensor<?x32xf32>, tensor<?x2xi32> -> tensor<?x32xf32>, tensor<8xi64>, tensor<?x2xi32>
  return %map, %v : tensor<?x2xi32>, tensor<?x2xf32>
}

// A dense layer is one group of all rows.
// CHECK-LABEL: func @dense(
// CHECK:         %[[O:.*]] = tensor.from_elements %c0_i64, %{{.*}} : tensor<2xi64>
// CHECK:         grouped.matmul %{{.*}} offsets(%[[O]] : tensor<2xi64>)
func.func @dense(%x: tensor<?x32xf32>, %s: tensor<1xi64>, %w: tensor<1x16x32xf32>) -> tensor<?x16xf32> {
  %y = moe.grouped_matmul %x, %s weights(%w) : tensor<?x32xf32>, tensor<1xi64>, (tensor<1x16x32xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// What else reads the dispatched rows or the group sizes gets values of them.
// CHECK-LABEL: func @kept(
// CHECK-SAME:    %[[X:.*]]: tensor<?x32xf32>, %[[E:.*]]: tensor<?x2xi32>)
// CHECK:         %[[PLAN:.*]]:3 = grouped.plan
// CHECK:         %[[ROWS:.*]] = linalg.generic {{.*}} ins(%[[PLAN]]#2 : tensor<?xi32>)
// CHECK:           tensor.extract %[[X]]
// CHECK:         %[[SIZES:.*]] = linalg.generic
// CHECK:           tensor.extract %[[PLAN]]#0
// CHECK:         return %[[ROWS]], %[[SIZES]]
func.func @kept(%x: tensor<?x32xf32>, %e: tensor<?x2xi32>) -> (tensor<?x32xf32>, tensor<8xi64>) {
  %rows, %sizes, %map = moe.dispatch %x, %e : tensor<?x32xf32>, tensor<?x2xi32> -> tensor<?x32xf32>, tensor<8xi64>, tensor<?x2xi32>
  return %rows, %sizes : tensor<?x32xf32>, tensor<8xi64>
}

// Scales and zero points become panels of their own, beside the words.
// CHECK-LABEL: func @quantized(
// CHECK-SAME:    %[[Q:[a-z0-9]*]]: tensor<8x24x32xi4>, %[[C:[a-z0-9]*]]: tensor<8x24x2xf32>, %[[Z:[a-z0-9]*]]: tensor<8x24x2xi4>
// CHECK-DAG:     %[[P:.*]] = grouped.pack %[[Q]], %[[Q]] : tensor<8x24x32xi4>, tensor<8x24x32xi4> -> tensor<8x4x4x16xi32>
// CHECK-DAG:     %[[S:.*]] = grouped.pack %[[C]], %[[C]] : tensor<8x24x2xf32>, tensor<8x24x2xf32> -> tensor<8x4x2x16xf32>
// CHECK-DAG:     %[[B:.*]] = grouped.pack %[[Z]], %[[Z]] : tensor<8x24x2xi4>, tensor<8x24x2xi4> -> tensor<8x4x2x16xi8>
// CHECK:         grouped.matmul %{{.*}} offsets(%{{.*}}) panels(%[[P]] : tensor<8x4x4x16xi32>) scales(%[[S]] : tensor<8x4x2x16xf32>) zero_points(%[[B]] : tensor<8x4x2x16xi8>)
// CHECK-SAME:      {bits = 4 : i64, block_size = 16 : i64}
func.func @quantized(%x: tensor<?x32xf32>, %s: tensor<8xi64>, %q: tensor<8x24x32xi4>, %c: tensor<8x24x2xf32>, %z: tensor<8x24x2xi4>) -> tensor<?x24xf32> {
  %y = moe.grouped_matmul %x, %s weights(%q, %q) scales(%c, %c : tensor<8x24x2xf32>, tensor<8x24x2xf32>) zero_points(%z, %z : tensor<8x24x2xi4>, tensor<8x24x2xi4>) {block_size = 16 : i64} : tensor<?x32xf32>, tensor<8xi64>, (tensor<8x24x32xi4>, tensor<8x24x32xi4>) -> tensor<?x24xf32> epilogue {
  ^bb0(%a: f32, %b: f32):
    %p = arith.mulf %a, %b : f32
    moe.yield %p : f32
  }
  return %y : tensor<?x24xf32>
}

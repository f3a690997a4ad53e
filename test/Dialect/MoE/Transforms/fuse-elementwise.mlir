// RUN: moe-opt %s --pass-pipeline="builtin.module(func.func(moe-fuse-elementwise))" | FileCheck %s

#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#row = affine_map<(d0, d1, d2) -> (d0, d1)>

// silu(gate) * up in three dimensions, as an exporter writes it: one operation
// in two dimensions is left, on the products themselves.

// CHECK-LABEL: func.func @swiglu
// CHECK: %[[G:.+]] = moe.grouped_matmul
// CHECK: %[[U:.+]] = moe.grouped_matmul
// CHECK: %[[H:.+]] = linalg.generic {{.*}} ins(%[[G]], %[[U]] : tensor<?x5xf32>, tensor<?x5xf32>)
// CHECK-NOT: linalg.generic
// CHECK: return %[[H]]
func.func @swiglu(%x: tensor<?x3xf32>, %s: tensor<1xi64>, %w1: tensor<1x5x3xf32>, %w2: tensor<1x5x3xf32>, %m: index, %n: index) -> tensor<?x5xf32> {
  %one = arith.constant 1.0 : f32
  %g2 = moe.grouped_matmul %x, %s weights(%w1) : tensor<?x3xf32>, tensor<1xi64>, (tensor<1x5x3xf32>) -> tensor<?x5xf32>
  %u2 = moe.grouped_matmul %x, %s weights(%w2) : tensor<?x3xf32>, tensor<1xi64>, (tensor<1x5x3xf32>) -> tensor<?x5xf32>
  %g = tensor.expand_shape %g2 [[0, 1], [2]] output_shape [%m, %n, 5] : tensor<?x5xf32> into tensor<?x?x5xf32>
  %u = tensor.expand_shape %u2 [[0, 1], [2]] output_shape [%m, %n, 5] : tensor<?x5xf32> into tensor<?x?x5xf32>
  %e = tensor.empty(%m, %n) : tensor<?x?x5xf32>
  %sig = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%g : tensor<?x?x5xf32>) outs(%e : tensor<?x?x5xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = arith.negf %a : f32
    %1 = math.exp %0 : f32
    %2 = arith.addf %one, %1 : f32
    %3 = arith.divf %one, %2 : f32
    linalg.yield %3 : f32
  } -> tensor<?x?x5xf32>
  %silu = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%g, %sig : tensor<?x?x5xf32>, tensor<?x?x5xf32>) outs(%e : tensor<?x?x5xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %0 = arith.mulf %a, %b : f32
    linalg.yield %0 : f32
  } -> tensor<?x?x5xf32>
  %h = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%silu, %u : tensor<?x?x5xf32>, tensor<?x?x5xf32>) outs(%e : tensor<?x?x5xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %0 = arith.mulf %a, %b : f32
    linalg.yield %0 : f32
  } -> tensor<?x?x5xf32>
  %r = tensor.collapse_shape %h [[0, 1], [2]] : tensor<?x?x5xf32> into tensor<?x5xf32>
  return %r : tensor<?x5xf32>
}

// One exponential per row must not become one per element.

// CHECK-LABEL: func.func @once
// CHECK: linalg.generic
// CHECK: math.exp
// CHECK: linalg.generic
// CHECK-NOT: math.exp
// CHECK: return
func.func @once(%x: tensor<2x3x5xf32>, %y: tensor<2x3xf32>) -> tensor<2x3x5xf32> {
  %e0 = tensor.empty() : tensor<2x3xf32>
  %e1 = tensor.empty() : tensor<2x3x5xf32>
  %row = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%y : tensor<2x3xf32>) outs(%e0 : tensor<2x3xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = math.exp %a : f32
    linalg.yield %0 : f32
  } -> tensor<2x3xf32>
  %h = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%x, %row : tensor<2x3x5xf32>, tensor<2x3xf32>) outs(%e1 : tensor<2x3x5xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %0 = arith.mulf %a, %b : f32
    linalg.yield %0 : f32
  } -> tensor<2x3x5xf32>
  return %h : tensor<2x3x5xf32>
}

// Nor may a value with two readers be computed twice.

// CHECK-LABEL: func.func @twoReaders
// CHECK-COUNT-1: math.exp
// CHECK-NOT: math.exp
// CHECK: return
func.func @twoReaders(%x: tensor<2x3x5xf32>) -> (tensor<2x3x5xf32>, tensor<2x3x5xf32>) {
  %e = tensor.empty() : tensor<2x3x5xf32>
  %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%x : tensor<2x3x5xf32>) outs(%e : tensor<2x3x5xf32>) {
  ^bb0(%i: f32, %o: f32):
    %0 = math.exp %i : f32
    linalg.yield %0 : f32
  } -> tensor<2x3x5xf32>
  %b = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%a : tensor<2x3x5xf32>) outs(%e : tensor<2x3x5xf32>) {
  ^bb0(%i: f32, %o: f32):
    %0 = arith.addf %i, %i : f32
    linalg.yield %0 : f32
  } -> tensor<2x3x5xf32>
  return %a, %b : tensor<2x3x5xf32>, tensor<2x3x5xf32>
}

// RUN: moe-opt %s --pass-pipeline="builtin.module(func.func(moe-fuse-epilogue),canonicalize)" --split-input-file | FileCheck %s

#id = affine_map<(d0, d1) -> (d0, d1)>
#column = affine_map<(d0, d1) -> (d1)>
#row = affine_map<(d0, d1) -> (d0)>

// Two products of the same rows, each read once: one product of two weights.

// CHECK-LABEL: func.func @gated
// CHECK-SAME:    (%[[X:.+]]: tensor<?x3xf32>, %[[S:.+]]: tensor<4xi64>, %[[W1:.+]]: tensor<4x5x3xf32>, %[[W2:.+]]: tensor<4x5x3xf32>, %[[B:.+]]: tensor<4x5xf32>
// CHECK: %[[ZERO:.+]] = arith.constant dense<0.000000e+00> : tensor<4x5xf32>
// CHECK: %[[H:.+]] = moe.grouped_matmul %[[X]], %[[S]] weights(%[[W1]], %[[W2]]) biases(%[[ZERO]], %[[B]] :
// CHECK: ^bb0(%[[G:.+]]: f32, %[[U:.+]]: f32):
// CHECK:   %[[R:.+]] = arith.maximumf %[[G]]
// CHECK:   %[[M:.+]] = arith.mulf %[[R]], %[[U]]
// CHECK:   moe.yield %[[M]]
// CHECK: return %[[H]]
func.func @gated(%x: tensor<?x3xf32>, %s: tensor<4xi64>, %w1: tensor<4x5x3xf32>, %w2: tensor<4x5x3xf32>, %b: tensor<4x5xf32>, %e: tensor<?x5xf32>) -> tensor<?x5xf32> {
  %zero = arith.constant 0.0 : f32
  %g = moe.grouped_matmul %x, %s weights(%w1) : tensor<?x3xf32>, tensor<4xi64>, (tensor<4x5x3xf32>) -> tensor<?x5xf32>
  %u = moe.grouped_matmul %x, %s weights(%w2) biases(%b : tensor<4x5xf32>) : tensor<?x3xf32>, tensor<4xi64>, (tensor<4x5x3xf32>) -> tensor<?x5xf32>
  %h = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%g, %u : tensor<?x5xf32>, tensor<?x5xf32>) outs(%e : tensor<?x5xf32>) {
  ^bb0(%a: f32, %c: f32, %o: f32):
    %0 = arith.maximumf %a, %zero : f32
    %1 = arith.mulf %0, %c : f32
    linalg.yield %1 : f32
  } -> tensor<?x5xf32>
  return %h : tensor<?x5xf32>
}

// -----

// A dense layer: vector bias, a constant operand and a residual; the product is
// read twice by the one operation.

#id = affine_map<(d0, d1) -> (d0, d1)>
#column = affine_map<(d0, d1) -> (d1)>
// CHECK-LABEL: func.func @dense
// CHECK-SAME:    %[[B:[^:]+]]: tensor<5xf32>, %[[RES:[^:]+]]: tensor<?x5xf32>
// CHECK: %[[BIAS:.+]] = tensor.expand_shape %[[B]] {{\[}}[0, 1]] output_shape [1, 5]
// CHECK: moe.grouped_matmul %{{.+}}, %{{.+}} weights(%{{.+}}) biases(%[[BIAS]] : tensor<1x5xf32>) extras(%[[RES]] : tensor<?x5xf32>)
// CHECK: ^bb0(%[[A:.+]]: f32, %[[R:.+]]: f32):
// CHECK:   %[[M:.+]] = arith.mulf %[[A]], %{{.+}} : f32
// CHECK:   %[[Y:.+]] = arith.addf %[[M]], %[[R]]
// CHECK:   moe.yield %[[Y]]
// CHECK-NOT: linalg.generic
func.func @dense(%x: tensor<?x3xf32>, %s: tensor<1xi64>, %w: tensor<1x5x3xf32>, %b: tensor<5xf32>, %res: tensor<?x5xf32>, %e: tensor<?x5xf32>) -> tensor<?x5xf32> {
  %half = arith.constant dense<0.5> : tensor<f32>
  %g = moe.grouped_matmul %x, %s weights(%w) : tensor<?x3xf32>, tensor<1xi64>, (tensor<1x5x3xf32>) -> tensor<?x5xf32>
  %h = linalg.generic {indexing_maps = [#id, #column, affine_map<(d0, d1) -> ()>, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%g, %b, %half, %res : tensor<?x5xf32>, tensor<5xf32>, tensor<f32>, tensor<?x5xf32>) outs(%e : tensor<?x5xf32>) {
  ^bb0(%a: f32, %c: f32, %k: f32, %r: f32, %o: f32):
    %0 = arith.addf %c, %a : f32
    %1 = arith.mulf %0, %k : f32
    %2 = arith.addf %1, %r : f32
    linalg.yield %2 : f32
  } -> tensor<?x5xf32>
  return %h : tensor<?x5xf32>
}

// -----

// Epilogues stack. 16-bit: extension of what was rounded only in between goes
// away, and so does rounding before the store.

#id = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-LABEL: func.func @half
// CHECK: moe.grouped_matmul %{{.+}}, %{{.+}} weights(%{{.+}}) : {{.*}} -> tensor<?x5xbf16> epilogue {
// CHECK-NEXT: ^bb0(%[[A:.+]]: f32):
// CHECK-NEXT:   %[[N:.+]] = arith.negf %[[A]] : f32
// CHECK-NEXT:   %[[T:.+]] = math.tanh %[[N]] : f32
// CHECK-NEXT:   moe.yield %[[T]]
// CHECK-NOT: linalg.generic
func.func @half(%x: tensor<?x3xbf16>, %s: tensor<4xi64>, %w: tensor<4x5x3xbf16>, %e: tensor<?x5xbf16>) -> tensor<?x5xbf16> {
  %g = moe.grouped_matmul %x, %s weights(%w) : tensor<?x3xbf16>, tensor<4xi64>, (tensor<4x5x3xbf16>) -> tensor<?x5xbf16> epilogue {
  ^bb0(%a: f32):
    %0 = arith.negf %a : f32
    moe.yield %0 : f32
  }
  %h = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%g : tensor<?x5xbf16>) outs(%e : tensor<?x5xbf16>) {
  ^bb0(%a: bf16, %o: bf16):
    %0 = arith.extf %a : bf16 to f32
    %1 = math.tanh %0 : f32
    %2 = arith.truncf %1 : f32 to bf16
    linalg.yield %2 : bf16
  } -> tensor<?x5xbf16>
  return %h : tensor<?x5xbf16>
}

// -----

// 16-bit arithmetic on the rounded product itself keeps that rounding.

#id = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-LABEL: func.func @rounded
// CHECK: ^bb0(%[[A:.+]]: f32):
// CHECK:   %[[T:.+]] = arith.truncf %[[A]] : f32 to f16
// CHECK:   %[[M:.+]] = arith.mulf %[[T]], %[[T]] : f16
// CHECK:   %[[E:.+]] = arith.extf %[[M]] : f16 to f32
// CHECK:   moe.yield %[[E]]
func.func @rounded(%x: tensor<?x3xf16>, %s: tensor<4xi64>, %w: tensor<4x5x3xf16>, %e: tensor<?x5xf16>) -> tensor<?x5xf16> {
  %g = moe.grouped_matmul %x, %s weights(%w) : tensor<?x3xf16>, tensor<4xi64>, (tensor<4x5x3xf16>) -> tensor<?x5xf16>
  %h = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%g : tensor<?x5xf16>) outs(%e : tensor<?x5xf16>) {
  ^bb0(%a: f16, %o: f16):
    %0 = arith.mulf %a, %a : f16
    linalg.yield %0 : f16
  } -> tensor<?x5xf16>
  return %h : tensor<?x5xf16>
}

// -----

// What stays: a product that something else reads (it becomes an extra where
// another product is fused), a factor per row, an operation on transposed
// elements; a third weight stays a product of its own.

#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
// CHECK-LABEL: func.func @read
// CHECK: %[[G:.+]] = moe.grouped_matmul
// CHECK: moe.grouped_matmul {{.*}} extras(%[[G]] :
// CHECK-LABEL: func.func @perRow
// CHECK: moe.grouped_matmul
// CHECK: linalg.generic
// CHECK-LABEL: func.func @transposed
// CHECK: moe.grouped_matmul
// CHECK: linalg.generic
// CHECK-LABEL: func.func @three
// CHECK: %[[C:.+]] = moe.grouped_matmul %{{.+}}, %{{.+}} weights(%{{[^,]+}}) :
// CHECK: moe.grouped_matmul %{{.+}}, %{{.+}} weights(%{{.+}}, %{{.+}}) extras(%[[C]] :
func.func @read(%x: tensor<?x3xf32>, %s: tensor<4xi64>, %w1: tensor<4x5x3xf32>, %w2: tensor<4x5x3xf32>, %e: tensor<?x5xf32>) -> (tensor<?x5xf32>, tensor<?x5xf32>) {
  %g = moe.grouped_matmul %x, %s weights(%w1) : tensor<?x3xf32>, tensor<4xi64>, (tensor<4x5x3xf32>) -> tensor<?x5xf32>
  %u = moe.grouped_matmul %x, %s weights(%w2) : tensor<?x3xf32>, tensor<4xi64>, (tensor<4x5x3xf32>) -> tensor<?x5xf32>
  %h = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%g, %u : tensor<?x5xf32>, tensor<?x5xf32>) outs(%e : tensor<?x5xf32>) {
  ^bb0(%a: f32, %c: f32, %o: f32):
    %1 = arith.mulf %a, %c : f32
    linalg.yield %1 : f32
  } -> tensor<?x5xf32>
  return %h, %g : tensor<?x5xf32>, tensor<?x5xf32>
}
func.func @perRow(%x: tensor<?x3xf32>, %s: tensor<1xi64>, %w1: tensor<1x5x3xf32>, %f: tensor<?xf32>, %e: tensor<?x5xf32>) -> tensor<?x5xf32> {
  %g = moe.grouped_matmul %x, %s weights(%w1) : tensor<?x3xf32>, tensor<1xi64>, (tensor<1x5x3xf32>) -> tensor<?x5xf32>
  %h = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]} ins(%g, %f : tensor<?x5xf32>, tensor<?xf32>) outs(%e : tensor<?x5xf32>) {
  ^bb0(%a: f32, %c: f32, %o: f32):
    %1 = arith.mulf %a, %c : f32
    linalg.yield %1 : f32
  } -> tensor<?x5xf32>
  return %h : tensor<?x5xf32>
}
func.func @transposed(%x: tensor<?x3xf32>, %s: tensor<1xi64>, %w1: tensor<1x5x3xf32>, %e: tensor<5x?xf32>) -> tensor<5x?xf32> {
  %g = moe.grouped_matmul %x, %s weights(%w1) : tensor<?x3xf32>, tensor<1xi64>, (tensor<1x5x3xf32>) -> tensor<?x5xf32>
  %h = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d1, d0)>, #id], iterator_types = ["parallel", "parallel"]} ins(%g : tensor<?x5xf32>) outs(%e : tensor<5x?xf32>) {
  ^bb0(%a: f32, %o: f32):
    %1 = arith.mulf %a, %a : f32
    linalg.yield %1 : f32
  } -> tensor<5x?xf32>
  return %h : tensor<5x?xf32>
}
func.func @three(%x: tensor<?x3xf32>, %s: tensor<4xi64>, %w1: tensor<4x5x3xf32>, %w2: tensor<4x5x3xf32>, %w3: tensor<4x5x3xf32>, %e: tensor<?x5xf32>) -> tensor<?x5xf32> {
  %g = moe.grouped_matmul %x, %s weights(%w1) : tensor<?x3xf32>, tensor<4xi64>, (tensor<4x5x3xf32>) -> tensor<?x5xf32>
  %u = moe.grouped_matmul %x, %s weights(%w2) : tensor<?x3xf32>, tensor<4xi64>, (tensor<4x5x3xf32>) -> tensor<?x5xf32>
  %v = moe.grouped_matmul %x, %s weights(%w3) : tensor<?x3xf32>, tensor<4xi64>, (tensor<4x5x3xf32>) -> tensor<?x5xf32>
  %h = linalg.generic {indexing_maps = [#id, #id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%g, %u, %v : tensor<?x5xf32>, tensor<?x5xf32>, tensor<?x5xf32>) outs(%e : tensor<?x5xf32>) {
  ^bb0(%a: f32, %c: f32, %d: f32, %o: f32):
    %1 = arith.mulf %a, %c : f32
    %2 = arith.mulf %1, %d : f32
    linalg.yield %2 : f32
  } -> tensor<?x5xf32>
  return %h : tensor<?x5xf32>
}

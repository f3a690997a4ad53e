// RUN: moe-opt %s --convert-moe-to-grouped --canonicalize --cse | FileCheck %s

// What the types leave open is checked in front of the kernel that relies on it,
// and nothing else is. Numbers as in docs/Spec.md.

// C12, C14: sizes are compared unless the types say that they are equal.
// CHECK-LABEL: func @dispatch(
// CHECK:         moe.check {{.*}} {message = "expects rows of experts as many as tokens, {limit}, got {found}", node = "moe.dispatch"}
// CHECK:         %[[MOST:.*]] = arith.cmpi ule, %{{.*}}, %c2147483647_i64
// CHECK:         moe.check %[[MOST]], {{.*}} {message = "expects at most {limit} rows, got {found}", node = "moe.dispatch"}
// CHECK:         grouped.plan
func.func @dispatch(%x: tensor<?x32xf32>, %e: tensor<?x2xi32>) -> tensor<?x2xi32> {
  %rows, %sizes, %map = moe.dispatch %x, %e : tensor<?x32xf32>, tensor<?x2xi32> -> tensor<?x32xf32>, tensor<8xi64>, tensor<?x2xi32>
  return %map : tensor<?x2xi32>
}

// CHECK-LABEL: func @static_sizes(
// CHECK-NOT:     moe.check
// CHECK:         return
func.func @static_sizes(%x: tensor<4x32xf32>, %e: tensor<4x2xi32>, %w: tensor<8x32x32xf32>, %k: tensor<4x2xf32>) -> tensor<4x32xf32> {
  %rows, %sizes, %map = moe.dispatch %x, %e : tensor<4x32xf32>, tensor<4x2xi32> -> tensor<8x32xf32>, tensor<8xi64>, tensor<4x2xi32>
  %h = moe.grouped_matmul %rows, %sizes weights(%w) : tensor<8x32xf32>, tensor<8xi64>, (tensor<8x32x32xf32>) -> tensor<8x32xf32>
  %r = moe.grouped_matmul %h, %sizes weights(%w) : tensor<8x32xf32>, tensor<8xi64>, (tensor<8x32x32xf32>) -> tensor<8x32xf32>
  %y = moe.combine %r, %k, %map : tensor<8x32xf32>, tensor<4x2xf32>, tensor<4x2xi32> -> tensor<4x32xf32>
  return %y : tensor<4x32xf32>
}

// C9: rows that something else made of dispatched rows.
// CHECK-LABEL: func @between(
// CHECK:         grouped.plan
// CHECK:         moe.check {{.*}} "expects group sizes that sum to at most the number of rows, {limit}, got {found}"
// CHECK:         grouped.matmul
func.func @between(%x: tensor<4x32xf32>, %e: tensor<4x2xi32>, %h: tensor<8x32xf32>, %w: tensor<8x32x32xf32>) -> tensor<8x32xf32> {
  %rows, %sizes, %map = moe.dispatch %x, %e : tensor<4x32xf32>, tensor<4x2xi32> -> tensor<8x32xf32>, tensor<8xi64>, tensor<4x2xi32>
  %r = moe.grouped_matmul %h, %sizes weights(%w) : tensor<8x32xf32>, tensor<8xi64>, (tensor<8x32x32xf32>) -> tensor<8x32xf32>
  return %r : tensor<8x32xf32>
}

// C9, C12: group sizes, extras and a width from elsewhere. The sums are made
// once, where all users of the sizes see them.
// CHECK-LABEL: func @sizes(
// CHECK-SAME:    %[[X:.*]]: tensor<?x?xf32>, %[[S:.*]]: tensor<8xi64>,
// CHECK:         scf.for
// CHECK:           tensor.extract %[[S]]
// CHECK:         moe.check {{.*}} {message = "expects group sizes from 0 to {limit}, got {found}", node = "node 'n7' (moe.grouped_matmul)"}
// CHECK:         %[[O:.*]]:2 = scf.for
// CHECK:         scf.if
// CHECK:           moe.check {{.*}} "expects group sizes that sum to the number of rows, {limit}, got {found}"
// CHECK:           moe.check {{.*}} "expects rows of width {limit}, got {found}"
// CHECK:           grouped.matmul {{.*}} offsets(%[[O]]#0
// CHECK:         moe.check {{.*}} "expects group sizes that sum to the number of rows, {limit}, got {found}"
// CHECK:         moe.check {{.*}} "expects extra rows as many as rows, {limit}, got {found}"
// CHECK:         grouped.matmul {{.*}} offsets(%[[O]]#0
func.func @sizes(%x: tensor<?x?xf32>, %s: tensor<8xi64>, %w: tensor<8x24x32xf32>, %z: tensor<?x24xf32>, %c: i1) -> tensor<?x24xf32> {
  %a = scf.if %c -> tensor<?x24xf32> {
    %h = moe.grouped_matmul %x, %s weights(%w) : tensor<?x?xf32>, tensor<8xi64>, (tensor<8x24x32xf32>) -> tensor<?x24xf32> loc("n7")
    scf.yield %h : tensor<?x24xf32>
  } else {
    scf.yield %z : tensor<?x24xf32>
  }
  %y = moe.grouped_matmul %x, %s weights(%w) extras(%a : tensor<?x24xf32>) : tensor<?x?xf32>, tensor<8xi64>, (tensor<8x24x32xf32>) -> tensor<?x24xf32> epilogue {
  ^bb0(%0: f32, %1: f32):
    %2 = arith.addf %0, %1 : f32
    moe.yield %2 : f32
  }
  return %y : tensor<?x24xf32>
}

// C12, C13, C14: a row map from elsewhere.
// CHECK-LABEL: func @combine(
// CHECK:         moe.check {{.*}} "expects rows of weights as many as of the row map, {limit}, got {found}"
// CHECK:         moe.check {{.*}} "expects at most {limit} rows, got {found}"
// CHECK:         scf.for
// CHECK:           scf.for
// CHECK:         moe.check {{.*}} "expects rows below {limit} and at least -1, got {found}"
// CHECK:         moe.check {{.*}} "expects rows of at least {limit}, got {found}"
// CHECK:         grouped.combine
func.func @combine(%r: tensor<?x32xf32>, %w: tensor<?x2xf32>, %m: tensor<?x2xi32>) -> tensor<?x32xf32> {
  %y = moe.combine %r, %w, %m : tensor<?x32xf32>, tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s

// CHECK: moe.weight{{.*}} : tensor<8x24x32xf32>
moe.weight @gate {file = "m.data", offset = 0 : i64, length = 89088 : i64, strides = array<i64: 3072, 32, 1>} : tensor<8x24x32xf32>
// CHECK: moe.weight{{.*}} : tensor<8x24x32xf32>
moe.weight @up {file = "m.data", offset = 0 : i64, length = 89088 : i64, strides = array<i64: 3072, 32, 1>} : tensor<8x24x32xf32>
// CHECK: moe.weight{{.*}} : tensor<4xf32>
moe.weight @w0 {file = "m.data", offset = 0 : i64, length = 16 : i64} : tensor<4xf32>
// CHECK: moe.weight_stack{{.*}} : tensor<2x4xf32>
moe.weight_stack @s [@w0, @w0] : tensor<2x4xf32>
func.func @f(%logits: tensor<?x8xf32>, %b: tensor<8xf32>, %x: tensor<?x32xf32>) -> tensor<?x24xf32> {
  // CHECK: moe.get_weight{{.*}} : tensor<8x24x32xf32>
  %g = moe.get_weight @gate : tensor<8x24x32xf32>
  // CHECK: moe.get_weight{{.*}} : tensor<8x24x32xf32>
  %u = moe.get_weight @up : tensor<8x24x32xf32>
  // CHECK: moe.route{{.*}} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  %w, %e = moe.route %logits bias(%b : tensor<8xf32>) {k = 2 : i64, renormalize, score = #moe.score<sigmoid>} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  // CHECK: moe.dispatch{{.*}} : tensor<?x32xf32>, tensor<?x2xi32> -> tensor<?x32xf32>, tensor<8xi64>, tensor<?x2xi32>
  %rows, %sizes, %map = moe.dispatch %x, %e : tensor<?x32xf32>, tensor<?x2xi32> -> tensor<?x32xf32>, tensor<8xi64>, tensor<?x2xi32>
  // CHECK: moe.grouped_matmul{{.*}} : tensor<?x32xf32>, tensor<8xi64>, (tensor<8x24x32xf32>, tensor<8x24x32xf32>) -> tensor<?x24xf32> epilogue {
  %h = moe.grouped_matmul %rows, %sizes weights(%g, %u) : tensor<?x32xf32>, tensor<8xi64>, (tensor<8x24x32xf32>, tensor<8x24x32xf32>) -> tensor<?x24xf32> epilogue {
    ^bb0(%a: f32, %c: f32):
      %m = arith.mulf %a, %c : f32
      // CHECK: moe.yield{{.*}} : f32
      moe.yield %m : f32
  }
  // CHECK: moe.combine{{.*}} : tensor<?x24xf32>, tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x24xf32>
  %y = moe.combine %h, %w, %map : tensor<?x24xf32>, tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s

// CHECK: moe.weight{{.*}} : tensor<8x24x32xf32>
moe.weight @gate {file = "m.data", offset = 0 : i64, length = 89088 : i64, strides = array<i64: 3072, 32, 1>} : tensor<8x24x32xf32>
// CHECK: moe.weight{{.*}} : tensor<8x24x32xf32>
moe.weight @up {file = "m.data", offset = 0 : i64, length = 89088 : i64, strides = array<i64: 3072, 32, 1>} : tensor<8x24x32xf32>
// CHECK: grouped.packed_weight{{.*}} : tensor<8x4x32x16xf32>
grouped.packed_weight @p [@gate, @up] : tensor<8x4x32x16xf32>
func.func @g(%logits: tensor<?x8xf32>, %x: tensor<?x32xf32>, %w0: tensor<?x2xf32>, %e0: tensor<?x2xi32>, %o0: tensor<9xi64>, %t0: tensor<?xi32>, %h0: tensor<?x24xf32>, %n: index) -> tensor<?x24xf32> {
  // CHECK: grouped.gate{{.*}} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  %w, %e = grouped.gate %logits outs(%w0, %e0 : tensor<?x2xf32>, tensor<?x2xi32>) {k = 2 : i64} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  // CHECK: grouped.plan{{.*}} : tensor<?x2xi32> -> tensor<9xi64>, tensor<?x2xi32>, tensor<?xi32>
  %o, %m, %t = grouped.plan %e outs(%o0, %e0, %t0 : tensor<9xi64>, tensor<?x2xi32>, tensor<?xi32>) : tensor<?x2xi32> -> tensor<9xi64>, tensor<?x2xi32>, tensor<?xi32>
  // CHECK: grouped.plan{{.*}} capacity(%{{.*}}) segment(%{{.*}}) outs
  %oc, %mc, %tc = grouped.plan %e capacity(%n) segment(%n) outs(%o0, %e0, %t0 : tensor<9xi64>, tensor<?x2xi32>, tensor<?xi32>) : tensor<?x2xi32> -> tensor<9xi64>, tensor<?x2xi32>, tensor<?xi32>
  // CHECK: moe.get_weight{{.*}} : tensor<8x4x32x16xf32>
  %p = moe.get_weight @p : tensor<8x4x32x16xf32>
  // CHECK: grouped.matmul{{.*}} : tensor<?x32xf32> -> tensor<?x24xf32> epilogue {
  %h = grouped.matmul %x[%t : tensor<?xi32>] offsets(%o : tensor<9xi64>) panels(%p : tensor<8x4x32x16xf32>) outs(%h0 : tensor<?x24xf32>) : tensor<?x32xf32> -> tensor<?x24xf32> epilogue {
    ^bb0(%a: f32, %c: f32):
      %mm = arith.mulf %a, %c : f32
      // CHECK: grouped.yield{{.*}} : f32
      grouped.yield %mm : f32
  }
  // CHECK: grouped.combine{{.*}} : tensor<?x24xf32>, tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x24xf32>
  %y = grouped.combine %h, %w, %m outs(%h0 : tensor<?x24xf32>) : tensor<?x24xf32>, tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}
func.func @quantized(%x: tensor<?x32xf32>, %o: tensor<9xi64>, %q: tensor<8x24x32xi4>, %s: tensor<8x4x2x16xf32>, %h0: tensor<?x24xf32>) -> tensor<?x24xf32> {
  // CHECK: grouped.pack{{.*}} : tensor<8x24x32xi4>, tensor<8x24x32xi4> -> tensor<8x4x4x16xi32>
  %p = grouped.pack %q, %q : tensor<8x24x32xi4>, tensor<8x24x32xi4> -> tensor<8x4x4x16xi32>
  // CHECK: grouped.pack{{.*}} : tensor<8x24x32xi4>, tensor<8x24x32xi4> -> tensor<8x4x32x16xi8>
  %b = grouped.pack %q, %q : tensor<8x24x32xi4>, tensor<8x24x32xi4> -> tensor<8x4x32x16xi8>
  %z = tensor.extract_slice %b[0, 0, 0, 0] [8, 4, 2, 16] [1, 1, 1, 1] : tensor<8x4x32x16xi8> to tensor<8x4x2x16xi8>
  // CHECK: grouped.matmul{{.*}} scales({{.*}} : tensor<8x4x2x16xf32>) zero_points({{.*}} : tensor<8x4x2x16xi8>) outs({{.*}}) {bits = 4 : i64, block_size = 16 : i64} : tensor<?x32xf32> -> tensor<?x24xf32> epilogue {
  %h = grouped.matmul %x offsets(%o : tensor<9xi64>) panels(%p : tensor<8x4x4x16xi32>) scales(%s : tensor<8x4x2x16xf32>) zero_points(%z : tensor<8x4x2x16xi8>) outs(%h0 : tensor<?x24xf32>) {bits = 4 : i64, block_size = 16 : i64} : tensor<?x32xf32> -> tensor<?x24xf32> epilogue {
    ^bb0(%a: f32, %c: f32):
      %mm = arith.mulf %a, %c : f32
      grouped.yield %mm : f32
  }
  return %h : tensor<?x24xf32>
}

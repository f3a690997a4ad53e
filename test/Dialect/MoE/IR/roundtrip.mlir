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
// CHECK: moe.weight{{.*}}bit_offset = 4 : i64{{.*}} : tensor<8x24x1xi4>
moe.weight @z {file = "m.data", offset = 0 : i64, length = 97 : i64, bit_offset = 4 : i64} : tensor<8x24x1xi4>
// CHECK: moe.weight @f8 {{.*}}scaled = #moe.block_scales<scales = @f8s, offset = 4, columns = 32, block_rows = 16, block_columns = 20>{{.*}} : tensor<48x16xbf16>
moe.weight @f8s {file = "m.data", offset = 2000 : i64, length = 24 : i64} : tensor<3x2xf32>
moe.weight @f8 {file = "m.data", offset = 4 : i64, length = 1520 : i64, strides = array<i64: 32, 1>, scaled = #moe.block_scales<scales = @f8s, offset = 4, columns = 32, block_rows = 16, block_columns = 20>} : tensor<48x16xbf16>

// CHECK: moe.weight @words {file = "m.data", increment = 1 : i64, length = 768 : i64, offset = 0 : i64, sizes = array<i64: 48, 4, 8>, strides = array<i64: 8, 384, 1>} : tensor<48x32xi4>
moe.weight @words {file = "m.data", offset = 0 : i64, length = 768 : i64, sizes = array<i64: 48, 4, 8>, strides = array<i64: 8, 384, 1>, increment = 1 : i64} : tensor<48x32xi4>
// CHECK: moe.quantized_weight @q integers of @gate {asymmetric, bits = 4 : i64, block_size = 16 : i64, scale_type = bf16} : tensor<8x24x32xi4>
moe.quantized_weight @q integers of @gate {asymmetric, bits = 4 : i64, block_size = 16 : i64, scale_type = bf16} : tensor<8x24x32xi4>
// CHECK: moe.quantized_weight @qs scales of @gate {{.*}} : tensor<8x24x2xbf16>
moe.quantized_weight @qs scales of @gate {asymmetric, bits = 4 : i64, block_size = 16 : i64, scale_type = bf16} : tensor<8x24x2xbf16>
// CHECK: moe.quantized_weight @qz zero_points of @gate {{.*}} : tensor<8x24x2xi4>
moe.quantized_weight @qz zero_points of @gate {asymmetric, bits = 4 : i64, block_size = 16 : i64, scale_type = bf16} : tensor<8x24x2xi4>
func.func @f(%logits: tensor<?x8xf32>, %b: tensor<8xf32>, %x: tensor<?x32xf32>, %n: index) -> tensor<?x24xf32> {
  // CHECK: moe.get_weight{{.*}} : tensor<8x24x32xf32>
  %g = moe.get_weight @gate : tensor<8x24x32xf32>
  // CHECK: moe.get_weight{{.*}} : tensor<8x24x32xf32>
  %u = moe.get_weight @up : tensor<8x24x32xf32>
  // CHECK: moe.route{{.*}} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  %w, %e = moe.route %logits bias(%b : tensor<8xf32>) {k = 2 : i64, renormalize, score = #moe.score<sigmoid>} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  // CHECK: moe.route{{.*}} {group_fill = 0xFF800000 : f32, group_top = 2 : i64, k = 5 : i64, n_group = 4 : i64, topk_group = 2 : i64, weigh_by = #moe.weigh_by<compared>} : tensor<?x8xf32> -> tensor<?x5xf32>, tensor<?x5xi32>
  %w5, %e5 = moe.route %logits {k = 5 : i64, n_group = 4 : i64, topk_group = 2 : i64, group_top = 2 : i64, group_fill = 0xFF800000 : f32, weigh_by = #moe.weigh_by<compared>} : tensor<?x8xf32> -> tensor<?x5xf32>, tensor<?x5xi32>
  // CHECK: moe.route{{.*}} {k = 2 : i64, mixer_threshold = 2.000000e-02 : f32, renormalize, renormalize_floor = 1.250000e-01 : f32, score = #moe.score<sparse_mixer>} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  %wm, %em = moe.route %logits {k = 2 : i64, score = #moe.score<sparse_mixer>, mixer_threshold = 0.02 : f32, renormalize, renormalize_floor = 0.125 : f32} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  // CHECK: moe.dispatch{{.*}} capacity(%{{.*}}) segment(%{{.*}}) : tensor<?x32xf32>
  %rc, %sc, %mc = moe.dispatch %x, %e capacity(%n) segment(%n) : tensor<?x32xf32>, tensor<?x2xi32> -> tensor<?x32xf32>, tensor<8xi64>, tensor<?x2xi32>
  // CHECK: moe.dispatch{{.*}} capacity(%{{[^ ]*}}) : tensor<?x32xf32>
  %rd, %sd, %md = moe.dispatch %x, %e capacity(%n) : tensor<?x32xf32>, tensor<?x2xi32> -> tensor<?x32xf32>, tensor<8xi64>, tensor<?x2xi32>
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
func.func @mxfp4(%x: tensor<?x32xf32>, %s: tensor<8xi64>, %q: tensor<8x24x32xi4>, %c: tensor<8x24x1xi8>) -> tensor<?x24xf32> {
  // CHECK: moe.grouped_matmul{{.*}} scales({{.*}} : tensor<8x24x1xi8>) {block_size = 32 : i64, encoding = #moe.encoding<e2m1>} : tensor<?x32xf32>, tensor<8xi64>, (tensor<8x24x32xi4>) -> tensor<?x24xf32>
  %y = moe.grouped_matmul %x, %s weights(%q) scales(%c : tensor<8x24x1xi8>) {block_size = 32 : i64, encoding = #moe.encoding<e2m1>} : tensor<?x32xf32>, tensor<8xi64>, (tensor<8x24x32xi4>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}
func.func @quantized(%x: tensor<?x32xf32>, %s: tensor<8xi64>, %q: tensor<8x24x32xi4>, %c: tensor<8x24x2xf16>, %z: tensor<8x24x2xi4>) -> tensor<?x24xf32> {
  // CHECK: moe.grouped_matmul{{.*}} scales({{.*}} : tensor<8x24x2xf16>) zero_points({{.*}} : tensor<8x24x2xi4>) {block_size = 16 : i64} : tensor<?x32xf32>, tensor<8xi64>, (tensor<8x24x32xi4>) -> tensor<?x24xf32>
  %y = moe.grouped_matmul %x, %s weights(%q) scales(%c : tensor<8x24x2xf16>) zero_points(%z : tensor<8x24x2xi4>) {block_size = 16 : i64} : tensor<?x32xf32>, tensor<8xi64>, (tensor<8x24x32xi4>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

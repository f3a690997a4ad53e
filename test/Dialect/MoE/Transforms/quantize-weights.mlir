// RUN: moe-opt %s --moe-quantize-weights | FileCheck %s
// RUN: moe-opt %s --moe-quantize-weights="bits=8 block-size=0 scale-type=f16 asymmetric dense" | FileCheck %s --check-prefix=DENSE
// RUN: not moe-opt %s --moe-quantize-weights=bits=3 2>&1 | FileCheck %s --check-prefix=BITS
// RUN: not moe-opt %s --moe-quantize-weights=block-size=12 2>&1 | FileCheck %s --check-prefix=BLOCK
// RUN: not moe-opt %s --moe-quantize-weights=scale-type=f8 2>&1 | FileCheck %s --check-prefix=SCALE

// BITS: expects 2, 4 or 8 bits, got 3
// BLOCK: expects a block size of a multiple of 8 for 4 bits, got 12
// SCALE: expects scales of f32, f16 or bf16, got 'f8'

// The weight that two products read has one symbol for each part.
// CHECK-DAG: moe.quantized_weight @up__i4 integers of @up {bits = 4 : i64, block_size = 32 : i64, scale_type = bf16} : tensor<4x24x40xi4>
// CHECK-DAG: moe.quantized_weight @up__i4_scales scales of @up {bits = 4 : i64, block_size = 32 : i64, scale_type = bf16} : tensor<4x24x2xbf16>
// CHECK-NOT: moe.quantized_weight @up
// CHECK-NOT: moe.quantized_weight @router
// CHECK-NOT: moe.quantized_weight @head
// DENSE-DAG: moe.quantized_weight @up__i8 integers of @up {asymmetric, bits = 8 : i64, block_size = 40 : i64, scale_type = f16} : tensor<4x24x40xi8>
// DENSE-DAG: moe.quantized_weight @up__i8_scales scales of @up {{.*}} : tensor<4x24x1xf16>
// DENSE-DAG: moe.quantized_weight @up__i8_zero_points zero_points of @up {{.*}} : tensor<4x24x1xi8>
// DENSE-NOT: moe.quantized_weight @router
// DENSE: moe.quantized_weight @head__i8_zero_points
moe.weight @up {file = "m.data", offset = 0 : i64, length = 15360 : i64} : tensor<4x24x40xf32>
moe.weight @router {file = "m.data", offset = 0 : i64, length = 640 : i64} : tensor<1x4x40xf32>
moe.weight @head {file = "m.data", offset = 0 : i64, length = 480 : i64} : tensor<1x5x24xf32>

// CHECK-LABEL: func @main
// DENSE-LABEL: func @main
func.func @main(%x: tensor<?x40xf32>, %one: tensor<1xi64>) -> (tensor<?x24xf32>, tensor<?x5xf32>) {
  %up = moe.get_weight @up : tensor<4x24x40xf32>
  %router = moe.get_weight @router : tensor<1x4x40xf32>
  %head = moe.get_weight @head : tensor<1x5x24xf32>
  // The router keeps its weights, also behind an elementwise operation.
  // CHECK: %[[LOGITS:.+]] = moe.grouped_matmul %{{.*}}, %{{.*}} weights(%{{.*}}) : {{.*}}(tensor<1x4x40xf32>)
  // DENSE: moe.grouped_matmul {{.*}}(tensor<1x4x40xf32>)
  %logits = moe.grouped_matmul %x, %one weights(%router) : tensor<?x40xf32>, tensor<1xi64>, (tensor<1x4x40xf32>) -> tensor<?x4xf32>
  %scaled = arith.addf %logits, %logits : tensor<?x4xf32>
  %w, %e = moe.route %scaled {k = 2 : i64} : tensor<?x4xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  %rows, %sizes, %map = moe.dispatch %x, %e : tensor<?x40xf32>, tensor<?x2xi32> -> tensor<?x40xf32>, tensor<4xi64>, tensor<?x2xi32>
  // CHECK-DAG: %[[Q:.+]] = moe.get_weight @up__i4 : tensor<4x24x40xi4>
  // CHECK-DAG: %[[S:.+]] = moe.get_weight @up__i4_scales : tensor<4x24x2xbf16>
  // CHECK: moe.grouped_matmul %{{.*}} weights(%[[Q]]) scales(%[[S]] : tensor<4x24x2xbf16>) {block_size = 32 : i64}
  // DENSE: moe.grouped_matmul {{.*}} zero_points({{.*}} : tensor<4x24x1xi8>) {block_size = 40 : i64}
  %a = moe.grouped_matmul %rows, %sizes weights(%up) : tensor<?x40xf32>, tensor<4xi64>, (tensor<4x24x40xf32>) -> tensor<?x24xf32>
  // CHECK: moe.grouped_matmul %{{.*}} weights(%{{.*}}, %{{.*}}) scales(
  %b = moe.grouped_matmul %rows, %sizes weights(%up, %up) : tensor<?x40xf32>, tensor<4xi64>, (tensor<4x24x40xf32>, tensor<4x24x40xf32>) -> tensor<?x24xf32> epilogue {
  ^bb0(%g: f32, %u: f32):
    %m = arith.mulf %g, %u : f32
    moe.yield %m : f32
  }
  %c = arith.addf %a, %b : tensor<?x24xf32>
  %y = moe.combine %c, %w, %map : tensor<?x24xf32>, tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x24xf32>
  // CHECK: moe.grouped_matmul {{.*}}(tensor<1x5x24xf32>)
  // DENSE: moe.grouped_matmul {{.*}}(tensor<1x5x24xi8>)
  %z = moe.grouped_matmul %y, %one weights(%head) : tensor<?x24xf32>, tensor<1xi64>, (tensor<1x5x24xf32>) -> tensor<?x5xf32>
  return %y, %z : tensor<?x24xf32>, tensor<?x5xf32>
}

// RUN: moe-opt %s --moe-assign-weight-sections | FileCheck %s
// RUN: moe-opt %s --moe-assign-weight-sections | moe-opt | FileCheck %s

// In the order of use; 64-byte aligned, 4096 from 1 MiB on.
// CHECK: moe.weight @second {file = "m.data", length = 12 : i64, offset = 0 : i64, section = 0 : i64}
moe.weight @second {file = "m.data", offset = 0 : i64, length = 12 : i64} : tensor<3xf32>
// CHECK: moe.weight @first {{.*}}section = 0 : i64
moe.weight @first {file = "m.data", offset = 0 : i64, length = 12 : i64} : tensor<1x3x1xi32>
// Another order of the same bytes is another section.
// CHECK: moe.weight @flat {{.*}}section = 64 : i64
moe.weight @flat {file = "m.data", offset = 0 : i64, length = 96 : i64} : tensor<4x6xf32>
// CHECK: moe.weight @transposed {{.*}}section = 192 : i64
moe.weight @transposed {file = "m.data", offset = 0 : i64, length = 96 : i64, strides = array<i64: 1, 6>} : tensor<6x4xf32>
// CHECK: moe.weight @large {{.*}}section = 4096 : i64
moe.weight @large {file = "m.data", offset = 0 : i64, length = 1048576 : i64} : tensor<1024x256xf32>
// CHECK-NOT: @unused
moe.weight @unused {file = "m.data", offset = 0 : i64, length = 4 : i64} : tensor<1xf32>
// A source of a stack needs no section of its own.
// CHECK: moe.weight @e0 {file = "m.data", length = 128 : i64, offset = 0 : i64}
moe.weight @e0 {file = "m.data", offset = 0 : i64, length = 128 : i64} : tensor<4x8xf32>
// CHECK: moe.weight @e1 {file = "m.data", length = 128 : i64, offset = 128 : i64}
moe.weight @e1 {file = "m.data", offset = 128 : i64, length = 128 : i64} : tensor<4x8xf32>
// CHECK: moe.weight_stack @stack {{.*}} {section = 1052672 : i64}
moe.weight_stack @stack [@e0, @e1] : tensor<2x4x8xf32>
// Packings are told from their sources, and shared when equal.
// CHECK: grouped.packed_weight @packed [@stack] {section = 1052928 : i64}
grouped.packed_weight @packed [@stack] : tensor<2x1x8x16xf32>
// CHECK: grouped.packed_weight @again [@stack] {section = 1052928 : i64}
grouped.packed_weight @again [@stack] : tensor<2x1x8x16xf32>
// Scales are a part of what they are for. Other blocks of the same bytes are another section.
// CHECK: moe.weight @scales {file = "m.data", length = 16 : i64, offset = 192 : i64} : tensor<2x2xf32>
moe.weight @scales {file = "m.data", offset = 192 : i64, length = 16 : i64} : tensor<2x2xf32>
// CHECK: moe.weight @scaled {{.*}}section = 1053952 : i64
moe.weight @scaled {file = "m.data", offset = 96 : i64, length = 96 : i64, scaled = #moe.block_scales<scales = @scales, offset = 96, columns = 12, block_rows = 4, block_columns = 6>} : tensor<8x12xbf16>
// CHECK: moe.weight @flat_scaled {{.*}}section = 1053952 : i64
moe.weight @flat_scaled {file = "m.data", offset = 96 : i64, length = 96 : i64, scaled = #moe.block_scales<scales = @scales, offset = 96, columns = 12, block_rows = 4, block_columns = 6>} : tensor<96xbf16>
// CHECK: moe.weight @other_blocks {{.*}}section = 1054144 : i64
moe.weight @other_blocks {file = "m.data", offset = 96 : i64, length = 96 : i64, scaled = #moe.block_scales<scales = @scales, offset = 96, columns = 12, block_rows = 5, block_columns = 6>} : tensor<8x12xbf16>

func.func @main() {
  %0 = moe.get_weight @first : memref<1x3x1xi32>
  %1 = moe.get_weight @second : memref<3xf32>
  %2 = moe.get_weight @flat : memref<4x6xf32>
  %3 = moe.get_weight @transposed : tensor<6x4xf32>
  %4 = moe.get_weight @large : memref<1024x256xf32>
  %5 = moe.get_weight @stack : memref<2x4x8xf32>
  %6 = moe.get_weight @packed : memref<2x1x8x16xf32>
  %7 = moe.get_weight @again : memref<2x1x8x16xf32>
  %8 = moe.get_weight @scaled : memref<8x12xbf16>
  %9 = moe.get_weight @flat_scaled : memref<96xbf16>
  %10 = moe.get_weight @other_blocks : memref<8x12xbf16>
  return
}

// REQUIRES: x86_64
// RUN: moe-compile %s --compile-to=schedule --target-cpu=x86-64-v3 | moe-opt --grouped-bufferize --moe-bind-context --convert-grouped-to-loops | FileCheck %s
// RUN: moe-compile %s --emit=asm --target-cpu=x86-64-v3 -o - | FileCheck %s --check-prefix=V3
// RUN: moe-compile %s --emit=asm --target-cpu=x86-64-v4 -o - | FileCheck %s --check-prefix=V4

// Few rows: tiles of 1 to 4 rows over all of K. More: a block of a panel
// becomes f32 in scratch, which f32 tiles of at least 4 rows read.
// CHECK-LABEL: func.func @moe_compiled_main(
// CHECK:         scf.if
// CHECK:           scf.index_switch
// CHECK:             func.call @moe_tile_i4_1x32_b32_f32_a64_c64
// CHECK:             func.call @moe_tile_i4_1x16_b32_f32_a64_c64
// CHECK:             func.call @moe_tile_i4_4x16_b32_f32_a64_c64
// CHECK-NOT:         func.call @moe_tile_i4
// CHECK:           scf.index_switch
// CHECK-NEXT:      case 4
// CHECK:             func.call @moe_dequantize_i4_b32_f32(
// CHECK:             func.call @moe_tile_f32_4x16_a64_c64(
// CHECK:             func.call @moe_tile_f32_3x16_a64_c64(
// CHECK:           case 6
// CHECK:             func.call @moe_tile_f32_6x16_a64_c64(

// The four bits of every k are converted where they are in the word. A block
// makes the scales that belong to these places, and the zero point's share.
// CHECK-LABEL: func.func private @moe_tile_i4_1x16_b32_f32_a64_c64(
// CHECK-SAME:    passthrough = ["noinline"]
// CHECK:         scf.for
// CHECK:           %[[SCALE:.*]] = vector.load {{.*}} : memref<?xf32>, vector<16xf32>
// CHECK:           %[[SHARE:.*]] = arith.mulf %{{.*}}, %[[SCALE]]
// CHECK:           %[[SIXTEENTH:.*]] = arith.constant dense<6.250000e-02>
// CHECK:           %[[SCALE1:.*]] = arith.mulf %[[SCALE]], %[[SIXTEENTH]]
// CHECK:           scf.for
// CHECK:             %[[ROW:.*]] = vector.load {{.*}} : memref<?xi32>, vector<16xi32>
// CHECK:             %[[LOWEST:.*]] = arith.constant dense<15>
// CHECK:             %[[Q0:.*]] = arith.andi %[[ROW]], %[[LOWEST]]
// CHECK:             %[[F0:.*]] = arith.sitofp %[[Q0]]
// CHECK:             %[[W0:.*]] = vector.fma %[[F0]], %[[SCALE]], %[[SHARE]]
// CHECK:             vector.fma %{{.*}}, %[[W0]], %{{.*}} : vector<16xf32>
// CHECK:             %[[NEXT:.*]] = arith.constant dense<240>
// CHECK:             %[[Q1:.*]] = arith.andi %[[ROW]], %[[NEXT]]
// CHECK:             %[[F1:.*]] = arith.sitofp %[[Q1]]
// CHECK:             vector.fma %[[F1]], %[[SCALE1]], %[[SHARE]]
// CHECK-COUNT-13:    vector.fma
// CHECK-NOT:         vector.fma
// CHECK:             scf.yield

// In the innermost loop nothing is stored, no byte is loaded by itself: a word
// row is two vector registers of 8 words, which become 16 vectors, for 4 rows
// each. (Scales may be read from the stack, as operands.)
// V3-LABEL: moe_tile_i4_4x16_b32_f32_a64_c64:
// V3:       [[OUTER:.LBB[0-9_]+]]:
// V3:       [[LOOP:.LBB[0-9_]+]]:
// V3-NOT:   {{%ymm[0-9]+, .*[(]|movz|movs[bw]|%xmm|vpunpck|vperm}}
// V3-COUNT-80: vfmadd{{[0-9]+}}ps {{.*}}, %ymm{{[0-9]+}}, %ymm{{[0-9]+}}
// V3-NOT:   {{vfmadd|%ymm[0-9]+, .*[(]|%xmm}}
// V3:       jne [[LOOP]]
// V3-LABEL: moe_dequantize_i4_b32_f32:
// V3:       [[LOOP:.LBB[0-9_]+]]:
// V3-COUNT-16: vfmadd{{[0-9]+}}ps {{.*}}, %ymm
// V3-NOT:   {{vfmadd|%xmm}}
// V3:       jne [[LOOP]]

// V4-LABEL: moe_tile_i4_1x64_b32_f32_a64_c64:
// V4:       [[OUTER:.LBB[0-9_]+]]:
// V4:       [[LOOP:.LBB[0-9_]+]]:
// V4-NOT:   {{%zmm[0-9]+, .*[(]|movz|movs[bw]|%xmm|vpunpck|vperm}}
// V4-COUNT-64: vfmadd{{[0-9]+}}ps {{.*}}, %zmm{{[0-9]+}}, %zmm{{[0-9]+}}
// V4-NOT:   {{vfmadd|%zmm[0-9]+, .*[(]|%xmm}}
// V4:       jne [[LOOP]]
moe.weight @q {file = "q", offset = 0 : i64, length = 8192 : i64} : tensor<4x64x64xi4>
moe.weight @s {file = "q", offset = 8192 : i64, length = 2048 : i64} : tensor<4x64x2xf32>
func.func @main(%x: tensor<?x64xf32> {moe.name = "x"}, %n: tensor<4xi64> {moe.name = "n"}) -> (tensor<?x64xf32> {moe.name = "y"}) {
  %q = moe.get_weight @q : tensor<4x64x64xi4>
  %s = moe.get_weight @s : tensor<4x64x2xf32>
  %y = moe.grouped_matmul %x, %n weights(%q) scales(%s : tensor<4x64x2xf32>) {block_size = 32 : i64} : tensor<?x64xf32>, tensor<4xi64>, (tensor<4x64x64xi4>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// REQUIRES: x86_64
// RUN: moe-compile %s --compile-to=schedule --target-cpu=x86-64-v3 | moe-opt --grouped-bufferize --moe-bind-context --convert-grouped-to-loops | FileCheck %s
// RUN: moe-compile %s --emit=asm --target-cpu=x86-64-v3 -o - | FileCheck %s --check-prefix=V3
// RUN: moe-compile %s --emit=asm --target-cpu=x86-64-v4 -o - | FileCheck %s --check-prefix=V4

// Few rows: tiles of 1 to 5 rows over all of K. More: a block of a panel
// becomes f32 in scratch, which f32 tiles of at least 4 rows read. The sums
// start from the rows' offsets.
// CHECK-LABEL: func.func @moe_compiled_main(
// CHECK:         scf.if
// CHECK:           func.call @moe_offsets_32_8(
// CHECK:           scf.index_switch
// CHECK:             func.call @moe_tile_i4_1x32_b32_f32_a64_c64
// CHECK:             func.call @moe_tile_i4_1x16_b32_f32_a64_c64
// CHECK:             func.call @moe_tile_i4_5x16_b32_f32_a64_c64
// CHECK-NOT:         func.call @moe_tile_i4
// CHECK:           func.call @moe_offsets_32_8(
// CHECK:           scf.index_switch
// CHECK-NEXT:      case 4
// CHECK:             func.call @moe_dequantize_i4_b32_f32(
// CHECK:             func.call @moe_tile_f32_4x16_a64_c64_s32(
// CHECK:             func.call @moe_tile_f32_3x16_a64_c64_s32(
// CHECK:           case 6
// CHECK:             func.call @moe_tile_f32_6x16_a64_c64_s32(

// The four bits of every k are converted where they are in the word; the scale
// multiplies the sum of a block, which starts from the row's offset.
// CHECK-LABEL: func.func private @moe_tile_i4_1x16_b32_f32_a64_c64(
// CHECK-SAME:    passthrough = ["noinline"]
// CHECK:         scf.for
// CHECK:           %[[OFFSET:.*]] = vector.broadcast
// CHECK:           %[[SUM:.*]] = scf.for {{.*}} iter_args(%{{.*}} = %[[OFFSET]])
// CHECK:             %[[ROW:.*]] = vector.load {{.*}} : memref<?xi32>, vector<16xi32>
// CHECK:             %[[LOWEST:.*]] = arith.constant dense<15>
// CHECK:             %[[Q0:.*]] = arith.andi %[[ROW]], %[[LOWEST]]
// CHECK:             %[[F0:.*]] = arith.sitofp %[[Q0]]
// CHECK:             vector.fma %{{.*}}, %[[F0]], %{{.*}} : vector<16xf32>
// CHECK:             %[[NEXT:.*]] = arith.constant dense<240>
// CHECK:             arith.andi %[[ROW]], %[[NEXT]]
// CHECK-COUNT-7:     vector.fma
// CHECK-NOT:         vector.fma
// CHECK:             scf.yield
// CHECK:           llvm.fence
// CHECK:           %[[SCALE:.*]] = vector.load {{.*}} : memref<?xf32>, vector<16xf32>
// CHECK:           vector.fma %[[SCALE]], %[[SUM]], %{{.*}}

// In the innermost loop nothing is stored, no byte is loaded by itself: a word
// row is two vector registers of 8 words, which become 16 vectors, for 4 rows
// each. (Masks may be read from the stack.)
// V3-LABEL: moe_tile_i4_4x16_b32_f32_a64_c64:
// V3:       [[OUTER:.LBB[0-9_]+]]:
// V3:       [[LOOP:.LBB[0-9_]+]]:
// V3-NOT:   {{%ymm[0-9]+, .*[(]|movz|movs[bw]|%xmm|vpunpck|vperm}}
// V3-COUNT-64: vfmadd{{[0-9]+}}ps {{.*}}, %ymm{{[0-9]+}}, %ymm{{[0-9]+}}
// V3-NOT:   {{vfmadd|%ymm[0-9]+, .*[(]|%xmm}}
// V3:       jne [[LOOP]]

// The f32 tile reads and writes its sums once per block, without copies of them
// on the stack.
// V3-LABEL: moe_tile_f32_6x16_a64_c64_s32:
// V3:       [[OUTER:.LBB[0-9_]+]]:
// V3:       [[LOOP:.LBB[0-9_]+]]:
// V3-NOT:   {{%rsp|%ymm[0-9]+, .*[(]}}
// V3-COUNT-96: vfmadd{{[0-9]+}}ps {{.*}}, %ymm{{[0-9]+}}, %ymm{{[0-9]+}}
// V3-NOT:   vfmadd
// V3:       j{{[a-z]+}} [[LOOP]]
// V3-NOT:   rsp
// V3-COUNT-12: vfmadd
// V3-NOT:   {{vfmadd|rsp}}
// V3:       j{{[a-z]+}} [[OUTER]]

// V4-LABEL: moe_tile_i4_1x64_b32_f32_a64_c64:
// V4:       [[OUTER:.LBB[0-9_]+]]:
// V4:       [[LOOP:.LBB[0-9_]+]]:
// V4-NOT:   {{%zmm[0-9]+, .*[(]|movz|movs[bw]|%xmm|vpunpck|vperm}}
// V4-COUNT-32: vfmadd{{[0-9]+}}ps {{.*}}, %zmm{{[0-9]+}}, %zmm{{[0-9]+}}
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

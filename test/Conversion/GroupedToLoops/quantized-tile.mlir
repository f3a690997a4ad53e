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

// The four bits of every k, as signed numbers, come to the top of a word, then
// down with their sign; the words are xored once.
// CHECK-LABEL: func.func private @moe_tile_i4_1x16_b32_f32_a64_c64(
// CHECK-SAME:    passthrough = ["noinline"]
// CHECK:         scf.for
// CHECK:           %[[ROW:.*]] = vector.load {{.*}} : memref<?xi32>, vector<16xi32>
// CHECK:           %[[SCALE:.*]] = vector.load {{.*}} : memref<?xf32>, vector<16xf32>
// CHECK:           %[[SIGNED:.*]] = arith.xori %[[ROW]], %{{.*}} : vector<16xi32>
// CHECK:           %[[UP:.*]] = arith.shli %[[SIGNED]], %{{.*}}
// CHECK:           %[[DOWN:.*]] = arith.shrsi %[[UP]], %{{.*}}
// CHECK:           %[[Q:.*]] = arith.sitofp %[[DOWN]]
// CHECK:           %[[W:.*]] = arith.mulf %[[Q]], %[[SCALE]]
// CHECK:           vector.fma %{{.*}}, %[[W]], %{{.*}} : vector<16xf32>
// CHECK-COUNT-7:   vector.fma
// CHECK-NOT:       vector.fma
// CHECK:           scf.yield

// Nothing on the stack, no byte loaded by itself: a word row is two vector
// registers of 8 words, which the shifts turn into 16, for 4 rows each.
// V3-LABEL: moe_tile_i4_4x16_b32_f32_a64_c64:
// V3-NOT:   {{push|subq.*%rsp|-[0-9]+[(]%rsp}}
// V3:       [[LOOP:.LBB[0-9_]+]]:
// V3-NOT:   {{%rsp|movz|movs[bw]|%xmm|vpunpck|vperm}}
// V3-COUNT-64: vfmadd{{[0-9]+}}ps {{.*}}, %ymm{{[0-9]+}}, %ymm{{[0-9]+}}
// V3-NOT:   {{vfmadd|%rsp|%xmm}}
// V3:       jne [[LOOP]]
// V3-LABEL: moe_dequantize_i4_b32_f32:
// V3-NOT:   {{push|subq.*%rsp|-[0-9]+[(]%rsp}}
// V3-COUNT-16: vmulps {{.*}}, %ymm
// V3-NOT:   {{vmulps|%rsp|%xmm}}
// V3:       retq

// V4-LABEL: moe_tile_i4_1x64_b32_f32_a64_c64:
// V4-NOT:   {{push|subq.*%rsp|-[0-9]+[(]%rsp}}
// V4:       [[LOOP:.LBB[0-9_]+]]:
// V4-NOT:   {{%rsp|movz|movs[bw]|%xmm|vpunpck|vperm}}
// V4-COUNT-32: vfmadd{{[0-9]+}}ps {{.*}}, %zmm{{[0-9]+}}, %zmm{{[0-9]+}}
// V4-NOT:   {{vfmadd|%rsp|%xmm}}
// V4:       jne [[LOOP]]
moe.weight @q {file = "q", offset = 0 : i64, length = 8192 : i64} : tensor<4x64x64xi4>
moe.weight @s {file = "q", offset = 8192 : i64, length = 2048 : i64} : tensor<4x64x2xf32>
func.func @main(%x: tensor<?x64xf32> {moe.name = "x"}, %n: tensor<4xi64> {moe.name = "n"}) -> (tensor<?x64xf32> {moe.name = "y"}) {
  %q = moe.get_weight @q : tensor<4x64x64xi4>
  %s = moe.get_weight @s : tensor<4x64x2xf32>
  %y = moe.grouped_matmul %x, %n weights(%q) scales(%s : tensor<4x64x2xf32>) {block_size = 32 : i64} : tensor<?x64xf32>, tensor<4xi64>, (tensor<4x64x64xi4>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

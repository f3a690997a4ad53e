// REQUIRES: x86_64
// RUN: moe-compile %s --compile-to=schedule --target-cpu=x86-64-v3 | moe-opt --grouped-bufferize --moe-bind-context --convert-grouped-to-loops | FileCheck %s
// RUN: moe-compile %s --emit=asm --target-cpu=x86-64-v3 -o - | FileCheck %s --check-prefix=V3
// RUN: moe-compile %s --emit=asm --target-cpu=x86-64-v4 -o - | FileCheck %s --check-prefix=V4
// RUN: moe-compile %s --emit=asm --target-cpu=znver4 -o - | FileCheck %s --check-prefix=V4
// RUN: moe-compile %s --emit=asm --target-cpu=x86-64 -o - | FileCheck %s --check-prefix=V1

// The register tile of 256-bit vectors, 6 rows by one panel: per step of k one
// panel row, six broadcasts, six multiply-adds of 16 columns, each its own
// chain that starts from 0 or from what is stored.
// CHECK-LABEL: func.func private @moe_tile_f32_6x16_a64_c64_prefetch(
// CHECK-SAME:    %[[A:.*]]: memref<?xf32>, %{{.*}}: index, %[[P:[a-z0-9]*]]: memref<?xf32>, %{{.*}}: index, %{{.*}}: index, %[[C:[a-z0-9]*]]: memref<?xf32>, %{{.*}}: index, %[[DEPTH:[a-z0-9]*]]: index, %[[FIRST:[a-z0-9]*]]: i1,
// CHECK-SAME:    passthrough = ["noinline"]
// CHECK-COUNT-6: arith.select %[[FIRST]], %{{.*}}, %{{.*}} : vector<16xf32>
// CHECK:         scf.for %{{.*}} = %c0{{.*}} to %[[DEPTH]] {{.*}} -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// CHECK:           vector.load %[[P]]
// CHECK-NOT:       vector.load
// CHECK:           memref.prefetch %[[P]]
// CHECK-COUNT-6:   vector.fma
// CHECK-NOT:       vector.fma
// CHECK:           scf.yield
// CHECK-COUNT-6:   vector.store %{{.*}}, %[[C]]
// CHECK:           return

// In machine code: 12 accumulators, two loads, six broadcasts from constant
// displacements and 12 multiply-adds per step; on the stack are the last
// arguments and nothing else.
// V3-LABEL: moe_tile_f32_6x16_a64_c64_prefetch:
// V3-NOT:   {{push|subq.*%rsp|-[0-9]+[(]%rsp}}
// V3-COUNT-12: vxorps %xmm
// V3:       [[LOOP:.LBB[0-9_]+]]:
// V3-COUNT-2: vmovups {{.*}}, %ymm
// V3-NEXT:  prefetcht1
// V3-COUNT-12: vfmadd231ps %ymm{{[0-9]+}}, %ymm{{[0-9]+}}, %ymm{{[0-9]+}}
// V3-NOT:   {{vfmadd|%rsp}}
// V3:       jne [[LOOP]]
// V3-COUNT-12: vmovups %ymm
// V3-NOT:   %rsp
// V3:       retq

// 512-bit vectors: 12 rows by two panels, also where LLVM prefers 256 bits.
// V4-LABEL: moe_tile_f32_12x32_a64_c64_prefetch:
// V4-NOT:   {{push|subq.*%rsp|-[0-9]+[(]%rsp|%ymm}}
// V4:       [[LOOP:.LBB[0-9_]+]]:
// V4-NOT:   {{%rsp|%ymm}}
// V4-COUNT-24: vfmadd231ps {{.*}}, %zmm{{[0-9]+}}, %zmm{{[0-9]+}}
// V4-NOT:   {{vfmadd|%rsp|%ymm}}
// V4:       jne [[LOOP]]
// V4-NOT:   {{%rsp|%ymm}}
// V4:       retq

// Without fused multiply-adds: products and sums, no calls.
// V1-LABEL: moe_tile_f32_2x16_a64_c64_prefetch:
// V1-NOT:   {{push|subq.*%rsp|-[0-9]+[(]%rsp|call|vmulps}}
// V1:       [[LOOP:.LBB[0-9_]+]]:
// V1-NOT:   {{%rsp|call}}
// V1-COUNT-8: mulps
// V1-NOT:   {{%rsp|call}}
// V1:       retq
func.func @main(%x: tensor<?x64xf32> {moe.name = "x"}, %s: tensor<4xi64> {moe.name = "s"}, %w: tensor<4x64x64xf32> {moe.name = "w"}) -> (tensor<?x64xf32> {moe.name = "y"}) {
  %y = moe.grouped_matmul %x, %s weights(%w) : tensor<?x64xf32>, tensor<4xi64>, (tensor<4x64x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// RUN: moe-opt %s --pass-pipeline='builtin.module(func.func(grouped-schedule))' | FileCheck %s --check-prefix=V256
// RUN: moe-opt %s --pass-pipeline='builtin.module(func.func(grouped-schedule{vector-bits=512 vector-registers=32}))' | FileCheck %s --check-prefix=V512
// RUN: moe-opt %s --pass-pipeline='builtin.module(func.func(grouped-schedule{vector-bits=128 vector-registers=16}))' | FileCheck %s --check-prefix=V128
// RUN: moe-opt %s --pass-pipeline='builtin.module(func.func(grouped-schedule{vector-bits=128 vector-registers=32}))' | FileCheck %s --check-prefix=NEON
// RUN: moe-opt %s --pass-pipeline='builtin.module(func.func(grouped-schedule{l1-bytes=65536 l2-bytes=2097152}))' | FileCheck %s --check-prefix=CACHE

// The phase takes all that from the CPU's name.
// RUN: moe-compile %s --compile-from=group --compile-to=schedule --target-cpu=x86-64 | FileCheck %s --check-prefix=V128
// RUN: moe-compile %s --compile-from=group --compile-to=schedule --target-cpu=x86-64-v3 | FileCheck %s --check-prefix=V256
// RUN: moe-compile %s --compile-from=group --compile-to=schedule --target-cpu=x86-64-v4 | FileCheck %s --check-prefix=V512
// RUN: moe-compile %s --compile-from=group --compile-to=schedule --target-cpu=znver4 | FileCheck %s --check-prefix=V512
// RUN: moe-compile %s --compile-from=group --compile-to=schedule --target-cpu=znver4 --target-features=-avx512f | FileCheck %s --check-prefix=V256
// RUN: moe-compile %s --compile-from=group --compile-to=schedule --target=aarch64-linux-gnu --target-cpu=neoverse-n1 | FileCheck %s --check-prefix=NEON

// V256: grouped.matmul {{.*}} {schedule = {accumulators = 12 : i64, k_block = 512 : i64, panel_block = 32 : i64, row_block = 96 : i64, tile_panels = 1 : i64, tile_rows = 6 : i64, vectors_per_panel = 2 : i64}}
// V512: grouped.matmul {{.*}} {schedule = {accumulators = 24 : i64, k_block = 512 : i64, panel_block = 32 : i64, row_block = 96 : i64, tile_panels = 2 : i64, tile_rows = 12 : i64, vectors_per_panel = 1 : i64}}
// V128: grouped.matmul {{.*}} {schedule = {accumulators = 10 : i64, {{.*}} tile_panels = 1 : i64, tile_rows = 2 : i64, vectors_per_panel = 4 : i64}}
// NEON: grouped.matmul {{.*}} {schedule = {accumulators = 24 : i64, {{.*}} tile_panels = 1 : i64, tile_rows = 6 : i64, vectors_per_panel = 4 : i64}}
// CACHE: grouped.matmul {{.*}} {schedule = {{{.*}} k_block = 1024 : i64, {{.*}} row_block = 252 : i64
func.func @main(%x: tensor<?x32xf32> {moe.name = "x"}, %o: tensor<9xi64> {moe.name = "o"}, %p: tensor<8x2x32x16xf32> {moe.name = "p"}, %y: tensor<?x24xf32> {moe.name = "y"}) -> (tensor<?x24xf32> {moe.name = "z"}) {
  %0 = grouped.matmul %x offsets(%o : tensor<9xi64>) panels(%p : tensor<8x2x32x16xf32>) outs(%y : tensor<?x24xf32>) : tensor<?x32xf32> -> tensor<?x24xf32>
  // A schedule that is there stays.
  // V256: grouped.matmul {{.*}} tile_rows = 4 : i64
  // V512: grouped.matmul {{.*}} tile_rows = 4 : i64
  %1 = grouped.matmul %x offsets(%o : tensor<9xi64>) panels(%p : tensor<8x2x32x16xf32>) outs(%0 : tensor<?x24xf32>) {schedule = {accumulators = 12 : i64, k_block = 256 : i64, panel_block = 16 : i64, row_block = 128 : i64, tile_panels = 1 : i64, tile_rows = 4 : i64, vectors_per_panel = 2 : i64}} : tensor<?x32xf32> -> tensor<?x24xf32>
  return %1 : tensor<?x24xf32>
}

// RUN: moe-opt %s --convert-grouped-to-gpu | FileCheck %s
// RUN: moe-opt %s --convert-grouped-to-gpu=arch=sm_86 | FileCheck %s --check-prefix=SM86
// RUN: not moe-opt %s --convert-grouped-to-gpu=arch=sm_70 2>&1 | FileCheck %s --check-prefix=ARCH
// ARCH: expects one of the architectures sm_80, {{.*}}, got 'sm_70'

// CHECK: module attributes {gpu.container_module}

// Two tiles; the mean number of rows per group decides.
// CHECK-LABEL: func.func @matmul(
// CHECK:         %[[SMALL:.*]] = arith.cmpi ule, %{{.*}}, %c64
// CHECK:         scf.if %[[SMALL]]
// CHECK:           gpu.launch_func @moe_kernels::@matmul_0_16x{{[0-9]+}} blocks in (%{{.*}}, %c1{{.*}}, %{{.*}}) threads in (%c128{{.*}}) dynamic_shared_memory_size
// CHECK:         } else {
// CHECK:           gpu.launch_func @moe_kernels::@matmul_0_128x{{[0-9]+}}
// SM86: gpu.launch_func @moe_kernels::@matmul_0_128x
func.func @matmul(%context: !llvm.ptr {moe.context}, %x: memref<?x64xbf16, 1>, %token: memref<?xi32, 1>, %offsets: memref<5xi64, 1>,
                  %panels: memref<4x6x8x128xbf16, 1>, %y: memref<?x48xbf16, 1>) {
  grouped.matmul %x[%token : memref<?xi32, 1>] offsets(%offsets : memref<5xi64, 1>) panels(%panels : memref<4x6x8x128xbf16, 1>)
    outs(%y : memref<?x48xbf16, 1>) : memref<?x64xbf16, 1> epilogue {
  ^bb0(%g: f32, %u: f32):
    %0 = arith.mulf %g, %u : f32
    grouped.yield %0 : f32
  }
  return
}

// CHECK-LABEL: func.func @gate(
// CHECK:         gpu.launch_func @moe_kernels::@gate_1 {{.*}} threads in (%c128
func.func @gate(%context: !llvm.ptr {moe.context}, %logits: memref<?x40xf32, 1>, %w: memref<?x2xf32, 1>, %e: memref<?x2xi32, 1>) {
  grouped.gate %logits outs(%w, %e : memref<?x2xf32, 1>, memref<?x2xi32, 1>) {k = 2 : i64} : memref<?x40xf32, 1>
  return
}

// A wrong id is what the kernel reports in its status word (C6).
// CHECK-LABEL: func.func @plan(
// CHECK:         gpu.launch_func @moe_kernels::@plan_2 blocks in (%c1{{.*}}) threads in (%c1024
// CHECK:         memref.copy %[[STATUS:.*]], %[[HOST:.*]] : memref<1xi32, 1> to memref<1xi32>
// CHECK:         moe.check
func.func @plan(%context: !llvm.ptr {moe.context}, %e: memref<?x2xi32, 1>, %o: memref<9xi64, 1>, %m: memref<?x2xi32, 1>, %t: memref<?xi32, 1>) {
  grouped.plan %e outs(%o, %m, %t : memref<9xi64, 1>, memref<?x2xi32, 1>, memref<?xi32, 1>) : memref<?x2xi32, 1>
  return
}

// CHECK-LABEL: func.func @combine(
// CHECK:         gpu.launch_func @moe_kernels::@combine_3 {{.*}} threads in (%c256
func.func @combine(%context: !llvm.ptr {moe.context}, %rows: memref<?x24xf16, 1>, %w: memref<?x2xf32, 1>, %m: memref<?x2xi32, 1>, %y: memref<?x24xf16, 1>) {
  grouped.combine %rows, %w, %m outs(%y : memref<?x24xf16, 1>) : memref<?x24xf16, 1>, memref<?x2xf32, 1>, memref<?x2xi32, 1>
  return
}

// CHECK: gpu.module @moe_kernels
// CHECK:   llvm.mlir.global external @moe_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>

// The stages in front are filled; then wait, barrier, refill, multiply.
// CHECK-LABEL: gpu.func @matmul_0_16x
// CHECK:         scf.while
// CHECK:           nvvm.cp.async.shared.global %{{.*}}, %{{.*}}, 16, cache = cg
// CHECK:           nvvm.cp.async.commit.group
// CHECK:           scf.for
// CHECK:             nvvm.cp.async.wait.group
// CHECK-NEXT:        gpu.barrier
// CHECK:             nvvm.cp.async.shared.global
// CHECK:             nvvm.cp.async.commit.group
// CHECK:             nvvm.ldmatrix %{{.*}} {{.*}}num = 4
// CHECK:             nvvm.mma.sync {{.*}}multiplicandAPtxType = #nvvm.mma_type<bf16>{{.*}}shape = #nvvm.shape<m = 16, n = 8, k = 16>
// CHECK:           llvm.store %{{.*}} : vector<2xbf16>, !llvm.ptr<1>
// CHECK:           gpu.barrier
// CHECK-NEXT:      scf.yield

// CHECK-LABEL: gpu.func @gate_1
// CHECK:         scf.for
// CHECK:           nvvm.redux.sync umax
// CHECK:           nvvm.redux.sync umin

// CHECK-LABEL: gpu.func @plan_2
// CHECK:         nvvm.match.sync any
// CHECK:         nvvm.bar.warp.sync

// CHECK-LABEL: gpu.func @combine_3
// CHECK-NOT:     atomic
// CHECK:         math.fma {{.*}} : vector<8xf32>

// RUN: moe-opt %s --convert-grouped-to-loops --split-input-file --verify-diagnostics | FileCheck %s

// Values are confirmed by Integration/CPU; this pins what keeps them right.

// Plan: the ids are checked (C6) before anything is written; one pass counts,
// one fills in the order of (token, choice); rows without an expert get token 0;
// a numbered layer is counted.
// CHECK-LABEL: func @plan(
// CHECK-SAME:    %[[CTX:[a-z0-9]*]]: !llvm.ptr {moe.context}, %[[E:[a-z0-9]*]]: memref<?x2xi32>, %[[O:[a-z0-9]*]]: memref<9xi64>, %[[M:[a-z0-9]*]]: memref<?x2xi32>, %[[T:[a-z0-9]*]]: memref<?xi32>)
// CHECK-NOT:     memref.store
// CHECK:         moe.check {{.*}}message = "expects expert ids below {limit} and at least -1, got {found}"
// CHECK:         memref.store %{{.*}}, %[[O]]
// CHECK:         memref.store %{{.*}}, %[[M]]
// CHECK:         memref.store %{{.*}}, %[[T]]
// CHECK:         memref.store %c-1_i32, %[[M]]
// CHECK:         memref.store %c0_i32{{.*}}, %[[T]]
// CHECK:         call @moe_rt_count_experts(%[[CTX]], %c3_i32, %{{.*}}, %c8_i64
// CHECK-NOT:     omp.parallel
// CHECK:         return
func.func @plan(%ctx: !llvm.ptr {moe.context}, %e: memref<?x2xi32>, %o: memref<9xi64>, %m: memref<?x2xi32>, %t: memref<?xi32>) {
  %layer = arith.constant 3 : i32
  grouped.plan %e layer(%layer) outs(%o, %m, %t : memref<9xi64>, memref<?x2xi32>, memref<?xi32>) : memref<?x2xi32>
  return
}

// -----

// Combine: one thread owns a token; 16 columns at a time and then one by one,
// each sum a chain of multiply-adds in the order of the choices.
// CHECK-LABEL: func @combine(
// CHECK:         omp.parallel
// CHECK:           scf.for
// CHECK:             scf.for
// CHECK-COUNT-2:       math.fma {{.*}} : vector<16xf32>
// CHECK:               arith.truncf {{.*}} : vector<16xf32> to vector<16xbf16>
// CHECK:               vector.store
// CHECK:             scf.for
// CHECK-COUNT-2:       math.fma {{.*}} : f32
// CHECK-NOT:     math.fma
// CHECK:         return
func.func @combine(%ctx: !llvm.ptr {moe.context}, %r: memref<?x24xbf16>, %w: memref<?x2xf32>, %m: memref<?x2xi32>, %y: memref<?x24xbf16>) {
  grouped.combine %r, %w, %m outs(%y : memref<?x24xbf16>) : memref<?x24xbf16>, memref<?x2xf32>, memref<?x2xi32>
  return
}

// -----

// Gate: scores of all experts in f32, then the best that is left, k times; ties
// and NaN by the recipe; the weights are rounded to their type last.
// CHECK-LABEL: func @gate(
// CHECK:         omp.parallel
// CHECK:           arith.extf {{.*}} : f16 to f32
// CHECK:           arith.maximumf
// CHECK:           math.exp {{.*}} : f32
// CHECK:           arith.divf
// CHECK:           scf.for %{{.*}} = %{{.*}} to %c2
// CHECK:             arith.cmpf ogt
// CHECK:             arith.cmpf uno
// CHECK:           arith.truncf {{.*}} : f32 to f16
// CHECK:         return
func.func @gate(%ctx: !llvm.ptr {moe.context}, %l: memref<?x8xf16>, %w: memref<?x2xf16>, %e: memref<?x2xi32>) {
  grouped.gate %l outs(%w, %e : memref<?x2xf16>, memref<?x2xi32>) {k = 2 : i64} : memref<?x8xf16>
  return
}

// -----

// With the highest index first, an equal value takes the place of the best.
// CHECK-LABEL: func @highest(
// CHECK-NOT:     arith.cmpf ogt
// CHECK:         arith.cmpf oge
// CHECK-NOT:     math.exp
// CHECK:         return
func.func @highest(%ctx: !llvm.ptr {moe.context}, %l: memref<?x8xf32>, %w: memref<?x2xf32>, %e: memref<?x2xi32>) {
  grouped.gate %l outs(%w, %e : memref<?x2xf32>, memref<?x2xi32>) {k = 2 : i64, score = #moe.score<none>, tie_break = #moe.tie_break<highest_index>} : memref<?x8xf32>
  return
}

// -----

// Matmul: threads draw tasks; a task copies its rows through their tokens as
// f32, multiplies, and applies bias and epilogue to 16 columns at a time, of
// which only those that exist are written.
// CHECK-LABEL: func @matmul(
// CHECK-SAME:    %[[X:[a-z0-9]*]]: memref<?x64xbf16>, %[[T:[a-z0-9]*]]: memref<?xi32>,
// CHECK:         omp.parallel
// CHECK:           memref.atomic_rmw addi
// CHECK:           memref.load %[[T]]
// CHECK:           vector.load %[[X]]
// CHECK:           arith.extf {{.*}} : vector<16xbf16> to vector<16xf32>
// CHECK:           call @moe_tile_bf16_
// CHECK:           arith.addf {{.*}} : vector<16xf32>
// CHECK:           math.tanh {{.*}} : vector<16xf32>
// CHECK:           vector.store
// CHECK:           vector.create_mask
// CHECK:           math.tanh {{.*}} : vector<16xf32>
// CHECK:           vector.maskedstore
// CHECK-LABEL: func.func private @moe_tile_bf16_
func.func @matmul(%ctx: !llvm.ptr {moe.context}, %x: memref<?x64xbf16>, %t: memref<?xi32>, %o: memref<9xi64>, %p: memref<8x2x32x32xbf16>, %b: memref<8x24xf32>, %y: memref<?x24xf32>) {
  grouped.matmul %x[%t : memref<?xi32>] offsets(%o : memref<9xi64>) panels(%p : memref<8x2x32x32xbf16>) biases(%b : memref<8x24xf32>) outs(%y : memref<?x24xf32>)
    {schedule = {accumulators = 12 : i64, k_block = 256 : i64, panel_block = 16 : i64, row_block = 126 : i64, tile_panels = 1 : i64, tile_rows = 6 : i64, vectors_per_panel = 2 : i64}} : memref<?x64xbf16> epilogue {
  ^bb0(%a: f32):
    %0 = math.tanh %a : f32
    grouped.yield %0 : f32
  }
  return
}

// -----

func.func @tensors(%ctx: !llvm.ptr {moe.context}, %l: tensor<?x8xf32>, %w: tensor<?x2xf32>, %e: tensor<?x2xi32>) {
  // expected-error@+1 {{'grouped.gate' op expects memref operands (bufferize first)}}
  %0:2 = grouped.gate %l outs(%w, %e : tensor<?x2xf32>, tensor<?x2xi32>) {k = 2 : i64} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  return
}

// -----

func.func @unscheduled(%ctx: !llvm.ptr {moe.context}, %x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x16x16xf32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects a schedule (run grouped-schedule first)}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x16x16xf32>) outs(%y : memref<?x24xf32>) : memref<?x16xf32>
  return
}

// RUN: moe-opt %s --moe-outline-parallel-regions | FileCheck %s

llvm.func @use(i64, !llvm.ptr)

// CHECK-LABEL: llvm.func @main
// CHECK-SAME: (%[[P:.*]]: !llvm.ptr, %[[Q:.*]]: !llvm.ptr, %[[N:.*]]: i32)
llvm.func @main(%p: !llvm.ptr, %q: !llvm.ptr, %n: i32) {
  %c8 = llvm.mlir.constant(8 : i64) : i64
  %c9 = llvm.mlir.constant(9 : i64) : i64
  // Equal but for an argument: one function. The number of threads is one too.
  // CHECK: llvm.call @[[FIRST:moe_parallel[_0-9]*]](%[[N]], %[[P]])
  omp.parallel num_threads(%n : i32) {
    llvm.call @use(%c8, %p) : (i64, !llvm.ptr) -> ()
    omp.terminator
  }
  // CHECK: llvm.call @[[FIRST]](%[[N]], %[[Q]])
  omp.parallel num_threads(%n : i32) {
    llvm.call @use(%c8, %q) : (i64, !llvm.ptr) -> ()
    omp.terminator
  }
  // Another constant is another function.
  // CHECK: llvm.call @[[SECOND:moe_parallel[_0-9]*]](%[[N]], %[[Q]])
  omp.parallel num_threads(%n : i32) {
    llvm.call @use(%c9, %q) : (i64, !llvm.ptr) -> ()
    omp.terminator
  }
  // CHECK-NOT: omp.parallel
  // CHECK: llvm.return
  llvm.return
}

// CHECK-LABEL: llvm.func @nested
llvm.func @nested(%p: !llvm.ptr) {
  %c8 = llvm.mlir.constant(8 : i64) : i64
  // CHECK: llvm.call @[[THIRD:moe_parallel[_0-9]*]](%{{.*}}) : (!llvm.ptr) -> ()
  omp.parallel {
    omp.parallel {
      llvm.call @use(%c8, %p) : (i64, !llvm.ptr) -> ()
      omp.terminator
    }
    omp.terminator
  }
  llvm.return
}

// Constants are computed in the function.
// CHECK: llvm.func @[[FIRST]](%[[N0:.*]]: i32, %[[P0:.*]]: !llvm.ptr) attributes {passthrough = ["noinline"], sym_visibility = "private"}
// CHECK-NEXT: %[[C8:.*]] = llvm.mlir.constant(8 : i64)
// CHECK-NEXT: omp.parallel num_threads(%[[N0]] : i32) {
// CHECK-NEXT:   llvm.call @use(%[[C8]], %[[P0]])
// CHECK: llvm.func @[[SECOND]]
// CHECK-NEXT: llvm.mlir.constant(9 : i64)
// CHECK: llvm.func @[[THIRD]]
// CHECK: omp.parallel
// CHECK: omp.parallel

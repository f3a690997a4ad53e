// RUN: moe-opt %s --convert-moe-to-runtime --canonicalize --split-input-file --verify-diagnostics | FileCheck %s

// CHECK: module attributes {moe.sites = [
// CHECK-SAME: {message = "m {found}", node = "node 'n' (Gather)"},
// CHECK-SAME: {message = "m {found}", node = "node 'o' (Gather)"}]}
module {
moe.weight @w {file = "m.data", offset = 0 : i64, length = 128 : i64, section = 192 : i64} : tensor<4x8xf32>
// CHECK-LABEL: func.func @f(
// CHECK-SAME:    %[[CTX:.*]]: !llvm.ptr {moe.context}, %[[N:.*]]: index, %[[C:.*]]: i1, %[[A:.*]]: i64, %[[B:.*]]: i64)
func.func @f(%ctx: !llvm.ptr {moe.context}, %n: index, %c: i1, %a: i64, %b: i64) -> f32 {
  %c0 = arith.constant 0 : index
  // Six bytes per row, or INT64_MAX.
  // CHECK: %[[I64:.*]] = arith.index_cast %[[N]] : index to i64
  // CHECK: %[[LOW:.*]], %[[HIGH:.*]] = arith.mulsi_extended %[[I64]], %c6_i64 : i64
  // CHECK: %[[SIGN:.*]] = arith.shrsi %[[LOW]], %c63_i64
  // CHECK: %[[FITS:.*]] = arith.cmpi eq, %[[HIGH]], %[[SIGN]]
  // CHECK: %[[BYTES:.*]] = arith.select %[[FITS]], %[[LOW]], %c9223372036854775807_i64
  // CHECK: %[[P:.*]] = call @moe_rt_alloc(%[[CTX]], %[[BYTES]])
  %m = memref.alloc(%n) : memref<?x3xf16>
  // The weights' address is the context's first field.
  // CHECK: %[[BASE:.*]] = llvm.load %[[CTX]] : !llvm.ptr -> !llvm.ptr
  // CHECK: llvm.getelementptr %[[BASE]][192] : (!llvm.ptr) -> !llvm.ptr, i8
  %w = moe.get_weight @w : memref<4x8xf32>
  // Equal texts are stored once.
  // CHECK: call @moe_rt_check(%[[CTX]], %[[C]], %c0_i32, %[[A]], %[[B]])
  // CHECK: call @moe_rt_check(%[[CTX]], %[[C]], %c0_i32, %[[B]], %[[A]])
  // CHECK: call @moe_rt_check(%[[CTX]], %[[C]], %c1_i32, %[[A]], %[[B]])
  moe.check %c, %a, %b {node = "node 'n' (Gather)", message = "m {found}"}
  moe.check %c, %b, %a {node = "node 'n' (Gather)", message = "m {found}"}
  moe.check %c, %a, %b {node = "node 'o' (Gather)", message = "m {found}"}
  %0 = memref.load %w[%c0, %c0] : memref<4x8xf32>
  memref.store %0, %w[%c0, %c0] : memref<4x8xf32>
  // CHECK: call @moe_rt_free(%[[CTX]],
  memref.dealloc %m : memref<?x3xf16>
  return %0 : f32
}
}

// -----

// A dimension that was merged from others counts as these.
// CHECK-LABEL: func.func @merged(
// CHECK-SAME:    %[[CTX:.*]]: !llvm.ptr {moe.context}, %[[M:.*]]: index, %[[N:.*]]: index)
func.func @merged(%ctx: !llvm.ptr {moe.context}, %m: index, %n: index) {
  %mn = arith.muli %m, %n : index
  // CHECK: %[[I:.*]] = arith.index_cast %[[M]]
  // CHECK: %[[J:.*]] = arith.index_cast %[[N]]
  // CHECK: arith.mulsi_extended %[[I]], %[[J]]
  // CHECK: %[[BYTES:.*]] = arith.select
  // CHECK-NOT: mulsi_extended
  // CHECK: call @moe_rt_alloc(%[[CTX]], %[[BYTES]])
  %buffer = memref.alloc(%mn) : memref<?xi8>
  return
}

// -----

func.func @f(%n: index) {
  // expected-error@+1 {{'memref.alloc' op expects a function whose first argument is the session context (run moe-bind-context first)}}
  %m = memref.alloc(%n) : memref<?x3xf16>
  return
}

// -----

moe.weight @w {file = "m.data", offset = 0 : i64, length = 128 : i64} : tensor<4x8xf32>
func.func @f(%ctx: !llvm.ptr {moe.context}) -> memref<4x8xf32> {
  // expected-error@+1 {{'moe.get_weight' op expects @w to have a section (run moe-assign-weight-sections first)}}
  %w = moe.get_weight @w : memref<4x8xf32>
  return %w : memref<4x8xf32>
}

// -----

moe.weight @w {file = "m.data", offset = 0 : i64, length = 128 : i64, section = 0 : i64} : tensor<4x8xf32>
func.func @f(%ctx: !llvm.ptr {moe.context}) -> tensor<4x8xf32> {
  // expected-error@+1 {{'moe.get_weight' op expects a memref (bufferize first)}}
  %w = moe.get_weight @w : tensor<4x8xf32>
  return %w : tensor<4x8xf32>
}

// -----

func.func @f(%ctx: !llvm.ptr {moe.context}) {
  // expected-error@+1 {{'memref.alloc' op expects an identity layout}}
  %m = memref.alloc() : memref<4xf32, strided<[2]>>
  return
}

// -----

// A check leaves the run, which no thread of a team may do.
func.func @f(%ctx: !llvm.ptr {moe.context}, %c: i1, %a: i64) {
  omp.parallel {
    // expected-error@+1 {{'moe.check' op expects to be outside of loops that threads share}}
    moe.check %c, %a, %a {node = "n", message = "m"}
    omp.terminator
  }
  return
}

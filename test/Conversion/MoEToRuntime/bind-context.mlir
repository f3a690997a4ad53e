// RUN: moe-opt %s --moe-bind-context --canonicalize --split-input-file --verify-diagnostics | FileCheck %s

// Inputs are read, with their dynamic sizes, where the function begins; outputs
// are handed over where it ends; whatever is called gets the context.

// CHECK-LABEL: func.func @moe_compiled_main(
// CHECK-SAME:    %[[CTX:.*]]: !llvm.ptr {moe.context}) {
// CHECK:         %[[DATA:.*]] = call @moe_rt_input_data(%[[CTX]], %c0_i32) : (!llvm.ptr, i32) -> !llvm.ptr
// CHECK:         %[[ROWS:.*]] = call @moe_rt_input_dim(%[[CTX]], %c0_i32, %c0_i32) : (!llvm.ptr, i32, i32) -> i64
// CHECK-NOT:     call @moe_rt_input_dim
// CHECK:         %[[X:.*]] = builtin.unrealized_conversion_cast %{{.*}} : !llvm.struct<{{.*}}> to memref<?x4xf32>
// CHECK:         call @moe_rt_input_data(%[[CTX]], %c1_i32)
// CHECK:         %[[Y:.*]] = memref.alloc(
// CHECK:         call @helper(%[[CTX]], %[[X]]) : (!llvm.ptr, memref<?x4xf32>) -> ()
// CHECK:         %[[SHAPE:.*]] = llvm.alloca %c2_i64 x i64
// CHECK:         llvm.store %{{.*}}, %[[SHAPE]]
// CHECK:         %[[SECOND:.*]] = llvm.getelementptr %[[SHAPE]][1]
// CHECK:         llvm.store %c4_i64, %[[SECOND]]
// CHECK:         call @moe_rt_set_output(%[[CTX]], %c0_i32, %{{.*}}, %c2_i32, %[[SHAPE]])
// CHECK:         call @moe_rt_set_output(%[[CTX]], %c1_i32, %{{.*}}, %c0_i32, %{{.*}})
// CHECK-NEXT:    return
func.func @main(%x: memref<?x4xf32> {moe.name = "x"}, %s: memref<i64>) -> (memref<?x4xf32> {moe.name = "y"}, memref<f32>) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x4xf32>
  %y = memref.alloc(%n) : memref<?x4xf32>
  %z = memref.alloc() : memref<f32>
  call @helper(%x) : (memref<?x4xf32>) -> ()
  return %y, %z : memref<?x4xf32>, memref<f32>
}
// CHECK-LABEL: func.func private @helper(
// CHECK-SAME:    %{{.*}}: !llvm.ptr {moe.context}, %{{.*}}: memref<?x4xf32>)
// CHECK:         call @outside() : () -> ()
func.func private @helper(%x: memref<?x4xf32>) {
  func.call @outside() : () -> ()
  return
}
// CHECK-LABEL: func.func private @outside()
func.func private @outside()

// -----

// expected-error@+1 {{'func.func' op expects inputs and outputs to be memrefs with an identity layout, got 'memref<4xf32, strided<[2]>>'}}
func.func @main(%x: memref<4xf32, strided<[2]>>) {
  return
}

// -----

// expected-error@+1 {{'func.func' op expects inputs and outputs to be memrefs with an identity layout, got 'index'}}
func.func @main(%x: index) {
  return
}

// -----

// expected-error@+1 {{'func.func' op expects a single block}}
func.func @main(%x: memref<4xf32>) {
  cf.br ^bb1
^bb1:
  return
}

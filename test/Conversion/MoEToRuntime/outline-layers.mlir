// RUN: moe-opt %s --moe-outline-layers | FileCheck %s

// Three layers on other weights and buffers. The function takes what differs:
// the number of a check's text, and the first of the layer's profile regions,
// which count up from it. What all layers free is freed inside, what only the
// last one frees behind its call.
//
// CHECK:       module attributes {moe.sites = [{message = "expects {limit}", node = "a"}, {message = "expects {limit}", node = "b"}, {message = "expects {limit}", node = "c"}]}
// CHECK-LABEL: func.func @moe_compiled_main(
// CHECK-SAME:    %[[CTX:.*]]: !llvm.ptr {moe.context}
// CHECK:         %[[X:.*]] = memref.alloc()
// CHECK-NEXT:    %[[SHARED:.*]] = memref.alloc()
// CHECK-NEXT:    %[[R0:.*]] = arith.constant 100 : i32
// CHECK-NEXT:    %[[W0:.*]] = moe.get_weight @w0
// CHECK-NEXT:    %[[S0:.*]] = arith.constant 0 : i32
// CHECK-NEXT:    %[[A:.*]] = call @moe_layer_0(%[[CTX]], %[[R0]], %[[X]], %[[W0]], %[[S0]], %[[SHARED]])
// CHECK-NEXT:    %[[R1:.*]] = arith.constant 102 : i32
// CHECK-NEXT:    %[[W1:.*]] = moe.get_weight @w1
// CHECK-NEXT:    %[[S1:.*]] = arith.constant 1 : i32
// CHECK-NEXT:    %[[B:.*]] = call @moe_layer_0(%[[CTX]], %[[R1]], %[[A]], %[[W1]], %[[S1]], %[[SHARED]])
// CHECK-NEXT:    %[[R2:.*]] = arith.constant 104 : i32
// CHECK-NEXT:    %[[W2:.*]] = moe.get_weight @w2
// CHECK-NEXT:    %[[S2:.*]] = arith.constant 2 : i32
// CHECK-NEXT:    %[[C:.*]] = call @moe_layer_0(%[[CTX]], %[[R2]], %[[B]], %[[W2]], %[[S2]], %[[SHARED]])
// CHECK-NEXT:    memref.dealloc %[[SHARED]]
// CHECK-NEXT:    call @moe_kernel_last(%[[CTX]], %[[C]])
// CHECK-NEXT:    return
//
// CHECK-LABEL: func.func private @moe_layer_0(
// CHECK-SAME:    %[[CTX:.*]]: !llvm.ptr {moe.context}, %[[R:[a-z0-9]*]]: i32, %[[X:[a-z0-9]*]]: memref<8xf32>, %[[W:[a-z0-9]*]]: memref<8xf32>, %[[S:[a-z0-9]*]]: i32, %[[SHARED:[a-z0-9]*]]: memref<8xf32>)
// CHECK-SAME:    -> memref<8xf32> attributes {passthrough = ["noinline"]}
// CHECK-DAG:     %[[BEGIN:.*]] = arith.constant 1 : i32
// CHECK:         %[[Y:.*]] = memref.alloc()
// CHECK:         call @moe_rt_profile(%[[CTX]], %[[R]], %[[BEGIN]])
// CHECK:         call @moe_kernel_scale(%[[CTX]], %[[X]], %[[W]], %[[Y]])
// CHECK:         memref.dealloc %[[X]]
// CHECK:         call @moe_rt_check(%[[CTX]], %{{.*}}, %[[S]],
// CHECK:         %[[Z:.*]] = memref.alloc()
// CHECK:         %[[ONE:.*]] = arith.constant 1 : i32
// CHECK:         %[[NEXT:.*]] = arith.addi %[[R]], %[[ONE]] : i32
// CHECK:         call @moe_rt_profile(%[[CTX]], %[[NEXT]], %[[BEGIN]])
// CHECK:         call @moe_kernel_add(%[[CTX]], %[[Y]], %[[SHARED]], %[[Z]])
// CHECK:         memref.dealloc %[[Y]]
// CHECK:         return %[[Z]]

moe.weight @w0 {file = "m.data", offset = 0 : i64, length = 32 : i64} : tensor<8xf32>
moe.weight @w1 {file = "m.data", offset = 32 : i64, length = 32 : i64} : tensor<8xf32>
moe.weight @w2 {file = "m.data", offset = 64 : i64, length = 32 : i64} : tensor<8xf32>

func.func private @moe_rt_profile(!llvm.ptr, i32, i32)
func.func private @moe_kernel_scale(!llvm.ptr, memref<8xf32>, memref<8xf32>, memref<8xf32>)
func.func private @moe_kernel_add(!llvm.ptr, memref<8xf32>, memref<8xf32>, memref<8xf32>)
func.func private @moe_kernel_last(!llvm.ptr, memref<8xf32>)

func.func @moe_compiled_main(%ctx: !llvm.ptr {moe.context}) {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c100 = arith.constant 100 : i32
  %c101 = arith.constant 101 : i32
  %c102 = arith.constant 102 : i32
  %c103 = arith.constant 103 : i32
  %c104 = arith.constant 104 : i32
  %c105 = arith.constant 105 : i32
  %i0 = arith.constant 0 : index
  %i8 = arith.constant 8 : i64
  %x = memref.alloc() : memref<8xf32>
  %shared = memref.alloc() : memref<8xf32>
  %w0 = moe.get_weight @w0 : memref<8xf32>
  %y0 = memref.alloc() : memref<8xf32>
  func.call @moe_rt_profile(%ctx, %c100, %c1) : (!llvm.ptr, i32, i32) -> ()
  func.call @moe_kernel_scale(%ctx, %x, %w0, %y0) : (!llvm.ptr, memref<8xf32>, memref<8xf32>, memref<8xf32>) -> ()
  func.call @moe_rt_profile(%ctx, %c100, %c0) : (!llvm.ptr, i32, i32) -> ()
  memref.dealloc %x : memref<8xf32>
  %v0 = memref.load %y0[%i0] : memref<8xf32>
  %d0 = arith.fptosi %v0 : f32 to i64
  %k0 = arith.cmpi slt, %d0, %i8 : i64
  moe.check %k0, %d0, %i8 {message = "expects {limit}", node = "a"}
  %u0 = arith.addi %d0, %i8 : i64
  %q0 = arith.muli %u0, %d0 : i64
  %l0 = arith.cmpi slt, %q0, %i8 : i64
  moe.check %l0, %q0, %i8 {message = "expects {limit}", node = "a"}
  %z0 = memref.alloc() : memref<8xf32>
  func.call @moe_rt_profile(%ctx, %c101, %c1) : (!llvm.ptr, i32, i32) -> ()
  func.call @moe_kernel_add(%ctx, %y0, %shared, %z0) : (!llvm.ptr, memref<8xf32>, memref<8xf32>, memref<8xf32>) -> ()
  func.call @moe_rt_profile(%ctx, %c101, %c0) : (!llvm.ptr, i32, i32) -> ()
  memref.dealloc %y0 : memref<8xf32>
  %w1 = moe.get_weight @w1 : memref<8xf32>
  %y1 = memref.alloc() : memref<8xf32>
  func.call @moe_rt_profile(%ctx, %c102, %c1) : (!llvm.ptr, i32, i32) -> ()
  func.call @moe_kernel_scale(%ctx, %z0, %w1, %y1) : (!llvm.ptr, memref<8xf32>, memref<8xf32>, memref<8xf32>) -> ()
  func.call @moe_rt_profile(%ctx, %c102, %c0) : (!llvm.ptr, i32, i32) -> ()
  memref.dealloc %z0 : memref<8xf32>
  %v1 = memref.load %y1[%i0] : memref<8xf32>
  %d1 = arith.fptosi %v1 : f32 to i64
  %k1 = arith.cmpi slt, %d1, %i8 : i64
  moe.check %k1, %d1, %i8 {message = "expects {limit}", node = "b"}
  %u1 = arith.addi %d1, %i8 : i64
  %q1 = arith.muli %u1, %d1 : i64
  %l1 = arith.cmpi slt, %q1, %i8 : i64
  moe.check %l1, %q1, %i8 {message = "expects {limit}", node = "b"}
  %z1 = memref.alloc() : memref<8xf32>
  func.call @moe_rt_profile(%ctx, %c103, %c1) : (!llvm.ptr, i32, i32) -> ()
  func.call @moe_kernel_add(%ctx, %y1, %shared, %z1) : (!llvm.ptr, memref<8xf32>, memref<8xf32>, memref<8xf32>) -> ()
  func.call @moe_rt_profile(%ctx, %c103, %c0) : (!llvm.ptr, i32, i32) -> ()
  memref.dealloc %y1 : memref<8xf32>
  %w2 = moe.get_weight @w2 : memref<8xf32>
  %y2 = memref.alloc() : memref<8xf32>
  func.call @moe_rt_profile(%ctx, %c104, %c1) : (!llvm.ptr, i32, i32) -> ()
  func.call @moe_kernel_scale(%ctx, %z1, %w2, %y2) : (!llvm.ptr, memref<8xf32>, memref<8xf32>, memref<8xf32>) -> ()
  func.call @moe_rt_profile(%ctx, %c104, %c0) : (!llvm.ptr, i32, i32) -> ()
  memref.dealloc %z1 : memref<8xf32>
  %v2 = memref.load %y2[%i0] : memref<8xf32>
  %d2 = arith.fptosi %v2 : f32 to i64
  %k2 = arith.cmpi slt, %d2, %i8 : i64
  moe.check %k2, %d2, %i8 {message = "expects {limit}", node = "c"}
  %u2 = arith.addi %d2, %i8 : i64
  %q2 = arith.muli %u2, %d2 : i64
  %l2 = arith.cmpi slt, %q2, %i8 : i64
  moe.check %l2, %q2, %i8 {message = "expects {limit}", node = "c"}
  %z2 = memref.alloc() : memref<8xf32>
  func.call @moe_rt_profile(%ctx, %c105, %c1) : (!llvm.ptr, i32, i32) -> ()
  func.call @moe_kernel_add(%ctx, %y2, %shared, %z2) : (!llvm.ptr, memref<8xf32>, memref<8xf32>, memref<8xf32>) -> ()
  func.call @moe_rt_profile(%ctx, %c105, %c0) : (!llvm.ptr, i32, i32) -> ()
  memref.dealloc %y2 : memref<8xf32>
  memref.dealloc %shared : memref<8xf32>
  func.call @moe_kernel_last(%ctx, %z2) : (!llvm.ptr, memref<8xf32>) -> ()
  return
}

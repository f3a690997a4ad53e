// RUN: moe-opt %s --moe-profile-kernels | FileCheck %s

// CHECK: module attributes {moe.regions = ["node_linear: matmul", "generic"]}
func.func private @moe_kernel_matmul_12(!llvm.ptr, memref<4xf32>)
func.func private @moe_kernel_generic_0(!llvm.ptr, memref<4xf32>)
func.func private @other(!llvm.ptr)

// CHECK-LABEL: func.func @moe_compiled_main(
// CHECK-SAME: %[[CTX:.*]]: !llvm.ptr
func.func @moe_compiled_main(%ctx: !llvm.ptr {moe.context}, %x: memref<4xf32>) {
  // CHECK: call @moe_rt_profile(%[[CTX]], %c0_i32{{.*}}, %c1_i32
  // CHECK-NEXT: call @moe_kernel_matmul_12
  // CHECK: call @moe_rt_profile(%[[CTX]], %c0_i32{{.*}}, %c0_i32
  func.call @moe_kernel_matmul_12(%ctx, %x) : (!llvm.ptr, memref<4xf32>) -> () loc("node_linear"("model.onnx":0:0))
  // CHECK: call @moe_kernel_generic_0
  func.call @moe_kernel_generic_0(%ctx, %x) : (!llvm.ptr, memref<4xf32>) -> ()
  // CHECK: call @moe_rt_profile
  // CHECK-NEXT: call @other
  // CHECK-NOT: moe_rt_profile
  func.call @other(%ctx) : (!llvm.ptr) -> ()
  return
}

// RUN: moe-opt %s --pass-pipeline="builtin.module(func.func(gpu-place-buffers))" | FileCheck %s

moe.weight @w {file = "w.bin", offset = 0 : i64, length = 1024 : i64} : tensor<1x16x32xf16>
grouped.packed_weight @p [@w] : tensor<1x1x4x128xf16>

// What only kernels use lies on the device; inputs are copied there, and outputs back; weights come from the device's copy.
// CHECK-LABEL: func.func @chain(
// CHECK-SAME:    %[[X:.*]]: memref<?x32xf16>, %[[OFFSETS:.*]]: memref<2xi64>
func.func @chain(%x: memref<?x32xf16>, %offsets: memref<2xi64>, %map: memref<?x1xi32>, %weights: memref<?x1xf16>) -> memref<?x16xf16> {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x32xf16>
  %panels = moe.get_weight @p : memref<1x1x4x128xf16>
  // CHECK: %[[H:.*]] = memref.alloc(%{{.*}}) : memref<?x16xf16, 1>
  %h = memref.alloc(%n) : memref<?x16xf16>
  // CHECK: %[[Y:.*]] = memref.alloc(%{{.*}}) : memref<?x16xf16>
  %y = memref.alloc(%n) : memref<?x16xf16>
  // CHECK: %[[DX:.*]] = memref.alloc(%{{.*}}) : memref<?x32xf16, 1>
  // CHECK: memref.copy %[[X]], %[[DX]]
  // CHECK: %[[DO:.*]] = memref.alloc() : memref<2xi64, 1>
  // CHECK: memref.copy %[[OFFSETS]], %[[DO]]
  // CHECK: %[[PANELS:.*]] = moe.get_weight @p : memref<1x1x4x128xf16, 1>
  // CHECK: grouped.matmul %[[DX]] offsets(%[[DO]] : {{.*}}) panels(%[[PANELS]] : {{.*}}) outs(%[[H]] :
  // CHECK-NOT: memref.copy
  // CHECK: memref.dealloc %[[DX]]
  grouped.matmul %x offsets(%offsets : memref<2xi64>) panels(%panels : memref<1x1x4x128xf16>) outs(%h : memref<?x16xf16>) : memref<?x32xf16>
  // CHECK: %[[DY:.*]] = memref.alloc(%{{.*}}) : memref<?x16xf16, 1>
  // CHECK: grouped.combine %[[H]], {{.*}} outs(%[[DY]] :
  // CHECK: memref.copy %[[DY]], %[[Y]]
  grouped.combine %h, %weights, %map outs(%y : memref<?x16xf16>) : memref<?x16xf16>, memref<?x1xf16>, memref<?x1xi32>
  memref.dealloc %h : memref<?x16xf16>
  return %y : memref<?x16xf16>
}

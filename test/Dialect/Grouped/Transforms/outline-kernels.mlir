// RUN: moe-opt %s --grouped-outline-kernels | FileCheck %s

#map = affine_map<(d0) -> (d0)>

// Two equal kernels on different buffers share a function, a third one with
// another scalar does not; constants move along, other values are arguments.
// CHECK-LABEL: func.func @layers(
// CHECK-SAME: %[[A:.*]]: memref<?xf32>, %[[B:.*]]: memref<?xf32>, %[[S:.*]]: f32
func.func @layers(%a: memref<?xf32>, %b: memref<?xf32>, %s: f32) {
  %two = arith.constant 2.0 : f32
  %three = arith.constant 3.0 : f32
  // CHECK: call @[[TWICE:moe_kernel_generic_0]](%[[A]], %[[B]])
  linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]} ins(%a : memref<?xf32>) outs(%b : memref<?xf32>) {
  ^bb0(%x: f32, %y: f32):
    %0 = arith.mulf %x, %two : f32
    linalg.yield %0 : f32
  }
  // CHECK: call @[[TWICE]](%[[B]], %[[A]])
  linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]} ins(%b : memref<?xf32>) outs(%a : memref<?xf32>) {
  ^bb0(%x: f32, %y: f32):
    %0 = arith.mulf %x, %two : f32
    linalg.yield %0 : f32
  }
  // CHECK: call @[[THRICE:moe_kernel_generic_1]](%[[A]], %[[B]])
  linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]} ins(%a : memref<?xf32>) outs(%b : memref<?xf32>) {
  ^bb0(%x: f32, %y: f32):
    %0 = arith.mulf %x, %three : f32
    linalg.yield %0 : f32
  }
  // CHECK: call @[[SCALE:moe_kernel_generic_2]](%[[A]], %[[B]], %[[S]])
  linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]} ins(%a : memref<?xf32>) outs(%b : memref<?xf32>) {
  ^bb0(%x: f32, %y: f32):
    %0 = arith.mulf %x, %s : f32
    linalg.yield %0 : f32
  }
  // CHECK-NOT: linalg.generic
  return
}

// Not inlined again.
// CHECK: func.func private @[[TWICE]](%{{.*}}: memref<?xf32>, %{{.*}}: memref<?xf32>) attributes {passthrough = ["noinline"]} {
// CHECK: arith.constant 2.0
// CHECK: linalg.generic
// CHECK: func.func private @[[THRICE]]
// CHECK: arith.constant 3.0
// CHECK: func.func private @[[SCALE]](%{{.*}}: memref<?xf32>, %{{.*}}: memref<?xf32>, %{{.*}}: f32) attributes {passthrough = ["noinline"]} {

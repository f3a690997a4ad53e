// RUN: moe-opt %s --pass-pipeline="builtin.module(func.func(moe-expand-dynamic-shapes))" | FileCheck %s
// RUN: moe-opt %s --pass-pipeline="builtin.module(func.func(moe-expand-dynamic-shapes),expand-strided-metadata)" | FileCheck %s --check-prefix=NONE
// NONE-NOT: expand_shape

// CHECK-LABEL: func.func @two
// CHECK-SAME:    (%[[A:.+]]: memref<?x32xf32>, %[[M:.+]]: index, %[[N:.+]]: index)
// CHECK: %[[BASE:.+]], %{{.+}}, %{{.+}}:2, %{{.+}}:2 = memref.extract_strided_metadata %[[A]]
// CHECK: %[[S:.+]] = arith.muli %{{.+}}, %[[N]]
// CHECK: memref.reinterpret_cast %[[BASE]] to offset: [0], sizes: [%[[M]], %[[N]], 32], strides: [%[[S]], 32, 1] : memref<f32> to memref<?x?x32xf32>
func.func @two(%a: memref<?x32xf32>, %m: index, %n: index) -> memref<?x?x32xf32> {
  %e = memref.expand_shape %a [[0, 1], [2]] output_shape [%m, %n, 32] : memref<?x32xf32> into memref<?x?x32xf32>
  return %e : memref<?x?x32xf32>
}

// One dynamic size is left to the upstream pass.
// CHECK-LABEL: func.func @one
// CHECK: memref.expand_shape
func.func @one(%a: memref<?x32xf32>, %m: index) -> memref<?x4x32xf32> {
  %e = memref.expand_shape %a [[0, 1], [2]] output_shape [%m, 4, 32] : memref<?x32xf32> into memref<?x4x32xf32>
  return %e : memref<?x4x32xf32>
}

// RUN: moe-opt %s --grouped-bufferize --canonicalize --cse | FileCheck %s

moe.weight @w {file = "m.data", offset = 0 : i64, length = 128 : i64} : tensor<4x8xf32>

// Inputs and weights are not ours to write: what would change them changes a
// copy. Unchanged, they are returned as they are.
// CHECK-LABEL: func.func @main(
// CHECK-SAME:    %[[X:[a-z0-9]*]]: memref<4x8xf32>, %[[I:.*]]: index)
// CHECK:         %[[W:.*]] = moe.get_weight @w : memref<4x8xf32>
// CHECK:         %[[A:.*]] = memref.alloc()
// CHECK:         linalg.copy ins(%[[X]] : memref<4x8xf32>) outs(%[[A]] : memref<4x8xf32>)
// CHECK:         memref.store %{{.*}}, %[[A]]
// CHECK:         %[[B:.*]] = memref.alloc()
// CHECK:         linalg.copy ins(%[[W]] : memref<4x8xf32>) outs(%[[B]] : memref<4x8xf32>)
// CHECK:         memref.store %{{.*}}, %[[B]]
// CHECK:         return %[[A]], %[[B]], %[[W]], %[[X]]
func.func @main(%x: tensor<4x8xf32>, %i: index) -> (tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>) {
  %w = moe.get_weight @w : tensor<4x8xf32>
  %c = arith.constant 1.0 : f32
  %0 = tensor.insert %c into %x[%i, %i] : tensor<4x8xf32>
  %1 = tensor.insert %c into %w[%i, %i] : tensor<4x8xf32>
  return %0, %1, %w, %x : tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>
}

// A kernel overwrites its outs and leaves its inputs alone: the outs are fresh
// buffers, nothing is copied.
// CHECK-LABEL: func.func @layer(
// CHECK-NOT:     copy
// CHECK-DAG:     %[[O:.*]] = memref.alloc() {{.*}} : memref<9xi64>
// CHECK-DAG:     %[[H:.*]] = memref.alloc(%[[R:.*]]) {{.*}} : memref<?x24xf32>
// CHECK-DAG:     %[[R]] = arith.muli
// CHECK:         grouped.plan %{{.*}} outs(%[[O]],
// CHECK:         grouped.matmul %{{.*}} offsets(%[[O]] : memref<9xi64>) {{.*}} outs(%[[H]] : memref<?x24xf32>)
// CHECK:         grouped.combine %[[H]],
// CHECK-NOT:     copy
// CHECK:         return
func.func @layer(%x: tensor<?x32xf32>, %e: tensor<?x2xi32>, %p: tensor<8x2x32x16xf32>, %w: tensor<?x2xf32>) -> tensor<?x24xf32> {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %t = tensor.dim %e, %c0 : tensor<?x2xi32>
  %r = arith.muli %t, %c2 : index
  %o0 = tensor.empty() : tensor<9xi64>
  %m0 = tensor.empty(%t) : tensor<?x2xi32>
  %t0 = tensor.empty(%r) : tensor<?xi32>
  %h0 = tensor.empty(%r) : tensor<?x24xf32>
  %y0 = tensor.empty(%t) : tensor<?x24xf32>
  %o, %m, %k = grouped.plan %e outs(%o0, %m0, %t0 : tensor<9xi64>, tensor<?x2xi32>, tensor<?xi32>) : tensor<?x2xi32> -> tensor<9xi64>, tensor<?x2xi32>, tensor<?xi32>
  %h = grouped.matmul %x[%k : tensor<?xi32>] offsets(%o : tensor<9xi64>) panels(%p : tensor<8x2x32x16xf32>) outs(%h0 : tensor<?x24xf32>) : tensor<?x32xf32> -> tensor<?x24xf32>
  %y = grouped.combine %h, %w, %m outs(%y0 : tensor<?x24xf32>) : tensor<?x24xf32>, tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// An input as outs: the caller's memory again.
// CHECK-LABEL: func.func @outs(
// CHECK-SAME:    %{{.*}}, %[[Y:[a-z0-9]*]]: memref<?x16xf32>)
// CHECK:         %[[A:.*]] = memref.alloc(
// CHECK-NOT:     copy
// CHECK:         grouped.combine {{.*}} outs(%[[A]] : memref<?x16xf32>)
// CHECK:         return %[[A]]
func.func @outs(%h: tensor<?x16xf32>, %w: tensor<?x2xf32>, %m: tensor<?x2xi32>, %y: tensor<?x16xf32>) -> tensor<?x16xf32> {
  %0 = grouped.combine %h, %w, %m outs(%y : tensor<?x16xf32>) : tensor<?x16xf32>, tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x16xf32>
  return %0 : tensor<?x16xf32>
}

// Kernels address whole rows: a slice is copied in front of a kernel that reads
// it, behind one that writes it.
// CHECK-LABEL: func.func @slices(
// CHECK-SAME:    %[[X:[a-z0-9]*]]: memref<?x32xf32>,
// CHECK:         %[[IN:.*]] = memref.subview %[[X]][0, 16]
// CHECK:         %[[ROWS:.*]] = memref.alloc(%{{.*}}) {{.*}} : memref<?x16xf32>
// CHECK:         linalg.copy ins(%[[IN]] : {{.*}}) outs(%[[ROWS]] : memref<?x16xf32>)
// CHECK:         %[[SUMS:.*]] = memref.alloc(%{{.*}}) {{.*}} : memref<?x16xf32>
// CHECK-NOT:     copy
// CHECK:         grouped.combine %[[ROWS]], {{.*}} outs(%[[SUMS]] : memref<?x16xf32>)
// CHECK:         linalg.copy ins(%[[SUMS]] : memref<?x16xf32>)
func.func @slices(%x: tensor<?x32xf32>, %w: tensor<?x2xf32>, %m: tensor<?x2xi32>) -> tensor<?x32xf32> {
  %c0 = arith.constant 0 : index
  %t = tensor.dim %m, %c0 : tensor<?x2xi32>
  %r = tensor.dim %x, %c0 : tensor<?x32xf32>
  %h = tensor.extract_slice %x[0, 16][%r, 16][1, 1] : tensor<?x32xf32> to tensor<?x16xf32>
  %e = tensor.empty(%t) : tensor<?x32xf32>
  %o = tensor.empty(%t) : tensor<?x16xf32>
  %0 = grouped.combine %h, %w, %m outs(%o : tensor<?x16xf32>) : tensor<?x16xf32>, tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x16xf32>
  %1 = tensor.insert_slice %0 into %e[0, 16][%t, 16][1, 1] : tensor<?x16xf32> into tensor<?x32xf32>
  return %1 : tensor<?x32xf32>
}

// What CSE has merged is made once per writer again, right before it: nothing
// is copied, and no buffer lives longer than its reader.
// CHECK-LABEL: func.func @shared_fill(
// CHECK-NOT:     copy
// CHECK:         %[[A:.*]] = memref.alloc(
// CHECK-NEXT:    linalg.fill {{.*}} outs(%[[A]] : memref<?xf32>)
// CHECK-NEXT:    linalg.generic {{.*}} outs(%[[A]] : memref<?xf32>)
// CHECK-NOT:     copy
// CHECK:         %[[B:.*]] = memref.alloc(
// CHECK-NEXT:    linalg.fill {{.*}} outs(%[[B]] : memref<?xf32>)
// CHECK-NEXT:    linalg.generic {{.*}} outs(%[[B]] : memref<?xf32>)
// CHECK-NOT:     copy
// CHECK:         return %[[A]], %[[B]]
#rows = affine_map<(d0, d1) -> (d0)>
#all = affine_map<(d0, d1) -> (d0, d1)>
func.func @shared_fill(%x: tensor<?x8xf32>, %y: tensor<?x8xf32>, %t: index) -> (tensor<?xf32>, tensor<?xf32>) {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty(%t) : tensor<?xf32>
  %0 = linalg.fill ins(%zero : f32) outs(%e : tensor<?xf32>) -> tensor<?xf32>
  %1 = linalg.generic {indexing_maps = [#all, #rows], iterator_types = ["parallel", "reduction"]} ins(%x : tensor<?x8xf32>) outs(%0 : tensor<?xf32>) {
  ^bb0(%in: f32, %out: f32):
    %s = arith.addf %out, %in : f32
    linalg.yield %s : f32
  } -> tensor<?xf32>
  %2 = linalg.generic {indexing_maps = [#all, #rows], iterator_types = ["parallel", "reduction"]} ins(%y : tensor<?x8xf32>) outs(%0 : tensor<?xf32>) {
  ^bb0(%in: f32, %out: f32):
    %s = arith.addf %out, %in : f32
    linalg.yield %s : f32
  } -> tensor<?xf32>
  return %1, %2 : tensor<?xf32>, tensor<?xf32>
}

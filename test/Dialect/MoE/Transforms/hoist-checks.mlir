// RUN: moe-opt %s --pass-pipeline="builtin.module(func.func(moe-hoist-checks))" | FileCheck %s
// RUN: moe-opt %s --pass-pipeline="builtin.module(func.func(moe-hoist-checks,canonicalize))" | FileCheck %s --check-prefix=SAFE

// The check depends on an argument only. Behind it, the static size that the
// product has may spread to the code in front of the product.

// CHECK-LABEL: func.func @argument
// CHECK: %[[D:.+]] = tensor.dim %arg0
// CHECK: %[[OK:.+]] = arith.cmpi eq, %[[D]]
// CHECK: moe.check %[[OK]]
// CHECK: math.absf
// CHECK: linalg.matmul
// SAFE-LABEL: func.func @argument
// SAFE: moe.check
// SAFE: tensor.cast %arg0 : tensor<?x?xf32> to tensor<?x16xf32>
// SAFE: math.absf
func.func @argument(%x: tensor<?x?xf32>, %w: tensor<16x8xf32>, %init: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %rows = tensor.dim %x, %c0 : tensor<?x?xf32>
  %columns = tensor.dim %x, %c1 : tensor<?x?xf32>
  %empty = tensor.empty(%rows, %columns) : tensor<?x?xf32>
  %abs = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
                         iterator_types = ["parallel", "parallel"]}
      ins(%x : tensor<?x?xf32>) outs(%empty : tensor<?x?xf32>) {
  ^bb0(%in: f32, %out: f32):
    %0 = math.absf %in : f32
    linalg.yield %0 : f32
  } -> tensor<?x?xf32>
  %c16 = arith.constant 16 : index
  %again = tensor.dim %x, %c1 : tensor<?x?xf32>
  %ok = arith.cmpi eq, %again, %c16 : index
  %found = arith.index_cast %again : index to i64
  %limit = arith.index_cast %c16 : index to i64
  moe.check %ok, %found, %limit {node = "product", message = "expects {limit}, got {found}"}
  %cast = tensor.cast %abs : tensor<?x?xf32> to tensor<?x16xf32>
  %y = linalg.matmul ins(%cast, %w : tensor<?x16xf32>, tensor<16x8xf32>) outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// What data decides is checked behind the data, in front of what comes next; a
// division that could trap stays where it is.

// CHECK-LABEL: func.func @data
// CHECK: moe.check {{.*}}"first"
// CHECK: %[[SIZE:.+]] = tensor.extract
// CHECK: moe.check {{.*}}"second"
// CHECK: moe.check {{.*}}"third"
// CHECK: tensor.empty
// CHECK: arith.divui
// CHECK: moe.check {{.*}}"fourth"
func.func @data(%sizes: tensor<1xindex>, %n: index, %ok: i1, %i: i64) -> (tensor<?xf32>, index) {
  %c0 = arith.constant 0 : index
  %size = tensor.extract %sizes[%c0] : tensor<1xindex>
  %empty = tensor.empty(%size) : tensor<?xf32>
  %large = arith.cmpi sge, %size, %n : index
  %s = arith.index_cast %size : index to i64
  moe.check %large, %s, %i {node = "n", message = "second"}
  moe.check %ok, %i, %i {node = "n", message = "first"}
  %quotient = arith.divui %n, %size : index
  %even = arith.cmpi eq, %quotient, %n : index
  %fits = arith.cmpi sle, %size, %n : index
  moe.check %fits, %s, %i {node = "n", message = "third"}
  moe.check %even, %s, %i {node = "n", message = "fourth"}
  return %empty, %quotient : tensor<?xf32>, index
}

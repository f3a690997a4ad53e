// RUN: moe-opt %s --moe-record-signature --split-input-file --verify-diagnostics | FileCheck %s

// Names, symbolic dimensions and sign survive; the past input and the output
// that continues it are a cache binding, also through casts.
// CHECK: module attributes {moe.signature = {caches = [{axis = 1 : i64, input = 1 : i64, output = 1 : i64}],
// CHECK-SAME: inputs = [{dims = ["batch", "seq"], name = "ids", type = tensor<?x?xui8>}, {dims = ["batch", "past", ""], name = "past.0", type = tensor<?x?x4xf32>}, {dims = ["", "", ""], name = "input2", type = tensor<?x?x4xf32>}]
// CHECK-SAME: outputs = [{dims = ["batch", "seq"], name = "y", type = tensor<?x?xi8>}, {dims = ["", "", ""], name = "present.0", type = tensor<?x?x4xf32>}]
func.func @main(
    %ids: tensor<?x?xi8> {moe.name = "ids", moe.dims = ["batch", "seq"], moe.unsigned},
    %past: tensor<?x?x4xf32> {moe.name = "past.0", moe.dims = ["batch", "past", ""]},
    %new: tensor<?x?x4xf32>)
    -> (tensor<?x?xi8> {moe.name = "y", moe.dims = ["batch", "seq"]},
        tensor<?x?x4xf32> {moe.name = "present.0"}) {
  %0 = tensor.cast %past : tensor<?x?x4xf32> to tensor<2x?x4xf32>
  %1 = tensor.cast %new : tensor<?x?x4xf32> to tensor<2x?x4xf32>
  %2 = tensor.concat dim(1) %0, %1 : (tensor<2x?x4xf32>, tensor<2x?x4xf32>) -> tensor<2x?x4xf32>
  %3 = tensor.cast %2 : tensor<2x?x4xf32> to tensor<?x?x4xf32>
  return %ids, %3 : tensor<?x?xi8>, tensor<?x?x4xf32>
}

// -----

// What is there already stays.
// CHECK: module attributes {moe.signature = "mine"}
module attributes {moe.signature = "mine"} {
  func.func @main(%x: tensor<?xf32>) -> tensor<?xf32> {
    return %x : tensor<?xf32>
  }
}

// -----

// expected-error@+1 {{expects every input to be a ranked tensor, got 'tensor<*xf32>'}}
func.func @main(%x: tensor<*xf32>) -> tensor<*xf32> {
  return %x : tensor<*xf32>
}

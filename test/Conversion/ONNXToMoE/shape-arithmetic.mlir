// RUN: moe-opt %s --convert-onnx-to-moe --canonicalize --cse | FileCheck %s

// Shape, Gather, Mul and Concat leave a reassociation, and nothing else.
// CHECK-LABEL: func.func @merge
// CHECK-SAME: (%[[X:.*]]: tensor<?x?x8xf32> {moe.dims = ["batch", "seq", ""]}) -> tensor<?x8xf32>
// CHECK-NEXT: %[[R:.*]] = tensor.collapse_shape %[[X]] {{\[\[}}0, 1], [2]] : tensor<?x?x8xf32> into tensor<?x8xf32>
// CHECK-NEXT: return %[[R]]
func.func @merge(%x: tensor<?x?x8xf32> {moe.dims = ["batch", "seq", ""]}) -> tensor<*xf32> {
  %zero = onnx.constant dense<0> : tensor<i64>
  %one = onnx.constant dense<1> : tensor<i64>
  %axis = onnx.constant dense<0> : tensor<1xi64>
  %eight = onnx.constant dense<8> : tensor<1xi64>
  %s = onnx.node "Shape"(%x) opset 15 : (tensor<?x?x8xf32>) -> tensor<3xi64>
  %b = onnx.node "Gather"(%s, %zero) opset 13 : (tensor<3xi64>, tensor<i64>) -> tensor<i64>
  %q = onnx.node "Gather"(%s, %one) opset 13 : (tensor<3xi64>, tensor<i64>) -> tensor<i64>
  %t = onnx.node "Mul"(%b, %q) opset 14 : (tensor<i64>, tensor<i64>) -> tensor<i64>
  %u = onnx.node "Unsqueeze"(%t, %axis) opset 13 : (tensor<i64>, tensor<1xi64>) -> tensor<1xi64>
  %c = onnx.node "Concat"(%u, %eight) {axis = 0 : i64} opset 13 : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %r = onnx.node "Reshape"(%x, %c) opset 14 : (tensor<?x?x8xf32>, tensor<2xi64>) -> tensor<*xf32>
  return %r : tensor<*xf32>
}

// Equal names are equal sizes, whichever input they come from; -1 is a quotient.
// CHECK-LABEL: func.func @split
// CHECK-NOT: moe.check
// CHECK: tensor.expand_shape {{.*}} : tensor<?x32xf32> into tensor<?x?x4x8xf32>
// CHECK-NOT: moe.check
// CHECK: return
func.func @split(%x: tensor<?x?x32xf32> {moe.dims = ["batch", "seq", ""]},
                 %ids: tensor<?x?xi64> {moe.dims = ["batch", "seq"]}) -> tensor<*xf32> {
  %flat = onnx.constant dense<[-1, 32]> : tensor<2xi64>
  %tail = onnx.constant dense<[-1, 8]> : tensor<2xi64>
  %rows = onnx.node "Reshape"(%x, %flat) opset 14 : (tensor<?x?x32xf32>, tensor<2xi64>) -> tensor<?x32xf32>
  %s = onnx.node "Shape"(%ids) opset 15 : (tensor<?x?xi64>) -> tensor<2xi64>
  %c = onnx.node "Concat"(%s, %tail) {axis = 0 : i64} opset 13 : (tensor<2xi64>, tensor<2xi64>) -> tensor<4xi64>
  %r = onnx.node "Reshape"(%rows, %c) opset 14 : (tensor<?x32xf32>, tensor<4xi64>) -> tensor<*xf32>
  return %r : tensor<*xf32>
}

// What is not known is checked before it is used.
// CHECK-LABEL: func.func @checked
// CHECK: %[[LOW:.*]], %[[HIGH:.*]] = arith.mulsi_extended
// CHECK: %[[COUNT:.*]] = arith.select %{{.*}}, %[[LOW]], %c9223372036854775807_i64
// CHECK: %[[OK:.*]] = arith.cmpi eq, %[[COUNT]]
// CHECK: moe.check %[[OK]], %[[COUNT]], {{.*}} {message = "expects a shape of {limit} elements, got {found+}", node = "node 'n' (Reshape)"}
// CHECK: tensor.expand_shape
func.func @checked(%x: tensor<?xf32>, %n: tensor<?xi64>) -> tensor<*xf32> {
  %s = onnx.node "Shape"(%n) opset 15 : (tensor<?xi64>) -> tensor<1xi64>
  %four = onnx.constant dense<4> : tensor<1xi64>
  %c = onnx.node "Concat"(%s, %four) {axis = 0 : i64} opset 13 : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %r = onnx.node "Reshape"(%x, %c) name "n" opset 14 : (tensor<?xf32>, tensor<2xi64>) -> tensor<*xf32>
  return %r : tensor<*xf32>
}

// Sizes become a tensor where the model returns them.
// CHECK-LABEL: func.func @returned
// CHECK: %[[D:.*]] = tensor.dim
// CHECK: %[[I:.*]] = arith.index_cast %[[D]] : index to i64
// CHECK: tensor.from_elements %[[I]], %{{.*}} : tensor<2xi64>
func.func @returned(%x: tensor<?x8xf32>) -> tensor<2xi64> {
  %s = onnx.node "Shape"(%x) opset 15 : (tensor<?x8xf32>) -> tensor<2xi64>
  return %s : tensor<2xi64>
}

// A shape that is data is checked by its product, which saturates; one of dimensions is left to the allocation.
// CHECK-LABEL: func.func @made
// CHECK-COUNT-2: moe.check {{.*}}"expects no negative size, got {found}"
// CHECK: arith.mulsi_extended
// CHECK: moe.check {{.*}}"expects a shape of at most {limit} elements beside sizes of 0, got {found+}"
// CHECK-NOT: moe.check
// CHECK: return
func.func @made(%shape: tensor<2xi64>, %x: tensor<?x?xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %data = onnx.node "ConstantOfShape"(%shape) name "n" opset 20 : (tensor<2xi64>) -> tensor<*xf32>
  %s = onnx.node "Shape"(%x) opset 15 : (tensor<?x?xf32>) -> tensor<2xi64>
  %dims = onnx.node "ConstantOfShape"(%s) opset 20 : (tensor<2xi64>) -> tensor<*xf32>
  return %data, %dims : tensor<*xf32>, tensor<*xf32>
}

// A result keeps the name of an input's dimension unless its size is another.
// CHECK-LABEL: func.func @names
// CHECK-SAME: -> (tensor<?xf32> {moe.dims = [""]}, tensor<?xf32> {moe.dims = ["n"]}, tensor<?xf32> {moe.dims = ["twice"]})
func.func @names(%x: tensor<?xf32> {moe.dims = ["n"]})
    -> (tensor<?xf32> {moe.dims = ["n"]}, tensor<?xf32> {moe.dims = ["n"]}, tensor<?xf32> {moe.dims = ["twice"]}) {
  %0 = onnx.node "Concat"(%x, %x) {axis = 0 : i64} opset 13 : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
  %1 = onnx.node "Relu"(%x) opset 14 : (tensor<?xf32>) -> tensor<?xf32>
  return %0, %1, %0 : tensor<?xf32>, tensor<?xf32>, tensor<?xf32>
}

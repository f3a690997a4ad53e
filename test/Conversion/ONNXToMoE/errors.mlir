// RUN: moe-opt %s --convert-onnx-to-moe --split-input-file --verify-diagnostics

func.func @main(%x: tensor<?x4xf32>, %y: tensor<3x5xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (Add): expects shapes that broadcast, got sizes 4 and 5 at the same place}}
  %0 = onnx.node "Add"(%x, %y) name "n" opset 14 : (tensor<?x4xf32>, tensor<3x5xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<4xf32>, %y: tensor<4xi64>) -> tensor<*xf32> {
  // expected-error @+1 {{(Add): expects operands of one type, got 'f32' and 'i64'}}
  %0 = onnx.node "Add"(%x, %y) opset 14 : (tensor<4xf32>, tensor<4xi64>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<2x3xf32>, %y: tensor<4x5xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{(MatMul): expects inner dimensions that agree, got 3 and 4}}
  %0 = onnx.node "MatMul"(%x, %y) opset 13 : (tensor<2x3xf32>, tensor<4x5xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<2x3xf32>) -> tensor<*xf32> {
  %s = onnx.constant dense<[4, 2]> : tensor<2xi64>
  // expected-error @+1 {{(Reshape): expects a shape of 6 elements, got 8}}
  %0 = onnx.node "Reshape"(%x, %s) opset 14 : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<2x3xf32>) -> tensor<*xf32> {
  %i = onnx.constant dense<[0, 3]> : tensor<2xi64>
  // expected-error @+1 {{(Gather): expects every index to lie in an axis of size 3, got 3}}
  %0 = onnx.node "Gather"(%x, %i) {axis = 1 : i64} opset 13 : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<2x3xf32>) -> (tensor<*xf32>, tensor<*xi64>) {
  %k = onnx.constant dense<4> : tensor<1xi64>
  // expected-error @+1 {{(TopK): expects k to lie in [0, size of the axis], got 4}}
  %0:2 = onnx.node "TopK"(%x, %k) opset 11 : (tensor<2x3xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>)
  return %0#0, %0#1 : tensor<*xf32>, tensor<*xi64>
}

// -----

func.func @main(%x: tensor<2x3xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{(Softmax): expects an axis in [-2, 2), got 2}}
  %0 = onnx.node "Softmax"(%x) {axis = 2 : i64} opset 13 : (tensor<2x3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<2x3xf32>) -> tensor<*xf16> {
  // expected-error @+1 {{(Relu): output 0 is declared with elements of type 'f16' but has 'f32'}}
  %0 = onnx.node "Relu"(%x) opset 14 : (tensor<2x3xf32>) -> tensor<*xf16>
  return %0 : tensor<*xf16>
}

// -----

// expected-error @+1 {{input 0: expects a tensor of known rank, got 'tensor<*xf32>'}}
func.func @main(%x: tensor<*xf32>) -> tensor<*xf32> {
  return %x : tensor<*xf32>
}

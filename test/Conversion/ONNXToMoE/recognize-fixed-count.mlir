// RUN: moe-opt %s --onnx-recognize-moe --split-input-file --verify-diagnostics

// Experts that were unrolled over those that got tokens when the model was
// traced, behind a choice that no form knows (Switch, by torchscript).

func.func @traced(%x: tensor<?x?x3xf32>, %probe: tensor<3x2xf32>, %w: tensor<3x3xf32>) -> tensor<?x3xf32> {
  %zero = onnx.constant dense<0> : tensor<i64>
  %one = onnx.constant dense<1> : tensor<1xi64>
  %depth = onnx.constant dense<2> : tensor<i64>
  %values = onnx.constant dense<[0, 1]> : tensor<2xi64>
  %axes = onnx.constant dense<[1, 2]> : tensor<2xi64>
  %ones = onnx.constant dense<[1, 1]> : tensor<2xi64>
  %flat = onnx.constant dense<[-1, 1, 2]> : tensor<3xi64>
  %rows = onnx.constant dense<[-1, 3]> : tensor<2xi64>
  %logits = onnx.node "MatMul"(%x, %probe) opset 17 : (tensor<?x?x3xf32>, tensor<3x2xf32>) -> tensor<?x?x2xf32>
  %best = onnx.node "ArgMax"(%logits) {axis = -1 : i64, keepdims = 0 : i64} name "choose" opset 17 : (tensor<?x?x2xf32>) -> tensor<?x?xi64>
  %hot = onnx.node "OneHot"(%best, %depth, %values) opset 17 : (tensor<?x?xi64>, tensor<i64>, tensor<2xi64>) -> tensor<?x?x2xi64>
  %tokens = onnx.node "Reshape"(%hot, %flat) opset 17 : (tensor<?x?x2xi64>, tensor<3xi64>) -> tensor<?x1x2xi64>
  %masks = onnx.node "Transpose"(%tokens) {perm = array<i64: 2, 1, 0>} opset 17 : (tensor<?x1x2xi64>) -> tensor<2x1x?xi64>
  %used = onnx.node "ReduceSum"(%masks, %axes) {keepdims = 0 : i64} opset 17 : (tensor<2x1x?xi64>, tensor<2xi64>) -> tensor<2xi64>
  %any = onnx.node "Greater"(%used, %zero) opset 17 : (tensor<2xi64>, tensor<i64>) -> tensor<2xi1>
  %hit = onnx.node "NonZero"(%any) opset 17 : (tensor<2xi1>) -> tensor<1x?xi64>
  %list = onnx.node "Transpose"(%hit) opset 17 : (tensor<1x?xi64>) -> tensor<?x1xi64>
  %part:2 = onnx.node "Split"(%list, %ones) opset 17 : (tensor<?x1xi64>, tensor<2xi64>) -> (tensor<1x1xi64>, tensor<1x1xi64>)
  %which = onnx.node "Squeeze"(%part#1, %one) opset 17 : (tensor<1x1xi64>, tensor<1xi64>) -> tensor<1xi64>
  // expected-warning @+1 {{node 'choose' (ArgMax) chooses experts, but the number of experts that get tokens is fixed to 2, as it was for the input that the model was traced with}}
  %mask = onnx.node "Gather"(%masks, %which) opset 17 : (tensor<2x1x?xi64>, tensor<1xi64>) -> tensor<1x1x?xi64>
  %at = onnx.node "Squeeze"(%mask) opset 17 : (tensor<1x1x?xi64>) -> tensor<?xi64>
  %all = onnx.node "Reshape"(%x, %rows) opset 17 : (tensor<?x?x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  %own = onnx.node "Gather"(%all, %at) opset 17 : (tensor<?x3xf32>, tensor<?xi64>) -> tensor<?x3xf32>
  %y = onnx.node "MatMul"(%own, %w) opset 17 : (tensor<?x3xf32>, tensor<3x3xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

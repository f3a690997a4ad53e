// RUN: not moe-opt %s --convert-onnx-to-moe -o /dev/null 2>&1 | FileCheck %s
// RUN: not moe-opt %s --convert-onnx-to-moe -o /dev/null 2>&1 | grep -c error: | FileCheck %s --check-prefix=COUNT

// All of them at once; nothing else is reported before.
// COUNT: {{^}}5{{$}}
func.func @main(%x: tensor<?x4xf32>, %shape: tensor<2xi64>) -> tensor<*xf32> {
  // CHECK: error: node 'n0' (Frobnicate): operator is not supported (domain 'ai.onnx', opset 20)
  %0 = onnx.node "Frobnicate"(%x) name "n0" opset 20 : (tensor<?x4xf32>) -> tensor<*xf32>
  // CHECK: error: node 'n1' (com.example::Add): operator is not supported (domain 'com.example', opset 3)
  %1 = onnx.node "com.example::Add"(%0, %x) name "n1" opset 3 : (tensor<*xf32>, tensor<?x4xf32>) -> tensor<*xf32>
  // CHECK: error: node 'n2' (TopK): attribute 'stable' is not supported (domain 'ai.onnx', opset 20)
  %2:2 = onnx.node "TopK"(%x, %shape) {stable = 1 : i64} name "n2" opset 20 : (tensor<?x4xf32>, tensor<2xi64>) -> (tensor<*xf32>, tensor<*xi64>)
  // CHECK: error: node 'n3' (Add): operator is not supported in this version (domain 'ai.onnx', opset 6)
  %3 = onnx.node "Add"(%1, %1) name "n3" opset 6 : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  // CHECK: error: node 'n4' (Add): expects input 1 (domain 'ai.onnx', opset 14)
  %4 = onnx.node "Add"(%3) name "n4" opset 14 : (tensor<*xf32>) -> tensor<*xf32>
  return %4 : tensor<*xf32>
}

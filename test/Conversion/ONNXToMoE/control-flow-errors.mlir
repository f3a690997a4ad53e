// RUN: moe-opt %s --convert-onnx-to-moe --split-input-file --verify-diagnostics

func.func @main(%c: tensor<i1>, %x: tensor<1x4xf32>) -> tensor<*xf32> {
  %axis = onnx.constant dense<0> : tensor<1xi64>
  // expected-error @+1 {{node 'n' (If): expects both branches to give output 0 one rank, got 1 and 2}}
  %0 = onnx.node "If"(%c) name "n" opset 20 : (tensor<i1>) -> tensor<*xf32> graph "then_branch" {
    %a = onnx.node "Squeeze"(%x, %axis) opset 20 : (tensor<1x4xf32>, tensor<1xi64>) -> tensor<4xf32>
    onnx.yield %a : tensor<4xf32>
  } graph "else_branch" {
    onnx.yield %x : tensor<1x4xf32>
  }
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%c: tensor<2xi1>, %x: tensor<4xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (If): expects the condition of one element, got 2}}
  %0 = onnx.node "If"(%c) name "n" opset 20 : (tensor<2xi1>) -> tensor<*xf32> graph "then_branch" {
    onnx.yield %x : tensor<4xf32>
  } graph "else_branch" {
    onnx.yield %x : tensor<4xf32>
  }
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%c: tensor<i1>, %x: tensor<4xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (If): expects a subgraph 'else_branch'}}
  %0 = onnx.node "If"(%c) name "n" opset 20 : (tensor<i1>) -> tensor<*xf32> graph "then_branch" {
    onnx.yield %x : tensor<4xf32>
  }
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%n: tensor<i64>, %x: tensor<4xf32>) -> tensor<*xf32> {
  %none = onnx.none : none
  // expected-error @+1 {{node 'n' (Loop): expects carried value 0 to stay of type 'f32', got 'f64'}}
  %0 = onnx.node "Loop"(%n, %none, %x) name "n" opset 20 : (tensor<i64>, none, tensor<4xf32>) -> tensor<*xf32> graph "body" {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<*xf32>):
    %e = onnx.node "Cast"(%a) {to = 11 : i64} opset 20 : (tensor<*xf32>) -> tensor<*xf64>
    onnx.yield %c, %e : tensor<i1>, tensor<*xf64>
  }
  return %0 : tensor<*xf32>
}

// -----

// The first attempt's message, which is about the sizes that the value has.
func.func @main(%n: tensor<i64>, %x: tensor<4xf32>, %y: tensor<5xf32>) -> tensor<*xf32> {
  %none = onnx.none : none
  %0 = onnx.node "Loop"(%n, %none, %x) name "n" opset 20 : (tensor<i64>, none, tensor<4xf32>) -> tensor<*xf32> graph "body" {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<*xf32>):
    // expected-error @+1 {{node 'm' (MatMul): expects inner dimensions that agree, got 4 and 5}}
    %e = onnx.node "MatMul"(%a, %y) name "m" opset 20 : (tensor<*xf32>, tensor<5xf32>) -> tensor<*xf32>
    onnx.yield %c, %e : tensor<i1>, tensor<*xf32>
  }
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<4x3xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (Scan): expects num_scan_inputs to lie in [1, 1], got 2}}
  %0 = onnx.node "Scan"(%x) {num_scan_inputs = 2 : i64} name "n" opset 20 : (tensor<4x3xf32>) -> tensor<*xf32> graph "body" {
  ^bb0(%a: tensor<3xf32>):
    onnx.yield %a : tensor<3xf32>
  }
  return %0 : tensor<*xf32>
}

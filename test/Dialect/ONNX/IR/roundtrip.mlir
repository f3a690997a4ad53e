// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s

// CHECK-LABEL: func.func @node
func.func @node(%w: tensor<96x32xf32>, %ids: tensor<?x?xi64>) -> tensor<?x?x32xf32> {
  // CHECK: onnx.node "Gather"(%{{.*}}, %{{.*}}) {axis = 0 : i64} name "n12" opset 20 : (tensor<96x32xf32>, tensor<?x?xi64>) -> tensor<?x?x32xf32>
  %0 = onnx.node "Gather"(%w, %ids) {axis = 0 : i64} name "n12" opset 20
      : (tensor<96x32xf32>, tensor<?x?xi64>) -> tensor<?x?x32xf32>
  return %0 : tensor<?x?x32xf32>
}

// CHECK-LABEL: func.func @domain_and_results
func.func @domain_and_results(%x: tensor<?x8xf32>, %k: tensor<1xi64>) {
  // CHECK: %{{.*}}:2 = onnx.node "TopK"(%{{.*}}, %{{.*}}) opset 11 : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x?xf32>, tensor<*xi64>)
  %0:2 = onnx.node "TopK"(%x, %k) opset 11
      : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x?xf32>, tensor<*xi64>)
  // CHECK: onnx.node "com.example.v1::Fuse"(%{{.*}}) name "a \22quoted\22 name" opset 3 attributes {example.note = "kept"} : (tensor<*xi64>) -> none
  %1 = onnx.node "com.example.v1::Fuse"(%0#1) name "a \"quoted\" name" opset 3
      attributes {example.note = "kept"} : (tensor<*xi64>) -> none
  // CHECK: onnx.node "Nothing"() opset 1 : () -> ()
  onnx.node "Nothing"() opset 1 : () -> ()
  return
}

// CHECK-LABEL: func.func @attributes
func.func @attributes(%x: tensor<4xf32>) {
  // CHECK: onnx.node "Attributes"(%{{[^)]*}})
  // CHECK-SAME: f = 1.500000e+00 : f32
  // CHECK-SAME: floats = array<f32: 1.000000e+00, -2.000000e+00>
  // CHECK-SAME: i = -1 : i64
  // CHECK-SAME: ints = array<i64: 3, 4>
  // CHECK-SAME: nan = 0x7FC00000 : f32
  // CHECK-SAME: none = array<i64>
  // CHECK-SAME: s = "text"
  // CHECK-SAME: strings = ["a", "b"]
  // CHECK-SAME: t = dense<[1.000000e+00, 2.000000e+00]> : tensor<2xbf16>
  // CHECK-SAME: type = tensor<?xf16>
  // CHECK-SAME: opset 20
  onnx.node "Attributes"(%x) {
      f = 1.5 : f32, floats = array<f32: 1.0, -2.0>, i = -1 : i64,
      ints = array<i64: 3, 4>, nan = 0x7FC00000 : f32, none = array<i64>,
      s = "text", strings = ["a", "b"],
      t = dense<[1.0, 2.0]> : tensor<2xbf16>, type = tensor<?xf16>} opset 20
      : (tensor<4xf32>) -> ()
  return
}

// CHECK: moe.weight @w
moe.weight @w {file = "model.onnx", length = 4096 : i64, offset = 64 : i64} : tensor<32x32xf32>

// CHECK-LABEL: func.func @weight_attribute
func.func @weight_attribute() -> tensor<32x32xf32> {
  // CHECK: onnx.node "Fill"() {value = @w} opset 1 : () -> tensor<32x32xf32>
  %0 = onnx.node "Fill"() {value = @w} opset 1 : () -> tensor<32x32xf32>
  return %0 : tensor<32x32xf32>
}

// CHECK-LABEL: func.func @subgraphs
func.func @subgraphs(%c: tensor<i1>, %a: tensor<4xf32>, %n: tensor<i64>) -> tensor<4xf32> {
  // CHECK: onnx.node "If"(%{{.*}}) name "if" opset 20 : (tensor<i1>) -> tensor<4xf32> graph "then_branch" {
  // CHECK-NEXT: onnx.yield %{{.*}} : tensor<4xf32>
  // CHECK-NEXT: } graph "else_branch" {
  // CHECK-NEXT: %[[N:.*]] = onnx.node "Neg"
  // CHECK-NEXT: onnx.yield %[[N]] : tensor<4xf32>
  // CHECK-NEXT: }
  %0 = onnx.node "If"(%c) name "if" opset 20 : (tensor<i1>) -> tensor<4xf32>
  graph "then_branch" {
    onnx.yield %a : tensor<4xf32>
  } graph "else_branch" {
    %1 = onnx.node "Neg"(%a) opset 13 : (tensor<4xf32>) -> tensor<4xf32>
    onnx.yield %1 : tensor<4xf32>
  }
  // CHECK: onnx.node "Loop"
  // CHECK-SAME: graph "body" {
  // CHECK-NEXT: ^bb0(%{{.*}}: tensor<i64>, %[[CC:.*]]: tensor<i1>):
  // CHECK-NEXT: onnx.yield %[[CC]] : tensor<i1>
  onnx.node "Loop"(%n, %c) opset 20 : (tensor<i64>, tensor<i1>) -> () graph "body" {
  ^bb0(%i: tensor<i64>, %cond: tensor<i1>):
    onnx.yield %cond : tensor<i1>
  }
  // CHECK: graph "empty" {
  // CHECK-NEXT: onnx.yield
  // CHECK-NEXT: }
  onnx.node "Nothing"() opset 1 : () -> () graph "empty" {
    onnx.yield
  }
  return %0 : tensor<4xf32>
}

// CHECK-LABEL: func.func @constants
func.func @constants() {
  // CHECK: onnx.constant dense<[-1, 32]> : tensor<2xi64>
  %0 = onnx.constant dense<[-1, 32]> : tensor<2xi64>
  // CHECK: onnx.constant dense<[1, 255]> : tensor<2xui8>
  %1 = onnx.constant dense<[1, 255]> : tensor<2xui8>
  // CHECK: onnx.constant dense<[-8, 7]> : tensor<2xi4>
  %2 = onnx.constant dense<[-8, 7]> : tensor<2xi4>
  // CHECK: onnx.constant dense<2.000000e+00> : tensor<1xf8E8M0FNU>
  %3 = onnx.constant dense<2.0> : tensor<1xf8E8M0FNU>
  // CHECK: onnx.constant dense<5.000000e-01> : tensor<f16>
  %4 = onnx.constant dense<0.5> : tensor<f16>
  // CHECK: onnx.constant dense<> : tensor<0xi64>
  %5 = onnx.constant dense<> : tensor<0xi64>
  // CHECK: onnx.constant dense<["a", "b"]> : tensor<2x!onnx.string>
  %6 = onnx.constant dense<["a", "b"]> : tensor<2x!onnx.string>
  // CHECK: onnx.constant dense<true> : tensor<i1>
  %7 = onnx.constant dense<true> : tensor<i1>
  return
}

// CHECK-LABEL: func.func @none
func.func @none(%x: tensor<?xf32>, %max: tensor<f32>) {
  // CHECK: %[[NONE:.*]] = onnx.none : none
  %0 = onnx.none : none
  // CHECK: onnx.node "Clip"(%{{.*}}, %[[NONE]], %{{.*}}) opset 13 : (tensor<?xf32>, none, tensor<f32>) -> tensor<?xf32>
  %1 = onnx.node "Clip"(%x, %0, %max) opset 13
      : (tensor<?xf32>, none, tensor<f32>) -> tensor<?xf32>
  return
}

// CHECK-LABEL: func.func @opaque
// CHECK-SAME: !onnx.opaque<"seq(tensor(float))">
func.func @opaque(%x: !onnx.opaque<"seq(tensor(float))">, %i: tensor<i64>) {
  // CHECK: onnx.node "SequenceAt"
  %0 = onnx.node "SequenceAt"(%x, %i) opset 11
      : (!onnx.opaque<"seq(tensor(float))">, tensor<i64>) -> tensor<*xf32>
  return
}

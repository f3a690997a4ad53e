// Experts whose matrices DequantizeLinear makes: they stay quantized, as views
// of the same bytes. W1 [E, N, K] are 4-bit floats with exponents as scales in
// blocks of 8, gate and up in turns; W2 [E, K, N] integers with zero points.
//
// RUN: moe-opt %s --onnx-recognize-moe --verify-diagnostics | FileCheck %s
//
// Blocks that do not run along K are not read by the product.
// RUN: sed 's/axis = 2 : i64, block_size = 8/axis = 1 : i64, block_size = 8/' %s | moe-opt --onnx-recognize-moe | FileCheck %s --check-prefix=FLOATS
// FLOATS: %[[W:.+]] = onnx.node "DequantizeLinear"
// FLOATS: tensor.extract_slice %[[W]]
// FLOATS: moe.grouped_matmul
//
// Blocks of 4 elements do not fill the words of the panels.
// RUN: sed -e 's/block_size = 8/block_size = 4/' -e 's/4x16x2xf8/4x16x4xf8/g' -e 's/length = 128 : i64} : tensor<4x16x4/length = 256 : i64} : tensor<4x16x4/' %s | moe-opt --onnx-recognize-moe 2>&1 | FileCheck %s --check-prefix=BLOCK
// BLOCK: remark: {{.*}}: stopped at node (MatMul): expects a block size that is a multiple of 8, found 4

// CHECK-DAG: moe.weight @[[GATE:.+]] {file = "m.data", length = {{.+}}, offset = 0 : i64, strides = array<i64: 256, 32, 1>} : tensor<4x8x16xi4>
// CHECK-DAG: moe.weight @[[UP:.+]] {file = "m.data", length = {{.+}}, offset = 8 : i64, strides = array<i64: 256, 32, 1>} : tensor<4x8x16xi4>
// CHECK-DAG: moe.weight @[[GATE_SCALES:.+]] {file = "m.data", length = {{.+}}, offset = 1000 : i64, strides = array<i64: 32, 4, 1>} : tensor<4x8x2xi8>
// CHECK-DAG: moe.weight @[[UP_SCALES:.+]] {file = "m.data", length = {{.+}}, offset = 1002 : i64, strides = array<i64: 32, 4, 1>} : tensor<4x8x2xi8>
// CHECK-DAG: moe.weight @[[DOWN:.+]] {file = "m.data", length = 256 : i64, offset = 2000 : i64, strides = array<i64: 128, 1, 16>} : tensor<4x16x8xi4>
moe.weight @w1 {file = "m.data", offset = 0 : i64, length = 512 : i64} : tensor<4x16x16xf4E2M1FN>
moe.weight @s1 {file = "m.data", offset = 1000 : i64, length = 128 : i64} : tensor<4x16x2xf8E8M0FNU>
moe.weight @w2 {file = "m.data", offset = 2000 : i64, length = 256 : i64} : tensor<4x8x16xui4>
moe.weight @s2 {file = "m.data", offset = 3000 : i64, length = 256 : i64} : tensor<4x1x16xf32>
moe.weight @z2 {file = "m.data", offset = 4000 : i64, length = 32 : i64} : tensor<4x1x16xui4>

func.func @main(%x: tensor<?x16xf32>, %router: tensor<4x16xf32>) -> tensor<?x16xf32> {
  %n = onnx.none : none
  %zero = onnx.constant dense<0> : tensor<1xi64>
  %one = onnx.constant dense<1> : tensor<1xi64>
  %two = onnx.constant dense<2> : tensor<1xi64>
  %minus = onnx.constant dense<-1> : tensor<1xi64>
  %end = onnx.constant dense<9223372036854775807> : tensor<1xi64>
  %flat = onnx.constant dense<[-1, 16]> : tensor<2xi64>
  %repeat = onnx.constant dense<[1, 2, 1]> : tensor<3xi64>
  %perChoice = onnx.constant dense<[-1, 2, 16]> : tensor<3xi64>
  %logits = onnx.node "Gemm"(%x, %router) {transB = 1 : i64} opset 25 : (tensor<?x16xf32>, tensor<4x16xf32>) -> tensor<?x4xf32>
  %top:2 = onnx.node "TopK"(%logits, %two) {axis = -1 : i64} opset 25 : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %w = onnx.node "Softmax"(%top#0) {axis = -1 : i64} opset 25 : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %x3 = onnx.node "Unsqueeze"(%x, %one) opset 25 : (tensor<?x16xf32>, tensor<1xi64>) -> tensor<?x1x16xf32>
  %x4 = onnx.node "Expand"(%x3, %repeat) opset 25 : (tensor<?x1x16xf32>, tensor<3xi64>) -> tensor<?x2x16xf32>
  %rows = onnx.node "Reshape"(%x4, %flat) opset 25 : (tensor<?x2x16xf32>, tensor<2xi64>) -> tensor<?x16xf32>
  %ids = onnx.node "Reshape"(%top#1, %minus) opset 25 : (tensor<?x2xi64>, tensor<1xi64>) -> tensor<?xi64>
  %at = onnx.node "Unsqueeze"(%ids, %minus) opset 25 : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  // CHECK: %[[R:.+]], %[[S:.+]], %{{.+}} = moe.dispatch
  // CHECK-DAG: %[[G:.+]] = moe.get_weight @[[GATE]] : tensor<4x8x16xi4>
  // CHECK-DAG: %[[GS:.+]] = moe.get_weight @[[GATE_SCALES]] : tensor<4x8x2xi8>
  // CHECK-DAG: %[[U:.+]] = moe.get_weight @[[UP]] : tensor<4x8x16xi4>
  // CHECK-DAG: %[[US:.+]] = moe.get_weight @[[UP_SCALES]] : tensor<4x8x2xi8>
  // CHECK: moe.grouped_matmul %[[R]], %[[S]] weights(%[[G]], %[[U]]) scales(%[[GS]], %[[US]] : {{.*}}) {block_size = 8 : i64, encoding = #moe.encoding<e2m1>}
  %q1 = moe.get_weight @w1 : tensor<4x16x16xf4E2M1FN>
  %e1 = moe.get_weight @s1 : tensor<4x16x2xf8E8M0FNU>
  %f1 = onnx.node "DequantizeLinear"(%q1, %e1, %n) {axis = 2 : i64, block_size = 8 : i64, output_dtype = 1 : i64} opset 25 : (tensor<4x16x16xf4E2M1FN>, tensor<4x16x2xf8E8M0FNU>, none) -> tensor<4x16x16xf32>
  %g1 = onnx.node "GatherND"(%f1, %at) opset 25 : (tensor<4x16x16xf32>, tensor<?x1xi64>) -> tensor<?x16x16xf32>
  %c1 = onnx.node "Unsqueeze"(%rows, %minus) opset 25 : (tensor<?x16xf32>, tensor<1xi64>) -> tensor<?x16x1xf32>
  %m1 = onnx.node "MatMul"(%g1, %c1) opset 25 : (tensor<?x16x16xf32>, tensor<?x16x1xf32>) -> tensor<?x16x1xf32>
  %gu = onnx.node "Squeeze"(%m1, %minus) opset 25 : (tensor<?x16x1xf32>, tensor<1xi64>) -> tensor<?x16xf32>
  %gate = onnx.node "Slice"(%gu, %zero, %end, %minus, %two) opset 25 : (tensor<?x16xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x8xf32>
  %up = onnx.node "Slice"(%gu, %one, %end, %minus, %two) opset 25 : (tensor<?x16xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x8xf32>
  %hidden = onnx.node "Mul"(%gate, %up) opset 25 : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: %[[D:.+]] = moe.get_weight @[[DOWN]] : tensor<4x16x8xi4>
  // CHECK: moe.grouped_matmul %{{.+}}, %[[S]] weights(%[[D]]) scales(%{{.+}} : tensor<4x16x1xf32>) zero_points(%{{.+}} : tensor<4x16x1xi4>) {block_size = 8 : i64}
  %q2 = moe.get_weight @w2 : tensor<4x8x16xui4>
  %e2 = moe.get_weight @s2 : tensor<4x1x16xf32>
  %o2 = moe.get_weight @z2 : tensor<4x1x16xui4>
  %f2 = onnx.node "DequantizeLinear"(%q2, %e2, %o2) {axis = 1 : i64, block_size = 8 : i64} opset 25 : (tensor<4x8x16xui4>, tensor<4x1x16xf32>, tensor<4x1x16xui4>) -> tensor<4x8x16xf32>
  %g2 = onnx.node "GatherND"(%f2, %at) opset 25 : (tensor<4x8x16xf32>, tensor<?x1xi64>) -> tensor<?x8x16xf32>
  %c2 = onnx.node "Unsqueeze"(%hidden, %one) opset 25 : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<?x1x8xf32>
  %m2 = onnx.node "MatMul"(%c2, %g2) opset 25 : (tensor<?x1x8xf32>, tensor<?x8x16xf32>) -> tensor<?x1x16xf32>
  %out = onnx.node "Squeeze"(%m2, %one) opset 25 : (tensor<?x1x16xf32>, tensor<1xi64>) -> tensor<?x16xf32>
  %wf = onnx.node "Reshape"(%w, %minus) opset 25 : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?xf32>
  %wc = onnx.node "Unsqueeze"(%wf, %minus) opset 25 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %weighted = onnx.node "Mul"(%out, %wc) opset 25 : (tensor<?x16xf32>, tensor<?x1xf32>) -> tensor<?x16xf32>
  %choices = onnx.node "Reshape"(%weighted, %perChoice) opset 25 : (tensor<?x16xf32>, tensor<3xi64>) -> tensor<?x2x16xf32>
  %y = onnx.node "ReduceSum"(%choices, %one) {keepdims = 0 : i64} opset 25 : (tensor<?x2x16xf32>, tensor<1xi64>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

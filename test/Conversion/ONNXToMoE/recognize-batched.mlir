// RUN: moe-opt %s --onnx-recognize-moe --split-input-file | FileCheck %s
// What is left of the blocks parses again and holds nothing of the idiom.
// RUN: moe-opt %s --onnx-recognize-moe --split-input-file | moe-opt --split-input-file | FileCheck %s --check-prefix=GONE
// GONE-NOT: "{{TopK|GatherND|Expand|Tile|Split|Softmax|ReduceSum}}"

// Softmax, top-k, renormalised; GatherND, Expand, halves by Split. Both halves
// are views of the bytes of the one weight.

// CHECK-DAG: moe.weight @[[GATE:.+]] {file = "m.data", length = 420 : i64, offset = 0 : i64, strides = array<i64: 30, 3, 1>} : tensor<4x5x3xf32>
// CHECK-DAG: moe.weight @[[UP:.+]] {file = "m.data", length = 420 : i64, offset = 60 : i64, strides = array<i64: 30, 3, 1>} : tensor<4x5x3xf32>
moe.weight @gate_up {file = "m.data", offset = 0 : i64, length = 480 : i64} : tensor<4x10x3xf32>
moe.weight @down {file = "m.data", offset = 480 : i64, length = 240 : i64} : tensor<4x3x5xf32>

// CHECK-LABEL: func.func @mixtral
// CHECK-SAME:    (%[[IN:.+]]: tensor<?x?x3xf32>, %[[ROUTER:.+]]: tensor<4x3xf32>)
func.func @mixtral(%in: tensor<?x?x3xf32>, %router: tensor<4x3xf32>) -> tensor<?x3xf32> {
  %flat = onnx.constant dense<[-1, 3]> : tensor<2xi64>
  %one = onnx.constant dense<1> : tensor<1xi64>
  %minus = onnx.constant dense<-1> : tensor<1xi64>
  %k = onnx.constant dense<2> : tensor<1xi64>
  %repeat = onnx.constant dense<[1, 2, 1]> : tensor<3xi64>
  %perChoice = onnx.constant dense<[-1, 2, 3]> : tensor<3xi64>
  // CHECK: %[[X:.+]] = onnx.node "Reshape"(%[[IN]]
  %x = onnx.node "Reshape"(%in, %flat) opset 20 : (tensor<?x?x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  %x2 = onnx.node "Reshape"(%x, %flat) opset 20 : (tensor<?x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  // CHECK: %[[LOGITS:.+]] = onnx.node "Gemm"
  %logits = onnx.node "Gemm"(%x2, %router) {transB = 1 : i64} opset 20 : (tensor<?x3xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
  // CHECK: %[[W:.+]], %[[E:.+]] = moe.route %[[LOGITS]] {k = 2 : i64, renormalize} : tensor<?x4xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  %probs = onnx.node "Softmax"(%logits) {axis = -1 : i64} opset 20 : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %top:2 = onnx.node "TopK"(%probs, %k) {axis = -1 : i64, largest = 1 : i64, sorted = 1 : i64} opset 20 : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %sum = onnx.node "ReduceSum"(%top#0, %minus) {keepdims = 1 : i64} opset 20 : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %w = onnx.node "Div"(%top#0, %sum) opset 20 : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  // CHECK: %[[R:.+]], %[[S:.+]], %[[M:.+]] = moe.dispatch %[[X]], %[[E]]
  %x3 = onnx.node "Unsqueeze"(%x, %one) opset 20 : (tensor<?x3xf32>, tensor<1xi64>) -> tensor<?x1x3xf32>
  %x4 = onnx.node "Expand"(%x3, %repeat) opset 20 : (tensor<?x1x3xf32>, tensor<3xi64>) -> tensor<?x2x3xf32>
  %rows = onnx.node "Reshape"(%x4, %flat) opset 20 : (tensor<?x2x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  %ids = onnx.node "Reshape"(%top#1, %minus) opset 20 : (tensor<?x2xi64>, tensor<1xi64>) -> tensor<?xi64>
  %at = onnx.node "Unsqueeze"(%ids, %minus) opset 20 : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %w1 = moe.get_weight @gate_up : tensor<4x10x3xf32>
  %g1 = onnx.node "GatherND"(%w1, %at) opset 20 : (tensor<4x10x3xf32>, tensor<?x1xi64>) -> tensor<?x10x3xf32>
  %col = onnx.node "Unsqueeze"(%rows, %minus) opset 20 : (tensor<?x3xf32>, tensor<1xi64>) -> tensor<?x3x1xf32>
  // CHECK: %[[G:.+]] = moe.get_weight @[[GATE]]
  // CHECK: %[[U:.+]] = moe.get_weight @[[UP]]
  // CHECK: %[[H:.+]] = moe.grouped_matmul %[[R]], %[[S]] weights(%[[G]], %[[U]])
  // CHECK: ^bb0(%[[g:.+]]: f32, %[[u:.+]]: f32):
  // CHECK-DAG: %[[ONE:.+]] = arith.constant 1.0
  // CHECK-DAG: %[[NEG:.+]] = arith.negf %[[g]]
  // CHECK: %[[EXP:.+]] = math.exp %[[NEG]]
  // CHECK: %[[ADD:.+]] = arith.addf %[[ONE]], %[[EXP]]
  // CHECK: %[[SIG:.+]] = arith.divf %[[ONE]], %[[ADD]]
  // CHECK: %[[SILU:.+]] = arith.mulf %[[g]], %[[SIG]]
  // CHECK: %[[HID:.+]] = arith.mulf %[[SILU]], %[[u]]
  // CHECK: moe.yield %[[HID]]
  %mm1 = onnx.node "MatMul"(%g1, %col) opset 20 : (tensor<?x10x3xf32>, tensor<?x3x1xf32>) -> tensor<?x10x1xf32>
  %gu = onnx.node "Squeeze"(%mm1, %minus) opset 20 : (tensor<?x10x1xf32>, tensor<1xi64>) -> tensor<?x10xf32>
  %part:2 = onnx.node "Split"(%gu) {axis = 1 : i64, num_outputs = 2 : i64} opset 20 : (tensor<?x10xf32>) -> (tensor<?x5xf32>, tensor<?x5xf32>)
  %sig = onnx.node "Sigmoid"(%part#0) opset 20 : (tensor<?x5xf32>) -> tensor<?x5xf32>
  %silu = onnx.node "Mul"(%part#0, %sig) opset 20 : (tensor<?x5xf32>, tensor<?x5xf32>) -> tensor<?x5xf32>
  %hidden = onnx.node "Mul"(%silu, %part#1) opset 20 : (tensor<?x5xf32>, tensor<?x5xf32>) -> tensor<?x5xf32>
  // CHECK: %[[D:.+]] = moe.get_weight @down
  // CHECK: %[[O:.+]] = moe.grouped_matmul %[[H]], %[[S]] weights(%[[D]]) : {{.*}} -> tensor<?x3xf32>{{$}}
  // CHECK: %[[Y:.+]] = moe.combine %[[O]], %[[W]], %[[M]]
  // CHECK: return %[[Y]]
  %w2 = moe.get_weight @down : tensor<4x3x5xf32>
  %g2 = onnx.node "GatherND"(%w2, %at) opset 20 : (tensor<4x3x5xf32>, tensor<?x1xi64>) -> tensor<?x3x5xf32>
  %col2 = onnx.node "Unsqueeze"(%hidden, %minus) opset 20 : (tensor<?x5xf32>, tensor<1xi64>) -> tensor<?x5x1xf32>
  %mm2 = onnx.node "MatMul"(%g2, %col2) opset 20 : (tensor<?x3x5xf32>, tensor<?x5x1xf32>) -> tensor<?x3x1xf32>
  %out = onnx.node "Squeeze"(%mm2, %minus) opset 20 : (tensor<?x3x1xf32>, tensor<1xi64>) -> tensor<?x3xf32>
  %wf = onnx.node "Reshape"(%w, %minus) opset 20 : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?xf32>
  %wc = onnx.node "Unsqueeze"(%wf, %minus) opset 20 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %weighted = onnx.node "Mul"(%out, %wc) opset 20 : (tensor<?x3xf32>, tensor<?x1xf32>) -> tensor<?x3xf32>
  %choices = onnx.node "Reshape"(%weighted, %perChoice) opset 20 : (tensor<?x3xf32>, tensor<3xi64>) -> tensor<?x2x3xf32>
  %y = onnx.node "ReduceSum"(%choices, %one) {keepdims = 0 : i64} opset 20 : (tensor<?x2x3xf32>, tensor<1xi64>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

// Torchscript's way: Gather along axis 0, Tile with repeats out of OneHot and
// Shape, Flatten, Slice with computed bounds, a sum shape out of Shape; no
// renormalisation; weights that are arguments are sliced when the program runs.
// The number of tokens is seen through Clip and Gather behind the router.

// CHECK-LABEL: func.func @torchscript
// CHECK-SAME:    (%[[X:[^:]+]]: tensor<?x3xf32>, %{{[^:]+}}: tensor<3x4xf32>, %[[W1:[^:]+]]: tensor<4x10x3xf32>, %[[W2:[^:]+]]: tensor<4x3x5xf32>)
// CHECK: moe.route %{{.+}} {k = 2 : i64} :
// CHECK: moe.dispatch %[[X]],
// CHECK: %[[GATE:.+]] = tensor.extract_slice %[[W1]][0, 0, 0] [4, 5, 3] [1, 1, 1]
// CHECK: %[[UP:.+]] = tensor.extract_slice %[[W1]][0, 5, 0] [4, 5, 3] [1, 1, 1]
// CHECK: moe.grouped_matmul %{{.+}}, %{{.+}} weights(%[[GATE]], %[[UP]])
// CHECK: arith.maximumf
// CHECK: moe.grouped_matmul %{{.+}}, %{{.+}} weights(%[[W2]])
// CHECK: moe.combine
func.func @torchscript(%x: tensor<?x3xf32>, %router: tensor<3x4xf32>, %w1: tensor<4x10x3xf32>, %w2: tensor<4x3x5xf32>) -> tensor<?x3xf32> {
  %zero = onnx.constant dense<0> : tensor<1xi64>
  %one = onnx.constant dense<1> : tensor<1xi64>
  %two = onnx.constant dense<2> : tensor<1xi64>
  %minus = onnx.constant dense<-1> : tensor<1xi64>
  %max = onnx.constant dense<9223372036854775807> : tensor<1xi64>
  %rank = onnx.constant dense<3> : tensor<i64>
  %scalar0 = onnx.constant dense<0> : tensor<i64>
  %product = onnx.node "MatMul"(%x, %router) opset 17 : (tensor<?x3xf32>, tensor<3x4xf32>) -> tensor<?x4xf32>
  %limit = onnx.constant dense<-5.0> : tensor<f32>
  %clipped = onnx.node "Clip"(%product, %limit) opset 17 : (tensor<?x4xf32>, tensor<f32>) -> tensor<?x4xf32>
  %order = onnx.constant dense<[2, 0, 3, 1]> : tensor<4xi64>
  %logits = onnx.node "Gather"(%clipped, %order) {axis = 1 : i64} opset 17 : (tensor<?x4xf32>, tensor<4xi64>) -> tensor<?x4xf32>
  %probs = onnx.node "Softmax"(%logits) {axis = 1 : i64} opset 17 : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %top:2 = onnx.node "TopK"(%probs, %two) {axis = 1 : i64} opset 17 : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  // k and the number of tokens out of shapes
  %shape = onnx.node "Shape"(%top#1) opset 17 : (tensor<?x2xi64>) -> tensor<2xi64>
  %kv = onnx.node "Slice"(%shape, %minus, %max, %zero) opset 17 : (tensor<2xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %xshape = onnx.node "Shape"(%x) opset 17 : (tensor<?x3xf32>) -> tensor<2xi64>
  %t0 = onnx.node "Gather"(%xshape, %scalar0) {axis = 0 : i64} opset 17 : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  %t = onnx.node "Unsqueeze"(%t0, %zero) opset 17 : (tensor<i64>, tensor<1xi64>) -> tensor<1xi64>
  %h = onnx.node "Slice"(%xshape, %minus, %max, %zero) opset 17 : (tensor<2xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %onOff = onnx.node "Concat"(%one, %kv) {axis = 0 : i64} opset 17 : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %repeats = onnx.node "OneHot"(%one, %rank, %onOff) opset 17 : (tensor<1xi64>, tensor<i64>, tensor<2xi64>) -> tensor<1x3xi64>
  %repeats1 = onnx.node "Reshape"(%repeats, %minus) opset 17 : (tensor<1x3xi64>, tensor<1xi64>) -> tensor<3xi64>
  %x3 = onnx.node "Unsqueeze"(%x, %one) opset 17 : (tensor<?x3xf32>, tensor<1xi64>) -> tensor<?x1x3xf32>
  %x4 = onnx.node "Tile"(%x3, %repeats1) opset 17 : (tensor<?x1x3xf32>, tensor<3xi64>) -> tensor<?x2x3xf32>
  %rows = onnx.node "Flatten"(%x4) {axis = 2 : i64} opset 17 : (tensor<?x2x3xf32>) -> tensor<?x3xf32>
  %ids = onnx.node "Reshape"(%top#1, %minus) opset 17 : (tensor<?x2xi64>, tensor<1xi64>) -> tensor<?xi64>
  %g1 = onnx.node "Gather"(%w1, %ids) {axis = 0 : i64} opset 17 : (tensor<4x10x3xf32>, tensor<?xi64>) -> tensor<?x10x3xf32>
  %col = onnx.node "Unsqueeze"(%rows, %minus) opset 17 : (tensor<?x3xf32>, tensor<1xi64>) -> tensor<?x3x1xf32>
  %mm1 = onnx.node "MatMul"(%g1, %col) opset 17 : (tensor<?x10x3xf32>, tensor<?x3x1xf32>) -> tensor<?x10x1xf32>
  %gu = onnx.node "Squeeze"(%mm1, %two) opset 17 : (tensor<?x10x1xf32>, tensor<1xi64>) -> tensor<?x10xf32>
  %gushape = onnx.node "Shape"(%gu) opset 17 : (tensor<?x10xf32>) -> tensor<2xi64>
  %n = onnx.node "Gather"(%gushape, %minus) {axis = 0 : i64} opset 17 : (tensor<2xi64>, tensor<1xi64>) -> tensor<1xi64>
  %n1 = onnx.node "Add"(%n, %one) opset 17 : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %half = onnx.node "Div"(%n1, %two) opset 17 : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %all = onnx.node "Mul"(%half, %two) opset 17 : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %gate = onnx.node "Slice"(%gu, %zero, %half, %minus) opset 17 : (tensor<?x10xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x5xf32>
  %up = onnx.node "Slice"(%gu, %half, %all, %minus) opset 17 : (tensor<?x10xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x5xf32>
  %act = onnx.node "Relu"(%gate) opset 17 : (tensor<?x5xf32>) -> tensor<?x5xf32>
  %hidden = onnx.node "Mul"(%act, %up) opset 17 : (tensor<?x5xf32>, tensor<?x5xf32>) -> tensor<?x5xf32>
  %g2 = onnx.node "Gather"(%w2, %ids) {axis = 0 : i64} opset 17 : (tensor<4x3x5xf32>, tensor<?xi64>) -> tensor<?x3x5xf32>
  %col2 = onnx.node "Unsqueeze"(%hidden, %minus) opset 17 : (tensor<?x5xf32>, tensor<1xi64>) -> tensor<?x5x1xf32>
  %mm2 = onnx.node "MatMul"(%g2, %col2) opset 17 : (tensor<?x3x5xf32>, tensor<?x5x1xf32>) -> tensor<?x3x1xf32>
  %out = onnx.node "Squeeze"(%mm2, %two) opset 17 : (tensor<?x3x1xf32>, tensor<1xi64>) -> tensor<?x3xf32>
  %wf = onnx.node "Reshape"(%top#0, %minus) opset 17 : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?xf32>
  %wc = onnx.node "Unsqueeze"(%wf, %minus) opset 17 : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %weighted = onnx.node "Mul"(%wc, %out) opset 17 : (tensor<?x1xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %sumShape = onnx.node "Concat"(%t, %kv, %h) {axis = 0 : i64} opset 17 : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<3xi64>
  %choices = onnx.node "Reshape"(%weighted, %sumShape) opset 17 : (tensor<?x3xf32>, tensor<3xi64>) -> tensor<?x2x3xf32>
  %y = onnx.node "ReduceSum"(%choices, %one) {keepdims = 0 : i64} opset 17 : (tensor<?x2x3xf32>, tensor<1xi64>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

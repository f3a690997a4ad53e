// RUN: moe-opt %s --onnx-recognize-moe --split-input-file | FileCheck %s

// Three matrices, tokens as [batch, sequence, features]: one row of logits per
// token is checked when the program runs.

// CHECK-LABEL: func.func @three
// CHECK-SAME:    (%[[X:.+]]: tensor<?x?x3xf32>, %[[L:.+]]: tensor<?x4xf32>, %[[W1:.+]]: tensor<4x5x3xf32>, %[[W2:.+]]: tensor<4x3x5xf32>, %[[W3:.+]]: tensor<4x5x3xf32>)
// CHECK: %[[T:.+]] = tensor.collapse_shape %[[X]] {{\[}}[0, 1], [2]]
// CHECK: moe.check {{.*}} {message = "expects router_probs with one row per token", node = "node 'moe' (com.microsoft::MoE)"}
// CHECK: %[[W:.+]], %[[E:.+]] = moe.route %[[L]] {k = 2 : i64, renormalize}
// CHECK: %[[R:.+]], %[[S:.+]], %[[M:.+]] = moe.dispatch %[[T]], %[[E]]
// CHECK: %[[H:.+]] = moe.grouped_matmul %[[R]], %[[S]] weights(%[[W1]], %[[W3]])
// CHECK: ^bb0(%[[G:.+]]: f32, %[[U:.+]]: f32):
// CHECK: %[[SILU:.+]] = arith.mulf %[[G]], %{{.+}}
// CHECK: %[[GATED:.+]] = arith.mulf %[[SILU]], %[[U]]
// CHECK: moe.yield %[[GATED]]
// CHECK: %[[O:.+]] = moe.grouped_matmul %[[H]], %[[S]] weights(%[[W2]])
// CHECK: %[[C:.+]] = moe.combine %[[O]], %[[W]], %[[M]]
// CHECK: %[[Y:.+]] = tensor.expand_shape %[[C]] {{\[}}[0, 1], [2]] output_shape
// CHECK: return %[[Y]]
func.func @three(%x: tensor<?x?x3xf32>, %l: tensor<?x4xf32>, %w1: tensor<4x5x3xf32>, %w2: tensor<4x3x5xf32>, %w3: tensor<4x5x3xf32>) -> tensor<?x?x3xf32> {
  %n = onnx.none : none
  %y = onnx.node "com.microsoft::MoE"(%x, %l, %w1, %n, %w2, %n, %w3) {k = 2 : i64, activation_type = "silu", normalize_routing_weights = 1 : i64} name "moe" opset 1
    : (tensor<?x?x3xf32>, tensor<?x4xf32>, tensor<4x5x3xf32>, none, tensor<4x3x5xf32>, none, tensor<4x5x3xf32>) -> tensor<?x?x3xf32>
  return %y : tensor<?x?x3xf32>
}

// -----

// Interleaved SwiGLU: even rows gate, odd rows are the linear part, as views of
// the weight's bytes; the small bias becomes two constants. The number of
// tokens needs no check here.

// CHECK-DAG: moe.weight @[[EVEN:.+]] {file = "m.data", {{.*}}offset = 0 : i64, strides = array<i64: 12, 6, 1>} : tensor<2x2x3xf16>
// CHECK-DAG: moe.weight @[[ODD:.+]] {file = "m.data", {{.*}}offset = 6 : i64, strides = array<i64: 12, 6, 1>} : tensor<2x2x3xf16>
moe.weight @fc1 {file = "m.data", offset = 0 : i64, length = 48 : i64} : tensor<2x4x3xf16>
// CHECK-LABEL: func.func @interleaved
// CHECK-NOT: moe.check
// CHECK: moe.route %{{.+}} {k = 1 : i64} : tensor<?x2xf16> -> tensor<?x1xf16>, tensor<?x1xi32>
// CHECK: %[[G:.+]] = moe.get_weight @[[EVEN]]
// CHECK: %[[BG:.+]] = arith.constant dense<{{\[\[}}1.000000e+00, 3.000000e+00], [5.000000e+00, 7.000000e+00]]> : tensor<2x2xf16>
// CHECK: %[[U:.+]] = moe.get_weight @[[ODD]]
// CHECK: %[[BU:.+]] = arith.constant dense<{{\[\[}}2.000000e+00, 4.000000e+00], [6.000000e+00, 8.000000e+00]]> : tensor<2x2xf16>
// CHECK: moe.grouped_matmul %{{.+}}, %{{.+}} weights(%[[G]], %[[U]]) biases(%[[BG]], %[[BU]]
// CHECK: ^bb0(%[[g:.+]]: f32, %[[u:.+]]: f32):
// CHECK-DAG: %[[HIGH:.+]] = arith.constant 7.0
// CHECK-DAG: %[[LOW:.+]] = arith.constant -7.0
// CHECK-DAG: %[[ALPHA:.+]] = arith.constant 1.702
// CHECK-DAG: %[[ONE:.+]] = arith.constant 1.0
// CHECK-DAG: %[[GM:.+]] = arith.minimumf %[[g]], %[[HIGH]]
// CHECK-DAG: arith.mulf %[[ALPHA]], %[[GM]]
// CHECK-DAG: arith.maximumf %[[u]], %[[LOW]]
// CHECK: moe.yield
func.func @interleaved(%x: tensor<?x3xf16>, %router: tensor<3x2xf16>, %w2: tensor<2x3x2xf16>) -> tensor<?x3xf16> {
  %n = onnx.none : none
  %l = onnx.node "MatMul"(%x, %router) opset 20 : (tensor<?x3xf16>, tensor<3x2xf16>) -> tensor<?x2xf16>
  %w1 = moe.get_weight @fc1 : tensor<2x4x3xf16>
  %b1 = onnx.constant dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]> : tensor<2x4xf16>
  %y = onnx.node "com.microsoft::MoE"(%x, %l, %w1, %b1, %w2, %n) {activation_type = "swiglu", swiglu_fusion = 1 : i64, activation_alpha = 1.702 : f32, activation_beta = 1.0 : f32, swiglu_limit = 7.0 : f32} opset 1
    : (tensor<?x3xf16>, tensor<?x2xf16>, tensor<2x4x3xf16>, tensor<2x4xf16>, tensor<2x3x2xf16>, none) -> tensor<?x3xf16>
  return %y : tensor<?x3xf16>
}

// -----

// Concatenated SwiGLU without limit, alpha and beta; a bias of FC2 alone.

// CHECK-LABEL: func.func @concatenated
// CHECK-SAME:    %[[W1:[^:]+]]: tensor<2x4x3xf32>, %[[W2:[^:]+]]: tensor<2x3x2xf32>, %[[B2:[^:]+]]: tensor<2x3xf32>)
// CHECK: %[[G:.+]] = tensor.extract_slice %[[W1]][0, 0, 0] [2, 2, 3] [1, 1, 1]
// CHECK: %[[U:.+]] = tensor.extract_slice %[[W1]][0, 2, 0] [2, 2, 3] [1, 1, 1]
// CHECK: weights(%[[G]], %[[U]]) :
// CHECK-NOT: minimumf
// CHECK: weights(%[[W2]]) biases(%[[B2]] : tensor<2x3xf32>)
func.func @concatenated(%x: tensor<7x3xf32>, %l: tensor<7x2xf32>, %w1: tensor<2x4x3xf32>, %w2: tensor<2x3x2xf32>, %b2: tensor<2x3xf32>) -> tensor<7x3xf32> {
  %n = onnx.none : none
  %y = onnx.node "com.microsoft::MoE"(%x, %l, %w1, %n, %w2, %b2) {activation_type = "swiglu", swiglu_fusion = 2 : i64} opset 1
    : (tensor<7x3xf32>, tensor<7x2xf32>, tensor<2x4x3xf32>, none, tensor<2x3x2xf32>, tensor<2x3xf32>) -> tensor<7x3xf32>
  return %y : tensor<7x3xf32>
}

// -----

// An FC3 with bias next to an FC1 without: that one gets zeros.

// CHECK-LABEL: func.func @relu
// CHECK: %[[ZERO:.+]] = arith.constant dense<0.000000e+00> : tensor<2x2xf32>
// CHECK: biases(%[[ZERO]], %{{.+}} : tensor<2x2xf32>, tensor<2x2xf32>)
// CHECK: arith.maximumf
// CHECK-LABEL: func.func @identity
// CHECK: moe.grouped_matmul {{.*}} -> tensor<?x2xf32>{{$}}
// CHECK: moe.grouped_matmul {{.*}} -> tensor<?x3xf32>{{$}}
// CHECK-LABEL: func.func @gelu
// CHECK: math.erf
func.func @relu(%x: tensor<7x3xf32>, %l: tensor<7x2xf32>, %w1: tensor<2x2x3xf32>, %w2: tensor<2x3x2xf32>, %w3: tensor<2x2x3xf32>, %b3: tensor<2x2xf32>) -> tensor<7x3xf32> {
  %n = onnx.none : none
  %y = onnx.node "com.microsoft::MoE"(%x, %l, %w1, %n, %w2, %n, %w3, %b3) opset 1
    : (tensor<7x3xf32>, tensor<7x2xf32>, tensor<2x2x3xf32>, none, tensor<2x3x2xf32>, none, tensor<2x2x3xf32>, tensor<2x2xf32>) -> tensor<7x3xf32>
  return %y : tensor<7x3xf32>
}
func.func @identity(%x: tensor<7x3xf32>, %l: tensor<7x2xf32>, %w1: tensor<2x2x3xf32>, %w2: tensor<2x3x2xf32>) -> tensor<7x3xf32> {
  %n = onnx.none : none
  %y = onnx.node "com.microsoft::MoE"(%x, %l, %w1, %n, %w2) {activation_type = "identity"} opset 1
    : (tensor<7x3xf32>, tensor<7x2xf32>, tensor<2x2x3xf32>, none, tensor<2x3x2xf32>) -> tensor<7x3xf32>
  return %y : tensor<7x3xf32>
}
func.func @gelu(%x: tensor<7x3xf32>, %l: tensor<7x2xf32>, %w1: tensor<2x2x3xf32>, %w2: tensor<2x3x2xf32>) -> tensor<7x3xf32> {
  %n = onnx.none : none
  %y = onnx.node "com.microsoft::MoE"(%x, %l, %w1, %n, %w2) {activation_type = "gelu"} opset 1
    : (tensor<7x3xf32>, tensor<7x2xf32>, tensor<2x2x3xf32>, none, tensor<2x3x2xf32>) -> tensor<7x3xf32>
  return %y : tensor<7x3xf32>
}

// -----

// QMoE: interleaved rows of integers, scales per row, and zero points of which
// the odd ones begin in the middle of a byte. router_weights take the place of
// the probabilities.

// CHECK-DAG: moe.weight @[[Q0:.+]] {file = "m.data", length = 175 : i64, offset = 0 : i64, strides = array<i64: 200, 100, 1>} : tensor<2x2x50xi4>
// CHECK-DAG: moe.weight @[[Q1:.+]] {file = "m.data", length = 175 : i64, offset = 25 : i64, strides = array<i64: 200, 100, 1>} : tensor<2x2x50xi4>
// CHECK-DAG: moe.weight @[[Z0:.+]] {file = "m.data", length = 4 : i64, offset = 512 : i64, strides = array<i64: 4, 2, 1>} : tensor<2x2x1xi4>
// CHECK-DAG: moe.weight @[[Z1:.+]] {bit_offset = 4 : i64, file = "m.data", length = 4 : i64, offset = 512 : i64, strides = array<i64: 4, 2, 1>} : tensor<2x2x1xi4>
moe.weight @q {file = "m.data", offset = 0 : i64, length = 200 : i64} : tensor<2x4x25xui8>
moe.weight @z {file = "m.data", offset = 512 : i64, length = 4 : i64} : tensor<2x2xui8>
// CHECK-LABEL: func.func @quantized
// CHECK-SAME:    %[[M:[a-z0-9]+]]: tensor<?x2xf32>)
// CHECK: %{{.+}}, %[[E:.+]] = moe.route %{{.+}} {k = 2 : i64, score = #moe.score<none>}
// CHECK-DAG: %[[G:.+]] = moe.get_weight @[[Q0]]
// CHECK-DAG: %[[U:.+]] = moe.get_weight @[[Q1]]
// CHECK-DAG: %[[ZG:.+]] = moe.get_weight @[[Z0]]
// CHECK-DAG: %[[ZU:.+]] = moe.get_weight @[[Z1]]
// CHECK-DAG: %[[SG:.+]] = arith.constant dense<{{\[\[\[}}1.000000e+00], [3.000000e+00]], {{\[\[}}5.000000e+00], [7.000000e+00]]]> : tensor<2x2x1xf32>
// CHECK-DAG: %[[SU:.+]] = arith.constant dense<{{\[\[\[}}2.000000e+00], [4.000000e+00]], {{\[\[}}6.000000e+00], [8.000000e+00]]]> : tensor<2x2x1xf32>
// CHECK: moe.grouped_matmul %{{.+}}, %{{.+}} weights(%[[G]], %[[U]]) scales(%[[SG]], %[[SU]] : {{.*}}) zero_points(%[[ZG]], %[[ZU]] : {{.*}}) {block_size = 50 : i64}
// CHECK: moe.grouped_matmul %{{.+}}, %{{.+}} weights(%{{.+}}) scales({{.+}}) {block_size = 2 : i64} : tensor<?x2xf32>, tensor<2xi64>, (tensor<2x50x2xi8>)
// CHECK: %[[W:.+]] = linalg.generic {{.*}} ins(%[[E]] : tensor<?x2xi32>) outs(%{{.+}} : tensor<?x2xf32>)
// CHECK-COUNT-3: tensor.extract %[[M]]
// CHECK: arith.divf
// CHECK: moe.combine %{{.+}}, %[[W]], %{{.+}}
func.func @quantized(%x: tensor<?x50xf32>, %l: tensor<?x2xf32>, %mix: tensor<?x2xf32>) -> tensor<?x50xf32> {
  %n = onnx.none : none
  %q1 = moe.get_weight @q : tensor<2x4x25xui8>
  %s1 = onnx.constant dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]> : tensor<2x4xf32>
  %z1 = moe.get_weight @z : tensor<2x2xui8>
  %q2 = onnx.constant dense<7> : tensor<2x50x2xui8>
  %s2 = onnx.constant dense<0.5> : tensor<2x50xf32>
  %y = onnx.node "com.microsoft::QMoE"(%x, %l, %q1, %s1, %n, %q2, %s2, %n, %n, %n, %n, %z1, %n, %n, %mix) {k = 2 : i64, activation_type = "swiglu", swiglu_fusion = 1 : i64, fc2_expert_weight_bits = 8 : i64, normalize_routing_weights = 1 : i64} opset 1
    : (tensor<?x50xf32>, tensor<?x2xf32>, tensor<2x4x25xui8>, tensor<2x4xf32>, none, tensor<2x50x2xui8>, tensor<2x50xf32>, none, none, none, none, tensor<2x2xui8>, none, none, tensor<?x2xf32>) -> tensor<?x50xf32>
  return %y : tensor<?x50xf32>
}

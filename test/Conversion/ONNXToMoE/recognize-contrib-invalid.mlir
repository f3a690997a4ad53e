// All of them are reported in one run.
// RUN: moe-opt %s --onnx-recognize-moe --verify-diagnostics

func.func @all(%x: tensor<?x3xf32>, %x4: tensor<1x1x?x3xf32>, %xh: tensor<?x3xf16>, %l: tensor<?x2xf32>, %l3: tensor<?x3xf32>, %w: tensor<2x5x3xf32>, %w2: tensor<2x3x5xf32>, %dyn: tensor<2x?x3xf32>, %b: tensor<2x4xf32>) {
  %n = onnx.none : none
  // expected-error @+1 {{node 'a' (com.microsoft::MoE): expects k = 2 with use_sparse_mixer, found 1}}
  %0 = onnx.node "com.microsoft::MoE"(%x, %l, %w, %n, %w2) {use_sparse_mixer = 1 : i64} name "a" opset 1 : (tensor<?x3xf32>, tensor<?x2xf32>, tensor<2x5x3xf32>, none, tensor<2x3x5xf32>) -> tensor<?x3xf32>
  // expected-error @+1 {{node 'b' (com.microsoft::MoE): expects k to be at least 1 and at most the number of experts, found 3 for 2}}
  %1 = onnx.node "com.microsoft::MoE"(%x, %l, %w, %n, %w2) {k = 3 : i64} name "b" opset 1 : (tensor<?x3xf32>, tensor<?x2xf32>, tensor<2x5x3xf32>, none, tensor<2x3x5xf32>) -> tensor<?x3xf32>
  // expected-error @+1 {{node 'c' (com.microsoft::MoE): expects activation_type relu, gelu, silu, swiglu or identity, found 'tanh'}}
  %2 = onnx.node "com.microsoft::MoE"(%x, %l, %w, %n, %w2) {activation_type = "tanh"} name "c" opset 1 : (tensor<?x3xf32>, tensor<?x2xf32>, tensor<2x5x3xf32>, none, tensor<2x3x5xf32>) -> tensor<?x3xf32>
  // expected-error @+1 {{node 'd' (com.microsoft::MoE): expects FC3 for swiglu with swiglu_fusion = 0}}
  %3 = onnx.node "com.microsoft::MoE"(%x, %l, %w, %n, %w2) {activation_type = "swiglu"} name "d" opset 1 : (tensor<?x3xf32>, tensor<?x2xf32>, tensor<2x5x3xf32>, none, tensor<2x3x5xf32>) -> tensor<?x3xf32>
  // expected-error @+1 {{node 'e' (com.microsoft::MoE): expects FC1 of 10 rows per expert for FC2 of 5 columns, found 5}}
  %4 = onnx.node "com.microsoft::MoE"(%x, %l, %w, %n, %w2) {activation_type = "swiglu", swiglu_fusion = 1 : i64} name "e" opset 1 : (tensor<?x3xf32>, tensor<?x2xf32>, tensor<2x5x3xf32>, none, tensor<2x3x5xf32>) -> tensor<?x3xf32>
  // expected-error @+1 {{node 'f' (com.microsoft::MoE): expects no FC3 with swiglu_fusion = 2}}
  %5 = onnx.node "com.microsoft::MoE"(%x, %l, %w, %n, %w2, %n, %w) {activation_type = "swiglu", swiglu_fusion = 2 : i64} name "f" opset 1 : (tensor<?x3xf32>, tensor<?x2xf32>, tensor<2x5x3xf32>, none, tensor<2x3x5xf32>, none, tensor<2x5x3xf32>) -> tensor<?x3xf32>
  // expected-error @+1 {{node 'g' (com.microsoft::MoE): expects an input of known rank, 2 or 3}}
  %6 = onnx.node "com.microsoft::MoE"(%x4, %l, %w, %n, %w2) name "g" opset 1 : (tensor<1x1x?x3xf32>, tensor<?x2xf32>, tensor<2x5x3xf32>, none, tensor<2x3x5xf32>) -> tensor<?x3xf32>
  // expected-error @+1 {{node 'h' (com.microsoft::MoE): expects router_probs of 2 experts, found 3}}
  %7 = onnx.node "com.microsoft::MoE"(%x, %l3, %w, %n, %w2) name "h" opset 1 : (tensor<?x3xf32>, tensor<?x3xf32>, tensor<2x5x3xf32>, none, tensor<2x3x5xf32>) -> tensor<?x3xf32>
  // expected-error @+1 {{node 'i' (com.microsoft::MoE): expects weights of a static shape [E, N, K]}}
  %8 = onnx.node "com.microsoft::MoE"(%x, %l, %dyn, %n, %w2) name "i" opset 1 : (tensor<?x3xf32>, tensor<?x2xf32>, tensor<2x?x3xf32>, none, tensor<2x3x5xf32>) -> tensor<?x3xf32>
  // expected-error @+1 {{node 'j' (com.microsoft::MoE): expects weights of the tokens' element type}}
  %9 = onnx.node "com.microsoft::MoE"(%xh, %l, %w, %n, %w2) name "j" opset 1 : (tensor<?x3xf16>, tensor<?x2xf32>, tensor<2x5x3xf32>, none, tensor<2x3x5xf32>) -> tensor<?x3xf16>
  // expected-error @+1 {{node 'k' (com.microsoft::MoE): expects a bias of FC1 of shape [2, 5]}}
  %10 = onnx.node "com.microsoft::MoE"(%x, %l, %w, %b, %w2) name "k" opset 1 : (tensor<?x3xf32>, tensor<?x2xf32>, tensor<2x5x3xf32>, tensor<2x4xf32>, tensor<2x3x5xf32>) -> tensor<?x3xf32>
  // expected-error @+1 {{node 'l' (com.microsoft::MoE): expects no bias of FC3 without its weight}}
  %11 = onnx.node "com.microsoft::MoE"(%x, %l, %w, %n, %w2, %n, %n, %b) name "l" opset 1 : (tensor<?x3xf32>, tensor<?x2xf32>, tensor<2x5x3xf32>, none, tensor<2x3x5xf32>, none, none, tensor<2x4xf32>) -> tensor<?x3xf32>
  return
}

func.func @quantized(%x: tensor<?x8xf32>, %xd: tensor<?x?xf32>, %l: tensor<?x2xf32>, %m3: tensor<?x3xf32>, %given: tensor<2x6x4xui8>) {
  %n = onnx.none : none
  %q = onnx.constant dense<1> : tensor<2x6x4xui8>
  %s = onnx.constant dense<1.0> : tensor<2x6xf32>
  %q2 = onnx.constant dense<1> : tensor<2x8x3xui8>
  %s2 = onnx.constant dense<1.0> : tensor<2x8xf32>
  %z = onnx.constant dense<1> : tensor<2x6xui8>
  %g = onnx.constant dense<2.0> : tensor<2xf32>
  // expected-error @+1 {{node 'a' (com.microsoft::QMoE): quant_type 'fp8' is not supported, only 'int' and 'fp4'}}
  %0 = onnx.node "com.microsoft::QMoE"(%x, %l, %q, %s, %n, %q2, %s2) {quant_type = "fp8"} name "a" opset 1 : (tensor<?x8xf32>, tensor<?x2xf32>, tensor<2x6x4xui8>, tensor<2x6xf32>, none, tensor<2x8x3xui8>, tensor<2x8xf32>) -> tensor<?x8xf32>
  // expected-error @+1 {{node 'b' (com.microsoft::QMoE): weights that are packed for a device are not supported}}
  %1 = onnx.node "com.microsoft::QMoE"(%x, %l, %q, %s, %n, %q2, %s2) {weights_prepacked = 1 : i64} name "b" opset 1 : (tensor<?x8xf32>, tensor<?x2xf32>, tensor<2x6x4xui8>, tensor<2x6xf32>, none, tensor<2x8x3xui8>, tensor<2x8xf32>) -> tensor<?x8xf32>
  // expected-error @+1 {{node 'c' (com.microsoft::QMoE): FC2: expects from 1 to 2147483647 weights per block, found -1}}
  %2 = onnx.node "com.microsoft::QMoE"(%x, %l, %q, %s, %n, %q2, %s2) {block_size = -1 : i64} name "c" opset 1 : (tensor<?x8xf32>, tensor<?x2xf32>, tensor<2x6x4xui8>, tensor<2x6xf32>, none, tensor<2x8x3xui8>, tensor<2x8xf32>) -> tensor<?x8xf32>
  // expected-error @+1 {{node 'd' (com.microsoft::QMoE): scales other than those of the weights (input 15) are not supported, unless all are 1}}
  %3 = onnx.node "com.microsoft::QMoE"(%x, %l, %q, %s, %n, %q2, %s2, %n, %n, %n, %n, %n, %n, %n, %n, %g) name "d" opset 1 : (tensor<?x8xf32>, tensor<?x2xf32>, tensor<2x6x4xui8>, tensor<2x6xf32>, none, tensor<2x8x3xui8>, tensor<2x8xf32>, none, none, none, none, none, none, none, none, tensor<2xf32>) -> tensor<?x8xf32>
  // expected-error @+1 {{node 'e' (com.microsoft::QMoE): FC2: expects weights of 2, 4 or 8 bits, found 5}}
  %4 = onnx.node "com.microsoft::QMoE"(%x, %l, %q, %s, %n, %q2, %s2) {fc2_expert_weight_bits = 5 : i64} name "e" opset 1 : (tensor<?x8xf32>, tensor<?x2xf32>, tensor<2x6x4xui8>, tensor<2x6xf32>, none, tensor<2x8x3xui8>, tensor<2x8xf32>) -> tensor<?x8xf32>
  // expected-error @+1 {{node 'f' (com.microsoft::QMoE): expects scales of FC1}}
  %5 = onnx.node "com.microsoft::QMoE"(%x, %l, %q, %n, %n, %q2, %s2) name "f" opset 1 : (tensor<?x8xf32>, tensor<?x2xf32>, tensor<2x6x4xui8>, none, none, tensor<2x8x3xui8>, tensor<2x8xf32>) -> tensor<?x8xf32>
  // expected-error @+1 {{node 'g' (com.microsoft::QMoE): FC1: expects constant weights}}
  %6 = onnx.node "com.microsoft::QMoE"(%x, %l, %given, %s, %n, %q2, %s2) name "g" opset 1 : (tensor<?x8xf32>, tensor<?x2xf32>, tensor<2x6x4xui8>, tensor<2x6xf32>, none, tensor<2x8x3xui8>, tensor<2x8xf32>) -> tensor<?x8xf32>
  // expected-error @+1 {{node 'h' (com.microsoft::QMoE): FC2: expects scales in f32, f16, bf16 or f8E8M0FNU of shape [2, 8, 1], found tensor<2x6xf32>}}
  %7 = onnx.node "com.microsoft::QMoE"(%x, %l, %q, %s, %n, %q2, %s) name "h" opset 1 : (tensor<?x8xf32>, tensor<?x2xf32>, tensor<2x6x4xui8>, tensor<2x6xf32>, none, tensor<2x8x3xui8>, tensor<2x6xf32>) -> tensor<?x8xf32>
  // expected-error @+1 {{node 'i' (com.microsoft::QMoE): FC1: expects zero points in floats or in bytes that hold 4 bits for each of [2, 6, 1], found tensor<2x6xui8>}}
  %8 = onnx.node "com.microsoft::QMoE"(%x, %l, %q, %s, %n, %q2, %s2, %n, %n, %n, %n, %z) name "i" opset 1 : (tensor<?x8xf32>, tensor<?x2xf32>, tensor<2x6x4xui8>, tensor<2x6xf32>, none, tensor<2x8x3xui8>, tensor<2x8xf32>, none, none, none, none, tensor<2x6xui8>) -> tensor<?x8xf32>
  // expected-error @+1 {{node 'j' (com.microsoft::QMoE): FC2: expects weights in bytes of shape [2, 8, 2], found tensor<2x8x3xui8>}}
  %9 = onnx.node "com.microsoft::QMoE"(%x, %l, %q, %s, %n, %q2, %s2) {activation_type = "swiglu", swiglu_fusion = 2 : i64} name "j" opset 1 : (tensor<?x8xf32>, tensor<?x2xf32>, tensor<2x6x4xui8>, tensor<2x6xf32>, none, tensor<2x8x3xui8>, tensor<2x8xf32>) -> tensor<?x8xf32>
  // expected-error @+1 {{node 'k' (com.microsoft::QMoE): expects an input of static width}}
  %10 = onnx.node "com.microsoft::QMoE"(%xd, %l, %q, %s, %n, %q2, %s2) name "k" opset 1 : (tensor<?x?xf32>, tensor<?x2xf32>, tensor<2x6x4xui8>, tensor<2x6xf32>, none, tensor<2x8x3xui8>, tensor<2x8xf32>) -> tensor<?x8xf32>
  // expected-error @+1 {{node 'l' (com.microsoft::QMoE): expects router_weights [tokens, 2]}}
  %11 = onnx.node "com.microsoft::QMoE"(%x, %l, %q, %s, %n, %q2, %s2, %n, %n, %n, %n, %n, %n, %n, %m3) name "l" opset 1 : (tensor<?x8xf32>, tensor<?x2xf32>, tensor<2x6x4xui8>, tensor<2x6xf32>, none, tensor<2x8x3xui8>, tensor<2x8xf32>, none, none, none, none, none, none, none, tensor<?x3xf32>) -> tensor<?x8xf32>
  return
}

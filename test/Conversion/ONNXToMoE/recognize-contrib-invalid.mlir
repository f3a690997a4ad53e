// All of them are reported in one run.
// RUN: moe-opt %s --onnx-recognize-moe --verify-diagnostics

func.func @all(%x: tensor<?x3xf32>, %x4: tensor<1x1x?x3xf32>, %xh: tensor<?x3xf16>, %l: tensor<?x2xf32>, %l3: tensor<?x3xf32>, %w: tensor<2x5x3xf32>, %w2: tensor<2x3x5xf32>, %dyn: tensor<2x?x3xf32>, %b: tensor<2x4xf32>) {
  %n = onnx.none : none
  // expected-error @+1 {{node 'a' (com.microsoft::MoE): attribute use_sparse_mixer = 1 is not supported}}
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
  // expected-error @+1 {{node 'g' (com.microsoft::MoE): expects an input of rank 2 or 3}}
  %6 = onnx.node "com.microsoft::MoE"(%x4, %l, %w, %n, %w2) name "g" opset 1 : (tensor<1x1x?x3xf32>, tensor<?x2xf32>, tensor<2x5x3xf32>, none, tensor<2x3x5xf32>) -> tensor<?x3xf32>
  // expected-error @+1 {{node 'h' (com.microsoft::MoE): expects router_probs of 2 experts, found 3}}
  %7 = onnx.node "com.microsoft::MoE"(%x, %l3, %w, %n, %w2) name "h" opset 1 : (tensor<?x3xf32>, tensor<?x3xf32>, tensor<2x5x3xf32>, none, tensor<2x3x5xf32>) -> tensor<?x3xf32>
  // expected-error @+1 {{node 'i' (com.microsoft::MoE): expects weights of a static shape [E, N, K]}}
  %8 = onnx.node "com.microsoft::MoE"(%x, %l, %dyn, %n, %w2) name "i" opset 1 : (tensor<?x3xf32>, tensor<?x2xf32>, tensor<2x?x3xf32>, none, tensor<2x3x5xf32>) -> tensor<?x3xf32>
  // expected-error @+1 {{node 'j' (com.microsoft::MoE): expects weights of the tokens' element type}}
  %9 = onnx.node "com.microsoft::MoE"(%xh, %l, %w, %n, %w2) name "j" opset 1 : (tensor<?x3xf16>, tensor<?x2xf32>, tensor<2x5x3xf32>, none, tensor<2x3x5xf32>) -> tensor<?x3xf16>
  // expected-error @+1 {{node 'k' (com.microsoft::MoE): expects a bias of shape [E, N]}}
  %10 = onnx.node "com.microsoft::MoE"(%x, %l, %w, %b, %w2) name "k" opset 1 : (tensor<?x3xf32>, tensor<?x2xf32>, tensor<2x5x3xf32>, tensor<2x4xf32>, tensor<2x3x5xf32>) -> tensor<?x3xf32>
  // expected-error @+1 {{node 'l' (com.microsoft::MoE): expects no bias of FC3 without its weight}}
  %11 = onnx.node "com.microsoft::MoE"(%x, %l, %w, %n, %w2, %n, %n, %b) name "l" opset 1 : (tensor<?x3xf32>, tensor<?x2xf32>, tensor<2x5x3xf32>, none, tensor<2x3x5xf32>, none, none, tensor<2x4xf32>) -> tensor<?x3xf32>
  return
}

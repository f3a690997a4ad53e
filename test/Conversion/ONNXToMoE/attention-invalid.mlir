// RUN: moe-opt %s --convert-onnx-to-moe --split-input-file --verify-diagnostics

func.func @main(%x: tensor<1x3x8xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'a' (Attention): expects q_num_heads and kv_num_heads for inputs of rank 3}}
  %0 = onnx.node "Attention"(%x, %x, %x) name "a" opset 23 : (tensor<1x3x8xf32>, tensor<1x3x8xf32>, tensor<1x3x8xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<1x3x8xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{(Attention): expects the last dimension of Q to be a multiple of its 3 heads, got 8}}
  %0 = onnx.node "Attention"(%x, %x, %x) {q_num_heads = 3 : i64, kv_num_heads = 1 : i64} opset 23 : (tensor<1x3x8xf32>, tensor<1x3x8xf32>, tensor<1x3x8xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%q: tensor<1x3x2x8xf32>, %k: tensor<1x2x2x8xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{(Attention): expects the heads of the query to be a multiple of those of the key, got 3 and 2}}
  %0 = onnx.node "Attention"(%q, %k, %k) opset 23 : (tensor<1x3x2x8xf32>, tensor<1x2x2x8xf32>, tensor<1x2x2x8xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%q: tensor<1x2x2x8xf32>, %k: tensor<1x2x2x4xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{(Attention): expects sizes of query and key that agree, got 4 and 8}}
  %0 = onnx.node "Attention"(%q, %k, %k) opset 23 : (tensor<1x2x2x8xf32>, tensor<1x2x2x4xf32>, tensor<1x2x2x4xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<1x2x2x8xf32>, %m: tensor<2x3xi1>) -> tensor<*xf32> {
  // expected-error @+1 {{(Attention): expects a mask for at most 2 keys, got 3}}
  %0 = onnx.node "Attention"(%x, %x, %x, %m) opset 23 : (tensor<1x2x2x8xf32>, tensor<1x2x2x8xf32>, tensor<1x2x2x8xf32>, tensor<2x3xi1>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<1x2x2x8xf32>, %m: tensor<3x2xi1>) -> tensor<*xf32> {
  // expected-error @+1 {{(Attention): expects a mask to broadcast, got size 3 for 2}}
  %0 = onnx.node "Attention"(%x, %x, %x, %m) opset 23 : (tensor<1x2x2x8xf32>, tensor<1x2x2x8xf32>, tensor<1x2x2x8xf32>, tensor<3x2xi1>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<1x2x2x8xf32>, %m: tensor<2x2xi64>) -> tensor<*xf32> {
  // expected-error @+1 {{(Attention): expects a mask of booleans or 'f32', got 'i64'}}
  %0 = onnx.node "Attention"(%x, %x, %x, %m) opset 23 : (tensor<1x2x2x8xf32>, tensor<1x2x2x8xf32>, tensor<1x2x2x8xf32>, tensor<2x2xi64>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<1x2x2x8xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{(Attention): expects qk_matmul_output_mode in [0, 3], got 4}}
  %0 = onnx.node "Attention"(%x, %x, %x) {qk_matmul_output_mode = 4 : i64} opset 23 : (tensor<1x2x2x8xf32>, tensor<1x2x2x8xf32>, tensor<1x2x2x8xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<1x2x2x8xf32>, %p: tensor<1x2x4x8xf32>) -> tensor<*xf32> {
  %n = onnx.none : none
  // expected-error @+1 {{(Attention): expects past_key and past_value together}}
  %0 = onnx.node "Attention"(%x, %x, %x, %n, %p) opset 23 : (tensor<1x2x2x8xf32>, tensor<1x2x2x8xf32>, tensor<1x2x2x8xf32>, none, tensor<1x2x4x8xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<1x2x2x8xf32>, %c: tensor<1x2x3xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{(RotaryEmbedding): expects twice the size of the caches and the rotated size that agree, got 6 and 8}}
  %0 = onnx.node "RotaryEmbedding"(%x, %c, %c) opset 23 : (tensor<1x2x2x8xf32>, tensor<1x2x3xf32>, tensor<1x2x3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<1x2x16xf32>, %i: tensor<1xi64>, %c: tensor<9x4xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{(com.microsoft::RotaryEmbedding): expects scale to be 1, got}}
  %0 = onnx.node "com.microsoft::RotaryEmbedding"(%x, %i, %c, %c) {scale = 2.0 : f32} opset 1 : (tensor<1x2x16xf32>, tensor<1xi64>, tensor<9x4xf32>, tensor<9x4xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%c: tensor<2x4x8xf32>, %u: tensor<2x4x8xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{(TensorScatter): expects an axis other than the batch}}
  %0 = onnx.node "TensorScatter"(%c, %u) {axis = 0 : i64} opset 24 : (tensor<2x4x8xf32>, tensor<2x4x8xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%q: tensor<1x1x64xf32>, %l: tensor<1xi32>, %t: tensor<i32>) -> tensor<*xf32> {
  %n = onnx.none : none
  // expected-error @+1 {{(com.microsoft::GroupQueryAttention): expects num_heads to be a multiple of kv_num_heads, got 3 and 2}}
  %0 = onnx.node "com.microsoft::GroupQueryAttention"(%q, %n, %n, %n, %n, %l, %t) {num_heads = 3 : i64, kv_num_heads = 2 : i64} opset 1 : (tensor<1x1x64xf32>, none, none, none, none, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%q: tensor<1x1x64xf32>, %l: tensor<1xi32>, %t: tensor<i32>) -> tensor<*xf32> {
  %n = onnx.none : none
  // expected-error @+1 {{(com.microsoft::GroupQueryAttention): k_quant_type = 'PER_TENSOR' is not supported}}
  %0 = onnx.node "com.microsoft::GroupQueryAttention"(%q, %n, %n, %n, %n, %l, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64, k_quant_type = "PER_TENSOR"} opset 1 : (tensor<1x1x64xf32>, none, none, none, none, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%q: tensor<1x1x64xf32>, %l: tensor<1xi32>, %t: tensor<i32>) -> tensor<*xf32> {
  %n = onnx.none : none
  // expected-error @+1 {{(com.microsoft::GroupQueryAttention): expects a local_window_size and caches for sliding_window_cache}}
  %0 = onnx.node "com.microsoft::GroupQueryAttention"(%q, %n, %n, %n, %n, %l, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64, sliding_window_cache = 1 : i64} opset 1 : (tensor<1x1x64xf32>, none, none, none, none, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%q: tensor<1x1x64xf32>, %l: tensor<1xi32>, %t: tensor<i32>) -> tensor<*xf32> {
  %n = onnx.none : none
  // expected-error @+1 {{(com.microsoft::GroupQueryAttention): expects cos_cache and sin_cache for do_rotary}}
  %0 = onnx.node "com.microsoft::GroupQueryAttention"(%q, %n, %n, %n, %n, %l, %t) {num_heads = 2 : i64, kv_num_heads = 1 : i64, do_rotary = 1 : i64} opset 1 : (tensor<1x1x64xf32>, none, none, none, none, tensor<1xi32>, tensor<i32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%q: tensor<1x1x64xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{(com.microsoft::MultiHeadAttention): expects a key, or a query of rank 5 that holds all three operands}}
  %0 = onnx.node "com.microsoft::MultiHeadAttention"(%q) {num_heads = 2 : i64} opset 1 : (tensor<1x1x64xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%q: tensor<1x1x64xf32>, %t: tensor<1xi32>) -> tensor<*xf32> {
  %n = onnx.none : none
  // expected-error @+1 {{(com.microsoft::MultiHeadAttention): input 'past_sequence_length' is not supported}}
  %0 = onnx.node "com.microsoft::MultiHeadAttention"(%q, %q, %q, %n, %n, %n, %n, %n, %t) {num_heads = 2 : i64} opset 1 : (tensor<1x1x64xf32>, tensor<1x1x64xf32>, tensor<1x1x64xf32>, none, none, none, none, none, tensor<1xi32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%i: tensor<1x2xi32>, %w: tensor<9x4xf32>, %p: tensor<9x3xf32>, %g: tensor<4xf32>) -> tensor<*xf32> {
  %n = onnx.none : none
  // expected-error @+1 {{(com.microsoft::EmbedLayerNormalization): expects embeddings to broadcast, got size 3 for 4}}
  %0 = onnx.node "com.microsoft::EmbedLayerNormalization"(%i, %n, %w, %p, %n, %g, %g) opset 1 : (tensor<1x2xi32>, none, tensor<9x4xf32>, tensor<9x3xf32>, none, tensor<4xf32>, tensor<4xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%q: tensor<1x1x64xf32>, %s: tensor<3xf32>) -> tensor<*xf32> {
  %n = onnx.none : none
  // expected-error @+1 {{(moe_mlir::SinkAttention): expects heads and head_sink that agree, got 3 and 2}}
  %0 = onnx.node "moe_mlir::SinkAttention"(%q, %q, %q, %n, %n, %n, %n, %s) {q_num_heads = 2 : i64, kv_num_heads = 2 : i64} opset 1 : (tensor<1x1x64xf32>, tensor<1x1x64xf32>, tensor<1x1x64xf32>, none, none, none, none, tensor<3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

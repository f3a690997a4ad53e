// RUN: moe-opt %s --convert-onnx-to-moe --split-input-file --verify-diagnostics

func.func @main(%x: tensor<?x4xf32>, %y: tensor<3x5xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (Add): expects shapes that broadcast, got sizes 4 and 5 at the same place}}
  %0 = onnx.node "Add"(%x, %y) name "n" opset 14 : (tensor<?x4xf32>, tensor<3x5xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<4xf32>, %y: tensor<4xi64>) -> tensor<*xf32> {
  // expected-error @+1 {{(Add): expects operands of one type, got 'f32' and 'i64'}}
  %0 = onnx.node "Add"(%x, %y) opset 14 : (tensor<4xf32>, tensor<4xi64>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<2x3xf32>, %y: tensor<4x5xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{(MatMul): expects inner dimensions that agree, got 3 and 4}}
  %0 = onnx.node "MatMul"(%x, %y) opset 13 : (tensor<2x3xf32>, tensor<4x5xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<2x3xf32>) -> tensor<*xf32> {
  %s = onnx.constant dense<[4, 2]> : tensor<2xi64>
  // expected-error @+1 {{(Reshape): expects a shape of 6 elements, got 8}}
  %0 = onnx.node "Reshape"(%x, %s) opset 14 : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<2x3xf32>) -> tensor<*xf32> {
  %i = onnx.constant dense<[0, 3]> : tensor<2xi64>
  // expected-error @+1 {{(Gather): expects every index to lie in an axis of size 3, got 3}}
  %0 = onnx.node "Gather"(%x, %i) {axis = 1 : i64} opset 13 : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<2x3xf32>) -> (tensor<*xf32>, tensor<*xi64>) {
  %k = onnx.constant dense<4> : tensor<1xi64>
  // expected-error @+1 {{(TopK): expects k to lie in [0, size of the axis], got 4}}
  %0:2 = onnx.node "TopK"(%x, %k) opset 11 : (tensor<2x3xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>)
  return %0#0, %0#1 : tensor<*xf32>, tensor<*xi64>
}

// -----

func.func @main(%x: tensor<2x3xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{(Softmax): expects an axis in [-2, 2), got 2}}
  %0 = onnx.node "Softmax"(%x) {axis = 2 : i64} opset 13 : (tensor<2x3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<2x3xf32>) -> tensor<*xf16> {
  // expected-error @+1 {{(Relu): output 0 is declared with elements of type 'f16' but has 'f32'}}
  %0 = onnx.node "Relu"(%x) opset 14 : (tensor<2x3xf32>) -> tensor<*xf16>
  return %0 : tensor<*xf16>
}

// -----

// expected-error @+1 {{input 0: expects a tensor of known rank, got 'tensor<*xf32>'}}
func.func @main(%x: tensor<*xf32>) -> tensor<*xf32> {
  return %x : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<?x20xf32>, %given: tensor<32x2x8xui8>) -> tensor<*xf32> {
  %q = onnx.constant dense<1> : tensor<32x2x8xui8>
  %s = onnx.constant dense<1.0> : tensor<32x2xf32>
  // expected-error @+1 {{node 'n' (com.microsoft::MatMulNBits): expects from 1 to 2147483647 weights per block, found 0}}
  %0 = onnx.node "com.microsoft::MatMulNBits"(%x, %q, %s) {K = 20 : i64, N = 32 : i64} name "n" opset 1 : (tensor<?x20xf32>, tensor<32x2x8xui8>, tensor<32x2xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<?x20xf32>, %given: tensor<32x2x8xui8>) -> tensor<*xf32> {
  %q = onnx.constant dense<1> : tensor<32x2x8xui8>
  %s = onnx.constant dense<1.0> : tensor<32x2xf32>
  // expected-error @+1 {{node 'n' (com.microsoft::MatMulNBits): expects weights of 2, 4 or 8 bits, found 3}}
  %0 = onnx.node "com.microsoft::MatMulNBits"(%x, %q, %s) {K = 20 : i64, N = 32 : i64, bits = 3 : i64, block_size = 16 : i64} name "n" opset 1 : (tensor<?x20xf32>, tensor<32x2x8xui8>, tensor<32x2xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<?x20xf32>, %given: tensor<32x2x8xui8>) -> tensor<*xf32> {
  %q = onnx.constant dense<1> : tensor<32x2x8xui8>
  %s = onnx.constant dense<1.0> : tensor<32x2xf32>
  // expected-error @+1 {{node 'n' (com.microsoft::MatMulNBits): expects a block size that is a multiple of 8, found 12}}
  %0 = onnx.node "com.microsoft::MatMulNBits"(%x, %q, %s) {K = 20 : i64, N = 32 : i64, block_size = 12 : i64} name "n" opset 1 : (tensor<?x20xf32>, tensor<32x2x8xui8>, tensor<32x2xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<?x20xf32>, %given: tensor<32x2x8xui8>) -> tensor<*xf32> {
  %q = onnx.constant dense<1> : tensor<32x2x8xui8>
  %s = onnx.constant dense<1.0> : tensor<32x2xf32>
  // expected-error @+1 {{node 'n' (com.microsoft::MatMulNBits): expects weights in bytes of shape [1, 32, 32], found tensor<32x2x8xi8>}}
  %0 = onnx.node "com.microsoft::MatMulNBits"(%x, %q, %s) {K = 20 : i64, N = 32 : i64, bits = 8 : i64, block_size = 16 : i64} name "n" opset 1 : (tensor<?x20xf32>, tensor<32x2x8xui8>, tensor<32x2xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<?x20xf32>, %given: tensor<32x2x8xui8>) -> tensor<*xf32> {
  %q = onnx.constant dense<1> : tensor<32x2x8xui8>
  %s = onnx.constant dense<1.0> : tensor<32x2xf32>
  // expected-error @+1 {{node 'n' (com.microsoft::MatMulNBits): expects constant weights}}
  %0 = onnx.node "com.microsoft::MatMulNBits"(%x, %given, %s) {K = 20 : i64, N = 32 : i64, bits = 4 : i64, block_size = 16 : i64} name "n" opset 1 : (tensor<?x20xf32>, tensor<32x2x8xui8>, tensor<32x2xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<?x20xf32>, %given: tensor<32x2x8xui8>) -> tensor<*xf32> {
  %q = onnx.constant dense<1> : tensor<32x2x8xui8>
  %s = onnx.constant dense<1.0> : tensor<32x2xf32>
  %c = onnx.constant dense<1.0> : tensor<32xf32>
  // expected-error @+1 {{node 'n' (com.microsoft::MatMulNBits): expects scales in f32, f16, bf16 or f8E8M0FNU of shape [1, 32, 2], found tensor<32xf32>}}
  %0 = onnx.node "com.microsoft::MatMulNBits"(%x, %q, %c) {K = 20 : i64, N = 32 : i64, bits = 4 : i64, block_size = 16 : i64} name "n" opset 1 : (tensor<?x20xf32>, tensor<32x2x8xui8>, tensor<32xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<?x20xf32>, %given: tensor<32x2x8xui8>) -> tensor<*xf32> {
  %q = onnx.constant dense<1> : tensor<32x2x8xui8>
  %s = onnx.constant dense<1.0> : tensor<32x2xf32>
  %z = onnx.constant dense<1> : tensor<32x2xui8>
  // expected-error @+1 {{node 'n' (com.microsoft::MatMulNBits): expects zero points in floats or in bytes that hold 4 bits for each of [1, 32, 2], found tensor<32x2xi8>}}
  %0 = onnx.node "com.microsoft::MatMulNBits"(%x, %q, %s, %z) {K = 20 : i64, N = 32 : i64, bits = 4 : i64, block_size = 16 : i64} name "n" opset 1 : (tensor<?x20xf32>, tensor<32x2x8xui8>, tensor<32x2xf32>, tensor<32x2xui8>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<?x20xf32>, %given: tensor<32x2x8xui8>) -> tensor<*xf32> {
  %q = onnx.constant dense<1> : tensor<32x2x8xui8>
  %s = onnx.constant dense<1.0> : tensor<32x2xf32>
  %o = onnx.none : none
  %g = onnx.constant dense<0> : tensor<20xi32>
  // expected-error @+1 {{node 'n' (com.microsoft::MatMulNBits): an order of the columns (g_idx) is not supported}}
  %0 = onnx.node "com.microsoft::MatMulNBits"(%x, %q, %s, %o, %g) {K = 20 : i64, N = 32 : i64, bits = 4 : i64, block_size = 16 : i64} name "n" opset 1 : (tensor<?x20xf32>, tensor<32x2x8xui8>, tensor<32x2xf32>, none, tensor<20xi32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<?x20xf32>, %given: tensor<32x2x8xui8>) -> tensor<*xf32> {
  %q = onnx.constant dense<1> : tensor<32x2x8xui8>
  %s = onnx.constant dense<1.0> : tensor<32x2xf32>
  // expected-error @+1 {{node 'n' (com.microsoft::MatMulNBits): weights that are packed for a device are not supported}}
  %0 = onnx.node "com.microsoft::MatMulNBits"(%x, %q, %s) {K = 20 : i64, N = 32 : i64, bits = 4 : i64, block_size = 16 : i64, weight_prepacked = 1 : i64} name "n" opset 1 : (tensor<?x20xf32>, tensor<32x2x8xui8>, tensor<32x2xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<?x20xf32>, %given: tensor<32x2x8xui8>) -> tensor<*xf32> {
  %q = onnx.constant dense<1> : tensor<32x2x8xui8>
  %s = onnx.constant dense<1.0> : tensor<32x2xf32>
  // expected-error @+1 {{node 'n' (com.microsoft::MatMulNBits): expects inner dimensions that agree, got 20 and 24}}
  %0 = onnx.node "com.microsoft::MatMulNBits"(%x, %q, %s) {K = 24 : i64, N = 32 : i64, bits = 4 : i64, block_size = 16 : i64} name "n" opset 1 : (tensor<?x20xf32>, tensor<32x2x8xui8>, tensor<32x2xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

// The mean of a normalization that does not centre: named by exporters, but not there.
func.func @main(%x: tensor<?x?x8xf32>, %s: tensor<?x?x8xf32>, %g: tensor<8xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  // expected-error @+1 {{(com.microsoft::SkipSimplifiedLayerNormalization): output 1 is not supported}}
  %0:4 = onnx.node "com.microsoft::SkipSimplifiedLayerNormalization"(%x, %s, %g) opset 1
    : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<8xf32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>)
  return %0#0, %0#1 : tensor<*xf32>, tensor<*xf32>
}

// -----

func.func @main(%x0: tensor<2x3xf32>, %x1: tensor<2x3xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (Einsum): expects an equation with a term for each of the 2 operands, got 'ij->ij'}}
  %0 = onnx.node "Einsum"(%x0, %x1) {equation = "ij->ij"} name "n" opset 13 : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x0: tensor<2x3xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (Einsum): expects terms of letters and at most one '...' in the equation, got 'i1'}}
  %0 = onnx.node "Einsum"(%x0) {equation = "i1->i"} name "n" opset 13 : (tensor<2x3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x0: tensor<2x3xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (Einsum): expects terms of letters and at most one '...' in the equation, got 'i..'}}
  %0 = onnx.node "Einsum"(%x0) {equation = "i..->i"} name "n" opset 13 : (tensor<2x3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x0: tensor<2x3xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (Einsum): expects terms of letters and at most one '...' in the equation, got '...i...'}}
  %0 = onnx.node "Einsum"(%x0) {equation = "...i..."} name "n" opset 13 : (tensor<2x3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x0: tensor<2x3xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (Einsum): expects terms of letters and at most one '...' in the equation, got 'j->k'}}
  %0 = onnx.node "Einsum"(%x0) {equation = "ij->j->k"} name "n" opset 13 : (tensor<2x3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x0: tensor<2x3xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (Einsum): expects a term of 2 letters for an operand of that rank, got 'ijk'}}
  %0 = onnx.node "Einsum"(%x0) {equation = "ijk->i"} name "n" opset 13 : (tensor<2x3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x0: tensor<2x3xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (Einsum): expects distinct letters in the result, got 'ii'}}
  %0 = onnx.node "Einsum"(%x0) {equation = "ij->ii"} name "n" opset 13 : (tensor<2x3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x0: tensor<2x3xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (Einsum): expects the result's letters in the operands' terms, got 'k'}}
  %0 = onnx.node "Einsum"(%x0) {equation = "ij->ik"} name "n" opset 13 : (tensor<2x3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x0: tensor<2x3xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (Einsum): expects '...' in the result, as operands have it, got 'i'}}
  %0 = onnx.node "Einsum"(%x0) {equation = "i...->i"} name "n" opset 13 : (tensor<2x3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x0: tensor<2x3xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (Einsum): expects axes of one letter that agree, got 3 and 2}}
  %0 = onnx.node "Einsum"(%x0) {equation = "ii->i"} name "n" opset 13 : (tensor<2x3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x0: tensor<2x3xf32>, %x1: tensor<2x3xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (Einsum): expects shapes that broadcast, got sizes 3 and 2 at the same place}}
  %0 = onnx.node "Einsum"(%x0, %x1) {equation = "ij,jk"} name "n" opset 13 : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x0: tensor<2x3xf32>, %x1: tensor<2x3xf64>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (Einsum): expects operands of one type, got 'f32' and 'f64'}}
  %0 = onnx.node "Einsum"(%x0, %x1) {equation = "ij,ij"} name "n" opset 13 : (tensor<2x3xf32>, tensor<2x3xf64>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<2x3xf32>, %c: tensor<2xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (Compress): expects a condition of rank 1 and type 'i1', got rank 1 and type 'f32'}}
  %0 = onnx.node "Compress"(%x, %c) name "n" opset 13 : (tensor<2x3xf32>, tensor<2xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @main(%x: tensor<2x3xf32>, %c: tensor<2xi1>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'n' (Compress): expects an axis in [-2, 2), got 2}}
  %0 = onnx.node "Compress"(%x, %c) {axis = 2 : i64} name "n" opset 13 : (tensor<2x3xf32>, tensor<2xi1>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

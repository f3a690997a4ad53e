// RUN: moe-opt %s --convert-onnx-to-moe --canonicalize --cse | FileCheck %s

// A weight is turned to [1, N, K] by another symbol over its bytes.
// CHECK-DAG: moe.weight @w {file = "m", length = 2048 : i64, offset = 64 : i64} : tensor<16x32xf32>
// CHECK-DAG: moe.weight @w__view {file = "m", length = 2048 : i64, offset = 64 : i64, strides = array<i64: {{[0-9]+}}, 1, 32>} : tensor<1x32x16xf32>
// CHECK-DAG: moe.weight @[[SAME:w__view_[0-9]+]] {file = "m", length = 2048 : i64, offset = 64 : i64} : tensor<1x16x32xf32>
// CHECK-DAG: moe.weight @[[HALF:w__view_[0-9]+]] {file = "m", length = 1984 : i64, offset = 128 : i64, strides = array<i64: {{[0-9]+}}, 1, 32>} : tensor<1x16x16xf32>
moe.weight @w {file = "m", offset = 64 : i64, length = 2048 : i64} : tensor<16x32xf32>

// CHECK-LABEL: func.func @matmul
// CHECK: %[[W:.*]] = moe.get_weight @w__view : tensor<1x32x16xf32>
// CHECK: %[[ROWS:.*]] = tensor.collapse_shape %{{.*}} {{\[\[}}0, 1], [2]]
// CHECK: %[[T:.*]] = arith.muli
// CHECK: %[[N:.*]] = arith.index_cast %[[T]] : index to i64
// CHECK: %[[G:.*]] = tensor.from_elements %[[N]] : tensor<1xi64>
// CHECK: %[[Y:.*]] = moe.grouped_matmul %[[ROWS]], %[[G]] weights(%[[W]])
// CHECK: tensor.expand_shape %[[Y]] {{\[\[}}0, 1], [2]]
func.func @matmul(%x: tensor<?x?x16xf32>) -> tensor<*xf32> {
  %w = moe.get_weight @w : tensor<16x32xf32>
  %0 = onnx.node "MatMul"(%x, %w) opset 13 : (tensor<?x?x16xf32>, tensor<16x32xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// CHECK-LABEL: func.func @gemm
// CHECK: moe.get_weight @[[SAME]] : tensor<1x16x32xf32>
// CHECK: %[[B:.*]] = tensor.expand_shape %{{.*}} : tensor<16xf32> into tensor<1x16xf32>
// CHECK: moe.grouped_matmul %{{.*}} biases(%[[B]] : tensor<1x16xf32>)
// CHECK-NOT: linalg.generic
// CHECK: return
func.func @gemm(%x: tensor<?x32xf32>, %b: tensor<16xf32>) -> tensor<*xf32> {
  %w = moe.get_weight @w : tensor<16x32xf32>
  %0 = onnx.node "Gemm"(%x, %w, %b) {transB = 1 : i64} opset 13 : (tensor<?x32xf32>, tensor<16x32xf32>, tensor<16xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// CHECK-LABEL: func.func @half
// CHECK: moe.get_weight @[[HALF]] : tensor<1x16x16xf32>
func.func @half(%x: tensor<?x16xf32>) -> tensor<*xf32> {
  %w = moe.get_weight @w : tensor<16x32xf32>
  %s = onnx.constant dense<16> : tensor<2xi64>
  %h:2 = onnx.node "Split"(%w, %s) {axis = 1 : i64} opset 13 : (tensor<16x32xf32>, tensor<2xi64>) -> (tensor<*xf32>, tensor<*xf32>)
  %0 = onnx.node "MatMul"(%x, %h#1) opset 13 : (tensor<?x16xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// One contraction; n is the innermost loop, and a broadcast batch stays a map.
// CHECK-LABEL: func.func @batch
// CHECK: linalg.generic {indexing_maps = [{{.*}}], iterator_types = ["parallel", "parallel", "reduction", "parallel"]}
// CHECK-SAME: ins(%{{.*}}, %{{.*}} : tensor<?x?x8xf16>, tensor<1x8x?xf16>) outs(%{{.*}} : tensor<?x?x?xf32>)
// CHECK: %[[P:.*]] = arith.mulf %{{.*}} : f32
// CHECK: arith.addf %{{.*}}, %[[P]] : f32
// CHECK: arith.truncf %{{.*}} : f32 to f16
func.func @batch(%x: tensor<?x?x8xf16>, %y: tensor<1x8x?xf16>) -> tensor<*xf16> {
  %0 = onnx.node "MatMul"(%x, %y) opset 13 : (tensor<?x?x8xf16>, tensor<1x8x?xf16>) -> tensor<*xf16>
  return %0 : tensor<*xf16>
}

// A matrix of its own for each head: groups of equal size, the heads in front.
// CHECK-LABEL: func.func @per_head
// CHECK: %[[W:.*]] = moe.get_weight @[[HEADS:w__view_[0-9]+]] : tensor<4x32x4xf32>
// CHECK: linalg.generic {{.*}} ins(%{{.*}} : tensor<?x4x?x4xf32>) outs(%{{.*}} : tensor<4x?x?x4xf32>)
// CHECK: %[[ROWS:.*]] = tensor.collapse_shape %{{.*}} {{\[\[}}0, 1, 2], [3]] : tensor<4x?x?x4xf32> into tensor<?x4xf32>
// CHECK: %[[SIZES:.*]] = tensor.splat %{{.*}} : tensor<4xi64>
// CHECK: moe.grouped_matmul %[[ROWS]], %[[SIZES]] weights(%[[W]])
func.func @per_head(%x: tensor<?x4x?x4xf32>) -> tensor<*xf32> {
  %w = moe.get_weight @w : tensor<16x32xf32>
  %s = onnx.constant dense<[4, 4, 32]> : tensor<3xi64>
  %h = onnx.node "Reshape"(%w, %s) opset 13 : (tensor<16x32xf32>, tensor<3xi64>) -> tensor<4x4x32xf32>
  %0 = onnx.node "MatMul"(%x, %h) opset 13 : (tensor<?x4x?x4xf32>, tensor<4x4x32xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// A 16-bit weight is read as it is where a Cast widens it.
// CHECK-DAG: moe.weight @b__view {{.*}} : tensor<1x16x32xbf16>
moe.weight @b {file = "m", offset = 16384 : i64, length = 1024 : i64} : tensor<16x32xbf16>
// CHECK-LABEL: func.func @widened
// CHECK-NOT: linalg.generic
// CHECK: moe.grouped_matmul %{{.*}} : tensor<?x32xf32>, tensor<1xi64>, (tensor<1x16x32xbf16>) -> tensor<?x16xf32>
// CHECK-NEXT: return
func.func @widened(%x: tensor<?x32xf32>) -> tensor<*xf32> {
  %w = moe.get_weight @b : tensor<16x32xbf16>
  %f = onnx.node "Cast"(%w) {to = 1 : i64} opset 13 : (tensor<16x32xbf16>) -> tensor<16x32xf32>
  %0 = onnx.node "Gemm"(%x, %f) {transB = 1 : i64} opset 13 : (tensor<?x32xf32>, tensor<16x32xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// Quantized weights are a view of the bytes as integers: 20 of each row's 32,
// whose last block is padded. Zero points begin at bytes, row by row.
// CHECK-DAG: moe.weight @[[Q:q__view.*]] {file = "m", length = 506 : i64, offset = 4096 : i64, strides = array<i64: {{[0-9]+}}, 32, 1>} : tensor<1x32x20xi4>
// CHECK-DAG: moe.weight @[[S:s__view.*]] {file = "m", length = 256 : i64, offset = 8192 : i64} : tensor<1x32x2xf32>
moe.weight @q {file = "m", offset = 4096 : i64, length = 512 : i64} : tensor<32x2x8xui8>
moe.weight @s {file = "m", offset = 8192 : i64, length = 256 : i64} : tensor<64xf32>
// CHECK-LABEL: func.func @quantized
// CHECK-DAG: %[[W:.*]] = moe.get_weight @[[Q]] : tensor<1x32x20xi4>
// CHECK-DAG: %[[C:.*]] = moe.get_weight @[[S]] : tensor<1x32x2xf32>
// CHECK-DAG: %[[Z:.*]] = arith.constant dense<{{\[\[\[}}3, 1], {{.*}}> : tensor<1x32x2xi4>
// CHECK: moe.grouped_matmul %{{.*}} weights(%[[W]]) scales(%[[C]] : tensor<1x32x2xf32>) zero_points(%[[Z]] : tensor<1x32x2xi4>) biases(%{{.*}} : tensor<1x32xf32>) {block_size = 16 : i64}
func.func @quantized(%x: tensor<?x20xf32>, %b: tensor<32xf32>) -> tensor<*xf32> {
  %q = moe.get_weight @q : tensor<32x2x8xui8>
  %s = moe.get_weight @s : tensor<64xf32>
  %z = onnx.constant dense<"0x13020304050607081112131415161718212223242526272831323334353637FF"> : tensor<32xui8>
  %n = onnx.none : none
  %0 = onnx.node "com.microsoft::MatMulNBits"(%x, %q, %s, %z, %n, %b) {K = 20 : i64, N = 32 : i64, bits = 4 : i64, block_size = 16 : i64, accuracy_level = 4 : i64} opset 1
    : (tensor<?x20xf32>, tensor<32x2x8xui8>, tensor<64xf32>, tensor<32xui8>, none, tensor<32xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// A weight of several axes is a matrix, of which both groups of axes are views.
// CHECK-LABEL: func.func @einsum_weight
// CHECK: %[[W:.*]] = moe.get_weight @{{.*}} : tensor<1x32x16xf32>
// CHECK: %[[Y:.*]] = moe.grouped_matmul %{{.*}}, %{{.*}} weights(%[[W]]) : tensor<?x16xf32>
// CHECK-NOT: linalg.generic
// CHECK: tensor.expand_shape %[[Y]] {{\[\[}}0], [1, 2]] {{.*}} into tensor<?x8x4xf32>
func.func @einsum_weight(%x: tensor<?x16xf32>) -> tensor<*xf32> {
  %w = moe.get_weight @w : tensor<16x32xf32>
  %s = onnx.constant dense<[16, 8, 4]> : tensor<3xi64>
  %h = onnx.node "Reshape"(%w, %s) opset 13 : (tensor<16x32xf32>, tensor<3xi64>) -> tensor<16x8x4xf32>
  %0 = onnx.node "Einsum"(%x, %h) {equation = "tm,mhd->thd"} opset 13 : (tensor<?x16xf32>, tensor<16x8x4xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// Operands that lie transposed are contracted as they are.
// CHECK-LABEL: func.func @einsum_transposed
// CHECK-NOT: linalg.generic
// CHECK: linalg.generic {indexing_maps = [{{.*}}], iterator_types = ["parallel", "parallel", "reduction", "parallel"]}
// CHECK-SAME: ins(%arg0, %arg1 : tensor<?x?x?xf32>, tensor<?x?x?xf32>)
// CHECK-NOT: linalg.generic
// CHECK: return
func.func @einsum_transposed(%x: tensor<?x?x?xf32> {moe.dims = ["b", "k", "m"]}, %y: tensor<?x?x?xf32> {moe.dims = ["b", "n", "k"]}) -> tensor<*xf32> {
  %0 = onnx.node "Einsum"(%x, %y) {equation = "bkm,bnk->bmn"} opset 13 : (tensor<?x?x?xf32>, tensor<?x?x?xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// Without a sum the products are elementwise, in the order of the result.
// CHECK-LABEL: func.func @einsum_outer
// CHECK: linalg.generic {indexing_maps = [#[[SECOND:.*]], #[[FIRST:.*]], #{{.*}}], iterator_types = ["parallel", "parallel"]} ins(%arg0, %arg1
// CHECK-NOT: linalg.generic
// CHECK: return
func.func @einsum_outer(%x: tensor<?xf32>, %y: tensor<?xf32>) -> tensor<*xf32> {
  %0 = onnx.node "Einsum"(%x, %y) {equation = "i,j->ji"} opset 13 : (tensor<?xf32>, tensor<?xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// RUN: moe-opt %s --convert-onnx-to-moe --canonicalize --cse | FileCheck %s

// CHECK: #[[POSITION:.*]] = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d3, d5 * 2 + d4 * 3)>

moe.weight @w {file = "m", offset = 64 : i64, length = 7680 : i64} : tensor<32x20x3xf32>

// A depthwise convolution is elementwise: one view of the padded input per tap.
// CHECK-LABEL: func.func @causal
// CHECK: %[[PADDED:.*]] = tensor.insert_slice
// CHECK: %[[X:.*]] = tensor.expand_shape %[[PADDED]]
// CHECK: %[[A:.*]] = tensor.extract_slice %[[X]][0, 0, 0, 0]
// CHECK: %[[B:.*]] = tensor.extract_slice %[[X]][0, 0, 0, 1]
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%[[A]], %[[W:[a-z0-9_]+]], %[[B]], %[[W]] :
// CHECK: arith.mulf
// CHECK: arith.mulf
// CHECK: arith.addf
// CHECK-NOT: reduction
// CHECK: return
func.func @causal(%x: tensor<?x6x?xf32>, %w: tensor<6x1x2xf32>) -> tensor<*xf32> {
  %0 = onnx.node "Conv"(%x, %w) {group = 6 : i64, pads = array<i64: 1, 0>} opset 22 : (tensor<?x6x?xf32>, tensor<6x1x2xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// A weight without groups is a matrix.
// CHECK-LABEL: func.func @dense
// CHECK: moe.get_weight @{{.*}} : tensor<1x32x60xf32>
// CHECK: moe.grouped_matmul
func.func @dense(%x: tensor<?x20x?xf32>) -> tensor<*xf32> {
  %w = moe.get_weight @w : tensor<32x20x3xf32>
  %0 = onnx.node "Conv"(%x, %w) opset 22 : (tensor<?x20x?xf32>, tensor<32x20x3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// Otherwise the positions along the last axis are the innermost loop.
// CHECK-LABEL: func.func @grouped
// CHECK: linalg.generic {indexing_maps = [#[[POSITION]], {{.*}}iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction", "parallel"]
func.func @grouped(%x: tensor<?x40x?xf16>, %w: tensor<8x20x?xf16>) -> tensor<*xf32> {
  %0 = onnx.node "Conv"(%x, %w) {group = 2 : i64, strides = array<i64: 2>, dilations = array<i64: 3>} opset 22 : (tensor<?x40x?xf16>, tensor<8x20x?xf16>) -> tensor<*xf16>
  %1 = onnx.node "Cast"(%0) {to = 1 : i64} opset 22 : (tensor<*xf16>) -> tensor<*xf32>
  return %1 : tensor<*xf32>
}

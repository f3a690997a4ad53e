// RUN: moe-opt %s --moe-record-layers | FileCheck %s

// CHECK: module attributes {moe.layers = [
// CHECK-SAME: {bias = false, bytes_per_expert = 12288 : i64, experts = 8 : i64, k = 2 : i64,
// CHECK-SAME: name = "gate_0", position = "before_selection", renormalize = true,
// CHECK-SAME: scale = 1.000000e+00 : f32, score = "softmax"
// CHECK-SAME: {bytes_per_expert = 6144 : i64, experts = 8 : i64, k = 2 : i64, name = "layer1"}
// A node in an exporter's namespace: the module that it belongs to.
// CHECK-SAME: name = "model.layers.2.mlp"
moe.weight @w {file = "m", offset = 0 : i64, length = 49152 : i64} : tensor<8x48x32xf32>
moe.weight @v {file = "m", offset = 0 : i64, length = 49152 : i64} : tensor<8x48x32xf32>
func.func @main(%x: tensor<?x32xf32>, %logits: tensor<?x8xf32>, %chosen: tensor<?x2xi32>) -> (tensor<?x48xf32>, tensor<?x48xf32>) {
  %0 = moe.get_weight @w : tensor<8x48x32xf32>
  %1 = moe.get_weight @v : tensor<8x48x32xf32>
  %w, %e = moe.route %logits {k = 2 : i64, renormalize} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32> loc("gate_0")
  // CHECK: moe.dispatch {{.*}} {moe.layer = 0 : i64}
  %rows, %sizes, %map = moe.dispatch %x, %e : tensor<?x32xf32>, tensor<?x2xi32> -> tensor<?x32xf32>, tensor<8xi64>, tensor<?x2xi32>
  %h = moe.grouped_matmul %rows, %sizes weights(%0, %1) : tensor<?x32xf32>, tensor<8xi64>, (tensor<8x48x32xf32>, tensor<8x48x32xf32>) -> tensor<?x48xf32> epilogue {
  ^bb0(%a: f32, %b: f32):
    moe.yield %a : f32
  }
  // CHECK: moe.dispatch {{.*}} {moe.layer = 1 : i64}
  %rows1, %sizes1, %map1 = moe.dispatch %x, %chosen : tensor<?x32xf32>, tensor<?x2xi32> -> tensor<?x32xf32>, tensor<8xi64>, tensor<?x2xi32>
  %h1 = moe.grouped_matmul %rows1, %sizes1 weights(%0) : tensor<?x32xf32>, tensor<8xi64>, (tensor<8x48x32xf32>) -> tensor<?x48xf32>
  %w2, %e2 = moe.route %logits {k = 1 : i64} : tensor<?x8xf32> -> tensor<?x1xf32>, tensor<?x1xi32>
    loc("node_sum"(": Step/model: Model/model.layers.2.mlp: Block/sum: aten.sum"("m.onnx")))
  %rows2, %sizes2, %map2 = moe.dispatch %x, %e2 : tensor<?x32xf32>, tensor<?x1xi32> -> tensor<?x32xf32>, tensor<8xi64>, tensor<?x1xi32>
  return %h, %h1 : tensor<?x48xf32>, tensor<?x48xf32>
}

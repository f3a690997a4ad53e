// RUN: moe-opt %s --lower-to-cpu | FileCheck %s
// RUN: moe-opt %s --lower-to-cpu | moe-opt | FileCheck %s

// From operations of the moe dialect to nothing but the llvm (and omp) dialect,
// with what the model says about itself in module attributes.
// CHECK: module attributes {
// CHECK-SAME: moe.layers = [{{.*}}experts = 4 : i64, k = 2 : i64
// CHECK-SAME: moe.signature = {{{.*}}name = "logits"
// CHECK-NOT: {{(moe|grouped|linalg|memref|vector|scf|arith)[.][a-z_]+ %}}
// CHECK: llvm.func @moe_compiled_main(%{{.*}}: !llvm.ptr
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 4096 : i64} : tensor<4x16x16xf32>
func.func @main(%logits: tensor<?x4xf32> {moe.name = "logits", moe.dims = ["tokens", ""]}, %x: tensor<?x16xf32> {moe.name = "x", moe.dims = ["tokens", ""]}) -> (tensor<?x16xf32> {moe.name = "y", moe.dims = ["tokens", ""]}) {
  %w = moe.get_weight @w : tensor<4x16x16xf32>
  %weights, %experts = moe.route %logits {k = 2 : i64, renormalize} : tensor<?x4xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  %rows, %sizes, %map = moe.dispatch %x, %experts : tensor<?x16xf32>, tensor<?x2xi32> -> tensor<?x16xf32>, tensor<4xi64>, tensor<?x2xi32>
  %h = moe.grouped_matmul %rows, %sizes weights(%w) : tensor<?x16xf32>, tensor<4xi64>, (tensor<4x16x16xf32>) -> tensor<?x16xf32>
  %y = moe.combine %h, %weights, %map : tensor<?x16xf32>, tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

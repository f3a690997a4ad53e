// ptxas takes the kernels without a warning, of spilled registers above all: moe-compile makes an error of any.
// REQUIRES: ptxas
// RUN: moe-compile %s --target=cuda:sm_80 --emit=cubin -o %t.80.cubin
// RUN: moe-compile %s --target=cuda:sm_86 --emit=cubin -o %t.86.cubin
// RUN: moe-compile %s --target=cuda:sm_90 --emit=cubin -o %t.90.cubin
// RUN: llvm-readelf -h %t.80.cubin | FileCheck %s
// CHECK: Machine: NVIDIA CUDA architecture

// RUN: env MOE_PTXAS=%t.nowhere not moe-compile %s --target=cuda:sm_80 --emit=cubin -o %t.cubin 2>&1 | FileCheck %s --check-prefix=MISSING
// MISSING: moe-compile: error: {{.*}}.nowhere:

func.func @main(%logits: tensor<?x160xbf16> {moe.name = "logits"}, %x: tensor<?x512xbf16> {moe.name = "x"},
    %gate: tensor<160x256x512xbf16> {moe.name = "gate"}, %up: tensor<160x256x512xbf16> {moe.name = "up"}, %down: tensor<160x512x256xbf16> {moe.name = "down"})
    -> (tensor<?x512xbf16> {moe.name = "a"}) {
  %weights, %experts = moe.route %logits {k = 6 : i64, n_group = 8 : i64, topk_group = 3 : i64, group_top = 2 : i64, renormalize}
    : tensor<?x160xbf16> -> tensor<?x6xbf16>, tensor<?x6xi32>
  %rows, %sizes, %map = moe.dispatch %x, %experts : tensor<?x512xbf16>, tensor<?x6xi32> -> tensor<?x512xbf16>, tensor<160xi64>, tensor<?x6xi32>
  %h = moe.grouped_matmul %rows, %sizes weights(%gate, %up) : tensor<?x512xbf16>, tensor<160xi64>, (tensor<160x256x512xbf16>, tensor<160x256x512xbf16>)
    -> tensor<?x256xbf16> epilogue {
  ^bb0(%g: f32, %u: f32):
    %one = arith.constant 1.0 : f32
    %minus = arith.negf %g : f32
    %exp = math.exp %minus : f32
    %sum = arith.addf %one, %exp : f32
    %silu = arith.divf %g, %sum : f32
    %r = arith.mulf %silu, %u : f32
    moe.yield %r : f32
  }
  %d = moe.grouped_matmul %h, %sizes weights(%down) : tensor<?x256xbf16>, tensor<160xi64>, (tensor<160x512x256xbf16>) -> tensor<?x512xbf16>
  %a = moe.combine %d, %weights, %map : tensor<?x512xbf16>, tensor<?x6xbf16>, tensor<?x6xi32> -> tensor<?x512xbf16>
  return %a : tensor<?x512xbf16>
}

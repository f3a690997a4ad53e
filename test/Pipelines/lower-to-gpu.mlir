// RUN: moe-opt %s --lower-to-gpu=host=false | FileCheck %s --check-prefix=NVVM
// RUN: moe-opt %s --lower-to-gpu | FileCheck %s --check-prefix=HOST
// RUN: moe-compile %s --target=cuda:sm_80 --emit=ptx -o - | FileCheck %s --check-prefix=PTX
// RUN: not moe-compile %s --target=cuda:sm_99 --emit=ptx -o - 2>&1 | FileCheck %s --check-prefix=ARCH
// RUN: not moe-compile %s --emit=ptx -o - 2>&1 | FileCheck %s --check-prefix=CPU

// ARCH: moe-compile: error: --target=cuda: expects one of sm_80, {{.*}}, got 'sm_99'
// CPU: moe-compile: error: --emit=ptx and --emit=cubin expect --target=cuda:<arch>

// NVVM: gpu.launch_func @moe_kernels::@gate_
// NVVM: gpu.module @moe_kernels
// NVVM: llvm.func @gate_{{.*}}nvvm.kernel
// NVVM: llvm.func @matmul_{{.*}}nvvm.kernel, nvvm.maxntid = array<i32: 128, 1, 1>
// NVVM: nvvm.mma.sync

// The host: only the llvm dialect, with the kernels' text as a constant.
// HOST-NOT: gpu.
// HOST: llvm.mlir.global internal constant @moe_device_code(
// HOST: llvm.func @moe_compiled_main
// HOST: llvm.call @moe_rt_gpu_begin(
// HOST: llvm.call @moe_rt_gpu_launch(

// Nothing of libdevice; shared memory is the launch's.
// PTX: .target sm_80
// PTX-NOT: .extern .func
// PTX: .extern .shared .align 1024 .b8 moe_shared[];
// PTX: .visible .entry gate_
// PTX: redux.sync.max.u32
// PTX: .visible .entry plan_
// PTX: match.any.sync.b32
// PTX: .visible .entry matmul_{{.*}}_16x
// PTX: cp.async.cg.shared.global [%{{.*}}], [%{{.*}}], 16
// PTX: cp.async.wait_group
// PTX-NEXT: bar.sync 0;
// PTX: ldmatrix.sync.aligned.m8n8.x4.shared.b16
// PTX: mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32
// PTX: .visible .entry combine_
func.func @main(%logits: tensor<?x4xf16> {moe.name = "logits", moe.dims = ["tokens", ""]}, %x: tensor<?x64xf16> {moe.name = "x", moe.dims = ["tokens", ""]},
                %w: tensor<4x32x64xf16> {moe.name = "w"}) -> (tensor<?x32xf16> {moe.name = "y", moe.dims = ["tokens", ""]}) {
  %weights, %experts = moe.route %logits {k = 2 : i64, renormalize} : tensor<?x4xf16> -> tensor<?x2xf16>, tensor<?x2xi32>
  %rows, %sizes, %map = moe.dispatch %x, %experts : tensor<?x64xf16>, tensor<?x2xi32> -> tensor<?x64xf16>, tensor<4xi64>, tensor<?x2xi32>
  %h = moe.grouped_matmul %rows, %sizes weights(%w) : tensor<?x64xf16>, tensor<4xi64>, (tensor<4x32x64xf16>) -> tensor<?x32xf16> epilogue {
  ^bb0(%a: f32):
    %0 = math.exp %a : f32
    moe.yield %0 : f32
  }
  %y = moe.combine %h, %weights, %map : tensor<?x32xf16>, tensor<?x2xf16>, tensor<?x2xi32> -> tensor<?x32xf16>
  return %y : tensor<?x32xf16>
}

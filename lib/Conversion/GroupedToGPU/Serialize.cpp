//===- Serialize.cpp - the module of kernels to PTX -----------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/GroupedToGPU/Passes.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/BuiltinOps.h"

#include "moe/Target/GPU/GPUTarget.h"
#include "moe/Target/GPU/PTX.h"

#define DEBUG_TYPE "gpu-serialize"

namespace mlir::grouped {
#define GEN_PASS_DEF_SERIALIZEPASS
#include "moe/Conversion/GroupedToGPU/Passes.h.inc"
} // namespace mlir::grouped

using namespace mlir;

namespace {
struct Serialize : grouped::impl::SerializePassBase<Serialize> {
  using SerializePassBase::SerializePassBase;

  void runOnOperation() override {
    FailureOr<moe::GPUDescription> target =
        moe::describeGPU(arch, getOperation());
    if (failed(target))
      return signalPassFailure();
    OpBuilder b(&getContext());
    for (auto module : llvm::make_early_inc_range(
             getOperation().getOps<gpu::GPUModuleOp>())) {
      FailureOr<std::string> text = moe::translateToPTX(module, *target);
      if (failed(text))
        return signalPassFailure();
      auto nvvm = NVVM::NVVMTargetAttr::get(&getContext(), /*optLevel=*/3,
                                            "nvptx64-nvidia-cuda", target->arch,
                                            target->features);
      Attribute object = gpu::ObjectAttr::get(
          &getContext(), nvvm, gpu::CompilationTarget::Assembly,
          b.getStringAttr(*text), DictionaryAttr(), gpu::KernelTableAttr());
      b.setInsertionPoint(module);
      gpu::BinaryOp::create(b, module.getLoc(), module.getName(), Attribute(),
                            ArrayRef{object});
      module.erase();
    }
  }
};
} // namespace

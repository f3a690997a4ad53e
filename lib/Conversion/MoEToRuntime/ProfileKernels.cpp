//===- ProfileKernels.cpp - tell the profile hook about kernels -----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Without a hook a region costs two calls that test a pointer, so the calls are
// always there and any deployed model can be profiled.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/MoEToRuntime/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

#include "moe/Conversion/Utils/RuntimeCalls.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#define DEBUG_TYPE "moe-profile-kernels"

namespace mlir::moe {
#define GEN_PASS_DEF_PROFILEKERNELSPASS
#include "moe/Conversion/MoEToRuntime/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// The node that a kernel was made for: the first name in its location.
static StringRef nodeName(Location location) {
  StringRef name;
  location->walk([&](Location part) {
    auto named = dyn_cast<NameLoc>(part);
    if (!named)
      return WalkResult::advance();
    name = named.getName().getValue();
    return WalkResult::interrupt();
  });
  return name;
}

/// "node_linear_3: matmul" for a call of @moe_kernel_matmul_7.
static std::string regionName(func::CallOp call) {
  StringRef kernel = call.getCallee();
  kernel.consume_front("moe_kernel_");
  StringRef kind = kernel.rtrim("0123456789").rtrim('_');
  StringRef node = nodeName(call.getLoc());
  return node.empty() ? kind.str() : (node + ": " + kind).str();
}

namespace {
struct ProfileKernels : moe::impl::ProfileKernelsPassBase<ProfileKernels> {
  void runOnOperation() override {
    SmallVector<func::CallOp> calls;
    getOperation().walk([&](func::CallOp call) {
      if (call.getCallee().starts_with("moe_kernel_"))
        calls.push_back(call);
    });
    SmallVector<Attribute> regions;
    for (func::CallOp call : calls) {
      ImplicitLocOpBuilder b(call.getLoc(), call);
      Value context = getSessionContext(call);
      if (!context)
        return signalPassFailure();
      Value region = arith::ConstantIntOp::create(b, regions.size(), 32);
      regions.push_back(b.getStringAttr(regionName(call)));
      auto tell = [&](int64_t begins) {
        callRuntime(b, "moe_rt_profile", {},
                    ValueRange{context, region,
                               arith::ConstantIntOp::create(b, begins, 32)});
      };
      tell(1);
      b.setInsertionPointAfter(call);
      tell(0);
    }
    if (!regions.empty())
      getOperation()->setAttr(kRegionsAttr,
                              ArrayAttr::get(&getContext(), regions));
  }
};
} // namespace

//===- SchedulePipeline.cpp - Tiles and loops for the target --------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Pipelines/Pipelines.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "moe/Dialect/Grouped/Transforms/Passes.h"
#include "moe/Pipelines/Options.h"
#include "moe/Target/CPU/TargetDescription.h"

using namespace mlir;

void moe::buildSchedulePipeline(OpPassManager &pm, const CPUOptions &options) {
  TargetDescription target = describeTarget(options);
  grouped::SchedulePassOptions tiles;
  tiles.vectorBits = target.vectorBits;
  tiles.vectorRegisters = target.vectorRegisters;
  tiles.l1Bytes = target.l1Bytes;
  tiles.l2Bytes = target.l2Bytes;
  pm.addNestedPass<func::FuncOp>(grouped::createSchedulePass(tiles));
}

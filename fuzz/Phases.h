//===- Phases.h - The first phases, for fuzzers -----------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_FUZZ_PHASES_H
#define MOE_FUZZ_PHASES_H

#include "Fuzzing.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "moe/Dialect/Grouped/IR/Grouped.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/ONNX/IR/ONNXOps.h"
#include "moe/Pipelines/Options.h"
#include "moe/Pipelines/Phases.h"

namespace mlir::moe::fuzz {

/// The dialects of raise and fuse. With all that there are, each pipeline would
/// collect the patterns of all.
inline void registerPhaseDialects(DialectRegistry &registry) {
  registry.insert<MoEDialect, grouped::GroupedDialect, onnx::ONNXDialect,
                  affine::AffineDialect, arith::ArithDialect,
                  bufferization::BufferizationDialect, func::FuncDialect,
                  linalg::LinalgDialect, math::MathDialect, scf::SCFDialect,
                  tensor::TensorDialect>();
}

inline void buildPhases(PassManager &passes) {
  for (Phase phase : {Phase::Raise, Phase::Fuse})
    buildPhase(phase, passes, CompileOptions());
}

} // namespace mlir::moe::fuzz

#endif // MOE_FUZZ_PHASES_H

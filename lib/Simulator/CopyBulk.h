//===- CopyBulk.h - Copies of sm_90 -----------------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_SIMULATOR_COPYBULK_H
#define MOE_LIB_SIMULATOR_COPYBULK_H

#include "Decoder.h"

namespace mlir::moe::sim {

/// cp.async.bulk and its tensor forms.
void decodeBulkCopy(Decoder &d);
/// cp.async.mbarrier.arrive
void decodeCopyArrive(Decoder &d);

} // namespace mlir::moe::sim

#endif // MOE_LIB_SIMULATOR_COPYBULK_H

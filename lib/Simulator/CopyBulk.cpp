//===- CopyBulk.cpp - Copies of sm_90 -------------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CopyBulk.h"

using namespace mlir::moe::sim;

void mlir::moe::sim::decodeBulkCopy(Decoder &d) { d.unmodelled(); }
void mlir::moe::sim::decodeCopyArrive(Decoder &d) { d.unmodelled(); }

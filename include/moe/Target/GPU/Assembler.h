//===- Assembler.h - ptxas --------------------------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_GPU_ASSEMBLER_H
#define MOE_TARGET_GPU_ASSEMBLER_H

#include "mlir/Support/LLVM.h"
#include "llvm/Support/MemoryBuffer.h"

#include <memory>
#include <optional>
#include <string>

namespace mlir::moe {

/// NVIDIA's assembler: $MOE_PTXAS, one on PATH, that of $CUDA_HOME or
/// $CUDA_PATH, of the wheel `nvidia-cuda-nvcc` in $VIRTUAL_ENV or beside this
/// build, or of /usr/local/cuda; empty when there is none.
std::string findPtxas();

/// The cubin of PTX text; none and `error` when ptxas is missing, fails, or
/// warns (of spilled registers, say).
std::optional<std::unique_ptr<llvm::MemoryBuffer>>
assemblePTX(StringRef text, StringRef arch, std::string &error);

} // namespace mlir::moe

#endif // MOE_TARGET_GPU_ASSEMBLER_H

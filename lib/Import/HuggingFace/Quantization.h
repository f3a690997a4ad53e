//===- Quantization.h - How a checkpoint's matrices are stored --*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// FP8: 8-bit floats with a scale for a block of rows and columns.
//
// MXFP4: bytes of two E2M1 floats in blocks of 32, an exponent for each.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_HUGGINGFACE_QUANTIZATION_H
#define MOE_LIB_IMPORT_HUGGINGFACE_QUANTIZATION_H

#include "Config.h"
#include "moe/Import/HuggingFace/Decoder.h"

namespace mlir::moe {

struct Quantization {
  enum Method { None, FP8, MXFP4 } method = None;
};

/// Reads the key quantization_config; blocks of FP8 are of `weights`.
Quantization readQuantization(Config &config, DecoderWeights &weights,
                              std::vector<std::string> &problems);

} // namespace mlir::moe

#endif // MOE_LIB_IMPORT_HUGGINGFACE_QUANTIZATION_H

//===- JSONText.h - JSON that comes from strangers --------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_IMPORT_SAFETENSORS_JSONTEXT_H
#define MOE_IMPORT_SAFETENSORS_JSONTEXT_H

#include "llvm/Support/JSON.h"

namespace mlir::moe {

/// Parses `text`. Beyond what JSON demands, brackets nest at most `maxDepth`
/// deep (the parser recurses) and no object has a key twice (it would keep the
/// last one).
llvm::Expected<llvm::json::Value> parseJSONText(llvm::StringRef text,
                                                unsigned maxDepth);

} // namespace mlir::moe

#endif // MOE_IMPORT_SAFETENSORS_JSONTEXT_H

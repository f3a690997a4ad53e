//===- Operators.h - the ONNX operators that have a converter ---*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CONVERSION_ONNXTOMOE_OPERATORS_H
#define MOE_CONVERSION_ONNXTOMOE_OPERATORS_H

#include "mlir/Support/LLVM.h"

namespace mlir::moe {

struct SupportedOperator {
  /// "" for the default domain.
  StringRef domain;
  StringRef name;
  /// The operator set versions, both inclusive.
  int64_t since, until;
  /// What is required beyond the standard, or "".
  StringRef limits;
};

/// All operators that `convert-onnx-to-moe` converts, sorted by domain and
/// name.
SmallVector<SupportedOperator> supportedOperators();

/// Whether one of these covers `version` of the operator.
bool isSupportedOperator(StringRef domain, StringRef name, int64_t version);

} // namespace mlir::moe

#endif // MOE_CONVERSION_ONNXTOMOE_OPERATORS_H

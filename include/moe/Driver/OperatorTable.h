//===- OperatorTable.h - the operators that compile -------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DRIVER_OPERATORTABLE_H
#define MOE_DRIVER_OPERATORTABLE_H

#include "mlir/Support/LLVM.h"

namespace mlir::moe {

/// Prints the operators that can be compiled as a page of Markdown:
/// docs/Operators.md.
void printOperatorTable(raw_ostream &os);

} // namespace mlir::moe

#endif // MOE_DRIVER_OPERATORTABLE_H

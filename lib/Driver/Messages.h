//===- Messages.h - Diagnostics for people and for tools ------ -*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_DRIVER_MESSAGES_H
#define MOE_LIB_DRIVER_MESSAGES_H

#include "mlir/IR/Diagnostics.h"
#include "llvm/Support/JSON.h"

#include <string>

namespace mlir::moe {

/// Prints "file: kind: text", and the notes in the same way, each in one line.
/// `input` stands for a file that is not known.
void printMessage(Diagnostic &diagnostic, StringRef input,
                  llvm::raw_ostream &os);

/// A JSON object in one line: file, severity and text, and what dictionaries
/// among the metadata of the diagnostic say besides.
std::string recordOf(Diagnostic &diagnostic, StringRef input);
/// The same of a message about nothing in the model.
std::string recordOf(StringRef severity, StringRef message);

/// An attribute as JSON; one that JSON has no form for, as its text.
llvm::json::Value toJSON(Attribute attribute);

} // namespace mlir::moe

#endif // MOE_LIB_DRIVER_MESSAGES_H

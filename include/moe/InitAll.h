//===- InitAll.h - Registration of all dialects and passes ------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What every tool registers, so that all of them read the same IR.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_INITALL_H
#define MOE_INITALL_H

namespace mlir {
class DialectRegistry;

namespace moe {

/// Adds the project's dialects, the upstream dialects that its phases use, and
/// the interface implementations that its passes rely on.
void registerAllMoEDialects(DialectRegistry &registry);

/// Registers the project's passes and pipelines, and the upstream passes that
/// are useful between its phases, with the global pass registry.
void registerAllMoEPasses();

} // namespace moe
} // namespace mlir

#endif // MOE_INITALL_H

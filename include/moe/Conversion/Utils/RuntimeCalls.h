//===- RuntimeCalls.h - compiled code and its runtime -----------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// How lowered code reaches the session context and the functions of
// moe/Runtime/Context.h.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CONVERSION_UTILS_RUNTIMECALLS_H
#define MOE_CONVERSION_UTILS_RUNTIMECALLS_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/MapVector.h"

#include "moe/Dialect/MoE/IR/MoE.h"

namespace mlir::moe {

/// Argument attribute (unit) of the session context, a `!llvm.ptr`.
inline constexpr StringLiteral kContextAttr = "moe.context";

/// The session context of the function around `op`; null, after an error, when
/// the function has none.
Value getSessionContext(Operation *op);

/// What a run-time error calls `op`: by its node in the source model, if it has
/// one.
std::string describeOperation(Operation *op);

/// Calls the runtime function `name`, declaring it in the module of the
/// insertion point when it is new. Returns the result, or null for none.
Value callRuntime(ImplicitLocOpBuilder &b, StringRef name, TypeRange results,
                  ValueRange operands);

/// The texts of run-time checks, the module's `moe.sites`. Equal ones are
/// stored once: unrolled layers share many of them.
class CheckSites {
public:
  explicit CheckSites(ModuleOp module);

  /// Turns `check` into a call of the runtime with the number of its text.
  void replace(CheckOp check, Value context);
  /// Sets the attribute.
  void record();

private:
  ModuleOp module;
  llvm::MapVector<Attribute, int64_t> sites;
};

/// Reads a field of the session context.
Value loadContextField(ImplicitLocOpBuilder &b, Value context, int64_t offset,
                       Type type);

/// A contiguous memref over the elements at `pointer`. `type` has an identity
/// layout, `dynamicSizes` are of type index.
Value memrefFromPointer(ImplicitLocOpBuilder &b, Value pointer, MemRefType type,
                        ValueRange dynamicSizes);

/// The address of a memref's first element (offset 0 assumed) as `!llvm.ptr`.
Value pointerFromMemref(ImplicitLocOpBuilder &b, Value memref);

/// Bytes of one element in memory; i1 takes a byte.
int64_t elementBytes(Type type);

/// The product of integers of type index or i64, as i64; INT64_MAX when it does
/// not fit.
Value saturatingProduct(ImplicitLocOpBuilder &b, ValueRange factors);

/// The session's memory for a contiguous memref of `type`. The number of bytes
/// saturates, so that the runtime refuses what no memory holds.
Value allocate(ImplicitLocOpBuilder &b, Value context, MemRefType type,
               ValueRange dynamicSizes);

} // namespace mlir::moe

#endif // MOE_CONVERSION_UTILS_RUNTIMECALLS_H

//===- RegisterTile.h - the innermost matmul functions ----------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_GROUPEDTOLOOPS_REGISTERTILE_H
#define MOE_LIB_CONVERSION_GROUPEDTOLOOPS_REGISTERTILE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace mlir::grouped {

/// A register tile: `rows` x (`panels` * 16) accumulators of type `compute`
/// over panels of element type `element`. `rowStride` and `tileStride` are the
/// distances of consecutive rows of the left operand and of the accumulators,
/// in elements; as constants they become displacements of the addresses.
struct RegisterTile {
  int64_t rows;
  int64_t panels;
  Type compute;
  Type element;
  int64_t rowStride;
  int64_t tileStride;
  /// Whether to prefetch what the caller says will be read next. Pays when the
  /// multiplications take longer than the panels; with few rows the processor's
  /// own prefetcher is ahead and more streams only disturb it.
  bool prefetch;
};

/// The function of a register tile, made on first use and shared by the module:
///
///   @moe_tile_<element>_<rows>x<columns>_...(
///       %a : memref<?xC>, %a0 : index,            rows, first element
///       %p : memref<?xE>, %p0 : index, %ps : index, panels, distance of panels
///       %c : memref<?xC>, %c0 : index,            accumulators
///       %depth : index,                           k steps (of the interleave)
///       %first : i1,                              start from 0
///       %n0 : index, %ns : index)                 prefetched of each panel of
///                                                 %p: from where, per step
func::FuncOp getRegisterTile(ModuleOp module, const RegisterTile &tile);

} // namespace mlir::grouped

#endif // MOE_LIB_CONVERSION_GROUPEDTOLOOPS_REGISTERTILE_H

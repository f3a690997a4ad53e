//===- QuantizedTile.h - kernels over quantized panels ----------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_GROUPEDTOLOOPS_QUANTIZEDTILE_H
#define MOE_LIB_CONVERSION_GROUPEDTOLOOPS_QUANTIZEDTILE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "moe/Dialect/MoE/IR/MoE.h"

namespace mlir::grouped {

/// How the words of a panel stand for f32 weights.
struct Quantization {
  int64_t bits;
  moe::Encoding encoding;
  /// In k; 0 when one block spans all of it.
  int64_t blockSize;
  /// i8 for exponents.
  Type scale;
  /// Null for those that the encoding implies.
  Type zeroPoint;

  /// How many k a word holds.
  int64_t perWord() const;
};

/// A register tile that dequantizes in registers: `rows` x (`panels` * 16)
/// sums over all of K, for few rows.
struct QuantizedTile {
  int64_t rows;
  int64_t panels;
  Quantization quantization;
  /// As in RegisterTile.
  int64_t rowStride;
  int64_t tileStride;
};

/// The function of a tile:
///
///   @moe_tile_i<bits>_<rows>x<columns>_...(
///       %a : memref<?xf32>, %a0 : index,          rows, first element
///       %p : memref<?xi32>, %p0 : index, %ps,     panels, distance of panels
///       %s : memref<?xS>, %s0 : index, %ss,       panels of scales
///      (%z : memref<?xZ>, %z0 : index, %zs,)      panels of zero points
///       %c : memref<?xf32>, %c0 : index,          sums
///       %depth : index)                           words
func::FuncOp getQuantizedTile(ModuleOp module, const QuantizedTile &tile);

/// The function that writes a block of a panel as f32:
///
///   @moe_dequantize_i<bits>_...(
///       %p, %p0, %s, %s0, (%z, %z0,)              one panel of each
///       %out : memref<?xf32>, %out0 : index,      [k, 16]
///       %first : index, %depth : index)           words: the first of %p0
///                                                 within K, and how many
func::FuncOp getDequantizer(ModuleOp module, const Quantization &quantization);

} // namespace mlir::grouped

#endif // MOE_LIB_CONVERSION_GROUPEDTOLOOPS_QUANTIZEDTILE_H

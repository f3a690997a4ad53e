//===- WireScan.h - Cuts tensor payloads out of a model file ---*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The passes of the ONNX library copy a model several times. What they get is
// therefore a copy of the file's bytes in which each large payload is replaced
// by a reference, made here from the memory-mapped file in one pass.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_ONNX_WIRESCAN_H
#define MOE_LIB_IMPORT_ONNX_WIRESCAN_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <string>
#include <vector>

namespace mlir::moe::onnx_import {

/// Payloads of more bytes than this are not loaded.
inline constexpr uint64_t kMaxDenseBytes = 1024;

/// Bound on the bytes of all payloads that must be decoded element by element
/// (`int64_data` and its like hold varints, so no file range is a tensor's
/// memory) and that are therefore kept in the module itself.
inline constexpr uint64_t kMaxDecodedBytes = uint64_t(64) << 20;

/// The key of the external-data entry that stands for a cut-out payload; its
/// value is an index into `ScannedModel::payloads`. A file that uses it itself
/// is rejected.
inline constexpr llvm::StringLiteral kStubKey = "moe.stub";

/// A range of the model file.
struct FileRange {
  uint64_t offset = 0;
  uint64_t length = 0;
};

struct ScannedModel {
  /// A serialized ModelProto without the large payloads, documentation and
  /// training information.
  std::string bytes;
  std::vector<FileRange> payloads;
};

/// Scans the serialized ModelProto `file`.
llvm::Expected<ScannedModel> scanModel(llvm::StringRef file);

} // namespace mlir::moe::onnx_import

#endif // MOE_LIB_IMPORT_ONNX_WIRESCAN_H

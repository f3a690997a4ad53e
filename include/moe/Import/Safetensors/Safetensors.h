//===- Safetensors.h - The header of a safetensors file ---------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A safetensors file is the length of a header (8 bytes, little endian), the
// header (JSON: type, shape and place of each tensor), and the bytes of all
// tensors, without gaps. Files come from anywhere: whatever a header says is
// checked here, so that users of a tensor need not.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_IMPORT_SAFETENSORS_SAFETENSORS_H
#define MOE_IMPORT_SAFETENSORS_SAFETENSORS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace mlir::moe {

struct SafetensorsType {
  llvm::StringLiteral name;
  unsigned bits;
};

/// All types of the format.
llvm::ArrayRef<SafetensorsType> safetensorsTypes();

struct SafetensorsTensor {
  std::string name;
  const SafetensorsType *type;
  llvm::SmallVector<int64_t, 4> shape;
  /// The tensor's bytes, from the beginning of the file.
  uint64_t offset, length;
};

/// The bytes in front of a file that its length field says the header takes,
/// with the field itself. `field` is the first 8 bytes of the file.
llvm::Expected<uint64_t> safetensorsHeaderSize(llvm::StringRef field,
                                               uint64_t fileSize);

/// The tensors of a file of `fileSize` bytes, in the order of their bytes.
/// `header` is at least the bytes that `safetensorsHeaderSize` counts.
llvm::Expected<std::vector<SafetensorsTensor>>
parseSafetensors(llvm::StringRef header, uint64_t fileSize);

/// The same of a file in memory.
inline llvm::Expected<std::vector<SafetensorsTensor>>
parseSafetensors(llvm::StringRef file) {
  return parseSafetensors(file, file.size());
}

} // namespace mlir::moe

#endif // MOE_IMPORT_SAFETENSORS_SAFETENSORS_H

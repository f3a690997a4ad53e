//===- Files.h - NumPy files ------------------------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// NumPy's formats: .npy (numpy.lib.format, versions 1 to 3) and .npz, a zip
// archive of them. Files come from anywhere: every size is checked against the
// bytes there are. bfloat16, which NumPy does not know, is what ml_dtypes
// writes: two bytes of type void ('<V2').
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_RUN_FILES_H
#define MOE_TOOLS_RUN_FILES_H

#include "moe/Tools/Run/Array.h"

#include <string>
#include <vector>

namespace mlir::moe {

/// Reads a whole file. Errors carry the path.
bool readFile(const std::string &path, Buffer &bytes, std::string &error);

/// Parses a .npy file; `error` says what is wrong, without a file name.
bool parseNpy(const char *bytes, uint64_t size, Array &array,
              std::string &error);
bool readNpy(const std::string &path, Array &array, std::string &error);

/// Parses the .npy members of a .npz; names come without the suffix.
bool parseNpz(const char *bytes, uint64_t size, std::vector<NamedArray> &arrays,
              std::string &error);
bool readNpz(const std::string &path, std::vector<NamedArray> &arrays,
             std::string &error);

/// Output files that appear all together or not at all: each is written beside
/// its place and renamed by commit; what was not committed is removed.
class OutputFiles {
public:
  OutputFiles() = default;
  OutputFiles(const OutputFiles &) = delete;
  OutputFiles &operator=(const OutputFiles &) = delete;
  ~OutputFiles();

  bool addNpy(const std::string &path, const moe_tensor &tensor,
              std::string &error);
  bool addNpz(const std::string &path, const std::vector<std::string> &names,
              const std::vector<moe_tensor> &tensors, std::string &error);
  bool commit(std::string &error);

private:
  struct Staged {
    std::string path, temporary;
  };
  std::vector<Staged> staged;
};

} // namespace mlir::moe

#endif // MOE_TOOLS_RUN_FILES_H

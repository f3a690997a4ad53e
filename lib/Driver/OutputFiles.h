//===- OutputFiles.h - Results that appear together -------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_DRIVER_OUTPUTFILES_H
#define MOE_LIB_DRIVER_OUTPUTFILES_H

#include "mlir/Support/LLVM.h"

#include <functional>
#include <string>
#include <vector>

namespace llvm {
class raw_pwrite_stream;
} // namespace llvm

namespace mlir::moe {

/// Files that are written beside their places and get their names all together;
/// until then, on destruction and on signals they are removed. What `write` is
/// to write to a device, a pipe or what standard output ("-") or error is, goes
/// there at once.
class OutputFiles {
public:
  OutputFiles() = default;
  OutputFiles(const OutputFiles &) = delete;
  OutputFiles &operator=(const OutputFiles &) = delete;
  ~OutputFiles();

  /// Writes a file that is no result at once, "-" for standard output; false
  /// with one line in `error`.
  static bool writeNow(const std::string &path,
                       llvm::function_ref<void(llvm::raw_pwrite_stream &)> body,
                       std::string &error);
  /// A file to be written by someone else under the returned name.
  std::string add(const std::string &path);
  /// Writes a file; false with one line in `error`. Its name until the commit
  /// is stored to `temporary`.
  bool write(const std::string &path,
             llvm::function_ref<void(llvm::raw_pwrite_stream &)> body,
             std::string &error, std::string *temporary = nullptr);
  /// Gives all files their names, in the order in which they were added.
  bool commit(std::string &error);

private:
  struct Staged {
    std::string path, temporary;
  };
  std::vector<Staged> staged;
};

} // namespace mlir::moe

#endif // MOE_LIB_DRIVER_OUTPUTFILES_H

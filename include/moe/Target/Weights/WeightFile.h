//===- WeightFile.h - Writes weight files -----------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Streams packed weights into the file that compiled code maps; the format is
// in moe/Runtime/WeightFormat.h. Nothing is buffered: a section's bytes go
// straight to the file, so memory stays bounded by the caller's chunks. The
// file appears under its name only when it is complete.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_WEIGHTS_WEIGHTFILE_H
#define MOE_TARGET_WEIGHTS_WEIGHTFILE_H

#include "moe/Runtime/Hash.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mlir::moe {

/// Assigns offsets, relative to moe_context.weights, to sections in order. The
/// compiler can plan addresses with it before any byte is packed; a writer that
/// is given sections of the same sizes in the same order uses the same offsets.
class WeightLayout {
public:
  /// The offset of a new section.
  uint64_t add(uint64_t size);
  /// One past the last byte.
  uint64_t size() const { return end; }

private:
  uint64_t end = 0;
};

/// What a model records about its weight file.
struct WeightFileIdentity {
  uint64_t size = 0;
  uint64_t hash = 0;
};

class WeightFileWriter {
public:
  /// Starts a file that will become `path`; null and `error` on failure.
  static std::unique_ptr<WeightFileWriter> create(const std::string &path,
                                                  std::string &error);
  /// Removes the unfinished file unless commit succeeded.
  ~WeightFileWriter();
  WeightFileWriter(const WeightFileWriter &) = delete;
  WeightFileWriter &operator=(const WeightFileWriter &) = delete;

  /// The unfinished file, for drivers that clean up when they are interrupted.
  const std::string &getTemporaryPath() const { return temporary; }

  /// Reserves a section; its index counts from 0.
  unsigned addSection(const std::string &name, uint64_t size);
  /// Where the section lies, relative to moe_context.weights.
  uint64_t getOffset(unsigned section) const {
    return sections[section].offset;
  }

  /// Writes the section's next bytes. Different sections may be appended to
  /// from different threads while no section is being added.
  bool append(unsigned section, const void *data, size_t size,
              std::string &error);

  /// Convenience: reserves a section and fills it with what `next` puts into
  /// the buffer, call by call, `chunk` bytes at a time (the last one less).
  /// `next` gets the position within the section; false stops with its error.
  using Producer = std::function<bool(uint64_t position, uint8_t *buffer,
                                      size_t size, std::string &error)>;
  bool addSection(const std::string &name, uint64_t size, size_t chunk,
                  const Producer &next, std::string &error);

  /// Writes table and header, and renames the file to its path. Fails when a
  /// section has fewer bytes than reserved. No other call may follow.
  bool commit(WeightFileIdentity &identity, std::string &error);

private:
  struct Section {
    std::string name;
    uint64_t offset, size, written;
    moe_hash_state hash;
  };

  WeightFileWriter(std::string path, std::string temporary, int file)
      : path(std::move(path)), temporary(std::move(temporary)), file(file) {}
  bool writeAt(uint64_t position, const void *data, size_t size,
               std::string &error);
  std::string describe(const char *what) const;

  std::string path, temporary;
  int file;
  bool committed = false;
  WeightLayout layout;
  std::vector<Section> sections;
};

} // namespace mlir::moe

#endif // MOE_TARGET_WEIGHTS_WEIGHTFILE_H

//===- Array.h - Arrays read from and written to files ----------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_RUN_ARRAY_H
#define MOE_TOOLS_RUN_ARRAY_H

#include "moe/Runtime/moe.h"

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace mlir::moe {

/// Memory whose size comes from a file: running out of it is an error to
/// report, not a bad_alloc to die from.
class Buffer {
public:
  /// Aligned for every element type. False when there is no memory.
  bool allocate(uint64_t bytes) {
    // Sizes near 2^64 wrap around when rounded up.
    if (bytes > UINT64_MAX / 2)
      return false;
    memory.reset(
        static_cast<char *>(std::aligned_alloc(64, (bytes / 64 + 1) * 64)));
    length = memory ? bytes : 0;
    return memory != nullptr;
  }
  char *data() { return memory.get(); }
  const char *data() const { return memory.get(); }
  uint64_t size() const { return length; }

private:
  struct Free {
    void operator()(char *pointer) const { std::free(pointer); }
  };
  std::unique_ptr<char, Free> memory;
  uint64_t length = 0;
};

/// A contiguous row-major array.
struct Array {
  moe_dtype dtype = 0;
  std::vector<int64_t> shape;
  Buffer data;

  /// A view for the C ABI, valid while the array is.
  moe_tensor tensor() {
    return {data.data(),  dtype,   static_cast<int32_t>(shape.size()),
            shape.data(), nullptr, 0};
  }
};

struct NamedArray {
  std::string name;
  Array array;
};

/// "f32", "bf16", ...
const char *getDTypeName(moe_dtype dtype);

/// "[2, 3]", "[]" for a scalar; dynamic sizes by name.
std::string formatShape(int32_t rank, const int64_t *shape,
                        const char *const *names = nullptr);

} // namespace mlir::moe

#endif // MOE_TOOLS_RUN_ARRAY_H

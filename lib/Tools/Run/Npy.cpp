//===- Npy.cpp - .npy files -----------------------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NpyFormat.h"
#include "moe/Tools/Run/Files.h"

#include <cstring>

using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// Element types
//===----------------------------------------------------------------------===//

namespace {
struct TypeName {
  const char *npy; // without the byte order
  moe_dtype dtype;
  const char *name;
};
} // namespace

static const TypeName typeNames[] = {
    {"f4", MOE_F32, "f32"},  {"f2", MOE_F16, "f16"}, {"V2", MOE_BF16, "bf16"},
    {"f8", MOE_F64, "f64"},  {"i1", MOE_I8, "i8"},   {"i2", MOE_I16, "i16"},
    {"i4", MOE_I32, "i32"},  {"i8", MOE_I64, "i64"}, {"u1", MOE_U8, "u8"},
    {"u2", MOE_U16, "u16"},  {"u4", MOE_U32, "u32"}, {"u8", MOE_U64, "u64"},
    {"b1", MOE_BOOL, "bool"}};

const char *mlir::moe::getDTypeName(moe_dtype dtype) {
  for (const TypeName &type : typeNames)
    if (type.dtype == dtype)
      return type.name;
  return "unknown";
}

std::string mlir::moe::formatShape(int32_t rank, const int64_t *shape,
                                   const char *const *names) {
  std::string text = "[";
  for (int32_t i = 0; i < rank; ++i) {
    if (i)
      text += ", ";
    if (shape[i] >= 0)
      text += std::to_string(shape[i]);
    else
      text += names && names[i][0] ? names[i] : "?";
  }
  return text + "]";
}

//===----------------------------------------------------------------------===//
// The header: a Python dictionary literal
//===----------------------------------------------------------------------===//

namespace {
/// Parses exactly what numpy writes: three keys in any order, a string, a
/// boolean and a tuple of integers.
class HeaderParser {
public:
  HeaderParser(const char *text, size_t size) : at(text), end(text + size) {}

  bool parse() {
    if (!take('{'))
      return false;
    while (!take('}')) {
      std::string key;
      if (!string(key) || !take(':') || !value(key))
        return false;
      if (!take(',') && !peek('}'))
        return false;
    }
    space();
    return at == end && seen == 7;
  }

  std::string descr;
  bool structured = false, fortran = false;
  std::vector<int64_t> shape;

private:
  void space() {
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\t'))
      ++at;
  }
  bool peek(char c) {
    space();
    return at < end && *at == c;
  }
  bool take(char c) { return peek(c) && (++at, true); }
  bool word(const char *text) {
    space();
    size_t length = std::strlen(text);
    if (static_cast<size_t>(end - at) < length ||
        std::memcmp(at, text, length) != 0)
      return false;
    at += length;
    return true;
  }

  bool string(std::string &out) {
    space();
    if (at == end || (*at != '\'' && *at != '"'))
      return false;
    char quote = *at++;
    while (at < end && *at != quote && *at != '\\')
      out += *at++;
    return take(quote);
  }

  bool value(const std::string &key) {
    if (key == "descr") {
      seen |= 1;
      if (peek('[')) { // fields of a structured type: reported as such
        structured = true;
        return false;
      }
      return descr.empty() && string(descr);
    }
    if (key == "fortran_order") {
      seen |= 2;
      fortran = word("True");
      return fortran || word("False");
    }
    seen |= 4;
    return key == "shape" && shape.empty() && tuple();
  }

  bool tuple() {
    if (!take('('))
      return false;
    while (!take(')')) {
      int64_t size = 0;
      space();
      if (at == end || *at < '0' || *at > '9' || shape.size() == maxNpyRank)
        return false;
      for (; at < end && *at >= '0' && *at <= '9'; ++at)
        if (__builtin_mul_overflow(size, 10, &size) ||
            __builtin_add_overflow(size, *at - '0', &size))
          return false;
      shape.push_back(size);
      if (!take(',') && !peek(')'))
        return false;
    }
    return true;
  }

  const char *at, *end;
  unsigned seen = 0;
};
} // namespace

static bool parseType(const std::string &descr, moe_dtype &dtype,
                      std::string &error) {
  if (descr.size() == 3 && std::strchr("<=|>", descr[0])) {
    for (const TypeName &type : typeNames) {
      if (descr.compare(1, 2, type.npy) != 0)
        continue;
      dtype = type.dtype;
      if (descr[0] == '>' && moe_dtype_bytes(dtype) > 1) {
        error = "big-endian elements ('" + descr +
                "') are not supported, expected little-endian ones";
        return false;
      }
      return true;
    }
  }
  error = "unsupported element type '" + descr + "'";
  return false;
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

/// Copies column-major elements into row-major order.
static void transpose(const char *from, Array &array, int64_t elements) {
  size_t size = static_cast<size_t>(moe_dtype_bytes(array.dtype));
  size_t rank = array.shape.size();
  std::vector<int64_t> steps(rank), index(rank);
  int64_t step = 1;
  for (size_t d = 0; d < rank; ++d) {
    steps[d] = step;
    step *= array.shape[d];
  }
  int64_t position = 0;
  char *to = array.data.data();
  for (int64_t i = 0; i < elements; ++i) {
    std::memcpy(to + i * size, from + position * size, size);
    for (size_t d = rank; d-- > 0;) {
      position += steps[d];
      if (++index[d] < array.shape[d])
        break;
      position -= steps[d] * array.shape[d];
      index[d] = 0;
    }
  }
}

bool mlir::moe::countElements(const std::vector<int64_t> &shape,
                              int64_t elementSize, int64_t &elements,
                              int64_t &bytes) {
  elements = 1;
  for (int64_t size : shape)
    if (size == 0)
      elements = 0;
  for (int64_t size : shape)
    if (elements && __builtin_mul_overflow(elements, size, &elements))
      return false;
  return !__builtin_mul_overflow(elements, elementSize, &bytes);
}

bool mlir::moe::parseNpy(const char *bytes, uint64_t size, Array &array,
                         std::string &error) {
  if (size < 10 || std::memcmp(bytes, "\x93NUMPY", 6) != 0) {
    error = "not a .npy file";
    return false;
  }
  unsigned major = static_cast<unsigned char>(bytes[6]);
  if (major < 1 || major > 3) {
    error = "unsupported .npy version " + std::to_string(major);
    return false;
  }
  uint64_t start = major == 1 ? 10 : 12, headerSize = 0;
  if (size >= start)
    std::memcpy(&headerSize, bytes + 8, start - 8); // little-endian
  if (size < start || headerSize > size - start) {
    error = "the file ends within its header";
    return false;
  }
  HeaderParser header(bytes + start, headerSize);
  if (!header.parse()) {
    error = header.structured ? "structured element types are not supported"
                              : "the header is malformed";
    return false;
  }
  if (!parseType(header.descr, array.dtype, error))
    return false;
  array.shape = header.shape;

  uint64_t available = size - start - headerSize;
  int64_t elements, needed;
  if (!countElements(array.shape, moe_dtype_bytes(array.dtype), elements,
                     needed) ||
      static_cast<uint64_t>(needed) != available) {
    error = "the shape " +
            formatShape(static_cast<int32_t>(array.shape.size()),
                        array.shape.data()) +
            " of " + getDTypeName(array.dtype) + " does not fit the " +
            std::to_string(available) + " bytes of elements";
    return false;
  }
  if (!array.data.allocate(available)) {
    error = "out of memory for " + std::to_string(available) + " bytes";
    return false;
  }
  const char *from = bytes + start + headerSize;
  if (header.fortran && array.shape.size() > 1)
    transpose(from, array, elements);
  else
    std::memcpy(array.data.data(), from, available);
  return true;
}

bool mlir::moe::readNpy(const std::string &path, Array &array,
                        std::string &error) {
  Buffer bytes;
  if (!readFile(path, bytes, error))
    return false;
  if (parseNpy(bytes.data(), bytes.size(), array, error))
    return true;
  error = "'" + path + "': " + error;
  return false;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

std::string mlir::moe::makeNpyHeader(const moe_tensor &tensor) {
  const char *type = "";
  for (const TypeName &candidate : typeNames)
    if (candidate.dtype == tensor.dtype)
      type = candidate.npy;
  std::string header = std::string("{'descr': '") +
                       (moe_dtype_bytes(tensor.dtype) > 1 ? '<' : '|') + type +
                       "', 'fortran_order': False, 'shape': (";
  for (int32_t i = 0; i < tensor.rank; ++i)
    header += (i ? ", " : "") + std::to_string(tensor.shape[i]);
  header += tensor.rank == 1 ? ",), }" : "), }";
  // Elements start at a multiple of 64, and the header ends in a newline.
  size_t length = (10 + header.size() + 1 + 63) / 64 * 64 - 10;
  header.resize(length - 1, ' ');
  header += '\n';
  char start[] = {'\x93',
                  'N',
                  'U',
                  'M',
                  'P',
                  'Y',
                  1,
                  0,
                  static_cast<char>(length & 0xff),
                  static_cast<char>(length >> 8)};
  return std::string(start, sizeof start) + header;
}

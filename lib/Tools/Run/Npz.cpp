//===- Npz.cpp - Reads .npz files -----------------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Tools/Run/Files.h"

#include <algorithm>
#include <cstring>
#include <zlib.h>

using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// Zip archives (PKWARE APPNOTE 6.3.10; section numbers below are its)
//===----------------------------------------------------------------------===//

namespace {
/// One entry of the central directory.
struct Member {
  std::string name;
  unsigned flags, method;
  uint32_t crc;
  uint64_t compressed, size, local;
};

class ZipReader {
public:
  ZipReader(const char *bytes, uint64_t size, std::string &error)
      : bytes(bytes), size(size), error(error) {}

  bool readDirectory(std::vector<Member> &members);
  bool extract(const Member &member, Buffer &out);

private:
  uint64_t get(uint64_t at, unsigned width) const {
    uint64_t value = 0;
    std::memcpy(&value, bytes + at, width); // little-endian
    return value;
  }
  bool has(uint64_t at, uint64_t count) const {
    return at <= size && count <= size - at;
  }
  bool fail(const std::string &text) {
    error = text;
    return false;
  }
  bool findDirectory(uint64_t &at, uint64_t &count);
  bool readEntry(uint64_t &at, Member &member);
  bool readZip64(uint64_t at, uint64_t length, Member &member);
  bool inflate(const Member &member, const char *from, Buffer &out);

  const char *bytes;
  uint64_t size;
  std::string &error;
};
} // namespace

/// The end record (4.3.16) lies before a comment of at most 65535 bytes.
bool ZipReader::findDirectory(uint64_t &at, uint64_t &count) {
  constexpr uint64_t endSize = 22, locatorSize = 20, end64Size = 56;
  if (size < endSize)
    return fail("not a .npz file");
  uint64_t lowest = size > endSize + 65535 ? size - endSize - 65535 : 0;
  uint64_t end = size - endSize;
  while (get(end, 4) != 0x06054b50) {
    if (end == lowest)
      return fail("not a .npz file, or truncated");
    --end;
  }
  count = get(end + 10, 2);
  at = get(end + 16, 4);
  if (count != 0xffff && at != 0xffffffff)
    return true;
  // 4.3.15, 4.3.14: larger numbers stand in a second record.
  if (end < locatorSize || get(end - locatorSize, 4) != 0x07064b50)
    return true;
  uint64_t end64 = get(end - locatorSize + 8, 8);
  if (!has(end64, end64Size) || get(end64, 4) != 0x06064b50)
    return fail("the archive's end record is damaged");
  count = get(end64 + 32, 8);
  at = get(end64 + 48, 8);
  return true;
}

/// 4.5.3: sizes that do not fit 32 bits, in this order, each only if needed.
bool ZipReader::readZip64(uint64_t at, uint64_t length, Member &member) {
  uint64_t end = at + length;
  while (end - at >= 4) {
    uint64_t id = get(at, 2), extra = get(at + 2, 2);
    at += 4;
    if (extra > end - at)
      return fail("an extra field is damaged");
    if (id == 1) {
      uint64_t fieldEnd = at + extra;
      for (uint64_t *value :
           {&member.size, &member.compressed, &member.local}) {
        if (*value != 0xffffffff)
          continue;
        if (fieldEnd - at < 8)
          return fail("an extra field is damaged");
        *value = get(at, 8);
        at += 8;
      }
      return true;
    }
    at += extra;
  }
  return true;
}

/// 4.3.12
bool ZipReader::readEntry(uint64_t &at, Member &member) {
  constexpr uint64_t entrySize = 46;
  if (!has(at, entrySize) || get(at, 4) != 0x02014b50)
    return fail("the archive's directory is damaged");
  member.flags = static_cast<unsigned>(get(at + 8, 2));
  member.method = static_cast<unsigned>(get(at + 10, 2));
  member.crc = static_cast<uint32_t>(get(at + 16, 4));
  member.compressed = get(at + 20, 4);
  member.size = get(at + 24, 4);
  member.local = get(at + 42, 4);
  uint64_t name = get(at + 28, 2), extra = get(at + 30, 2),
           comment = get(at + 32, 2);
  if (!has(at + entrySize, name + extra + comment))
    return fail("the archive's directory is damaged");
  member.name.assign(bytes + at + entrySize, name);
  if (!readZip64(at + entrySize + name, extra, member))
    return false;
  at += entrySize + name + extra + comment;
  return true;
}

bool ZipReader::readDirectory(std::vector<Member> &members) {
  uint64_t at, count;
  if (!findDirectory(at, count))
    return false;
  // Members that share their bytes would multiply what a small file expands to.
  uint64_t total = 0;
  for (uint64_t i = 0; i < count; ++i) {
    Member member;
    if (!readEntry(at, member))
      return false;
    if (__builtin_add_overflow(total, member.compressed, &total) ||
        total > size)
      return fail("the archive's members overlap");
    members.push_back(std::move(member));
  }
  return true;
}

bool ZipReader::inflate(const Member &member, const char *from, Buffer &out) {
  // Deflate cannot compress better than 1032:1; without this check a few bytes
  // could ask for all the memory there is.
  if (member.size / 1032 > member.compressed + 1)
    return fail("'" + member.name + "' claims an impossible size");
  if (!out.allocate(member.size))
    return fail("out of memory for " + std::to_string(member.size) + " bytes");
  z_stream stream = {};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
    return fail("out of memory");
  // zlib counts in 32 bits: feed it in pieces.
  constexpr uint64_t piece = UINT64_C(1) << 30;
  uint64_t consumed = 0, produced = 0;
  int status = Z_OK;
  while (status == Z_OK) {
    uint64_t in = std::min(piece, member.compressed - consumed);
    uint64_t room = std::min(piece, member.size - produced);
    stream.next_in =
        reinterpret_cast<Bytef *>(const_cast<char *>(from + consumed));
    stream.avail_in = static_cast<uInt>(in);
    stream.next_out = reinterpret_cast<Bytef *>(out.data() + produced);
    stream.avail_out = static_cast<uInt>(room);
    status = ::inflate(&stream, Z_NO_FLUSH);
    consumed += in - stream.avail_in;
    produced += room - stream.avail_out;
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END || produced != member.size)
    return fail("the compressed data of '" + member.name + "' is damaged");
  return true;
}

bool ZipReader::extract(const Member &member, Buffer &out) {
  constexpr uint64_t localSize = 30; // 4.3.7
  if (member.flags & 1)
    return fail("'" + member.name + "' is encrypted");
  if (!has(member.local, localSize) || get(member.local, 4) != 0x04034b50)
    return fail("'" + member.name + "' has no local header");
  uint64_t data = member.local + localSize + get(member.local + 26, 2) +
                  get(member.local + 28, 2);
  if (!has(data, member.compressed))
    return fail("'" + member.name + "' lies outside the archive");
  const char *from = bytes + data;
  if (member.method == 0) {
    if (member.size != member.compressed)
      return fail("'" + member.name + "' has contradictory sizes");
    if (!out.allocate(member.size))
      return fail("out of memory for " + std::to_string(member.size) +
                  " bytes");
    if (member.size)
      std::memcpy(out.data(), from, member.size);
  } else if (member.method == 8) {
    if (!inflate(member, from, out))
      return false;
  } else {
    return fail("'" + member.name + "' uses compression method " +
                std::to_string(member.method) +
                ", expected stored or deflated");
  }
  uLong crc = crc32_z(0, reinterpret_cast<const Bytef *>(out.data()),
                      static_cast<z_size_t>(out.size()));
  if (crc != member.crc)
    return fail("'" + member.name + "' is damaged: its checksum differs");
  return true;
}

//===----------------------------------------------------------------------===//
// Arrays
//===----------------------------------------------------------------------===//

bool mlir::moe::parseNpz(const char *bytes, uint64_t size,
                         std::vector<NamedArray> &arrays, std::string &error) {
  ZipReader zip(bytes, size, error);
  std::vector<Member> members;
  if (!zip.readDirectory(members))
    return false;
  for (const Member &member : members) {
    constexpr size_t suffix = 4;
    if (member.name.size() < suffix ||
        member.name.compare(member.name.size() - suffix, suffix, ".npy") != 0)
      continue;
    std::string name = member.name.substr(0, member.name.size() - suffix);
    for (const NamedArray &other : arrays)
      if (other.name == name) {
        error = "'" + member.name + "' occurs twice";
        return false;
      }
    Buffer file;
    NamedArray named{std::move(name), {}};
    if (!zip.extract(member, file))
      return false;
    if (!parseNpy(file.data(), file.size(), named.array, error)) {
      error = "'" + member.name + "': " + error;
      return false;
    }
    arrays.push_back(std::move(named));
  }
  return true;
}

bool mlir::moe::readNpz(const std::string &path,
                        std::vector<NamedArray> &arrays, std::string &error) {
  Buffer bytes;
  if (!readFile(path, bytes, error))
    return false;
  if (parseNpz(bytes.data(), bytes.size(), arrays, error))
    return true;
  error = "'" + path + "': " + error;
  return false;
}

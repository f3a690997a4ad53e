//===- Files.cpp - Reads files, writes outputs atomically -----------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Tools/Run/Files.h"
#include "NpyFormat.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

using namespace mlir::moe;

static std::string describe(const char *what, const std::string &path) {
  return std::string(what) + " '" + path + "': " + std::strerror(errno);
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

bool mlir::moe::readFile(const std::string &path, Buffer &bytes,
                         std::string &error) {
  // Not to wait for the other end of a pipe.
  int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) {
    error = describe("cannot open", path);
    return false;
  }
  struct stat info;
  bool ok = false;
  if (::fstat(file, &info) != 0) {
    error = describe("cannot read", path);
  } else if (!S_ISREG(info.st_mode)) {
    error = "'" + path + "' is not a regular file";
  } else if (!bytes.allocate(static_cast<uint64_t>(info.st_size))) {
    error = "out of memory for '" + path + "'";
  } else {
    uint64_t done = 0;
    ssize_t count = 1;
    while (done < bytes.size() && count > 0) {
      count = ::read(file, bytes.data() + done, bytes.size() - done);
      if (count < 0 && errno == EINTR)
        count = 1;
      else if (count > 0)
        done += static_cast<uint64_t>(count);
    }
    ok = done == bytes.size();
    if (!ok)
      error = count < 0 ? describe("cannot read", path)
                        : "'" + path + "' became shorter while it was read";
  }
  ::close(file);
  return ok;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

namespace {
/// A temporary file beside `path`; or `path` itself if it is a device, a pipe,
/// or what standard output or error is redirected to, which a rename would
/// replace: `temporary` is then empty.
class Writer {
public:
  Writer(const std::string &path, std::string &temporary, std::string &error)
      : path(path), error(error) {
    struct stat info;
    bool exists = ::stat(path.c_str(), &info) == 0;
    if (int stream = exists ? standardStream(info) : -1; stream >= 0) {
      file = ::fcntl(stream, F_DUPFD_CLOEXEC, 0);
    } else if (exists && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) {
      file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    } else {
      temporary = path + ".tmp-" + std::to_string(::getpid());
      file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                    0666);
    }
    if (file < 0)
      error = describe("cannot write", path);
  }
  ~Writer() {
    if (file >= 0)
      ::close(file);
  }
  bool opened() const { return file >= 0; }
  uint64_t position() const { return written; }

  bool write(const void *data, uint64_t size) {
    const char *at = static_cast<const char *>(data);
    written += size;
    while (size) {
      ssize_t count = ::write(file, at, size);
      if (count < 0 && errno == EINTR)
        continue;
      if (count < 0) {
        error = describe("cannot write", path);
        return false;
      }
      at += count;
      size -= static_cast<uint64_t>(count);
    }
    return true;
  }
  bool write(const std::string &text) {
    return write(text.data(), text.size());
  }

  bool close() {
    int status = ::close(file);
    file = -1;
    if (status != 0)
      error = describe("cannot write", path);
    return status == 0;
  }

private:
  static int standardStream(const struct stat &named) {
    struct stat info;
    for (int stream : {STDOUT_FILENO, STDERR_FILENO})
      if (::fstat(stream, &info) == 0 && info.st_dev == named.st_dev &&
          info.st_ino == named.st_ino)
        return stream;
    return -1;
  }

  const std::string &path;
  std::string &error;
  int file;
  uint64_t written = 0;
};

/// Builds the records of a zip archive.
struct Record {
  std::string bytes;
  Record &put(uint64_t value, unsigned width) {
    for (; width; --width, value >>= 8)
      bytes += static_cast<char>(value & 0xff);
    return *this;
  }
};

struct ZipEntry {
  std::string name;
  uint32_t crc;
  uint64_t size, local;
};
} // namespace

/// 4.3.7 of the zip specification; sizes always in the zip64 field (4.5.3), as
/// numpy does, so that there is one form for every size.
static std::string localHeader(const ZipEntry &entry) {
  Record r;
  r.put(0x04034b50, 4).put(45, 2).put(0x800, 2).put(0, 2);
  r.put(0, 2).put(0x21, 2); // 1980-01-01: the same results, the same file
  r.put(entry.crc, 4).put(0xffffffff, 4).put(0xffffffff, 4);
  r.put(entry.name.size(), 2).put(20, 2);
  r.bytes += entry.name;
  r.put(1, 2).put(16, 2).put(entry.size, 8).put(entry.size, 8);
  return r.bytes;
}

/// 4.3.12
static std::string directoryEntry(const ZipEntry &entry) {
  Record r;
  r.put(0x02014b50, 4).put(45, 2).put(45, 2).put(0x800, 2).put(0, 2);
  r.put(0, 2).put(0x21, 2);
  r.put(entry.crc, 4).put(0xffffffff, 4).put(0xffffffff, 4);
  r.put(entry.name.size(), 2).put(28, 2).put(0, 2).put(0, 2).put(0, 2);
  r.put(0, 4).put(0xffffffff, 4);
  r.bytes += entry.name;
  r.put(1, 2).put(24, 2).put(entry.size, 8).put(entry.size, 8);
  r.put(entry.local, 8);
  return r.bytes;
}

/// 4.3.14 to 4.3.16
static std::string endRecords(uint64_t count, uint64_t at, uint64_t size) {
  Record r;
  r.put(0x06064b50, 4).put(44, 8).put(45, 2).put(45, 2).put(0, 4).put(0, 4);
  r.put(count, 8).put(count, 8).put(size, 8).put(at, 8);
  r.put(0x07064b50, 4).put(0, 4).put(at + size, 8).put(1, 4);
  r.put(0x06054b50, 4).put(0, 2).put(0, 2).put(0xffff, 2).put(0xffff, 2);
  r.put(0xffffffff, 4).put(0xffffffff, 4).put(0, 2);
  return r.bytes;
}

static uint64_t bytesOf(const moe_tensor &tensor) {
  return static_cast<uint64_t>(moe_tensor_bytes(&tensor));
}

OutputFiles::~OutputFiles() {
  for (const Staged &file : staged)
    ::unlink(file.temporary.c_str());
}

bool OutputFiles::addNpy(const std::string &path, const moe_tensor &tensor,
                         std::string &error) {
  Staged file{path, ""};
  Writer writer(path, file.temporary, error);
  if (!writer.opened())
    return false;
  if (!file.temporary.empty())
    staged.push_back(file);
  return writer.write(makeNpyHeader(tensor)) &&
         writer.write(tensor.data, bytesOf(tensor)) && writer.close();
}

bool OutputFiles::addNpz(const std::string &path,
                         const std::vector<std::string> &names,
                         const std::vector<moe_tensor> &tensors,
                         std::string &error) {
  Staged file{path, ""};
  Writer writer(path, file.temporary, error);
  if (!writer.opened())
    return false;
  if (!file.temporary.empty())
    staged.push_back(file);
  std::string directory;
  for (size_t i = 0; i < tensors.size(); ++i) {
    std::string header = makeNpyHeader(tensors[i]);
    uint64_t bytes = bytesOf(tensors[i]);
    uLong crc = crc32_z(0, reinterpret_cast<const Bytef *>(header.data()),
                        header.size());
    if (bytes)
      crc = crc32_z(crc, static_cast<const Bytef *>(tensors[i].data), bytes);
    ZipEntry entry{names[i] + ".npy", static_cast<uint32_t>(crc),
                   header.size() + bytes, writer.position()};
    if (!writer.write(localHeader(entry)) || !writer.write(header) ||
        !writer.write(tensors[i].data, bytes))
      return false;
    directory += directoryEntry(entry);
  }
  uint64_t at = writer.position();
  return writer.write(directory) &&
         writer.write(endRecords(tensors.size(), at, directory.size())) &&
         writer.close();
}

bool OutputFiles::commit(std::string &error) {
  while (!staged.empty()) {
    const Staged &file = staged.back();
    if (::rename(file.temporary.c_str(), file.path.c_str()) != 0) {
      error = describe("cannot write", file.path);
      return false;
    }
    staged.pop_back();
  }
  return true;
}

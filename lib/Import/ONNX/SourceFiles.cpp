//===- SourceFiles.cpp - A model file and its external data ---------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SourceFiles.h"

#include "Errors.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace llvm;
using namespace mlir::moe::onnx_import;

static std::string reason(int error) {
  return std::error_code(error, std::generic_category()).message();
}

namespace {
/// A file that is open for the time of a scope.
struct OpenFile {
  int fd = -1;
  struct stat status;

  explicit OpenFile(int fd) : fd(fd) {}
  OpenFile(OpenFile &&other) : fd(other.fd), status(other.status) {
    other.fd = -1;
  }
  ~OpenFile() {
    if (fd >= 0)
      ::close(fd);
  }
};
} // namespace

/// Opens the regular file `path`; a FIFO or device must not block or act.
static Expected<OpenFile> openRegular(const std::string &path) {
  OpenFile file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.fd < 0)
    return makeError("cannot be opened: " + reason(errno));
  if (::fstat(file.fd, &file.status) != 0)
    return makeError("cannot be opened: " + reason(errno));
  if (!S_ISREG(file.status.st_mode))
    return makeError("is not a regular file");
  return std::move(file);
}

SourceFiles::~SourceFiles() {
  if (mapped)
    ::munmap(const_cast<char *>(mapped), mappedSize);
}

Error SourceFiles::open(StringRef path, StringRef what) {
  SmallString<256> absolute(path);
  if (std::error_code error = sys::fs::make_absolute(absolute))
    return makeError("cannot be opened: " + error.message());
  sys::path::remove_dots(absolute);

  Expected<OpenFile> file = openRegular(absolute.str().str());
  if (!file)
    return file.takeError();
  mappedSize = file->status.st_size;
  if (mappedSize == 0)
    return makeError("is empty, expects " + what);
  void *address =
      ::mmap(nullptr, mappedSize, PROT_READ, MAP_PRIVATE, file->fd, 0);
  if (address == MAP_FAILED) {
    mappedSize = 0;
    return makeError("cannot be mapped: " + reason(errno));
  }
  mapped = static_cast<const char *>(address);

  folder = sys::path::parent_path(absolute).str();
  SmallString<256> canonical;
  for (StringRef start : {StringRef(folder), absolute.str()}) {
    if (std::error_code error = sys::fs::real_path(start, canonical))
      return makeError("cannot be opened: " + error.message());
    roots.push_back(canonical.str().str());
  }
  files.push_back({sys::path::filename(absolute).str(), roots[1], mappedSize});
  roots[1] = sys::path::parent_path(roots[1]).str();
  return Error::success();
}

Expected<unsigned> SourceFiles::external(StringRef location) {
  if (auto known = byLocation.find(location); known != byLocation.end())
    return known->second;
  if (location.empty() || location.contains('\0'))
    return makeError("has no valid name");
  if (sys::path::is_absolute(location))
    return makeError("is an absolute path, expects one relative to the model");
  if (is_contained(
          make_range(sys::path::begin(location), sys::path::end(location)),
          ".."))
    return makeError("leaves the model's folder");

  SmallString<256> path(folder);
  sys::path::append(path, location);
  SmallString<256> canonical;
  if (std::error_code error = sys::fs::real_path(path, canonical))
    return makeError("cannot be opened: " + error.message());
  bool contained = any_of(roots, [&](StringRef root) {
    return root == "/" || canonical == root ||
           (canonical.str().starts_with(root) &&
            canonical.str().drop_front(root.size()).starts_with("/"));
  });
  if (!contained)
    return makeError("is a link that leaves the model's folder");

  // Two spellings of one file.
  for (auto [index, known] : enumerate(files))
    if (known.path == canonical)
      return byLocation[location] = index;
  Expected<OpenFile> file = openRegular(canonical.str().str());
  if (!file)
    return file.takeError();
  // A hard link may be another user's private file under a harmless name.
  if (file->status.st_nlink > 1)
    return makeError("is a file with " + Twine(file->status.st_nlink) +
                     " hard links, expects one");
  SmallString<256> name(location);
  sys::path::remove_dots(name);
  unsigned index = files.size();
  files.push_back({name.str().str(), canonical.str().str(),
                   static_cast<uint64_t>(file->status.st_size)});
  byLocation[location] = index;
  return index;
}

Error SourceFiles::read(unsigned index, uint64_t offset,
                        MutableArrayRef<char> bytes) const {
  Expected<OpenFile> file = openRegular(files[index].path);
  if (!file)
    return file.takeError();
  while (!bytes.empty()) {
    ssize_t count = ::pread(file->fd, bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return makeError("cannot be read: " +
                       (count < 0 ? reason(errno) : "end of file"));
    bytes = bytes.drop_front(count);
    offset += count;
  }
  return Error::success();
}

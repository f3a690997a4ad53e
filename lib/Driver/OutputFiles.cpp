//===- OutputFiles.cpp - Results that appear together ---------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "OutputFiles.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/raw_ostream.h"

#include <optional>

#include <sys/stat.h>
#include <unistd.h>

using namespace mlir::moe;
namespace fs = llvm::sys::fs;

/// Whether `path` is there but is no file that a new one could take the place
/// of: a device, a pipe, a folder.
static bool isSpecial(const std::string &path) {
  fs::file_status status;
  return !fs::status(path, status) && !fs::is_regular_file(status);
}

/// Standard output or error, if that is what `path` names: "-", /dev/stdout, a
/// file that they are redirected to. To replace it would not reach who reads
/// it, and would put a file where the link /dev/stdout is.
static std::optional<int> standardStream(const std::string &path) {
  if (path == "-")
    return STDOUT_FILENO;
  struct stat named, stream;
  if (::stat(path.c_str(), &named) != 0)
    return std::nullopt;
  for (int descriptor : {STDOUT_FILENO, STDERR_FILENO})
    if (::fstat(descriptor, &stream) == 0 && stream.st_dev == named.st_dev &&
        stream.st_ino == named.st_ino)
      return descriptor;
  return std::nullopt;
}

OutputFiles::~OutputFiles() {
  for (const Staged &file : staged) {
    fs::remove(file.temporary);
    llvm::sys::DontRemoveFileOnSignal(file.temporary);
  }
}

std::string OutputFiles::add(const std::string &path) {
  std::string temporary =
      path + ".tmp-" + std::to_string(llvm::sys::Process::getProcessId());
  llvm::sys::RemoveFileOnSignal(temporary);
  staged.push_back({path, temporary});
  return temporary;
}

bool OutputFiles::writeNow(
    const std::string &path,
    llvm::function_ref<void(llvm::raw_pwrite_stream &)> body,
    std::string &error) {
  std::error_code ec;
  // An error that nobody has looked at ends the process.
  auto takeError = [&](llvm::raw_fd_ostream &os) {
    ec = os.error();
    os.clear_error();
  };
  if (std::optional<int> stream = standardStream(path)) {
    llvm::outs().flush();
    llvm::raw_fd_ostream os(*stream, /*shouldClose=*/false);
    body(os);
    os.flush();
    takeError(os);
  } else {
    llvm::raw_fd_ostream os(path, ec);
    if (!ec) {
      body(os);
      os.close();
      takeError(os);
      if (ec && fs::is_regular_file(path))
        fs::remove(path);
    }
  }
  if (!ec)
    return true;
  error = "cannot write " +
          (path == "-" ? "standard output" : "'" + path + "'") + ": " +
          ec.message();
  return false;
}

bool OutputFiles::write(
    const std::string &path,
    llvm::function_ref<void(llvm::raw_pwrite_stream &)> body,
    std::string &error, std::string *name) {
  // A device or pipe is written in place; a rename would replace it.
  bool inPlace =
      standardStream(path) || (isSpecial(path) && !fs::is_directory(path));
  std::string temporary = inPlace ? path : add(path);
  if (name)
    *name = temporary;
  if (writeNow(temporary, body, error))
    return true;
  // Its final name is the one the user knows.
  if (size_t at = error.find(temporary); at != std::string::npos)
    error.replace(at, temporary.size(), path);
  return false;
}

bool OutputFiles::commit(std::string &error) {
  // What can fail without having changed anything comes first.
  for (const Staged &file : staged)
    if (isSpecial(file.path)) {
      error = "cannot write '" + file.path + "': it is " +
              (fs::is_directory(file.path) ? "a folder" : "not a regular file");
      return false;
    }
  for (size_t i = 0; i < staged.size(); ++i) {
    std::error_code ec = fs::rename(staged[i].temporary, staged[i].path);
    if (!ec) {
      llvm::sys::DontRemoveFileOnSignal(staged[i].temporary);
      continue;
    }
    // A part of a model is worse than none.
    for (size_t done = 0; done < i; ++done)
      fs::remove(staged[done].path);
    error = "cannot write '" + staged[i].path + "': " + ec.message();
    return false;
  }
  staged.clear();
  return true;
}

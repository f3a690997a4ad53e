//===- SystemLibraries.cpp - Finds the libraries that models need ---------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The places where a distribution keeps its libraries, without asking a C
// compiler: the multiarch folder of Debian, the lib64 of others, and what
// /etc/ld.so.conf names.
//
//===----------------------------------------------------------------------===//

#include "moe/Target/CPU/Linker.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/GlobPattern.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"

#include <dlfcn.h>

using namespace llvm;
using namespace mlir;

/// Appends the folders that /etc/ld.so.conf lists, following its includes.
static void readLoaderConfig(StringRef path, SmallVectorImpl<std::string> &out,
                             unsigned depth = 0) {
  auto buffer = MemoryBuffer::getFile(path, /*IsText=*/true);
  if (!buffer || depth > 4)
    return;
  SmallVector<StringRef> lines;
  (*buffer)->getBuffer().split(lines, '\n');
  for (StringRef line : lines) {
    line = line.split('#').first.trim();
    if (line.starts_with("/")) {
      out.push_back(line.str());
      continue;
    }
    if (!line.consume_front("include"))
      continue;
    // "include /etc/ld.so.conf.d/*.conf"
    line = line.trim();
    StringRef folder = sys::path::parent_path(line);
    auto glob = GlobPattern::create(sys::path::filename(line));
    if (!glob) {
      consumeError(glob.takeError());
      continue;
    }
    std::error_code ec;
    SmallVector<std::string> files;
    for (sys::fs::directory_iterator it(folder, ec), end; it != end && !ec;
         it.increment(ec))
      if (glob->match(sys::path::filename(it->path())))
        files.push_back(it->path());
    sort(files);
    for (const std::string &file : files)
      readLoaderConfig(file, out, depth + 1);
  }
}

static SmallVector<std::string> libraryFolders(const Triple &triple) {
  // Debian's name of an architecture, without LLVM's vendor part.
  std::string multiarch = (triple.getArchName() + "-linux-gnu").str();
  Triple host(sys::getDefaultTargetTriple());
  SmallVector<std::string> folders;
  if (triple.getArch() != host.getArch()) {
    // Cross libraries lie below a folder of their own.
    for (StringRef root :
         {"/usr/" + multiarch, std::string("/usr/lib/") + multiarch})
      folders.push_back(
          (root + (root.starts_with("/usr/lib") ? "" : "/lib")).str());
    return folders;
  }
  folders = {"/lib/" + multiarch, "/usr/lib/" + multiarch, "/lib64",
             "/usr/lib64"};
  readLoaderConfig("/etc/ld.so.conf", folders);
  folders.push_back("/lib");
  folders.push_back("/usr/lib");
  return folders;
}

std::string moe::findSharedLibrary(const std::string &name,
                                   const std::string &triple) {
  SmallVector<std::string> folders = libraryFolders(Triple(triple));
  // The OpenMP runtime of the LLVM this compiler is built with comes first: its
  // code calls that version.
  if (StringRef(name).starts_with("libomp") &&
      Triple(triple).getArch() ==
          Triple(sys::getDefaultTargetTriple()).getArch())
    folders.insert(folders.begin(), MOE_LLVM_LIBRARY_DIR);
  for (const std::string &folder : folders) {
    SmallString<128> path(folder);
    sys::path::append(path, name);
    if (sys::fs::exists(path) && !sys::fs::is_directory(path))
      return path.str().str();
  }
  return "";
}

std::string moe::findProjectLibrary(const std::string &name) {
  // The file that holds this very function: a tool in bin/, or a Python
  // extension somewhere below lib/.
  Dl_info info;
  std::string self =
      dladdr(reinterpret_cast<void *>(&moe::findProjectLibrary), &info) &&
              info.dli_fname
          ? std::string(info.dli_fname)
          : std::string();
  // For the program itself the name is what it was called by.
  static int anchor;
  std::string program = sys::fs::getMainExecutable("", &anchor);
  SmallString<256> real;
  for (const std::string &start : {program, self}) {
    if (start.empty() || sys::fs::real_path(start, real))
      continue;
    StringRef folder = sys::path::parent_path(real);
    for (unsigned up = 0; up < 6 && !folder.empty(); ++up) {
      for (StringRef lib : {MOE_INSTALL_LIBDIR, "lib"}) {
        SmallString<256> path(folder);
        sys::path::append(path, lib, name);
        if (sys::fs::exists(path))
          return path.str().str();
      }
      folder = sys::path::parent_path(folder);
    }
  }
  return "";
}

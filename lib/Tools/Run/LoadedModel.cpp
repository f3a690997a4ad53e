//===- LoadedModel.cpp - Opens a compiled model ---------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Tools/Run/Run.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace mlir::moe;

LoadedModel::~LoadedModel() {
  moe_session_destroy(session);
  moe_close(model);
  if (library)
    dlclose(library);
}

/// Tells models that the simulator's library, in the lib folder beside this
/// program's, is their driver.
static bool useSimulator(std::string &error) {
  char self[4096];
  ssize_t length = ::readlink("/proc/self/exe", self, sizeof self);
  std::string path(self, length > 0 ? static_cast<size_t>(length) : 0);
  for (int up = 0; up < 2; ++up)
    path.resize(std::min(path.size(), path.rfind('/')));
  for (const char *name :
       {"/lib/libmoe-sim.so", "/" MOE_INSTALL_LIBDIR "/libmoe-sim.so"}) {
    std::string library = path + name;
    if (::access(library.c_str(), R_OK) == 0)
      return ::setenv("MOE_CUDA_LIBRARY", library.c_str(), 1) == 0;
  }
  error = "cannot find libmoe-sim.so in '" + path + "/lib'";
  return false;
}

/// Whether the segments that the loader maps lie within the file: it does not
/// look, and touching one that does not ends the process.
static bool checkSegments(const std::string &path, const std::string &name,
                          std::string &error) {
  int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) {
    error = "cannot open '" + name + "': " + std::strerror(errno);
    return false;
  }
  struct stat info;
  Elf64_Ehdr header;
  uint64_t end = 0, size = 0;
  if (::fstat(file, &info) == 0 && S_ISREG(info.st_mode) &&
      ::pread(file, &header, sizeof header, 0) == sizeof header &&
      std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0) {
    size = static_cast<uint64_t>(info.st_size);
    end = header.e_phoff + header.e_phnum * sizeof(Elf64_Phdr);
    for (unsigned i = 0; i < header.e_phnum; ++i) {
      Elf64_Phdr segment;
      uint64_t at = header.e_phoff + i * sizeof segment;
      if (::pread(file, &segment, sizeof segment, static_cast<off_t>(at)) !=
          sizeof segment)
        break;
      uint64_t last = segment.p_offset + segment.p_filesz;
      if (last < segment.p_offset)
        last = UINT64_MAX;
      if (segment.p_type == PT_LOAD && last > end)
        end = last;
    }
  }
  ::close(file);
  if (end <= size)
    return true;
  error = "'" + name + "' is truncated: it has " + std::to_string(size) +
          " bytes, its segments need " + std::to_string(end);
  return false;
}

bool LoadedModel::open(const RunOptions &options, std::string &error) {
  if (options.simulate && !useSimulator(error))
    return false;
  // Without a slash the loader would search its own folders.
  std::string path = options.model;
  if (path.find('/') == std::string::npos)
    path = "./" + path;
  if (!checkSegments(path, options.model, error))
    return false;
  library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    error = "cannot load '" + options.model + "': " + dlerror();
    return false;
  }
  auto get = reinterpret_cast<moe_get_api_fn>(dlsym(library, "moe_get_api"));
  if (!get) {
    error = "'" + options.model +
            "' is not a compiled model: it has no function moe_get_api";
    return false;
  }
  const moe_api *api = get(MOE_ABI_VERSION);
  if (!api) {
    error = "'" + options.model + "' was compiled for another version of the " +
            "ABI, expected version " + std::to_string(MOE_ABI_VERSION) +
            " or later";
    return false;
  }
  char text[1024];
  uint32_t flags = options.verifyWeights ? MOE_OPEN_VERIFY : 0;
  if (options.signature)
    flags |= MOE_OPEN_SIGNATURE;
  const char *weights =
      options.weights.empty() ? nullptr : options.weights.c_str();
  if (moe_open(api, weights, flags, &model, text, sizeof text) != MOE_OK ||
      (!options.signature &&
       moe_session_create(model, options.threads, &session, text,
                          sizeof text) != MOE_OK)) {
    error = text;
    return false;
  }
  return true;
}

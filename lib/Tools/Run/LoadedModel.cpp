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

bool LoadedModel::open(const RunOptions &options, std::string &error) {
  if (options.simulate && !useSimulator(error))
    return false;
  // Without a slash the loader would search its own folders.
  std::string path = options.model;
  if (path.find('/') == std::string::npos)
    path = "./" + path;
  if (::access(path.c_str(), R_OK) != 0) {
    error = "cannot open '" + options.model + "': " + std::strerror(errno);
    return false;
  }
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

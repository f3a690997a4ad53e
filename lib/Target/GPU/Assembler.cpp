//===- Assembler.cpp - ptxas ----------------------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Target/GPU/Assembler.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace mlir::moe;
namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

static std::string programIn(StringRef folder, StringRef rest) {
  SmallString<256> file(folder);
  path::append(file, rest);
  return fs::can_execute(file) ? file.str().str() : std::string();
}

/// lib/python3.X/site-packages/nvidia/<package>/bin/ptxas; the package's folder
/// is cuda_nvcc, or cu13 from version 13 on.
static std::string programOfWheel(StringRef environment) {
  SmallString<256> lib(environment);
  path::append(lib, "lib");
  std::error_code ec;
  for (fs::directory_iterator it(lib, ec), end; it != end && !ec;
       it.increment(ec))
    for (StringRef package : {"cu13", "cuda_nvcc"}) {
      SmallString<256> folder(it->path());
      path::append(folder, "site-packages", "nvidia", package);
      std::string found = programIn(folder, "bin/ptxas");
      if (!found.empty())
        return found;
    }
  return {};
}

std::string moe::findPtxas() {
  if (auto given = llvm::sys::Process::GetEnv("MOE_PTXAS"))
    return *given;
  if (auto found = llvm::sys::findProgramByName("ptxas"))
    return *found;
  for (const char *name : {"CUDA_HOME", "CUDA_PATH"})
    if (auto folder = llvm::sys::Process::GetEnv(name))
      if (std::string found = programIn(*folder, "bin/ptxas"); !found.empty())
        return found;
  if (auto environment = llvm::sys::Process::GetEnv("VIRTUAL_ENV"))
    if (std::string found = programOfWheel(*environment); !found.empty())
      return found;
  // <build>/bin/moe-compile and <build>/venv.
  static int anchor;
  SmallString<256> build(
      path::parent_path(path::parent_path(fs::getMainExecutable("", &anchor))));
  path::append(build, "venv");
  if (std::string found = programOfWheel(build); !found.empty())
    return found;
  return programIn("/usr/local/cuda", "bin/ptxas");
}

std::optional<std::unique_ptr<llvm::MemoryBuffer>>
moe::assemblePTX(StringRef text, StringRef arch, std::string &error) {
  std::string program = findPtxas();
  if (program.empty()) {
    error = "cannot find ptxas: expected on PATH, below CUDA_HOME or in the "
            "Python package nvidia-cuda-nvcc";
    return std::nullopt;
  }
  SmallString<128> input, output, messages;
  llvm::scope_exit removeAll([&] {
    for (StringRef file : {input.str(), output.str(), messages.str()})
      if (!file.empty())
        fs::remove(file);
  });
  int descriptor;
  if (fs::createTemporaryFile("moe", "ptx", descriptor, input) ||
      fs::createTemporaryFile("moe", "cubin", output) ||
      fs::createTemporaryFile("moe", "log", messages)) {
    error = "cannot write temporary files";
    return std::nullopt;
  }
  llvm::raw_fd_ostream(descriptor, /*shouldClose=*/true) << text;
  std::string machine = ("-arch=" + arch).str();
  StringRef arguments[] = {program, machine, "--warn-on-spills",
                           input,   "-o",    output};
  std::optional<StringRef> redirects[] = {StringRef(), messages.str(),
                                          messages.str()};
  std::string problem;
  int status = llvm::sys::ExecuteAndWait(program, arguments, std::nullopt,
                                         redirects, 0, 0, &problem);
  auto log = llvm::MemoryBuffer::getFile(messages);
  StringRef said = log ? (*log)->getBuffer().trim() : StringRef();
  if (status != 0 || !said.empty()) {
    error = program + ": " + (problem.empty() ? said.str() : problem);
    return std::nullopt;
  }
  auto cubin = llvm::MemoryBuffer::getFile(output, /*IsText=*/false,
                                           /*RequiresNullTerminator=*/false,
                                           /*IsVolatile=*/true);
  if (!cubin) {
    error = program + ": " + cubin.getError().message();
    return std::nullopt;
  }
  return std::move(*cubin);
}

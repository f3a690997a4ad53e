//===- Fuzzing.h - Shared by the fuzzers of the compiler --------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_FUZZ_FUZZING_H
#define MOE_FUZZ_FUZZING_H

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/PassManager.h"

#include <cstdint>
#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <string>
#include <unistd.h>

namespace mlir::moe::fuzz {

/// A context that is made anew now and then: types and attributes stay in it.
class Contexts {
public:
  explicit Contexts(void (*registerDialects)(DialectRegistry &))
      : registerDialects(registerDialects) {}

  MLIRContext &get() {
    if (!context || ++uses % 500 == 0) {
      DialectRegistry registry;
      registerDialects(registry);
      passes.reset();
      context = std::make_unique<MLIRContext>(registry,
                                              MLIRContext::Threading::DISABLED);
      // A pipeline keeps the names of the operations that it looks for, which
      // must not be registered after that.
      context->loadAllAvailableDialects();
      // A message has to be made, not shown.
      context->getDiagEngine().registerHandler([](Diagnostic &diagnostic) {
        volatile size_t size = diagnostic.str().size();
        (void)size;
        return success();
      });
    }
    return *context;
  }

  /// A pipeline over modules of the context that `get` has returned last. It is
  /// kept as well: collecting all patterns takes longer than most inputs do.
  PassManager &getPasses(void (*build)(PassManager &)) {
    if (!passes) {
      passes = std::make_unique<PassManager>(context.get());
      build(*passes);
    }
    return *passes;
  }

private:
  void (*registerDialects)(DialectRegistry &);
  std::unique_ptr<MLIRContext> context;
  std::unique_ptr<PassManager> passes;
  unsigned uses = 0;
};

/// A file in a folder of its own, written anew for each input.
class InputFile {
public:
  explicit InputFile(const char *name) {
    // In memory, where there is such a folder.
    char shared[] = "/dev/shm/moe-fuzz-XXXXXX",
         other[] = "/tmp/moe-fuzz-XXXXXX";
    const char *folder = ::mkdtemp(shared);
    if (!folder)
      folder = ::mkdtemp(other);
    if (!folder)
      std::abort();
    path = std::string(folder) + "/" + name;
    fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
      std::abort();
  }
  ~InputFile() {
    ::close(fd);
    ::unlink(path.c_str());
    ::rmdir(path.substr(0, path.rfind('/')).c_str());
  }
  void write(const uint8_t *data, size_t size) {
    if (::ftruncate(fd, 0) != 0 ||
        ::pwrite(fd, data, size, 0) != static_cast<ssize_t>(size))
      std::abort();
  }
  std::string path;

private:
  int fd;
};

} // namespace mlir::moe::fuzz

#endif // MOE_FUZZ_FUZZING_H

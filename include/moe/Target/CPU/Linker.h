//===- Linker.h - Links compiled models -------------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Links in this process with LLD: a compiled model needs no C compiler on the
// machine that compiles it, only the shared libraries it will run with.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_CPU_LINKER_H
#define MOE_TARGET_CPU_LINKER_H

#include <string>
#include <vector>

namespace mlir::moe {

struct LinkJob {
  std::string triple;
  /// The model's object, then archives, in the order of the command line.
  std::vector<std::string> inputs;
  std::string output;
  /// A program with `main` instead of a shared library.
  bool executable = false;
  /// DT_SONAME of a shared library.
  std::string soname;
  /// The functions that a shared library exports; nothing else is visible.
  std::vector<std::string> exports;
};

/// Runs the linker. On failure returns false and a text that may have several
/// lines; the output is then absent.
bool link(const LinkJob &job, std::string &error);

/// The full name of a shared library ("libomp.so.5") that the target's dynamic
/// linker would find, or of one beside LLVM's libraries; empty when there is
/// none.
std::string findSharedLibrary(const std::string &name,
                              const std::string &triple);

/// The full name of a file of this project's library folder ("libX.a"): in the
/// build tree or the installation that the running program or library belongs
/// to; empty when there is none.
std::string findProjectLibrary(const std::string &name);

} // namespace mlir::moe

#endif // MOE_TARGET_CPU_LINKER_H

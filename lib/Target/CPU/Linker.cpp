//===- Linker.cpp - Links compiled models ---------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Target/CPU/Linker.h"

#include "lld/Common/Driver.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/TargetParser/Triple.h"

LLD_HAS_DRIVER(elf)

using namespace llvm;
using namespace mlir;

static bool runLinker(const std::vector<std::string> &arguments,
                      std::string &error) {
  // LLD ends the process of a caller that goes on after this.
  static bool usable = true;
  if (!usable) {
    error = "the linker has failed before in this process";
    return false;
  }
  SmallVector<const char *> argv;
  for (const std::string &argument : arguments)
    argv.push_back(argument.c_str());
  std::string out, err;
  raw_string_ostream outStream(out), errStream(err);
  lld::Result result =
      lld::lldMain(argv, outStream, errStream, {{lld::Gnu, &lld::elf::link}});
  usable = result.canRunAgain;
  if (result.retCode == 0)
    return true;
  // One line: LLD says where in further ones.
  SmallVector<StringRef> lines;
  StringRef(err).split(lines, '\n', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  for (StringRef &line : lines)
    line.consume_front(">>> ");
  error = lines.empty() ? "the linker failed" : llvm::join(lines, ", ");
  return false;
}

/// A version script: the one way of making hidden what archives export.
static bool writeVersionScript(const moe::LinkJob &job, StringRef path,
                               std::string &error) {
  std::error_code ec;
  raw_fd_ostream out(path, ec);
  if (!ec) {
    out << "{ global:";
    for (const std::string &name : job.exports)
      out << " " << name << ";";
    out << " local: *; };\n";
    out.close();
    ec = out.error();
  }
  if (!ec)
    return true;
  out.clear_error();
  error = "cannot write '" + path.str() + "': " + ec.message();
  return false;
}

static const char *dynamicLinker(const Triple &triple) {
  switch (triple.getArch()) {
  case Triple::x86_64:
    return "/lib64/ld-linux-x86-64.so.2";
  case Triple::aarch64:
    return "/lib/ld-linux-aarch64.so.1";
  default:
    return nullptr;
  }
}

/// Appends the libraries that a model may need, each recorded only if used.
static bool addLibraries(const moe::LinkJob &job,
                         std::vector<std::string> &arguments,
                         std::string &error) {
  arguments.push_back("--as-needed");
  for (StringRef name : {"libomp.so.5", "libm.so.6", "libc.so.6"}) {
    std::string path = moe::findSharedLibrary(name.str(), job.triple);
    if (path.empty()) {
      error =
          ("cannot find " + name + " for " + job.triple +
           (name == "libomp.so.5" ? "; install LLVM's OpenMP runtime (libomp)"
                                  : "; install the C library of that target"))
              .str();
      return false;
    }
    // Found where the program was compiled; elsewhere, or when that folder is
    // gone, the dynamic linker goes on searching the system's folders.
    if (name == "libomp.so.5")
      arguments.insert(arguments.end(), {"--enable-new-dtags", "-rpath",
                                         sys::path::parent_path(path).str()});
    arguments.push_back(path);
  }
  return true;
}

bool moe::link(const LinkJob &job, std::string &error) {
  Triple triple(job.triple);
  if (!triple.isOSLinux() || !dynamicLinker(triple)) {
    error = "linking for '" + job.triple +
            "' is not supported, only for x86_64 and aarch64 Linux";
    return false;
  }
  std::vector<std::string> arguments = {
      "ld.lld", "-o", job.output, "--gc-sections", "--eh-frame-hdr",
      "--hash-style=gnu", "--build-id=fast", "-z", "relro", "-z", "now", "-z",
      "noexecstack", "-z", "defs",
      // Models are small: a second thread costs more than it brings.
      "--threads=1"};

  // Beside the output, which is known to be writable.
  std::string script = job.output + ".version";
  FileRemover remover(script);
  if (job.executable) {
    arguments.insert(arguments.end(),
                     {"-pie", "-dynamic-linker", dynamicLinker(triple)});
    for (const char *name : {"Scrt1.o", "crti.o"}) {
      std::string path = findSharedLibrary(name, job.triple);
      if (path.empty()) {
        error = std::string("cannot find ") + name +
                "; a program needs the C library's start files (libc6-dev)";
        return false;
      }
      arguments.push_back(path);
    }
  } else {
    if (!writeVersionScript(job, script, error))
      return false;
    arguments.insert(arguments.end(), {"-shared", "-soname", job.soname,
                                       "--version-script=" + script});
    // The entry points lie in the archive, and nothing refers to them.
    for (const std::string &name : job.exports)
      arguments.push_back("--undefined=" + name);
  }
  for (const std::string &input : job.inputs) // "-x.o" is no option
    arguments.push_back(input[0] == '-' ? "./" + input : input);
  if (!addLibraries(job, arguments, error))
    return false;
  if (job.executable) {
    std::string path = findSharedLibrary("crtn.o", job.triple);
    if (!path.empty())
      arguments.push_back(path);
  }
  if (runLinker(arguments, error))
    return true;
  sys::fs::remove(job.output);
  return false;
}

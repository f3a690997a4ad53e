//===- Messages.cpp - Diagnostics for people and for tools ----------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Messages.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Location.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace mlir::moe;

namespace {
/// Where something is; just the file when nothing better is known.
struct Position {
  std::string file;
  unsigned line = 0, column = 0;
};
} // namespace

static Position positionOf(Location loc, StringRef input) {
  Position position{input.str()};
  loc->walk([&](Location inner) {
    auto found = dyn_cast<FileLineColLoc>(inner);
    if (!found)
      return WalkResult::advance();
    // Positions in binary files mean nothing: they have line 0.
    position = {found.getFilename().str(), found.getLine(), found.getColumn()};
    return WalkResult::interrupt();
  });
  return position;
}

static StringRef kindOf(DiagnosticSeverity severity) {
  switch (severity) {
  case DiagnosticSeverity::Note:
    return "note";
  case DiagnosticSeverity::Warning:
    return "warning";
  case DiagnosticSeverity::Error:
    return "error";
  case DiagnosticSeverity::Remark:
    return "remark";
  }
  llvm_unreachable("all severities are handled");
}

static std::string textOf(Diagnostic &diagnostic) {
  std::string text = diagnostic.str();
  // Attributes and types may print over several lines.
  for (char &c : text)
    if (c == '\n' || c == '\r')
      c = ' ';
  return text;
}

static void printLine(Diagnostic &diagnostic, StringRef input,
                      llvm::raw_ostream &os) {
  Position position = positionOf(diagnostic.getLocation(), input);
  os << position.file;
  if (position.line > 0)
    os << ':' << position.line << ':' << position.column;
  os << ": " << kindOf(diagnostic.getSeverity()) << ": " << textOf(diagnostic)
     << "\n";
}

void moe::printMessage(Diagnostic &diagnostic, StringRef input,
                       llvm::raw_ostream &os) {
  printLine(diagnostic, input, os);
  for (Diagnostic &note : diagnostic.getNotes())
    printLine(note, input, os);
}

static llvm::json::Object objectOf(Diagnostic &diagnostic, StringRef input) {
  Position position = positionOf(diagnostic.getLocation(), input);
  llvm::json::Object object{
      {"file", llvm::json::fixUTF8(position.file)},
      {"severity", kindOf(diagnostic.getSeverity())},
      {"message", llvm::json::fixUTF8(textOf(diagnostic))}};
  if (position.line > 0) {
    object["line"] = position.line;
    object["column"] = position.column;
  }
  for (DiagnosticArgument &argument : diagnostic.getMetadata())
    if (argument.getKind() ==
        DiagnosticArgument::DiagnosticArgumentKind::Attribute)
      if (auto more = dyn_cast<DictionaryAttr>(argument.getAsAttribute()))
        for (NamedAttribute entry : more)
          object[entry.getName().getValue()] = toJSON(entry.getValue());
  return object;
}

static std::string inOneLine(llvm::json::Object object) {
  return llvm::formatv("{0}", llvm::json::Value(std::move(object)));
}

std::string moe::recordOf(Diagnostic &diagnostic, StringRef input) {
  llvm::json::Object object = objectOf(diagnostic, input);
  llvm::json::Array notes;
  for (Diagnostic &note : diagnostic.getNotes())
    notes.push_back(objectOf(note, input));
  if (!notes.empty())
    object["notes"] = std::move(notes);
  return inOneLine(std::move(object));
}

std::string moe::recordOf(StringRef severity, StringRef message) {
  return inOneLine(llvm::json::Object{
      {"severity", severity}, {"message", llvm::json::fixUTF8(message)}});
}

llvm::json::Value moe::toJSON(Attribute attribute) {
  if (auto value = dyn_cast<BoolAttr>(attribute))
    return value.getValue();
  if (auto value = dyn_cast<IntegerAttr>(attribute))
    return value.getInt();
  if (auto value = dyn_cast<FloatAttr>(attribute)) {
    if (value.getValue().isFinite())
      return value.getValueAsDouble();
    SmallString<8> text; // JSON knows no infinities
    value.getValue().toString(text);
    return text.str().lower();
  }
  if (auto value = dyn_cast<StringAttr>(attribute))
    return llvm::json::fixUTF8(value.getValue());
  if (auto value = dyn_cast<ArrayAttr>(attribute)) {
    llvm::json::Array array;
    for (Attribute element : value)
      array.push_back(toJSON(element));
    return array;
  }
  if (auto value = dyn_cast<DictionaryAttr>(attribute)) {
    llvm::json::Object object;
    for (NamedAttribute element : value)
      object[element.getName().getValue()] = toJSON(element.getValue());
    return object;
  }
  std::string text;
  llvm::raw_string_ostream(text) << attribute;
  return text;
}

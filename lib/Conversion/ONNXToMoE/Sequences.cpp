//===- Sequences.cpp - sequences of known length --------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A sequence is a list of tensors while nodes are converted; there is none in
// the code. So its length, and the positions in it, have to be known.
//
//===----------------------------------------------------------------------===//

#include "Registry.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

static FailureOr<SmallVector<Tensor>> sequenceOf(Lowering &l, unsigned input) {
  auto found = l.sequences.find(l.node.input(input));
  if (found == l.sequences.end())
    return l.error() << "expects input " << input
                     << " to be a sequence, got a tensor";
  return found->second;
}

static LogicalResult setSequence(Lowering &l, ArrayRef<Tensor> elements) {
  for (Tensor t : elements)
    if (t->elementType != elements.front()->elementType)
      return l.error() << "expects elements of one type, got "
                       << elements.front()->elementType << " and "
                       << t->elementType;
  if (Value output = l.node.output(0))
    l.sequences[output] = SmallVector<Tensor>(elements);
  return success();
}

/// The position that input `input` gives, in [0, size).
static FailureOr<int64_t> positionOf(Lowering &l, unsigned input,
                                     int64_t size) {
  std::optional<SmallVector<int64_t>> known = l.constants(l.in(input));
  if (!known || known->size() != 1)
    return l.error() << "expects a constant position in the sequence";
  int64_t at = known->front();
  if (at < -size || at >= size)
    return l.error() << "expects a position in [" << -size << ", " << size
                     << "), got " << at;
  return at < 0 ? at + size : at;
}

static LogicalResult convertConstruct(Lowering &l) {
  SmallVector<Tensor> elements;
  for (unsigned i = 0; i < l.node.getInputs().size(); ++i)
    elements.push_back(l.in(i));
  return setSequence(l, elements);
}

static LogicalResult convertAt(Lowering &l) {
  FailureOr<SmallVector<Tensor>> sequence = sequenceOf(l, 0);
  if (failed(sequence))
    return failure();
  FailureOr<int64_t> at = positionOf(l, 1, sequence->size());
  return failed(at) ? failure() : l.set((*sequence)[*at]);
}

static LogicalResult convertInsert(Lowering &l) {
  FailureOr<SmallVector<Tensor>> sequence = sequenceOf(l, 0);
  if (failed(sequence))
    return failure();
  int64_t at = sequence->size();
  if (l.optional(2)) {
    // The end is a position, too; -1 is the last element.
    std::optional<SmallVector<int64_t>> known = l.constants(l.in(2));
    if (!known || *known != SmallVector<int64_t>{at}) {
      FailureOr<int64_t> position = positionOf(l, 2, at);
      if (failed(position))
        return failure();
      at = *position;
    }
  }
  sequence->insert(sequence->begin() + at, l.in(1));
  return setSequence(l, *sequence);
}

static LogicalResult convertErase(Lowering &l) {
  FailureOr<SmallVector<Tensor>> sequence = sequenceOf(l, 0);
  if (failed(sequence))
    return failure();
  int64_t size = sequence->size();
  if (size == 0)
    return l.error() << "expects a sequence that is not empty";
  FailureOr<int64_t> at = size - 1;
  if (l.optional(1))
    at = positionOf(l, 1, size);
  if (failed(at))
    return failure();
  sequence->erase(sequence->begin() + *at);
  return setSequence(l, *sequence);
}

static LogicalResult convertLength(Lowering &l) {
  FailureOr<SmallVector<Tensor>> sequence = sequenceOf(l, 0);
  if (failed(sequence))
    return failure();
  return l.set(l.tensor(l.b.getI64Type(), Dims(),
                        Dims{static_cast<int64_t>(sequence->size())}));
}

/// The sizes of the parts; 1 each when there is no second input.
static FailureOr<Dims> partsOf(Lowering &l, const Expr &size) {
  Tensor split = l.optional(1);
  if (split && split->rank() == 1)
    return l.elements(split, "split");
  constexpr int64_t kMaxParts = 4096;
  std::optional<int64_t> whole = size.constant();
  int64_t part = 1;
  if (split) {
    std::optional<SmallVector<int64_t>> known = l.constants(split);
    if (!known || known->size() != 1 || known->front() < 1)
      return l.error() << "expects a constant size of parts of at least 1";
    part = known->front();
  }
  if (!whole || (*whole + part - 1) / part > kMaxParts)
    return l.error() << "expects a static size of the axis, of at most "
                     << kMaxParts << " parts";
  Dims sizes;
  for (int64_t at = 0; at < *whole; at += part)
    sizes.push_back(std::min(part, *whole - at));
  return sizes;
}

static LogicalResult convertSplitToSequence(Lowering &l) {
  Tensor x = l.in(0);
  FailureOr<int64_t> axis = l.axis(l.node.getI64("axis", 0), x->rank());
  if (failed(axis))
    return failure();
  FailureOr<Dims> sizes = partsOf(l, x->dims[*axis]);
  if (failed(sizes))
    return failure();
  bool drops = !l.optional(1) && l.node.getI64("keepdims", 1) == 0;
  Expr total;
  for (const Expr &s : *sizes) {
    if (failed(l.checkSize(s)))
      return failure();
    l.checkLessOrEqual(s, x->dims[*axis],
                       "expects sizes of at most {limit}, the size of the "
                       "axis, got {found}");
    total = total + s;
  }
  if (failed(l.checkAgree(total, x->dims[*axis],
                          "the sum of the sizes and the axis")))
    return failure();
  SmallVector<Tensor> parts;
  Dims offsets(x->rank(), Expr(0)), dims = x->dims;
  for (const Expr &s : *sizes) {
    dims[*axis] = s;
    Tensor part = l.slice(x, offsets, dims);
    if (drops) {
      Dims rest = dims;
      rest.erase(rest.begin() + *axis);
      part = l.reshape(part, rest);
    }
    parts.push_back(part);
    offsets[*axis] = offsets[*axis] + s;
  }
  return setSequence(l, parts);
}

static LogicalResult convertConcatFromSequence(Lowering &l) {
  FailureOr<SmallVector<Tensor>> sequence = sequenceOf(l, 0);
  if (failed(sequence))
    return failure();
  if (sequence->empty())
    return l.error() << "expects a sequence that is not empty";
  int64_t axis = l.node.getI64("axis", 0);
  FailureOr<Tensor> result = l.node.getI64("new_axis", 0) != 0
                                 ? stack(l, *sequence, axis)
                                 : concat(l, *sequence, axis);
  return failed(result) ? failure() : l.set(*result);
}

void raise::addSequences(Registry &r) {
  StringRef length = "sequences of known length",
            position = "sequences of known length, constant positions";
  r.add({
      {"SequenceConstruct", 11, kLatest, convertConstruct, 1, kVariadic, "", "",
       length},
      {"SequenceEmpty", 11, kLatest, convertConstruct, 0, 0, "dtype", "",
       length},
      {"SequenceAt", 11, kLatest, convertAt, 2, 2, "", "", position, true},
      {"SequenceInsert", 11, kLatest, convertInsert, 2, 3, "", "", position,
       true},
      {"SequenceErase", 11, kLatest, convertErase, 1, 2, "", "", position,
       true},
      {"SequenceLength", 11, kLatest, convertLength, 1, 1, "", "", length,
       true},
      {"SplitToSequence", 11, kLatest, convertSplitToSequence, 1, 2,
       "axis keepdims", "", "a known number of parts"},
      {"ConcatFromSequence", 11, kLatest, convertConcatFromSequence, 1, 1,
       "axis new_axis", "", length, true},
  });
}

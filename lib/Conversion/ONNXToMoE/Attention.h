//===- Attention.h - what the attention operators share ---------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every attention operator is one computation, under a different arrangement of
// its operands and with different masks:
//
//   softmax(softcap(scale * query * key^T) + masks) * value
//
// It is built once, from the description below.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_ATTENTION_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_ATTENTION_H

#include "Lowering.h"

namespace mlir::moe::raise {

/// A query, key or value: [batch, sequence, heads, size], or [batch, heads,
/// sequence, size] with the heads first. Both are read in place.
struct Heads {
  Tensor tensor = nullptr;
  bool headsFirst = false;

  const Expr &batch() const { return tensor->dims[0]; }
  const Expr &length() const { return tensor->dims[headsFirst ? 2 : 1]; }
  const Expr &count() const { return tensor->dims[headsFirst ? 1 : 2]; }
  const Expr &size() const { return tensor->dims[3]; }
};

/// [batch, sequence, heads * size] as [batch, sequence, heads, size]. `what` is
/// for the error where the last dimension does not divide.
FailureOr<Heads> splitHeads(Lowering &l, Tensor t, int64_t heads,
                            StringRef what);
/// The tensor as [batch, heads, sequence, size], the form of caches.
Tensor headsInFront(Lowering &l, const Heads &x);

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// What changes the scores [batch, heads, queries, keys], to which `tensor`
/// broadcasts. Floats are added, and -inf disables a key; so does false; where
/// integers are not positive, `fill` is added.
struct ScoreMask {
  Tensor tensor = nullptr;
  double fill = 0.0;
};

struct AttentionSpec {
  Heads query, key, value;
  /// None: 1 / sqrt(size).
  std::optional<double> scale;
  /// 0: none.
  double softcap = 0.0;
  /// Key j is at position j, query i at i + offset: `offsets` [batch], or the
  /// same one for all.
  Expr offset;
  Tensor offsets = nullptr;
  /// No key behind the query's position.
  bool causal = false;
  /// The greatest distance of a key in front of or behind the query's position;
  /// negative: any.
  int64_t before = -1, after = -1;
  /// How many keys there are, [batch]; what follows them is disabled.
  Tensor keyCounts = nullptr;
  SmallVector<ScoreMask, 2> masks;
  /// [heads]: a score that takes part in each softmax, but has no value.
  Tensor sink = nullptr;
  /// The least precise type that softmax may be computed in.
  Type precision;
  /// The arrangement of the result.
  bool headsFirst = false;
  bool wantsProbabilities = false;
};

struct AttentionResult {
  Heads output;
  /// [batch, heads, queries, keys] in the compute type: the scores, these after
  /// softcap, these after the masks; the probabilities if they are wanted.
  Tensor scores = nullptr, capped = nullptr, masked = nullptr,
         probabilities = nullptr;
};

/// Sums run in ascending order in the compute type of the operands. A query all
/// of whose keys are disabled has the result 0.
FailureOr<AttentionResult> attend(Lowering &l, const AttentionSpec &spec);

/// Adds `mask`, of any rank up to 4, that broadcasts to the scores of `spec`,
/// whose query and key are known. Its last dimension may be shorter than the
/// keys: what it lacks is disabled.
LogicalResult addMask(Lowering &l, AttentionSpec &spec, Tensor mask);

//===----------------------------------------------------------------------===//
// Caches
//===----------------------------------------------------------------------===//

/// The keys or values of `past` [batch, heads, sequence, size], if there are
/// any, and `x` behind them.
FailureOr<Heads> appendToCache(Lowering &l, Tensor past, const Heads &x);

/// `cache` with `rows` written over it along `axis`, from index `at` [batch] on
/// for each entry of dimension 0. With `circular` what reaches the end goes on
/// at the beginning. Checks the indices.
Tensor writeRows(Lowering &l, Tensor cache, Tensor rows, Tensor at,
                 int64_t axis, bool circular = false);

//===----------------------------------------------------------------------===//
// Rotary embedding
//===----------------------------------------------------------------------===//

/// The rows of `table` [rows, size] that `indices` [batch, sequence], which are
/// checked, name.
FailureOr<Tensor> gatherRows(Lowering &l, Tensor table, Tensor indices);

/// Rotates the first `2 * half` elements of each head, where cos and sin are
/// [batch or 1, sequence or 1, half]. A pair is elements i and i + half, or two
/// neighbours if `interleaved`.
FailureOr<Heads> rotate(Lowering &l, const Heads &x, Tensor cos, Tensor sin,
                        bool interleaved);

} // namespace mlir::moe::raise

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_ATTENTION_H

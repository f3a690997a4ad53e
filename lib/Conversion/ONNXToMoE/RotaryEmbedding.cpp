//===- RotaryEmbedding.cpp - rotary position embedding --------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each pair (x1, x2) of a head becomes (cos * x1 - sin * x2, sin * x1 + cos *
// x2). Both halves are slices of the input that are read in place, so that all
// loops run along memory without a decision in them.
//
//===----------------------------------------------------------------------===//

#include "Attention.h"
#include "Registry.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

using ElementBuilder = ImplicitLocOpBuilder;

//===----------------------------------------------------------------------===//
// Rotation
//===----------------------------------------------------------------------===//

FailureOr<Tensor> raise::gatherRows(Lowering &l, Tensor table, Tensor indices) {
  if (table->rank() != 2 || indices->rank() != 2)
    return l.error() << "expects a table and indices of rank 2, got "
                     << table->rank() << " and " << indices->rank();
  if (!indices->isInteger())
    return l.error() << "expects integer indices, got " << indices->elementType;
  if (failed(l.checkIndices(indices, table->dims[0])))
    return failure();
  Value source = l.value(table), count = l.index(table->dims[0]);
  Dims dims{indices->dims[0], indices->dims[1], table->dims[1]};
  AffineMap map =
      AffineMap::get(3, 0, {l.b.getAffineDimExpr(0), l.b.getAffineDimExpr(1)},
                     l.b.getContext());
  return l.elementwise(
      {Operand{l.value(indices), map}}, dims, table->elementType,
      [&](ElementBuilder &b, ValueRange args) -> Value {
        Value row = Lowering::wrapIndex(b, args[0], count);
        return tensor::ExtractOp::create(
            b, source, ValueRange{row, linalg::IndexOp::create(b, 2)});
      });
}

/// cos or sin as an operand of loops over [batch, sequence, heads, half], or
/// with the heads first.
static FailureOr<Operand> angleOperand(Lowering &l, Tensor t, const Dims &dims,
                                       const Heads &x) {
  for (auto [have, want] :
       {std::pair(t->dims[0], x.batch()), std::pair(t->dims[1], x.length())})
    if (!have.is(1) &&
        failed(l.checkAgree(have, want, "sizes of the caches and the input")))
      return failure();
  Dims shape = x.headsFirst ? Dims{t->dims[0], 1, t->dims[1], t->dims[2]}
                            : Dims{t->dims[0], t->dims[1], 1, t->dims[2]};
  return l.operand(l.reshape(t, shape), dims, /*allowScalar=*/false);
}

FailureOr<Heads> raise::rotate(Lowering &l, const Heads &x, Tensor cos,
                               Tensor sin, bool interleaved) {
  for (Tensor t : {cos, sin}) {
    if (t->rank() != 3)
      return l.error() << "expects cos and sin of rank 3, got " << t->rank();
    if (!t->isFloat() || !x.tensor->isFloat())
      return l.error() << "expects floats, got " << x.tensor->elementType
                       << " and " << t->elementType;
  }
  Expr half = cos->dims[2], rotated = half * 2;
  if (failed(l.checkAgree(sin->dims[2], half, "sizes of cos and sin")))
    return failure();
  Type type = x.tensor->elementType, compute = Lowering::computeType(type);
  const Dims whole = x.tensor->dims;
  // One more dimension tells the members of a pair apart: in front of the pairs
  // (halves), or behind them (interleaved).
  Dims head(whole.begin(), whole.begin() + 3), none(4, Expr(0));
  Dims rotatedDims = head, paired = head, member = head;
  rotatedDims.push_back(rotated);
  for (const Expr &d : interleaved ? Dims{half, 2} : Dims{2, half})
    paired.push_back(d);
  for (const Expr &d : interleaved ? Dims{half, 1} : Dims{1, half})
    member.push_back(d);
  Dims dims = head;
  dims.push_back(half);
  unsigned pairAxis = interleaved ? 4 : 3;
  Tensor pairs = l.reshape(l.slice(x.tensor, none, rotatedDims), paired);
  auto part = [&](int64_t which) {
    Dims offsets(5, Expr(0));
    offsets[pairAxis] = which;
    return l.reshape(l.slice(pairs, offsets, member), dims);
  };
  FailureOr<Operand> c = angleOperand(l, cos, dims, x);
  FailureOr<Operand> s = angleOperand(l, sin, dims, x);
  if (failed(c) || failed(s))
    return failure();
  Operand first = l.operand(part(0), dims, false);
  Operand second = l.operand(part(1), dims, false);
  // x1 * a -/+ x2 * b
  auto combine = [&](const Operand &a, const Operand &b, bool adds) {
    Tensor t =
        l.elementwise({first, second, a, b}, dims, type,
                      [&](ElementBuilder &b, ValueRange args) -> Value {
                        auto factor = [&](unsigned i) {
                          return fromCompute(b, args[i], compute);
                        };
                        Value p = arith::MulFOp::create(b, args[0], factor(2));
                        Value q = arith::MulFOp::create(b, args[1], factor(3));
                        if (adds)
                          return arith::AddFOp::create(b, p, q);
                        return arith::SubFOp::create(b, p, q);
                      });
    return l.value(l.reshape(t, member));
  };
  SmallVector<Value> members{combine(*c, *s, false), combine(*s, *c, true)};
  Value joined =
      tensor::ConcatOp::create(l.b, l.type(paired, type), pairAxis, members);
  Tensor result = l.reshape(l.tensor(joined, type, paired), rotatedDims);
  if (rotated == whole[3])
    return Heads{result, x.headsFirst};

  Dims offsets(4, Expr(0)), rest = head;
  offsets[3] = rotated;
  rest.push_back(whole[3] - rotated);
  SmallVector<Value> parts{l.value(result),
                           l.value(l.slice(x.tensor, offsets, rest))};
  joined = tensor::ConcatOp::create(l.b, l.type(whole, type), 3, parts);
  return Heads{l.tensor(joined, type, whole), x.headsFirst};
}

//===----------------------------------------------------------------------===//
// The operators
//===----------------------------------------------------------------------===//

/// Rotates `x`, checks what the attributes say about sizes, and sets the result
/// in the input's shape.
static LogicalResult setRotated(Lowering &l, const Heads &x, Tensor cos,
                                Tensor sin) {
  int64_t dim = l.node.getI64("rotary_embedding_dim", 0);
  if (dim < 0 || dim % 2 != 0)
    return l.error() << "expects an even rotary_embedding_dim, got " << dim;
  Expr rotated = dim == 0 ? x.size() : Expr(dim);
  if (cos->rank() != 3)
    return l.error() << "expects caches of rank "
                     << (l.node.getDomain().empty() && !l.optional(3) ? 3 : 2);
  if (failed(l.checkAgree(cos->dims[2] * 2, rotated,
                          "twice the size of the caches and the rotated size")))
    return failure();
  if (dim != 0) {
    if (x.size().constant() && *x.size().constant() < dim)
      return l.error() << "expects rotary_embedding_dim to be at most the size "
                          "of a head, got "
                       << dim << " > " << *x.size().constant();
    l.checkLessOrEqual(rotated, x.size(),
                       "expects rotary_embedding_dim to be at most the size of "
                       "a head, got {found} > {limit}");
  }
  FailureOr<Heads> result =
      rotate(l, x, cos, sin, l.node.getI64("interleaved", 0) != 0);
  if (failed(result))
    return failure();
  return l.set(l.reshape(result->tensor, l.in(0)->dims));
}

/// Inputs x, cos, sin, position ids. Without the latter the caches are
/// [batch, sequence, size]; a size of 1, which exporters write for the batch,
/// broadcasts.
static LogicalResult convertRotaryEmbedding(Lowering &l) {
  Tensor x = l.in(0), cos = l.in(1), sin = l.in(2), ids = l.optional(3);
  Heads heads{x, /*headsFirst=*/true};
  if (x->rank() != 4) {
    int64_t count = l.node.getI64("num_heads", 0);
    if (count <= 0)
      return l.error() << "expects an input of rank 4, or num_heads";
    FailureOr<Heads> split = splitHeads(l, x, count, "the input");
    if (failed(split))
      return failure();
    heads = *split;
  }
  if (cos->rank() > 0 && sin->rank() > 0 &&
      failed(l.checkAgree(sin->dims[0], cos->dims[0], "sizes of cos and sin")))
    return failure();
  for (Tensor *t : {&cos, &sin}) {
    if (!ids)
      continue;
    FailureOr<Tensor> rows = gatherRows(l, *t, ids);
    if (failed(rows))
      return failure();
    *t = *rows;
  }
  return setRotated(l, heads, cos, sin);
}

/// Inputs x, position ids, cos, sin. One position id is that of the first
/// token of every sequence.
static LogicalResult convertContribRotaryEmbedding(Lowering &l) {
  Tensor x = l.in(0), ids = l.in(1), cos = l.in(2), sin = l.in(3);
  if (l.node.getF32("scale", 1.0f) != 1.0f)
    return l.error() << "expects scale to be 1, got "
                     << l.node.getF32("scale", 1.0f);
  if (cos->rank() != 2 || sin->rank() != 2)
    return l.error() << "expects caches of rank 2, got " << cos->rank()
                     << " and " << sin->rank();
  Heads heads{x, /*headsFirst=*/true};
  if (x->rank() != 4) {
    // Without a rotary_embedding_dim the caches say how long a head is.
    int64_t count = l.node.getI64("num_heads", 0), given = count;
    if (l.node.getI64("rotary_embedding_dim", 0) == 0) {
      std::optional<int64_t> half = cos->dims[1].constant();
      std::optional<int64_t> hidden =
          x->rank() == 3 ? x->dims[2].constant() : std::nullopt;
      if (half && hidden && *half > 0)
        count = *hidden / (2 * *half);
    }
    if (given != 0 && given != count)
      return l.error() << "expects num_heads to be " << count
                       << ", the number of heads of the caches' size, got "
                       << given;
    if (count <= 0)
      return l.error() << "expects an input of rank 4, num_heads, or caches "
                          "that say how long a head is";
    FailureOr<Heads> split = splitHeads(l, x, count, "the input");
    if (failed(split))
      return failure();
    heads = *split;
  }
  if (failed(l.checkAgree(sin->dims[0], cos->dims[0], "sizes of cos and sin")))
    return failure();
  bool isStart = ids->rank() < 2;
  Expr start;
  if (isStart) {
    FailureOr<Dims> elements = l.elements(ids, "position_ids");
    if (failed(elements))
      return failure();
    if (elements->size() != 1)
      return l.error() << "expects one position id, or one per token, got "
                       << elements->size();
    start = elements->front();
    l.checkLessOrEqual(0, start,
                       "expects a position of at least {found}, got "
                       "{limit}");
    l.checkLessOrEqual(start + heads.length(), cos->dims[0],
                       "expects caches for {found} positions, got {limit}");
  }
  for (Tensor *t : {&cos, &sin}) {
    if (isStart) {
      Tensor rows = l.slice(*t, {start, 0}, {heads.length(), (*t)->dims[1]});
      *t = l.reshape(rows, {1, rows->dims[0], rows->dims[1]});
      continue;
    }
    FailureOr<Tensor> rows = gatherRows(l, *t, ids);
    if (failed(rows))
      return failure();
    *t = *rows;
  }
  return setRotated(l, heads, cos, sin);
}

void raise::addRotaryEmbedding(Registry &r) {
  r.add({
      {"RotaryEmbedding", 23, kLatest, convertRotaryEmbedding, 3, 4,
       "interleaved num_heads rotary_embedding_dim"},
      {"RotaryEmbedding", 1, 1, convertContribRotaryEmbedding, 4, 4,
       "interleaved is_packed_batching num_heads rotary_embedding_dim scale",
       "com.microsoft"},
  });
}

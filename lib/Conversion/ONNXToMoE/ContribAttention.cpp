//===- ContribAttention.cpp - attention operators of com.microsoft --------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// GroupQueryAttention and MultiHeadAttention: operands are taken apart, caches
// are kept, and the rest is what all attention operators share.
//
//===----------------------------------------------------------------------===//

#include "Attention.h"

#include "Normalization.h"
#include "Registry.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

using ElementBuilder = ImplicitLocOpBuilder;

/// Element `i` of `axis`, which is then gone.
static Tensor member(Lowering &l, Tensor t, int64_t axis, int64_t i) {
  Dims offsets(t->rank(), Expr(0)), dims = t->dims;
  offsets[axis] = i;
  dims[axis] = 1;
  Tensor part = l.slice(t, offsets, dims);
  dims.erase(dims.begin() + axis);
  return l.reshape(part, dims);
}

static LogicalResult refuseInput(Lowering &l, unsigned i, StringRef name) {
  if (l.optional(i))
    return l.error() << "input '" << name << "' is not supported";
  return success();
}

/// [batch, sequence, heads * size]
static Tensor mergeHeads(Lowering &l, Tensor t) {
  return l.reshape(t, {t->dims[0], t->dims[1], t->dims[2] * t->dims[3]});
}

/// attention_bias [batch or 1, heads or 1, sequence, total], if there is one.
static LogicalResult addBias(Lowering &l, AttentionSpec &spec, Tensor bias) {
  if (!bias)
    return success();
  if (bias->rank() != 4 || !bias->isFloat())
    return l.error() << "expects an attention_bias of rank 4, got "
                     << bias->rank();
  return addMask(l, spec, bias);
}

/// The attribute `scale`, for which 0 means the default.
static std::optional<double> scaleOf(Lowering &l) {
  float scale = l.node.getF32("scale", 0.0f);
  return scale == 0.0f ? std::nullopt : std::optional<double>(scale);
}

//===----------------------------------------------------------------------===//
// GroupQueryAttention
//===----------------------------------------------------------------------===//
//
// Each entry of the batch has `seqlens_k + 1` tokens, of which the last
// `sequence` are new; the others are in the cache. In the first step (sequence
// == total_sequence_length) all tokens are new, and those behind the entry's
// own are padding.

namespace {

class GroupQuery {
public:
  explicit GroupQuery(Lowering &l) : l(l), b(l.b) {}

  LogicalResult convert();

private:
  LogicalResult checkAttributes();
  LogicalResult splitOperands();
  LogicalResult readLengths();
  LogicalResult normalizeHeads();
  LogicalResult embedPositions();
  LogicalResult updateCaches();
  LogicalResult updateWindow();
  LogicalResult setScores(const AttentionResult &result);

  /// [batch] of i64, each from an element of `operands`.
  Tensor perEntry(ArrayRef<Tensor> operands, ElementFn element) {
    return l.elementwise(operands, {spec.query.batch()}, b.getI64Type(),
                         element);
  }
  Value asI64(const Expr &e) { return l.sizes.integer(b, e, b.getI64Type()); }

  Lowering &l;
  ImplicitLocOpBuilder &b;
  AttentionSpec spec;
  int64_t heads = 0, keyHeads = 0, window = -1;
  /// New tokens per entry, and the most tokens of an entry.
  Expr fresh, total;
  /// [batch] of i64: the tokens of each entry, and those of earlier steps.
  Tensor totals = nullptr, past = nullptr;
};

} // namespace

LogicalResult GroupQuery::checkAttributes() {
  heads = l.node.getI64("num_heads", 0);
  keyHeads = l.node.getI64("kv_num_heads", 0);
  if (heads <= 0 || keyHeads <= 0 || heads % keyHeads != 0)
    return l.error() << "expects num_heads to be a multiple of kv_num_heads, "
                        "got "
                     << heads << " and " << keyHeads;
  for (StringRef name : {"k_quant_type", "v_quant_type"})
    if (StringRef type = l.node.getString(name, "NONE"); type != "NONE")
      return l.error() << name << " = '" << type << "' is not supported";
  if (failed(refuseInput(l, 12, "k_scale")) ||
      failed(refuseInput(l, 13, "v_scale")))
    return failure();
  spec.scale = scaleOf(l);
  spec.softcap = l.node.getF32("softcap", 0.0f);
  spec.causal = l.node.getI64("causal", 1) != 0;
  window = l.node.getI64("local_window_size", -1);
  if (window == 0 || (window > 0 && !spec.causal))
    return l.error() << "expects a positive local_window_size of a causal "
                        "attention, or -1, got "
                     << window;
  // A window of 1 is the token itself.
  spec.before = window > 0 ? window - 1 : -1;
  if (int64_t mode = l.node.getI64("qk_output", 0); mode < 0 || mode > 2)
    return l.error() << "expects qk_output in [0, 2], got " << mode;
  return success();
}

LogicalResult GroupQuery::splitOperands() {
  Tensor query = l.in(0), key = l.optional(1), value = l.optional(2);
  if (!key != !value)
    return l.error() << "expects key and value together";
  if (key) {
    FailureOr<Heads> q = splitHeads(l, query, heads, "query");
    FailureOr<Heads> k = splitHeads(l, key, keyHeads, "key");
    FailureOr<Heads> v = splitHeads(l, value, keyHeads, "value");
    if (failed(q) || failed(k) || failed(v))
      return failure();
    spec.query = *q;
    spec.key = *k;
    spec.value = *v;
  } else {
    FailureOr<Heads> packed =
        splitHeads(l, query, heads + 2 * keyHeads, "query");
    if (failed(packed))
      return failure();
    int64_t at = 0;
    for (auto [part, count] :
         {std::pair(&spec.query, heads), std::pair(&spec.key, keyHeads),
          std::pair(&spec.value, keyHeads)}) {
      Dims dims = packed->tensor->dims;
      dims[2] = count;
      *part = Heads{l.slice(packed->tensor, {0, 0, at, 0}, dims), false};
      at += count;
    }
  }
  fresh = spec.query.length();
  return l.checkAgree(spec.key.length(), fresh, "lengths of query and key");
}

LogicalResult GroupQuery::readLengths() {
  Tensor lengths = l.optional(5), given = l.optional(6);
  if (!lengths || !given)
    return l.error() << "expects seqlens_k and total_sequence_length";
  if (!lengths->isInteger() || lengths->rank() < 1 || lengths->rank() > 2)
    return l.error() << "expects one integer in seqlens_k per entry of the "
                        "batch";
  // [batch, 1] is in use, too.
  if (failed(l.checkAgree(product(lengths->dims), spec.query.batch(),
                          "batch sizes")))
    return failure();
  lengths = l.reshape(lengths, {spec.query.batch()});
  FailureOr<Dims> elements = l.elements(given, "total_sequence_length");
  if (failed(elements))
    return failure();
  if (elements->size() != 1)
    return l.error() << "expects one total_sequence_length, got "
                     << elements->size();
  total = elements->front();
  l.checkLessOrEqual(fresh, total,
                     "expects a total_sequence_length of at least the {found} "
                     "new tokens, got {limit}");
  Expr isFirst = l.sizes.equal(total, fresh);
  // Padding is possible in the first step only.
  l.checkRange(lengths, l.sizes.select(isFirst, 0, fresh - 1), total - 1,
               total - 1,
               "expects seqlens_k of at least the new tokens and at most "
               "{limit}, got {found}");
  totals = perEntry(lengths, [](ElementBuilder &b, ValueRange args) -> Value {
    Value v = args[0];
    if (!v.getType().isInteger(64))
      v = arith::ExtSIOp::create(b, b.getI64Type(), v);
    return arith::AddIOp::create(b, v, intConstant(b, b.getI64Type(), 1));
  });
  Value count = asI64(fresh), first = asI64(isFirst);
  past = perEntry(totals, [&](ElementBuilder &b, ValueRange args) -> Value {
    Value zero = intConstant(b, b.getI64Type(), 0);
    Value rest = arith::SubIOp::create(b, args[0], count);
    Value is = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, first, zero);
    return arith::SelectOp::create(b, is, zero, rest);
  });
  return success();
}

/// RMS normalization of each head of query and key.
LogicalResult GroupQuery::normalizeHeads() {
  Tensor weights[] = {l.optional(14), l.optional(15)};
  if (!weights[0] != !weights[1])
    return l.error() << "expects q_norm_weight and k_norm_weight together";
  if (!weights[0])
    return success();
  for (auto [x, weight] :
       {std::pair(&spec.query, weights[0]), std::pair(&spec.key, weights[1])}) {
    auto results = normalize(l, x->tensor, weight, /*bias=*/nullptr, /*axis=*/3,
                             l.node.getF32("qk_norm_epsilon", 1e-6f),
                             /*centers=*/false, x->tensor->elementType);
    if (failed(results))
      return failure();
    x->tensor = results->front();
  }
  return success();
}

LogicalResult GroupQuery::embedPositions() {
  if (l.node.getI64("do_rotary", 0) == 0)
    return success();
  Tensor cos = l.optional(7), sin = l.optional(8), ids = l.optional(9);
  if (!cos || !sin)
    return l.error() << "expects cos_cache and sin_cache for do_rotary";
  if (cos->rank() == 2 && sin->rank() == 2 &&
      failed(l.checkAgree(sin->dims[0], cos->dims[0], "sizes of cos and sin")))
    return failure();
  Dims dims{spec.query.batch(), fresh};
  if (!ids) {
    AffineMap map =
        AffineMap::get(2, 0, {b.getAffineDimExpr(0)}, b.getContext());
    ids = l.elementwise({Operand{l.value(past), map}}, dims, b.getI64Type(),
                        [](ElementBuilder &b, ValueRange args) -> Value {
                          Value token = arith::IndexCastOp::create(
                              b, b.getI64Type(), linalg::IndexOp::create(b, 1));
                          return arith::AddIOp::create(b, args[0], token);
                        });
  } else if (ids->rank() != 2) {
    return l.error() << "expects position_ids of rank 2, got " << ids->rank();
  } else if (failed(l.checkAgree(ids->dims[0], dims[0], "batch sizes")) ||
             failed(l.checkAgree(ids->dims[1], dims[1],
                                 "numbers of tokens and position ids"))) {
    return failure();
  }
  FailureOr<Tensor> c = gatherRows(l, cos, ids);
  FailureOr<Tensor> s = gatherRows(l, sin, ids);
  if (failed(c) || failed(s))
    return failure();
  Expr rotated = (*c)->dims[2] * 2;
  if (rotated.constant() && spec.query.size().constant() &&
      *rotated.constant() > *spec.query.size().constant())
    return l.error() << "expects cos_cache to have at most half the size of a "
                        "head, got "
                     << *rotated.constant() / 2 << " of "
                     << *spec.query.size().constant();
  l.checkLessOrEqual(rotated, spec.query.size(),
                     "expects to rotate at most the size of a head, got "
                     "{found} > {limit}");
  bool interleaved = l.node.getI64("rotary_interleaved", 0) != 0;
  for (Heads *x : {&spec.query, &spec.key}) {
    FailureOr<Heads> result = rotate(l, *x, *c, *s, interleaved);
    if (failed(result))
      return failure();
    *x = *result;
  }
  return success();
}

/// A cache of the sizes that `x` says.
static LogicalResult checkCache(Lowering &l, Tensor cache, const Heads &x) {
  if (cache->rank() != 4)
    return l.error() << "expects caches of rank 4, got " << cache->rank();
  if (cache->elementType != x.tensor->elementType)
    return l.error() << "expects caches of type " << x.tensor->elementType
                     << ", got " << cache->elementType;
  return failure(
      failed(l.checkAgree(cache->dims[0], x.batch(), "batch sizes")) ||
      failed(l.checkAgree(cache->dims[1], x.count(),
                          "heads of caches and inputs")) ||
      failed(l.checkAgree(cache->dims[3], x.size(),
                          "sizes of caches and inputs")));
}

/// The first `kept` rows of `cache`, followed by zeros, `length` in all.
static Tensor resized(Lowering &l, Tensor cache, const Expr &kept,
                      const Expr &length) {
  Type type = cache->elementType;
  Dims dims = cache->dims, head = cache->dims, tail = cache->dims;
  dims[2] = length;
  head[2] = kept;
  tail[2] = length - kept;
  if (dims == cache->dims)
    return cache;
  Dims none(4, Expr(0)), behind = none;
  behind[2] = kept;
  SmallVector<OpFoldResult> ones(4, l.b.getIndexAttr(1));
  Value zeros = l.filled(
      tail, cast<TypedAttr>(l.b.getZeroAttr(Lowering::storageType(type))));
  Value result = tensor::InsertSliceOp::create(
      l.b, l.value(l.slice(cache, none, head)), l.empty(dims, type),
      l.mixed(none), l.mixed(head), ones);
  result = tensor::InsertSliceOp::create(l.b, zeros, result, l.mixed(behind),
                                         l.mixed(tail), ones);
  return l.tensor(result, type, dims);
}

/// Writes the new keys and values behind those of the cache. Its rows behind
/// them are unspecified: they stay what they are, so that a cache which is
/// longer than its contents can be the same memory before and after.
LogicalResult GroupQuery::updateCaches() {
  Tensor caches[] = {l.optional(3), l.optional(4)};
  Heads *heads[] = {&spec.key, &spec.value};
  if (!caches[0] != !caches[1])
    return l.error() << "expects past_key and past_value together";
  if (!caches[0])
    l.checkEqual(total, fresh,
                 "expects a total_sequence_length of {limit} without a cache, "
                 "got {found}");
  for (int i = 0; i < 2; ++i) {
    Heads &x = *heads[i];
    if (!caches[i]) {
      if (l.node.output(1 + i) && failed(l.set(1 + i, headsInFront(l, x))))
        return failure();
      continue;
    }
    if (failed(checkCache(l, caches[i], x)))
      return failure();
    Expr length = caches[i]->dims[2];
    if (i == 0)
      l.checkLessOrEqual(
          total, length + fresh,
          "expects a cache that holds the earlier of {found} tokens, got "
          "{limit} with the new ones");
    Tensor present =
        writeRows(l, resized(l, caches[i], length, l.sizes.max(total, length)),
                  headsInFront(l, x), past, 2);
    if (l.node.output(1 + i) && failed(l.set(1 + i, present)))
      return failure();
    Dims used = present->dims;
    used[2] = total;
    x = Heads{l.slice(present, Dims(4, Expr(0)), used), /*headsFirst=*/true};
  }
  return success();
}

/// The cache holds the last rows only, at its beginning: of T tokens
/// T - g * ceil((T - capacity) / g) with g = capacity - window + 1. So the keys
/// of this step are these rows and the new ones, and positions count from the
/// first of them.
LogicalResult GroupQuery::updateWindow() {
  Tensor caches[] = {l.optional(3), l.optional(4)};
  Heads *heads[] = {&spec.key, &spec.value};
  if (window <= 0 || !caches[0] || !caches[1])
    return l.error() << "expects a local_window_size and caches for "
                        "sliding_window_cache";
  if (l.optional(10) || l.node.output(3))
    return l.error() << "attention_bias and output_qk are not supported with "
                        "sliding_window_cache";
  for (int i = 0; i < 2; ++i)
    if (failed(checkCache(l, caches[i], *heads[i])))
      return failure();
  if (failed(l.checkAgree(caches[1]->dims[2], caches[0]->dims[2],
                          "lengths of the caches")))
    return failure();
  Expr capacity = caches[0]->dims[2];
  l.checkLessOrEqual(window, capacity,
                     "expects a cache of at least the {found} rows of the "
                     "window, got {limit}");
  Value rows = asI64(capacity), group = asI64(capacity - window + 1);
  auto resident = [&](Tensor tokens) {
    return perEntry(tokens, [&](ElementBuilder &b, ValueRange args) -> Value {
      Value zero = intConstant(b, b.getI64Type(), 0);
      Value one = intConstant(b, b.getI64Type(), 1);
      Value over = arith::SubIOp::create(b, args[0], rows);
      over = arith::MaxSIOp::create(b, over, zero);
      Value last = arith::SubIOp::create(b, group, one);
      Value steps = arith::DivSIOp::create(
          b, arith::AddIOp::create(b, over, last), group);
      return arith::SubIOp::create(b, args[0],
                                   arith::MulIOp::create(b, steps, group));
    });
  };
  Tensor before = resident(past), after = resident(totals);
  // Row i of the new cache is key i + shift.
  Tensor shift =
      perEntry({totals, after, past, before},
               [](ElementBuilder &b, ValueRange args) -> Value {
                 Value to = arith::SubIOp::create(b, args[0], args[1]);
                 Value from = arith::SubIOp::create(b, args[2], args[3]);
                 return arith::SubIOp::create(b, to, from);
               });
  Expr length = l.sizes.min(total, capacity + fresh);
  for (int i = 0; i < 2; ++i) {
    Heads &x = *heads[i];
    Expr kept = l.sizes.min(capacity, length);
    Tensor keys = writeRows(l, resized(l, caches[i], kept, length),
                            headsInFront(l, x), before, 2);
    x = Heads{keys, /*headsFirst=*/true};
    if (!l.node.output(1 + i))
      continue;
    Dims dims = keys->dims;
    dims[2] = capacity;
    Value source = l.value(keys), shifts = l.value(shift),
          end = l.index(length);
    Type type = keys->elementType;
    Tensor present =
        l.generate(dims, type, [&](ElementBuilder &b, ValueRange at) -> Value {
          Value first = arith::IndexCastOp::create(
              b, b.getIndexType(),
              tensor::ExtractOp::create(b, shifts, ValueRange{at[0]}));
          // Rows behind the last one are unspecified: they repeat it.
          Value row = arith::AddIOp::create(b, at[2], first);
          Value last = arith::SubIOp::create(
              b, end, arith::ConstantIndexOp::create(b, 1));
          row = arith::MinSIOp::create(b, row, last);
          return tensor::ExtractOp::create(
              b, source, ValueRange{at[0], at[1], row, at[3]});
        });
    if (failed(l.set(1 + i, present)))
      return failure();
  }
  past = before;
  return success();
}

/// output_qk: the scores with the masks, 0 where a key is disabled, or the
/// probabilities.
LogicalResult GroupQuery::setScores(const AttentionResult &result) {
  if (!l.node.output(3))
    return success();
  int64_t mode = l.node.getI64("qk_output", 0);
  if (mode == 0)
    return l.error() << "expects qk_output to be 1 or 2 where output 3 is used";
  Type type = l.in(0)->elementType;
  if (mode == 2)
    return l.set(3, l.convertFloat(result.probabilities, type));
  return l.set(3,
               l.elementwise(result.masked, result.masked->dims, type,
                             [](ElementBuilder &b, ValueRange args) -> Value {
                               Type t = args[0].getType();
                               Value none = arith::CmpFOp::create(
                                   b, arith::CmpFPredicate::OEQ, args[0],
                                   floatConstant(b, t, -INFINITY));
                               return arith::SelectOp::create(
                                   b, none, floatConstant(b, t, 0.0), args[0]);
                             }));
}

LogicalResult GroupQuery::convert() {
  if (failed(checkAttributes()) || failed(splitOperands()) ||
      failed(readLengths()) || failed(normalizeHeads()) ||
      failed(embedPositions()))
    return failure();
  bool windowed = l.node.getI64("sliding_window_cache", 0) != 0;
  if (failed(windowed ? updateWindow() : updateCaches()) ||
      failed(addBias(l, spec, l.optional(10))))
    return failure();
  spec.offsets = past;
  if (!spec.causal)
    spec.keyCounts = totals;
  if (Tensor sink = l.optional(11)) {
    if (sink->rank() != 1 || !sink->isFloat())
      return l.error() << "expects one float in head_sink per head";
    if (failed(l.checkAgree(sink->dims[0], heads, "heads and head_sink")))
      return failure();
    spec.sink = sink;
  } else if (l.node.getI64("smooth_softmax", -1) == 1) {
    auto zero = DenseElementsAttr::get(
        RankedTensorType::get({heads}, b.getF32Type()), 0.0f);
    spec.sink = l.tensor(zero);
  }
  spec.wantsProbabilities =
      l.node.output(3) && l.node.getI64("qk_output", 0) == 2;
  FailureOr<AttentionResult> result = attend(l, spec);
  if (failed(result) || failed(setScores(*result)))
    return failure();
  return l.set(mergeHeads(l, result->output.tensor));
}

static LogicalResult convertGroupQueryAttention(Lowering &l) {
  return GroupQuery(l).convert();
}

//===----------------------------------------------------------------------===//
// MultiHeadAttention
//===----------------------------------------------------------------------===//

/// x + bias, for `bias` [heads * size] from `at` on. Moves `at` behind it.
static LogicalResult addProjectionBias(Lowering &l, Heads &x, Tensor bias,
                                       Expr &at) {
  Expr count = x.count() * x.size();
  Expr end = at + count;
  if (end.constant() && bias->dims[0].constant() &&
      *end.constant() > *bias->dims[0].constant())
    return l.error() << "expects a bias of at least " << *end.constant()
                     << " elements, got " << *bias->dims[0].constant();
  l.checkLessOrEqual(end, bias->dims[0],
                     "expects a bias of at least {found} elements, got "
                     "{limit}");
  Tensor part = l.reshape(l.slice(bias, {at}, {count}), {x.count(), x.size()});
  x.tensor =
      l.elementwise({x.tensor, part}, x.tensor->dims, x.tensor->elementType,
                    [](ElementBuilder &b, ValueRange args) -> Value {
                      return arith::AddFOp::create(b, args[0], args[1]);
                    });
  at = end;
  return success();
}

/// The three operands, from any of the packed forms.
static LogicalResult multiHeadOperands(Lowering &l, AttentionSpec &spec) {
  int64_t heads = l.node.getI64("num_heads", 0);
  if (heads <= 0)
    return l.error() << "expects num_heads to be positive, got " << heads;
  Tensor query = l.in(0), key = l.optional(1), value = l.optional(2);
  if (query->rank() == 5) {
    // [batch, sequence, heads, 3, size]
    if (key || value)
      return l.error() << "expects no key and value beside a packed query";
    if (failed(l.checkAgree(query->dims[3], 3, "packed parts")))
      return failure();
    spec.query = {member(l, query, 3, 0), false};
    spec.key = {member(l, query, 3, 1), false};
    spec.value = {member(l, query, 3, 2), false};
  } else {
    FailureOr<Heads> q = splitHeads(l, query, heads, "query");
    if (failed(q))
      return failure();
    spec.query = *q;
    if (!key)
      return l.error() << "expects a key, or a query of rank 5 that holds all "
                          "three operands";
    if (key->rank() == 5) {
      // [batch, sequence, heads, 2, size]
      if (value)
        return l.error() << "expects no value beside a packed key";
      if (failed(l.checkAgree(key->dims[3], 2, "packed parts")))
        return failure();
      spec.key = {member(l, key, 3, 0), false};
      spec.value = {member(l, key, 3, 1), false};
    } else {
      if (!value || value->rank() != key->rank())
        return l.error() << "expects a value of the rank of the key";
      if (key->rank() == 4) {
        spec.key = {key, /*headsFirst=*/true};
        spec.value = {value, /*headsFirst=*/true};
      } else {
        FailureOr<Heads> k = splitHeads(l, key, heads, "key");
        FailureOr<Heads> v = splitHeads(l, value, heads, "value");
        if (failed(k) || failed(v))
          return failure();
        spec.key = *k;
        spec.value = *v;
      }
    }
  }
  for (const Heads *x : {&spec.query, &spec.key, &spec.value})
    if (failed(l.checkAgree(x->count(), heads, "numbers of heads")))
      return failure();
  Tensor bias = l.optional(3);
  if (!bias)
    return success();
  if (bias->rank() != 1 || bias->elementType != query->elementType)
    return l.error() << "expects a bias of rank 1 and of type "
                     << query->elementType;
  Expr at;
  if (failed(addProjectionBias(l, spec.query, bias, at)))
    return failure();
  // Keys and values of rank 4 have been projected before.
  if (spec.key.headsFirst)
    return success();
  return failure(failed(addProjectionBias(l, spec.key, bias, at)) ||
                 failed(addProjectionBias(l, spec.value, bias, at)));
}

/// key_padding_mask: numbers of keys [batch] (or behind them cumulated lengths,
/// [3 * batch + 2], which say the same), or flags per key.
static LogicalResult paddingMask(Lowering &l, AttentionSpec &spec) {
  Tensor mask = l.optional(4);
  if (!mask)
    return success();
  if (!mask->isInteger() || mask->rank() > 3 || mask->rank() < 1)
    return l.error() << "expects a key_padding_mask of integers of rank 1 to 3";
  ScoreMask term;
  term.fill = l.node.getF32("mask_filter_value", -10000.0f);
  Expr batch = spec.query.batch(), keys = spec.key.length();
  if (mask->rank() == 1) {
    // As flags: 1 for a key in front of the entry's number.
    if (mask->dims[0] != batch) {
      Expr cumulated = batch * 3 + 2;
      Value have = l.index(mask->dims[0]);
      using P = arith::CmpIPredicate;
      Value plain = arith::CmpIOp::create(l.b, P::eq, have, l.index(batch));
      Value other = arith::CmpIOp::create(l.b, P::eq, have, l.index(cumulated));
      l.check(arith::OrIOp::create(l.b, plain, other), have, l.index(batch),
              "expects a key_padding_mask for {limit} entries, got {found}");
      mask = l.slice(mask, {0}, {batch});
    }
    AffineMap map =
        AffineMap::get(2, 0, {l.b.getAffineDimExpr(0)}, l.b.getContext());
    Type type = l.b.getI32Type();
    Tensor flags = l.elementwise(
        {Operand{l.value(mask), map}}, {batch, keys}, type,
        [&](ElementBuilder &b, ValueRange args) -> Value {
          Value key = linalg::IndexOp::create(b, 1);
          Value count =
              arith::IndexCastOp::create(b, b.getIndexType(), args[0]);
          Value inside =
              arith::CmpIOp::create(b, arith::CmpIPredicate::slt, key, count);
          return arith::ExtUIOp::create(b, type, inside);
        });
    term.tensor = l.reshape(flags, {batch, 1, 1, keys});
  } else {
    bool perQuery = mask->rank() == 3;
    if (failed(l.checkAgree(mask->dims[0], batch, "batch sizes")) ||
        (perQuery && failed(l.checkAgree(mask->dims[1], spec.query.length(),
                                         "numbers of queries and masks"))) ||
        failed(
            l.checkAgree(mask->dims.back(), keys, "numbers of keys and flags")))
      return failure();
    Dims exact{batch, keys}, dims{batch, 1, 1, keys};
    if (perQuery) {
      exact.insert(exact.begin() + 1, spec.query.length());
      dims[2] = spec.query.length();
    }
    Tensor same =
        l.tensor(l.cast(l.value(mask), exact), mask->elementType, exact);
    term.tensor = l.reshape(same, dims);
  }
  spec.masks.push_back(term);
  return success();
}

static LogicalResult convertMultiHeadAttention(Lowering &l) {
  AttentionSpec spec;
  for (auto [i, name] : {std::pair(8, "past_sequence_length"),
                         std::pair(9, "cache_indirection")})
    if (failed(refuseInput(l, i, name)))
      return failure();
  if (failed(multiHeadOperands(l, spec)))
    return failure();
  Tensor pastKey = l.optional(6), pastValue = l.optional(7);
  if (!pastKey != !pastValue)
    return l.error() << "expects past_key and past_value together";
  if (pastKey && spec.key.headsFirst)
    return l.error() << "expects no past_key beside a key of rank 4";
  FailureOr<Heads> keys = appendToCache(l, pastKey, spec.key);
  FailureOr<Heads> values = appendToCache(l, pastValue, spec.value);
  if (failed(keys) || failed(values))
    return failure();
  if (pastKey)
    spec.offset = pastKey->dims[2];
  spec.key = *keys;
  spec.value = *values;
  for (auto [i, x] : {std::pair(1, spec.key), std::pair(2, spec.value)})
    if (l.node.output(i) && failed(l.set(i, headsInFront(l, x))))
      return failure();
  spec.scale = scaleOf(l);
  spec.causal = l.node.getI64("unidirectional", 0) != 0;
  if (failed(paddingMask(l, spec)))
    return failure();
  if (failed(addBias(l, spec, l.optional(5))))
    return failure();
  FailureOr<AttentionResult> result = attend(l, spec);
  if (failed(result))
    return failure();
  if (l.node.output(3)) {
    auto hint = dyn_cast<ShapedType>(l.node.output(3).getType());
    Type type = hint && isa<FloatType>(hint.getElementType())
                    ? hint.getElementType()
                    : l.in(0)->elementType;
    if (failed(l.set(3, l.convertFloat(result->masked, type))))
      return failure();
  }
  return l.set(mergeHeads(l, result->output.tensor));
}

void raise::addContribAttention(Registry &r) {
  r.add({
      {"GroupQueryAttention", 1, 1, convertGroupQueryAttention, 1, 16,
       "causal do_rotary k_quant_type kv_cache_bit_width kv_num_heads "
       "local_window_size num_heads qk_norm_epsilon qk_output "
       "rotary_interleaved scale sliding_window_cache smooth_softmax softcap "
       "v_quant_type",
       "com.microsoft"},
      {"MultiHeadAttention", 1, 1, convertMultiHeadAttention, 1, 10,
       "mask_filter_value num_heads scale unidirectional", "com.microsoft"},
  });
}

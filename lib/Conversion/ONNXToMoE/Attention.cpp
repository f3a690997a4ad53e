//===- Attention.cpp - scaled dot product attention -----------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The scores are the only intermediate that grows with queries * keys. Heads
// that share a key are a loop of their own, so keys and values are never
// repeated; they are read where they lie, but for one copy of the keys that
// turns them so that the innermost loop of the scores runs along memory. The
// division by the sum of softmax follows the product with the values, where
// there is less to divide.
//
//===----------------------------------------------------------------------===//

#include "Attention.h"

#include "Elements.h"
#include "Registry.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

using ElementBuilder = ImplicitLocOpBuilder;

//===----------------------------------------------------------------------===//
// Arrangements
//===----------------------------------------------------------------------===//

FailureOr<Heads> raise::splitHeads(Lowering &l, Tensor t, int64_t heads,
                                   StringRef what) {
  if (t->rank() != 3)
    return l.error() << "expects " << what << " of rank 3, got " << t->rank();
  const Expr &hidden = t->dims[2];
  std::optional<Expr> exact = hidden.exactQuotient(heads);
  if (!exact && hidden.constant())
    return l.error() << "expects the last dimension of " << what
                     << " to be a multiple of its " << heads << " heads, got "
                     << *hidden.constant();
  Expr size = exact ? *exact : l.sizes.floorDiv(hidden, heads);
  if (!exact)
    l.checkEqual(hidden, size * heads,
                 "expects a multiple of the number of heads, got {found}");
  return Heads{l.reshape(t, {t->dims[0], t->dims[1], heads, size}),
               /*headsFirst=*/false};
}

Tensor raise::headsInFront(Lowering &l, const Heads &x) {
  return x.headsFirst ? x.tensor : l.transpose(x.tensor, {0, 2, 1, 3});
}

FailureOr<Heads> raise::appendToCache(Lowering &l, Tensor past,
                                      const Heads &x) {
  if (!past)
    return x;
  Tensor fresh = headsInFront(l, x);
  if (past->rank() != 4)
    return l.error() << "expects caches of rank 4, got " << past->rank();
  if (past->elementType != fresh->elementType)
    return l.error() << "expects caches of type " << fresh->elementType
                     << ", got " << past->elementType;
  for (int64_t i : {0, 1, 3})
    if (failed(l.checkAgree(past->dims[i], fresh->dims[i],
                            "sizes of caches and inputs")))
      return failure();
  Dims dims = fresh->dims, pastDims = fresh->dims;
  pastDims[2] = past->dims[2];
  dims[2] = past->dims[2] + fresh->dims[2];
  SmallVector<Value> parts{l.cast(l.value(past), pastDims), l.value(fresh)};
  Type type = fresh->elementType;
  Value joined = tensor::ConcatOp::create(l.b, l.type(dims, type), 2, parts);
  return Heads{l.tensor(joined, type, dims), /*headsFirst=*/true};
}

static AffineMap mapOf(Lowering &l, unsigned loops, ArrayRef<unsigned> dims) {
  SmallVector<AffineExpr> exprs;
  for (unsigned d : dims)
    exprs.push_back(l.b.getAffineDimExpr(d));
  return AffineMap::get(loops, 0, exprs, l.b.getContext());
}

//===----------------------------------------------------------------------===//
// Masks
//===----------------------------------------------------------------------===//

/// `mask` as one that broadcasts to the scores.
static FailureOr<Tensor> alignMask(Lowering &l, Tensor mask,
                                   const Dims &scores) {
  int64_t rank = mask->rank();
  if (rank < 1 || rank > 4)
    return l.error() << "expects a mask of rank 1 to 4, got " << rank;
  TensorInfo leading = *mask;
  leading.dims.pop_back();
  if (failed(
          l.checkBroadcast(&leading, ArrayRef(scores).drop_back(), "a mask")))
    return failure();
  const Expr have = mask->dims.back(), want = scores.back();
  if (have == want)
    return mask;
  if (have.constant() && want.constant() && *have.constant() > *want.constant())
    return l.error() << "expects a mask for at most " << *want.constant()
                     << " keys, got " << *have.constant();
  l.checkLessOrEqual(have, want,
                     "expects a mask for at most {limit} keys, got {found}");
  Dims dims = mask->dims;
  dims.back() = want;
  Value source = l.value(mask), length = l.index(have);
  Type storage = Lowering::storageType(mask->elementType);
  return l.generate(
      dims, mask->elementType, [&](ElementBuilder &b, ValueRange at) -> Value {
        Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::slt,
                                             at.back(), length);
        // Not a select: an empty mask has nothing to read.
        auto branch = scf::IfOp::create(b, storage, inside, true, true);
        {
          OpBuilder::InsertionGuard guard(b);
          b.setInsertionPointToStart(branch.thenBlock());
          scf::YieldOp::create(
              b, ValueRange{tensor::ExtractOp::create(b, source, at)});
          b.setInsertionPointToStart(branch.elseBlock());
          Value none = isa<FloatType>(storage)
                           ? floatConstant(b, storage, -INFINITY)
                           : intConstant(b, storage, 0);
          scf::YieldOp::create(b, none);
        }
        return branch.getResult(0);
      });
}

LogicalResult raise::addMask(Lowering &l, AttentionSpec &spec, Tensor mask) {
  FailureOr<Tensor> aligned =
      alignMask(l, mask,
                {spec.query.batch(), spec.query.count(), spec.query.length(),
                 spec.key.length()});
  if (failed(aligned))
    return failure();
  spec.masks.push_back({*aligned});
  return success();
}

//===----------------------------------------------------------------------===//
// The computation
//===----------------------------------------------------------------------===//

namespace {

class AttentionBuilder {
public:
  AttentionBuilder(Lowering &l, const AttentionSpec &spec) : l(l), spec(spec) {}

  FailureOr<AttentionResult> build();

private:
  LogicalResult checkOperands();
  Tensor scores();
  Tensor softcap(Tensor scores);
  Tensor masked(Tensor scores);
  /// exp(score - shift), and the sum of these per row.
  Tensor exponentials(Tensor scores, Tensor &sum);
  Tensor divide(Tensor x, Operand sum, Type type);
  Heads weighted(Tensor weights);

  /// All elements, read in place.
  Operand whole(Tensor x) { return l.operand(x, x->dims, false); }
  /// A tensor [batch, heads, queries] in a loop nest over the scores.
  Operand perRow(Tensor x) { return {l.value(x), mapOf(l, 4, {0, 1, 2})}; }

  Lowering &l;
  const AttentionSpec &spec;
  Type compute;
  Expr batch, heads, groups, sharing, queries, keys;
};

} // namespace

LogicalResult AttentionBuilder::checkOperands() {
  const Heads &q = spec.query, &k = spec.key, &v = spec.value;
  for (const Heads *x : {&q, &k, &v})
    if (!x->tensor->isFloat())
      return l.error() << "expects floats, got " << x->tensor->elementType;
  if (failed(l.checkAgree(k.batch(), q.batch(), "batch sizes")) ||
      failed(l.checkAgree(v.batch(), q.batch(), "batch sizes")) ||
      failed(l.checkAgree(k.size(), q.size(), "sizes of query and key")) ||
      failed(l.checkAgree(v.count(), k.count(), "heads of key and value")) ||
      failed(l.checkAgree(v.length(), k.length(), "lengths of key and value")))
    return failure();
  batch = q.batch();
  heads = q.count();
  groups = k.count();
  queries = q.length();
  keys = k.length();
  std::optional<Expr> exact = heads.exactQuotient(groups);
  if (!exact && heads.constant() && groups.constant())
    return l.error() << "expects the heads of the query to be a multiple of "
                        "those of the key, got "
                     << *heads.constant() << " and " << *groups.constant();
  sharing =
      exact ? *exact : l.sizes.floorDiv(heads, l.sizes.max(groups, Expr(1)));
  return l.checkAgree(sharing * groups, heads, "heads of query and key");
}

/// scale * query * key^T
Tensor AttentionBuilder::scores() {
  ImplicitLocOpBuilder &b = l.b;
  const Heads &q = spec.query, &k = spec.key;
  Value scale;
  std::optional<int64_t> known = q.size().constant();
  if (spec.scale || known) {
    double size = std::max<int64_t>(known.value_or(1), 1);
    scale =
        floatConstant(b, compute, spec.scale.value_or(1.0 / std::sqrt(size)));
  } else {
    Value size = arith::SIToFPOp::create(
        b, compute, l.sizes.integer(b, q.size(), b.getI64Type()));
    scale = arith::DivFOp::create(b, floatConstant(b, compute, 1.0),
                                  math::SqrtOp::create(b, size));
  }
  Tensor scaled =
      l.elementwise({whole(q.tensor)}, q.tensor->dims, compute,
                    [&](ElementBuilder &b, ValueRange args) -> Value {
                      return arith::MulFOp::create(
                          b, fromCompute(b, args[0], compute), scale);
                    });
  Tensor turned =
      l.transpose(k.tensor, k.headsFirst ? ArrayRef<int64_t>{0, 1, 3, 2}
                                         : ArrayRef<int64_t>{0, 2, 3, 1});
  enum { B, G, R, S, H, T };
  Dims split = q.headsFirst ? Dims{batch, groups, sharing, queries, q.size()}
                            : Dims{batch, queries, groups, sharing, q.size()};
  Operand x{l.value(l.reshape(scaled, split)),
            q.headsFirst ? mapOf(l, 6, {B, G, R, S, H})
                         : mapOf(l, 6, {B, S, G, R, H})};
  Operand y{l.value(turned), mapOf(l, 6, {B, G, H, T})};
  Dims dims{batch, groups, sharing, queries, keys};
  Value product = l.contract(x, y, mapOf(l, 6, {B, G, R, S, T}), dims, compute);
  return l.reshape(l.tensor(product, compute, dims),
                   {batch, heads, queries, keys});
}

Tensor AttentionBuilder::softcap(Tensor scores) {
  if (spec.softcap == 0.0)
    return scores;
  return l.elementwise({whole(scores)}, scores->dims, compute,
                       [&](ElementBuilder &b, ValueRange args) -> Value {
                         Value cap = floatConstant(b, compute, spec.softcap);
                         Value ratio = arith::DivFOp::create(b, args[0], cap);
                         return arith::MulFOp::create(
                             b, math::TanhOp::create(b, ratio), cap);
                       });
}

/// Adds the masks; -inf for a disabled key, whatever its score is.
Tensor AttentionBuilder::masked(Tensor scores) {
  bool needsPosition = spec.causal || spec.before >= 0 || spec.after >= 0;
  if (!needsPosition && !spec.keyCounts && spec.masks.empty())
    return scores;
  const Dims &dims = scores->dims;
  SmallVector<Operand> operands{whole(scores)};
  for (const ScoreMask &mask : spec.masks)
    operands.push_back(l.operand(mask.tensor, dims, /*allowScalar=*/false));
  AffineMap perEntry = mapOf(l, 4, {0});
  if (spec.keyCounts)
    operands.push_back({l.value(spec.keyCounts), perEntry});
  if (needsPosition && spec.offsets)
    operands.push_back({l.value(spec.offsets), perEntry});
  Value offset =
      needsPosition && !spec.offsets ? l.index(spec.offset) : Value();

  auto element = [&](ElementBuilder &b, ValueRange args) -> Value {
    using P = arith::CmpIPredicate;
    Value score = args[0], none = floatConstant(b, compute, -INFINITY);
    Value disabled;
    auto disable = [&](Value condition) {
      disabled = disabled ? Value(arith::OrIOp::create(b, disabled, condition))
                          : condition;
    };
    auto asIndex = [&](Value v) -> Value {
      return arith::IndexCastOp::create(b, b.getIndexType(), v);
    };
    args = args.drop_front();
    for (const ScoreMask &mask : spec.masks) {
      Value v = args.front();
      args = args.drop_front();
      if (mask.tensor->isFloat()) {
        v = fromCompute(b, v, compute);
        disable(arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, v, none));
        score = arith::AddFOp::create(b, score, v);
      } else if (mask.tensor->isBool()) {
        disable(arith::XOrIOp::create(b, v, intConstant(b, v.getType(), 1)));
      } else {
        Value zero = intConstant(b, v.getType(), 0);
        Value keep = arith::CmpIOp::create(b, P::sgt, v, zero);
        Value filled = arith::AddFOp::create(
            b, score, floatConstant(b, compute, mask.fill));
        score = arith::SelectOp::create(b, keep, score, filled);
      }
    }
    Value key = linalg::IndexOp::create(b, 3);
    if (spec.keyCounts) {
      disable(arith::CmpIOp::create(b, P::sge, key, asIndex(args.front())));
      args = args.drop_front();
    }
    if (needsPosition) {
      Value shift = offset ? offset : asIndex(args.front());
      Value query = linalg::IndexOp::create(b, 2);
      Value position = arith::AddIOp::create(b, query, shift);
      auto limit = [&](int64_t distance) -> Value {
        return distance == 0 ? position
                             : arith::AddIOp::create(
                                   b, position,
                                   arith::ConstantIndexOp::create(b, distance))
                                   .getResult();
      };
      int64_t after = spec.causal ? 0 : spec.after;
      if (after >= 0)
        disable(arith::CmpIOp::create(b, P::sgt, key, limit(after)));
      if (spec.before >= 0)
        disable(arith::CmpIOp::create(b, P::slt, key, limit(-spec.before)));
    }
    return disabled ? Value(arith::SelectOp::create(b, disabled, none, score))
                    : score;
  };
  return l.elementwise(operands, dims, compute, element);
}

Tensor AttentionBuilder::exponentials(Tensor scores, Tensor &sum) {
  SmallVector<bool> reduced{false, false, false, true};
  Dims rows(scores->dims.begin(), scores->dims.end() - 1);
  Value greatest = greatestOf(l, scores, reduced);
  SmallVector<Operand> operands{{greatest, mapOf(l, 3, {0, 1, 2})}};
  Operand sink;
  if (spec.sink) {
    sink = {l.value(spec.sink), mapOf(l, 3, {1})};
    operands.push_back(sink);
  }
  // -inf - -inf would be a NaN where every key is disabled.
  Tensor shift = l.elementwise(
      operands, rows, compute,
      [&](ElementBuilder &b, ValueRange args) -> Value {
        Value v = args[0];
        if (spec.sink)
          v = arith::MaximumFOp::create(b, v, fromCompute(b, args[1], compute));
        Value none =
            arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, v,
                                  floatConstant(b, compute, -INFINITY));
        return arith::SelectOp::create(b, none, floatConstant(b, compute, 0.0),
                                       v);
      });
  Tensor exps =
      l.elementwise({whole(scores), perRow(shift)}, scores->dims, compute,
                    [](ElementBuilder &b, ValueRange args) -> Value {
                      return math::ExpOp::create(
                          b, arith::SubFOp::create(b, args[0], args[1]));
                    });
  sum = l.tensor(sumOf(l, exps, reduced), compute, rows);
  if (spec.sink)
    sum = l.elementwise(
        {whole(sum), sink, whole(shift)}, rows, compute,
        [&](ElementBuilder &b, ValueRange args) -> Value {
          Value d = arith::SubFOp::create(b, fromCompute(b, args[1], compute),
                                          args[2]);
          return arith::AddFOp::create(b, args[0], math::ExpOp::create(b, d));
        });
  return exps;
}

/// x / sum, and 0 for a sum of nothing.
Tensor AttentionBuilder::divide(Tensor x, Operand sum, Type type) {
  return l.elementwise(
      {whole(x), sum}, x->dims, type,
      [&](ElementBuilder &b, ValueRange args) -> Value {
        Value zero = floatConstant(b, compute, 0.0);
        Value empty =
            arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, args[1], zero);
        Value quotient = arith::DivFOp::create(b, args[0], args[1]);
        return arith::SelectOp::create(b, empty, zero, quotient);
      });
}

/// weights [batch, heads, queries, keys] * value. Where the entries of the
/// batch have different numbers of keys, what follows them may be anything.
Heads AttentionBuilder::weighted(Tensor weights) {
  enum { B, G, R, S, T, D };
  const Heads &v = spec.value;
  Tensor split = l.reshape(weights, {batch, groups, sharing, queries, keys});
  Operand x{l.value(split), mapOf(l, 6, {B, G, R, S, T})};
  Operand y{l.value(v.tensor), v.headsFirst ? mapOf(l, 6, {B, G, T, D})
                                            : mapOf(l, 6, {B, T, G, D})};
  bool first = spec.headsFirst;
  Dims dims = first ? Dims{batch, groups, sharing, queries, v.size()}
                    : Dims{batch, queries, groups, sharing, v.size()};
  Value product = l.contract(
      x, y, first ? mapOf(l, 6, {B, G, R, S, D}) : mapOf(l, 6, {B, S, G, R, D}),
      dims, compute, /*zeroTakesAll=*/spec.offsets || spec.keyCounts);
  Dims merged = first ? Dims{batch, heads, queries, v.size()}
                      : Dims{batch, queries, heads, v.size()};
  return {l.reshape(l.tensor(product, compute, dims), merged), first};
}

FailureOr<AttentionResult> AttentionBuilder::build() {
  if (failed(checkOperands()))
    return failure();
  compute = Lowering::computeType(spec.query.tensor->elementType);
  for (Type other : {spec.value.tensor->elementType, spec.precision})
    if (other &&
        other.getIntOrFloatBitWidth() > compute.getIntOrFloatBitWidth())
      compute = other;
  AttentionResult result;
  result.scores = scores();
  result.capped = softcap(result.scores);
  result.masked = masked(result.capped);
  Tensor sum = nullptr;
  Tensor exps = exponentials(result.masked, sum);
  Type type = spec.query.tensor->elementType;
  if (spec.wantsProbabilities) {
    result.probabilities = divide(exps, perRow(sum), compute);
    result.output = weighted(result.probabilities);
    result.output.tensor = l.convertFloat(result.output.tensor, type);
    return result;
  }
  result.output = weighted(exps);
  Operand perQuery{l.value(sum), spec.headsFirst ? mapOf(l, 4, {0, 1, 2})
                                                 : mapOf(l, 4, {0, 2, 1})};
  result.output.tensor = divide(result.output.tensor, perQuery, type);
  return result;
}

FailureOr<AttentionResult> raise::attend(Lowering &l,
                                         const AttentionSpec &spec) {
  return AttentionBuilder(l, spec).build();
}

//===----------------------------------------------------------------------===//
// ai.onnx
//===----------------------------------------------------------------------===//

/// What the attribute softmax_precision asks for; null for nothing.
static FailureOr<Type> softmaxPrecision(Lowering &l) {
  std::optional<int64_t> code = l.node.getI64("softmax_precision");
  if (!code)
    return Type();
  Type type = onnxElementType(l.b, *code);
  if (!isa_and_nonnull<FloatType>(type))
    return l.error() << "expects softmax_precision to be a type of floats, got "
                     << *code;
  return type;
}

static LogicalResult attentionOperands(Lowering &l, AttentionSpec &spec) {
  Tensor inputs[] = {l.in(0), l.in(1), l.in(2)};
  Heads *heads[] = {&spec.query, &spec.key, &spec.value};
  int64_t rank = inputs[0]->rank();
  if ((rank != 3 && rank != 4) || inputs[1]->rank() != rank ||
      inputs[2]->rank() != rank)
    return l.error() << "expects Q, K and V of one rank, 3 or 4, got " << rank
                     << ", " << inputs[1]->rank() << " and "
                     << inputs[2]->rank();
  spec.headsFirst = rank == 4;
  int64_t counts[] = {l.node.getI64("q_num_heads", 0),
                      l.node.getI64("kv_num_heads", 0)};
  if (rank == 3 && (counts[0] <= 0 || counts[1] <= 0))
    return l.error() << "expects q_num_heads and kv_num_heads for inputs of "
                        "rank 3";
  StringRef names[] = {"Q", "K", "V"};
  for (int i = 0; i < 3; ++i) {
    *heads[i] = Heads{inputs[i], /*headsFirst=*/true};
    if (rank == 4)
      continue;
    FailureOr<Heads> split =
        splitHeads(l, inputs[i], counts[i == 0 ? 0 : 1], names[i]);
    if (failed(split))
      return failure();
    *heads[i] = *split;
  }
  return success();
}

/// Caches, and the positions that follow from them.
static LogicalResult attentionCaches(Lowering &l, AttentionSpec &spec) {
  Tensor pastKey = l.optional(4), pastValue = l.optional(5);
  if (!pastKey != !pastValue)
    return l.error() << "expects past_key and past_value together";
  if (Tensor counts = l.optional(6)) {
    if (pastKey)
      return l.error() << "expects no nonpad_kv_seqlen beside past_key";
    if (counts->rank() != 1 || !counts->isInteger())
      return l.error() << "expects one nonpad_kv_seqlen per entry of the batch";
    if (failed(
            l.checkAgree(counts->dims[0], spec.query.batch(), "batch sizes")))
      return failure();
    spec.keyCounts = counts;
    // The queries are the last of the keys.
    Value queries = l.sizes.integer(l.b, spec.query.length(), l.b.getI64Type());
    spec.offsets =
        l.elementwise(counts, counts->dims, l.b.getI64Type(),
                      [&](ElementBuilder &b, ValueRange args) -> Value {
                        return arith::SubIOp::create(b, args[0], queries);
                      });
  }
  if (pastKey)
    spec.offset = pastKey->rank() == 4 ? pastKey->dims[2] : Expr();
  FailureOr<Heads> keys = appendToCache(l, pastKey, spec.key);
  FailureOr<Heads> values = appendToCache(l, pastValue, spec.value);
  if (failed(keys) || failed(values))
    return failure();
  spec.key = *keys;
  spec.value = *values;
  for (auto [i, x] : {std::pair(1, spec.key), std::pair(2, spec.value)})
    if (l.node.output(i) && failed(l.set(i, headsInFront(l, x))))
      return failure();
  return success();
}

static LogicalResult convertAttention(Lowering &l) {
  AttentionSpec spec;
  if (failed(attentionOperands(l, spec)) || failed(attentionCaches(l, spec)))
    return failure();
  if (std::optional<float> scale = l.node.getF32("scale"))
    spec.scale = *scale;
  spec.softcap = l.node.getF32("softcap", 0.0f);
  spec.causal = l.node.getI64("is_causal", 0) != 0;
  spec.before = l.node.getI64("left_window_size", -1);
  spec.after = l.node.getI64("right_window_size", -1);
  FailureOr<Type> precision = softmaxPrecision(l);
  if (failed(precision))
    return failure();
  spec.precision = *precision;
  if (Tensor sink = l.optional(7)) {
    if (sink->rank() != 1 || !sink->isFloat())
      return l.error() << "expects one float in head_sink per head";
    if (failed(l.checkAgree(sink->dims[0], spec.query.count(),
                            "heads and head_sink")))
      return failure();
    spec.sink = sink;
  }
  if (Tensor mask = l.optional(3)) {
    if (!mask->isBool() && mask->elementType != spec.query.tensor->elementType)
      return l.error() << "expects a mask of booleans or "
                       << spec.query.tensor->elementType << ", got "
                       << mask->elementType;
    if (failed(addMask(l, spec, mask)))
      return failure();
  }
  int64_t mode = l.node.getI64("qk_matmul_output_mode", 0);
  if (mode < 0 || mode > 3)
    return l.error() << "expects qk_matmul_output_mode in [0, 3], got " << mode;
  spec.wantsProbabilities = l.node.output(3) && mode == 3;
  FailureOr<AttentionResult> result = attend(l, spec);
  if (failed(result))
    return failure();
  if (l.node.output(3)) {
    Tensor steps[] = {result->scores, result->capped, result->masked,
                      result->probabilities};
    if (failed(l.set(3, l.convertFloat(steps[mode], l.in(0)->elementType))))
      return failure();
  }
  Tensor y = result->output.tensor;
  if (l.in(0)->rank() == 3)
    y = l.reshape(y, {y->dims[0], y->dims[1], y->dims[2] * y->dims[3]});
  return l.set(y);
}

void raise::addAttention(Registry &r) {
  constexpr StringLiteral attributes =
      "is_causal kv_num_heads left_window_size q_num_heads "
      "qk_matmul_output_mode right_window_size scale softcap softmax_precision";
  r.add({
      {"Attention", 23, kLatest, convertAttention, 3, 7, attributes},
      {"SinkAttention", 1, 1, convertAttention, 3, 8, attributes, "moe_mlir",
       "Attention of version 25; input 7 is head_sink [heads]: scores that "
       "take part in softmax and stand for no key"},
  });
}

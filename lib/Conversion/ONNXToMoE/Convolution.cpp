//===- Convolution.cpp - Conv ---------------------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The input is padded first, so that no loop asks where it is. Channels are
// [group, channel in group] in all operands, which makes groups one more
// parallel loop. The last axis of the output is the innermost loop: there all
// accesses are to neighbours, or to one element.
//
// An output that is a sum of few products (depthwise convolutions: the causal
// ones of state-space models and LFM2) becomes one elementwise operation that
// reads the input once per tap, shifted: the sum never leaves its register.
// A weight that all channels of the input meet is a matrix, whose product with
// the rows that each output sees takes the packed kernel.
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "Products.h"
#include "Registry.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

/// Up to how many products per output element are written out.
static constexpr int64_t kMaxTaps = 32;

namespace {
struct Convolution {
  explicit Convolution(Lowering &l) : l(l) {}
  LogicalResult convert();

private:
  LogicalResult readShapes();
  LogicalResult readPads();
  /// The input with zeros around it.
  Tensor padded(const Dims &dims);
  void splitChannels();
  /// The results, [N, G, M, out...].
  Tensor sumOfTaps(ArrayRef<int64_t> kernelSizes);
  Tensor sumInLoops();
  FailureOr<Tensor> productOfRows();
  /// `sums` rounded, with the element of the bias that `from` says.
  Tensor withBias(Tensor sums, AffineMap from);

  /// The position in the padded input, along spatial axis `i`.
  AffineExpr position(unsigned i, AffineExpr output, AffineExpr tap) const {
    return output * strides[i] + tap * dilations[i];
  }
  AffineExpr dim(unsigned i) { return l.b.getAffineDimExpr(i); }
  AffineExpr fixed(int64_t i) { return l.b.getAffineConstantExpr(i); }
  AffineMap map(unsigned loops, ArrayRef<AffineExpr> exprs) {
    return AffineMap::get(loops, 0, exprs, l.b.getContext());
  }

  Lowering &l;
  /// [N, G, C, in...], [G, M, C, kernel...] and [G, M] once they are split.
  Tensor x = nullptr, w = nullptr, bias = nullptr;
  int64_t groups = 1;
  /// What follows is per spatial axis.
  unsigned axes = 0;
  SmallVector<int64_t> strides, dilations;
  Dims in, kernel, out, before, after;
  /// Of a group: channels of the input and of the output.
  Expr channels, outputs;
};
} // namespace

static Dims dimsOf(Dims outer, const Dims &inner) {
  llvm::append_range(outer, inner);
  return outer;
}

LogicalResult Convolution::readShapes() {
  x = l.in(0);
  w = l.in(1);
  bias = l.optional(2);
  if (x->rank() < 3 || w->rank() != x->rank())
    return l.error() << "expects an input and a weight of one rank, 3 or more, "
                        "got ranks "
                     << x->rank() << " and " << w->rank();
  for (Tensor t : {w, bias})
    if (t && t->elementType != x->elementType)
      return l.error() << "expects operands of one type, got " << x->elementType
                       << " and " << t->elementType;
  axes = x->rank() - 2;
  groups = l.node.getI64("group", 1);
  if (groups < 1)
    return l.error() << "expects at least one group, got " << groups;
  for (auto [name, list] :
       {std::pair("strides", &strides), std::pair("dilations", &dilations)}) {
    list->assign(axes, 1);
    if (auto given = l.node.getI64s(name))
      list->assign(given->begin(), given->end());
    if (list->size() != axes)
      return l.error() << "expects " << axes << " " << name << ", got "
                       << list->size();
    for (int64_t step : *list)
      if (step < 1 || step > std::numeric_limits<int32_t>::max())
        return l.error() << "expects " << name << " in [1, 2147483647], got "
                         << step;
  }
  in.assign(x->dims.begin() + 2, x->dims.end());
  kernel.assign(w->dims.begin() + 2, w->dims.end());
  if (auto given = l.node.getI64s("kernel_shape")) {
    if (given->size() != axes)
      return l.error() << "expects a kernel_shape of " << axes << " sizes, got "
                       << given->size();
    for (auto [size, declared] : llvm::zip_equal(kernel, *given)) {
      if (failed(l.checkAgree(size, declared, "kernel sizes")))
        return failure();
      size = declared;
    }
  }
  channels = w->dims[1];
  outputs = l.sizes.floorDiv(w->dims[0], groups);
  if (bias && bias->rank() != 1)
    return l.error() << "expects a bias of rank 1, got " << bias->rank();
  if (failed(
          l.checkAgree(x->dims[1], channels * groups, "numbers of channels")) ||
      failed(l.checkAgree(w->dims[0], outputs * groups,
                          "numbers of output channels")))
    return failure();
  return bias ? l.checkAgree(bias->dims[0], w->dims[0], "sizes of the bias")
              : success();
}

/// The pads of every axis, and the output's sizes that follow.
LogicalResult Convolution::readPads() {
  Sizes &s = l.sizes;
  StringRef automatic = l.node.getString("auto_pad", "NOTSET");
  bool isSame = automatic == "SAME_UPPER" || automatic == "SAME_LOWER";
  if (!isSame && automatic != "NOTSET" && automatic != "VALID")
    return l.error() << "auto_pad '" << automatic << "' is not supported";
  SmallVector<int64_t> pads(2 * axes, 0);
  if (auto given = l.node.getI64s("pads"); given && automatic == "NOTSET")
    pads.assign(given->begin(), given->end());
  if (pads.size() != 2 * axes)
    return l.error() << "expects two pads per axis, got " << pads.size()
                     << " for " << axes;
  for (int64_t pad : pads)
    if (pad < 0 || pad > Lowering::kMaxElements)
      return l.error() << "expects pads in [0, " << Lowering::kMaxElements
                       << "], got " << pad;
  for (unsigned i = 0; i < axes; ++i) {
    Expr extent = (kernel[i] - 1) * dilations[i] + 1;
    if (isSame) {
      out.push_back(s.ceilDiv(in[i], strides[i]));
      Expr total = s.max((out[i] - 1) * strides[i] + extent - in[i], 0);
      Expr half = s.floorDiv(total, 2);
      before.push_back(automatic == "SAME_UPPER" ? half : total - half);
      after.push_back(total - before[i]);
    } else {
      before.push_back(pads[i]);
      after.push_back(pads[axes + i]);
      // One element less than the kernel takes is no output at all.
      Expr padded = in[i] + before[i] + after[i];
      Expr least = extent - 1;
      if (padded.constant() && least.constant() &&
          *padded.constant() < *least.constant())
        return l.error() << "expects a padded input of at least "
                         << *least.constant() << " elements along each axis, "
                         << "got " << *padded.constant();
      l.checkLessOrEqual(least, padded,
                         "expects a padded input of at least {found} elements "
                         "along each axis, got {limit}");
      out.push_back(s.max(s.floorDiv(padded - extent, strides[i]) + 1, 0));
    }
  }
  Dims dims = dimsOf({x->dims[0], channels * groups}, in), result = dims;
  for (unsigned i = 0; i < axes; ++i)
    dims[i + 2] = in[i] + before[i] + after[i];
  llvm::copy(out, result.begin() + 2);
  result[1] = outputs * groups;
  if (failed(l.checkElements(dims)) || failed(l.checkElements(result)))
    return failure();
  x = padded(dims);
  return success();
}

Tensor Convolution::padded(const Dims &dims) {
  // What was checked becomes part of the type.
  Dims own = dimsOf({x->dims[0], channels * groups}, in);
  x = l.tensor(l.cast(l.value(x), own), x->elementType, own);
  if (dims == own)
    return x;
  Dims offsets = dimsOf({0, 0}, before);
  SmallVector<OpFoldResult> ones(dims.size(), l.b.getIndexAttr(1));
  Value zeros =
      l.filled(dims, cast<TypedAttr>(l.b.getZeroAttr(x->elementType)));
  Value result = tensor::InsertSliceOp::create(
      l.b, l.value(x), zeros, l.mixed(offsets), l.mixed(own), ones);
  return l.tensor(result, x->elementType, dims);
}

void Convolution::splitChannels() {
  Dims declared = dimsOf({outputs * groups, channels}, kernel);
  if (declared != w->dims)
    w = l.tensor(l.cast(l.value(w), declared), w->elementType, declared);
  w = l.reshape(w, dimsOf({groups, outputs, channels}, kernel));
  Dims xDims = x->dims;
  xDims[1] = channels;
  xDims.insert(xDims.begin() + 1, groups);
  x = l.reshape(x, xDims);
  if (!bias)
    return;
  Dims all{outputs * groups};
  if (bias->dims != all)
    bias = l.tensor(l.cast(l.value(bias), all), bias->elementType, all);
  bias = l.reshape(bias, {groups, outputs});
}

Tensor Convolution::sumOfTaps(ArrayRef<int64_t> sizes) {
  // Loops: N, G, M, out...
  unsigned loops = axes + 3;
  Dims dims = dimsOf({x->dims[0], groups, outputs}, out);
  SmallVector<Operand> operands;
  SmallVector<int64_t> tap(sizes.size(), 0); // channel, kernel...
  SmallVector<int64_t> steps(3, 1);
  llvm::append_range(steps, strides);
  int64_t count = llvm::product_of(sizes);
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i;
    for (int64_t j = sizes.size() - 1; j >= 0; --j) {
      tap[j] = rest % sizes[j];
      rest /= sizes[j];
    }
    // The elements that the tap meets are a view of their own: a map with an
    // offset would let the input's size decide how often the loops run.
    Dims offsets{0, 0, tap[0]};
    SmallVector<AffineExpr> from{dim(0), dim(1), fixed(0)},
        weight{dim(1), dim(2), fixed(tap[0])};
    for (unsigned j = 0; j < axes; ++j) {
      offsets.push_back(tap[j + 1] * dilations[j]);
      from.push_back(dim(j + 3));
      weight.push_back(fixed(tap[j + 1]));
    }
    Tensor part =
        l.slice(x, offsets, dimsOf({x->dims[0], groups, 1}, out), steps);
    operands.push_back({l.value(part), map(loops, from)});
    operands.push_back({l.value(w), map(loops, weight)});
  }
  if (bias)
    operands.push_back({l.value(bias), map(loops, {dim(1), dim(2)})});
  return l.elementwise(operands, dims, x->elementType,
                       [&](ImplicitLocOpBuilder &b, ValueRange args) {
                         SmallVector<Value> products;
                         for (int64_t i = 0; i < count; ++i)
                           products.push_back(
                               mulElements(b, args[2 * i], args[2 * i + 1]));
                         if (bias)
                           products.push_back(args.back());
                         return sumOfElements(b, products);
                       });
}

Tensor Convolution::sumInLoops() {
  // Loops: N, G, M, out... but the last, C, kernel..., the last of out.
  unsigned loops = 2 * axes + 4, c = axes + 2, k = axes + 3;
  auto outLoop = [&](unsigned i) { return i + 1 < axes ? i + 3 : loops - 1; };
  SmallVector<AffineExpr> from{dim(0), dim(1), dim(c)},
      weight{dim(1), dim(2), dim(c)}, to{dim(0), dim(1), dim(2)};
  for (unsigned i = 0; i < axes; ++i) {
    from.push_back(position(i, dim(outLoop(i)), dim(k + i)));
    weight.push_back(dim(k + i));
    to.push_back(dim(outLoop(i)));
  }
  Dims dims = dimsOf({x->dims[0], groups, outputs}, out);
  Type compute = Lowering::computeType(x->elementType);
  Value sums = l.contract({l.value(x), map(loops, from)},
                          {l.value(w), map(loops, weight)}, map(loops, to),
                          dims, compute);
  return withBias(l.tensor(sums, compute, dims),
                  map(dims.size(), {dim(1), dim(2)}));
}

FailureOr<Tensor> Convolution::productOfRows() {
  // What an output sees is a row [C, kernel...]. Loops: N, out..., C, kernel...
  unsigned loops = 2 * axes + 2;
  SmallVector<AffineExpr> from{dim(0), fixed(0), dim(axes + 1)};
  for (unsigned i = 0; i < axes; ++i)
    from.push_back(position(i, dim(i + 1), dim(axes + 2 + i)));
  Dims rowDims = dimsOf(dimsOf({x->dims[0]}, out), dimsOf({channels}, kernel));
  Tensor rows = l.elementwise(
      Operand{l.value(x), map(loops, from)}, rowDims, x->elementType,
      [](ImplicitLocOpBuilder &, ValueRange args) { return args.front(); });
  Expr depth = channels * product(kernel), positions = product(out);
  rows = l.reshape(rows, {x->dims[0], positions, depth});
  FailureOr<Tensor> sums =
      matmul(l, rows, l.reshape(w, {outputs, depth}), false, true);
  if (failed(sums))
    return failure();
  Tensor result =
      withBias(l.transpose(*sums, {0, 2, 1}), map(3, {fixed(0), dim(1)}));
  return l.reshape(result, dimsOf({x->dims[0], groups, outputs}, out));
}

Tensor Convolution::withBias(Tensor sums, AffineMap from) {
  if (!bias)
    return l.convertFloat(sums, x->elementType);
  AffineMap all = l.b.getMultiDimIdentityMap(sums->rank());
  return l.elementwise({Operand{l.value(sums), all}, {l.value(bias), from}},
                       sums->dims, x->elementType,
                       [](ImplicitLocOpBuilder &b, ValueRange args) {
                         return addElements(b, args[0], args[1]);
                       });
}

/// The sizes, if they are known and there are few products.
static std::optional<SmallVector<int64_t>> fewTaps(const Dims &dims) {
  SmallVector<int64_t> sizes;
  for (const Expr &d : dims) {
    sizes.push_back(d.constant().value_or(kMaxTaps + 1));
    if (sizes.back() > kMaxTaps || llvm::product_of(sizes) > kMaxTaps)
      return std::nullopt;
  }
  if (llvm::product_of(sizes) == 0)
    return std::nullopt;
  return sizes;
}

LogicalResult Convolution::convert() {
  if (failed(readShapes()) || failed(readPads()))
    return failure();
  bool isMatrix = groups == 1 && l.weights.lookup(w->value);
  splitChannels();
  FailureOr<Tensor> result = failure();
  if (auto sizes = fewTaps(dimsOf({channels}, kernel)))
    result = sumOfTaps(*sizes);
  else if (isMatrix)
    result = productOfRows();
  else
    result = sumInLoops();
  if (failed(result))
    return failure();
  return l.set(l.reshape(*result, dimsOf({x->dims[0], outputs * groups}, out)));
}

static LogicalResult convertConv(Lowering &l) {
  return Convolution(l).convert();
}

void raise::addConvolution(Registry &r) {
  r.add({{"Conv", 1, kLatest, convertConv, 2, 3,
          "auto_pad dilations group kernel_shape pads strides"}});
}

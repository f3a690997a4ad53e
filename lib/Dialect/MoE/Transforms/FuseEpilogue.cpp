//===- FuseEpilogue.cpp - elementwise operations into matrix products -----===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An elementwise operation on the result of one or of several
// moe.grouped_matmul becomes the epilogue of one: the product's elements meet
// it in registers and are stored once.
//
//   %g = grouped_matmul %x, %s weights(%w1)         %h = grouped_matmul %x, %s
//   %u = grouped_matmul %x, %s weights(%w2)    ->       weights(%w1, %w2)
//   %h = generic (silu(%g) * %u)                        epilogue { silu(g) * u
//   }
//
// Operands that are no products become extras (tensors of the result's shape),
// a bias (a vector that is added to a product with one group), or constants of
// the region. In 16-bit models the region computes in f32: where the operation
// extended a rounded product to f32, it now reads the sum that was never
// rounded, and the result is rounded once. Everything else is computed as
// before.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/RegionUtils.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#define DEBUG_TYPE "moe-fuse-epilogue"

namespace mlir::moe {
#define GEN_PASS_DEF_FUSEEPILOGUE
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// As many weights as a kernel keeps accumulators of at a time.
static constexpr unsigned kMaxWeights = 2;

namespace {
/// What one operand of the elementwise operation is.
struct Role {
  enum Kind { Product, Extra, Bias, Constant } kind;
  /// Product, Bias: the product it is or is added to.
  GroupedMatmulOp matmul;
  /// Constant
  TypedAttr constant;
};
} // namespace

//===----------------------------------------------------------------------===//
// Matching
//===----------------------------------------------------------------------===//

static bool hasOneUser(Value value, Operation *user) {
  return llvm::all_of(value.getUsers(),
                      [&](Operation *other) { return other == user; });
}

/// The product behind `value`, if nothing but `user` reads it, as often as it
/// is made.
static GroupedMatmulOp productOf(Value value, Operation *user) {
  auto matmul = value.getDefiningOp<GroupedMatmulOp>();
  return matmul && hasOneUser(value, user) &&
                 matmul->getBlock() == user->getBlock()
             ? matmul
             : GroupedMatmulOp();
}

/// What the matrices of one operation have in common.
static auto matrixTypes(const ExpertMatrix &matrix) {
  auto typeOf = [](Value value) { return value ? value.getType() : Type(); };
  return std::tuple(typeOf(matrix.weight), typeOf(matrix.scales),
                    typeOf(matrix.zeroPoints), matrix.blockSize,
                    matrix.encoding);
}

/// Whether both can be one operation.
static bool compatible(GroupedMatmulOp a, GroupedMatmulOp b) {
  return a.getRows() == b.getRows() && a.getGroupSizes() == b.getGroupSizes() &&
         matrixTypes(a.getMatrices().front()) ==
             matrixTypes(b.getMatrices().front());
}

/// The one value of a constant tensor or of a tensor filled with a constant.
static TypedAttr splatOf(Value value) {
  DenseElementsAttr elements;
  if (matchPattern(value, m_Constant(&elements)) && elements.isSplat())
    return elements.getSplatValue<TypedAttr>();
  TypedAttr scalar;
  if (auto fill = value.getDefiningOp<linalg::FillOp>();
      fill && matchPattern(fill.getInputs().front(), m_Constant(&scalar)))
    return scalar;
  return {};
}

/// The value that `value` is an f32 of: looks through extension.
static Value skipExtension(Value value) {
  auto extension = value.getDefiningOp<arith::ExtFOp>();
  return extension ? extension.getIn() : value;
}

/// The block argument of the product that `bias` (another argument) is added
/// to, if that is all that is done with either.
static BlockArgument addedTo(BlockArgument bias) {
  auto onlyUser = [](Value value) -> Operation * {
    if (!value.hasOneUse())
      return nullptr;
    Operation *user = *value.getUsers().begin();
    auto extension = dyn_cast<arith::ExtFOp>(user);
    if (!extension)
      return user;
    return extension->hasOneUse() ? *extension->getUsers().begin() : nullptr;
  };
  auto add = dyn_cast_or_null<arith::AddFOp>(onlyUser(bias));
  if (!add)
    return {};
  bool left = skipExtension(add.getLhs()) == bias;
  auto other = dyn_cast<BlockArgument>(
      skipExtension(left ? add.getRhs() : add.getLhs()));
  if (!other || other.getOwner() != bias.getOwner() || other == bias ||
      onlyUser(other) != add)
    return {};
  return other;
}

static bool isIdentity(linalg::GenericOp op, OpOperand *operand) {
  return op.getMatchingIndexingMap(operand).isIdentity();
}

/// Roles of all inputs; fails with the reason when the operation cannot be an
/// epilogue.
static LogicalResult matchRoles(linalg::GenericOp op, PatternRewriter &rewriter,
                                SmallVectorImpl<Role> &roles,
                                SmallVectorImpl<GroupedMatmulOp> &matmuls) {
  auto reject = [&](const char *why) {
    return rewriter.notifyMatchFailure(op, why);
  };
  if (!op.hasPureTensorSemantics() || op.getNumDpsInits() != 1 ||
      op.getNumLoops() != 2 || op.getNumParallelLoops() != 2 ||
      !isIdentity(op, op.getDpsInitOperand(0)))
    return reject("not elementwise on matrices");
  if (op.payloadUsesValueFromOperand(op.getDpsInitOperand(0)) ||
      op.hasIndexSemantics())
    return reject("reads its result or its indices");
  auto result = cast<RankedTensorType>(op.getResult(0).getType());
  if (!isa<FloatType>(result.getElementType()))
    return reject("no float result");

  // The products, as far as they go together with the first one.
  unsigned weights = 0;
  for (OpOperand *input : op.getDpsInputOperands()) {
    Role role{Role::Extra, {}, {}};
    GroupedMatmulOp matmul = productOf(input->get(), op);
    bool known = llvm::is_contained(matmuls, matmul);
    if (matmul && isIdentity(op, input) &&
        (known || matmuls.empty() || compatible(matmul, matmuls.front()))) {
      unsigned more = known ? 0 : matmul.getWeights().size();
      if (weights + more <= kMaxWeights || matmuls.empty()) {
        weights += more;
        role = {Role::Product, matmul, {}};
        if (!known)
          matmuls.push_back(matmul);
      }
    }
    roles.push_back(role);
  }
  if (matmuls.empty())
    return reject("no product among the operands that is read only here");
  bool isDouble = result.getElementType().isF64();
  int64_t n = result.getDimSize(1);
  bool oneGroup =
      cast<ShapedType>(matmuls[0].getWeights()[0].getType()).getDimSize(0) == 1;

  for (auto [input, role] : llvm::zip_equal(op.getDpsInputOperands(), roles)) {
    Type type = getElementTypeOrSelf(input->get().getType());
    if (!isa<FloatType>(type) || type.isF64() != isDouble)
      return reject("operands that are not computed in the result's precision");
    if (role.kind == Role::Product)
      continue;
    if (TypedAttr splat = splatOf(input->get())) {
      role = {Role::Constant, {}, splat};
      continue;
    }
    auto inputType = cast<RankedTensorType>(input->get().getType());
    if (isIdentity(op, input) && inputType.getDimSize(1) == n)
      continue;
    // A vector along the columns.
    AffineMap map = op.getMatchingIndexingMap(input);
    BlockArgument target = addedTo(op.getMatchingBlockArgument(input));
    unsigned number = target ? target.getArgNumber() : 0;
    if (!oneGroup || map.getNumResults() != 1 ||
        map.getResult(0) != getAffineDimExpr(1, op.getContext()) ||
        inputType.getDimSize(0) != n || !target || number >= roles.size() ||
        roles[number].kind != Role::Product)
      return reject("an operand that is neither a matrix, a bias nor constant");
    GroupedMatmulOp matmul = roles[number].matmul;
    if (!matmul.getBiases().empty() || !matmul.getEpilogue().empty() ||
        llvm::count_if(roles, [&](const Role &other) {
          return other.kind == Role::Bias && other.matmul == matmul;
        }))
      return reject("a second bias");
    role = {Role::Bias, matmul, {}};
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Rewriting
//===----------------------------------------------------------------------===//

/// `value` as an argument of type `type` of a region that was written for it:
/// rounded, unless the region extends it again at once.
static Value asArgument(PatternRewriter &rewriter, Location loc, Value value,
                        Type type) {
  return value.getType() == type
             ? value
             : arith::TruncFOp::create(rewriter, loc, type, value).getResult();
}

/// The epilogue's statement of `op`'s body.
static Value inlineBody(PatternRewriter &rewriter, linalg::GenericOp op,
                        ArrayRef<Value> arguments, Type compute) {
  IRMapping mapping;
  Block *body = op.getBody();
  for (auto [argument, value] : llvm::zip(body->getArguments(), arguments)) {
    // extf of what is f32 here is the value itself.
    for (Operation *user : argument.getUsers())
      if (auto extension = dyn_cast<arith::ExtFOp>(user);
          extension && extension.getType() == compute)
        mapping.map(extension.getResult(), value);
    bool all = llvm::all_of(argument.getUsers(), [&](Operation *user) {
      return mapping.contains(user->getNumResults() ? user->getResult(0)
                                                    : Value());
    });
    if (!all)
      mapping.map(argument,
                  asArgument(rewriter, op.getLoc(), value, argument.getType()));
  }
  for (Operation &inner : body->without_terminator())
    if (inner.getNumResults() != 1 || !mapping.contains(inner.getResult(0)))
      rewriter.clone(inner, mapping);
  // The operation rounds what is yielded to the element type of its result.
  Value yielded = body->getTerminator()->getOperand(0);
  if (auto truncation = yielded.getDefiningOp<arith::TruncFOp>();
      truncation && truncation.getIn().getType() == compute)
    return mapping.lookupOrDefault(truncation.getIn());
  Value result = mapping.lookupOrDefault(yielded);
  if (result.getType() != compute)
    result = arith::ExtFOp::create(rewriter, op.getLoc(), compute, result);
  return result;
}

/// A vector [N] as the bias [1, N].
static Value asBias(PatternRewriter &rewriter, Location loc, Value vector) {
  auto type = cast<RankedTensorType>(vector.getType());
  return tensor::ExpandShapeOp::create(
      rewriter, loc,
      RankedTensorType::get({1, type.getDimSize(0)}, type.getElementType()),
      vector, ArrayRef<ReassociationIndices>{{0, 1}});
}

static Value zeros(PatternRewriter &rewriter, Location loc,
                   GroupedMatmulOp matmul) {
  auto weight = cast<RankedTensorType>(matmul.getWeights().front().getType());
  auto type =
      RankedTensorType::get(weight.getShape().take_front(2),
                            matmul.getResult().getType().getElementType());
  return arith::ConstantOp::create(rewriter, loc,
                                   cast<TypedAttr>(rewriter.getZeroAttr(type)));
}

namespace {
struct FuseConsumer : OpRewritePattern<linalg::GenericOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(linalg::GenericOp op,
                                PatternRewriter &rewriter) const override;
};
} // namespace

LogicalResult FuseConsumer::matchAndRewrite(linalg::GenericOp op,
                                            PatternRewriter &rewriter) const {
  SmallVector<Role> roles;
  SmallVector<GroupedMatmulOp> matmuls;
  if (failed(matchRoles(op, rewriter, roles, matmuls)))
    return failure();
  Location loc = op.getLoc();
  auto resultType = cast<RankedTensorType>(op.getResult(0).getType());
  Type compute = resultType.getElementType().isF64()
                     ? resultType.getElementType()
                     : Type(rewriter.getF32Type());

  SmallVector<ExpertMatrix> matrices;
  SmallVector<Value> extras;
  DenseMap<Operation *, Value> addedBias;
  for (auto [input, role] : llvm::zip_equal(op.getDpsInputOperands(), roles))
    if (role.kind == Role::Bias)
      addedBias[role.matmul] = asBias(rewriter, loc, input->get());
  bool anyBias = !addedBias.empty();
  for (GroupedMatmulOp matmul : matmuls) {
    llvm::append_range(extras, matmul.getExtras());
    anyBias |= !matmul.getBiases().empty();
  }
  for (GroupedMatmulOp matmul : matmuls)
    for (ExpertMatrix matrix : matmul.getMatrices()) {
      if (Value bias = addedBias.lookup(matmul))
        matrix.bias = bias;
      else if (anyBias && !matrix.bias)
        matrix.bias = zeros(rewriter, loc, matmul);
      matrices.push_back(matrix);
    }
  for (auto [input, role] : llvm::zip_equal(op.getDpsInputOperands(), roles))
    if (role.kind == Role::Extra)
      extras.push_back(input->get());

  auto fused =
      GroupedMatmulOp::create(rewriter, loc, resultType, matmuls[0].getRows(),
                              matmuls[0].getGroupSizes(), matrices, extras);
  size_t count = matrices.size() + extras.size();
  Block *body = rewriter.createBlock(&fused.getEpilogue(), {},
                                     SmallVector<Type>(count, compute),
                                     SmallVector<Location>(count, loc));

  // The products' own epilogues first; each gives the product's value.
  DenseMap<Operation *, Value> products;
  unsigned nextWeight = 0, nextExtra = matrices.size();
  for (GroupedMatmulOp matmul : matmuls) {
    SmallVector<Value> arguments;
    for (unsigned i = 0; i < matmul.getWeights().size(); ++i)
      arguments.push_back(body->getArgument(nextWeight++));
    for (unsigned i = 0; i < matmul.getExtras().size(); ++i)
      arguments.push_back(body->getArgument(nextExtra++));
    if (matmul.getEpilogue().empty()) {
      products[matmul] = arguments[0];
      continue;
    }
    IRMapping mapping;
    Block &inner = matmul.getEpilogue().front();
    mapping.map(inner.getArguments(), arguments);
    for (Operation &statement : inner.without_terminator())
      rewriter.clone(statement, mapping);
    products[matmul] =
        mapping.lookupOrDefault(inner.getTerminator()->getOperand(0));
  }
  SmallVector<Value> arguments;
  for (const Role &role : roles) {
    if (role.kind == Role::Product)
      arguments.push_back(products[role.matmul]);
    else if (role.kind == Role::Extra)
      arguments.push_back(body->getArgument(nextExtra++));
    else if (role.kind == Role::Constant)
      arguments.push_back(arith::ConstantOp::create(
          rewriter, loc,
          rewriter.getFloatAttr(
              compute, cast<FloatAttr>(role.constant).getValueAsDouble())));
    else // the product has it already; -0 leaves every sum as it is
      arguments.push_back(arith::ConstantOp::create(
          rewriter, loc, rewriter.getFloatAttr(compute, -0.0)));
  }
  YieldOp::create(rewriter, loc, inlineBody(rewriter, op, arguments, compute));
  rewriter.replaceOp(op, fused.getResult());
  for (GroupedMatmulOp matmul : matmuls)
    rewriter.eraseOp(matmul);
  return success();
}

namespace {
struct FuseEpiloguePass : moe::impl::FuseEpilogueBase<FuseEpiloguePass> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FuseConsumer>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};
} // namespace

//===- RecognizeMoE.cpp - finds blocks of experts in ONNX graphs ----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An exporter takes a sparse layer apart into dozens of nodes. This pass puts
// it together again: from each selection of experts it follows an expert form
// to the weighted sum, reads the recipe of the router off the routing weights,
// and replaces the sum by moe operations. What fed the sum dies with it, or
// lives on where something else reads it. A block that is not exactly one of
// the forms stays as it is, and a remark says where and why.
//
//===----------------------------------------------------------------------===//

#include "AxisLayout.h"
#include "ExportFaults.h"
#include "RecognizeForms.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "moe/Conversion/ONNXToMoE/Passes.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/DebugLog.h"

#define DEBUG_TYPE "onnx-recognize-moe"

namespace mlir::moe {
#define GEN_PASS_DEF_ONNXRECOGNIZEMOE
#include "moe/Conversion/ONNXToMoE/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
using mlir::onnx::NodeOp;

/// All forms. Expert forms exclude each other. Of router forms the first one
/// that fits decides, and the first one with a reason says why none does: those
/// that say more about the scores stand in front of those that take them as
/// they are.
static constexpr ExpertForm kExpertForms[] = {{"batched", matchBatchedExperts},
                                              {"looped", matchLoopedExperts},
                                              {"grouped", matchGroupedExperts}};
static constexpr RouterForm kRouterForms[] = {
    {"spread", matchSpread},
    {"group-limited", matchGroupLimited},
    {"sparse-mixer", matchSparseMixer},
    {"score-then-select", matchScoreThenSelect},
    {"select-then-score", matchSelectThenScore}};

//===----------------------------------------------------------------------===//
// Selections
//===----------------------------------------------------------------------===//

/// Whether the ids lead to something that only experts are chosen with. Other
/// uses of TopK and ArgMax (sampling, beam search) then pass without a remark.
static bool choosesExperts(Value ids) {
  SmallVector<Value> values = {ids};
  llvm::SmallPtrSet<Operation *, 16> seen;
  while (!values.empty()) {
    Value value = values.pop_back_val();
    for (Operation *user : value.getUsers()) {
      NodeOp node = dyn_cast<NodeOp>(user);
      if (!node || !seen.insert(node).second)
        continue;
      if (node.is("OneHot") && node.input(0) == value)
        return true;
      // A mask per expert, and the order of all choices by expert.
      if (node.is("Equal") && llvm::any_of(node.getInputs(), constantOf))
        return true;
      if (node.is("TopK") && node.input(0) == value)
        return true;
      // Weights of all experts, 0 for those that were not chosen; a mask of
      // groups has constants written to it.
      if (node.is("ScatterElements") && node.input(1) == value &&
          !splatOf(node.input(2)))
        return true;
      if ((node.is("Gather") || node.is("GatherND")) &&
          node.input(1) == value && rankOf(node.input(0)) == 3)
        return true;
      if (movesAxes(node) && node.input(0) == value && node.output(0))
        values.push_back(node.output(0));
    }
  }
  return false;
}

//===----------------------------------------------------------------------===//
// Messages
//===----------------------------------------------------------------------===//

namespace {
/// Why a block is not recognised.
struct Stop {
  Rejection why;
  /// How far recognition got, and the form that got so far; see
  /// docs/Recognition.md.
  StringRef reached, form;
};
} // namespace

static void reportStop(NodeOp selection, Stop &stop) {
  Rejection &why = stop.why;
  InFlightDiagnostic diagnostic =
      emitRemark(why.op ? why.op->getLoc() : selection.getLoc())
      << "experts chosen by " << selection.describe()
      << " are not recognised and stay plain operators: stopped at "
      << why.subject() << ": " << why.reason;
  addDetails(diagnostic, selection, "not-recognised", why.op, why.reason,
             stop.reached, stop.form);
}

//===----------------------------------------------------------------------===//
// Replacement
//===----------------------------------------------------------------------===//

/// Erases what only `start` was there for.
static void eraseIfDead(Operation *start,
                        llvm::SmallPtrSetImpl<Operation *> &erased) {
  SetVector<Operation *> worklist;
  worklist.insert(start);
  while (!worklist.empty()) {
    Operation *op = worklist.pop_back_val();
    if (!op->use_empty() || !wouldOpBeTriviallyDead(op))
      continue;
    for (Value operand : op->getOperands())
      if (Operation *producer = operand.getDefiningOp())
        worklist.insert(producer);
    erased.insert(op);
    op->erase();
  }
}

/// What the experts say about the weights, put into the recipe that a router
/// form read off them.
static LogicalResult finishRecipe(const ExpertsMatch &match,
                                  RouteRecipe &recipe, Rejection &rejection) {
  Operation *weights = match.routingWeights.getDefiningOp();
  if (match.score) {
    if (recipe.score != ScoreFunction::None || recipe.renormalize ||
        recipe.scale != 1 || recipe.bias || recipe.groups != 1)
      return rejection.at(weights, "expects a score of the chosen logits");
    recipe.score = *match.score;
    recipe.position = ScorePosition::AfterSelection;
  }
  if (recipe.sumsAbsolutes && (recipe.score == ScoreFunction::None ||
                               recipe.weighBy == WeighBy::Compared))
    return rejection.at(weights, "expects scores that are never negative where "
                                 "absolute values are summed");
  return success();
}

/// The recipe by which `match` is routed.
static FailureOr<RouteRecipe> recipeOf(Selection &selection,
                                       const ExpertsMatch &match, Stop &stop) {
  Rejection deepest;
  StringRef name;
  for (const RouterForm &form : kRouterForms) {
    RouteRecipe recipe;
    Rejection reason;
    if (succeeded(
            form.match(selection, match.routingWeights, recipe, reason)) &&
        succeeded(finishRecipe(match, recipe, reason)))
      return recipe;
    if (!deepest) {
      deepest = reason;
      name = form.name;
    }
  }
  // No form goes on: the routing weights are where it ends.
  Operation *weights = match.routingWeights.getDefiningOp();
  stop = {{}, "router", name};
  return stop.why.at(deepest.op ? deepest.op : weights, deepest.reason);
}

/// Whether all quantized weights of `block` can be read, and those of a layer
/// by one operation.
static LogicalResult checkQuantized(const MoEBlock &block,
                                    ExpertWeights &weights,
                                    Rejection &rejection) {
  LogicalResult result = success();
  for (const RowExpr *layer = block.output; layer;) {
    const RowExpr *first = nullptr;
    forEachLinear(layer, [&](const RowExpr *linear) {
      first = first ? first : linear;
      const auto &own = linear->quantized, &other = first->quantized;
      std::string why;
      if (own.has_value() != other.has_value() || (own && !own->isLike(*other)))
        result = rejection.at(linear->origin, "expects the projections of a "
                                              "layer to be quantized alike");
      else if (own &&
               failed(weights.check(
                   *own, {linear->begin, linear->size, linear->step}, why)))
        result = rejection.at(linear->origin, why);
    });
    layer = first->input;
  }
  return result;
}

static FailureOr<MoEBlock> blockOf(Selection &selection,
                                   const ExpertsMatch &match,
                                   ExpertWeights &weights, Stop &stop) {
  FailureOr<RouteRecipe> recipe = recipeOf(selection, match, stop);
  if (failed(recipe))
    return failure();
  stop.reached = "layer";
  MoEBlock block{match.tokens, *recipe, match.output,
                 elementTypeOf(match.root)};
  block.scalesTokens = match.scalesTokens;
  if (match.limited)
    block.capacity = selection.capacity;
  if (failed(checkBlock(block, stop.why)) ||
      failed(checkQuantized(block, weights, stop.why)))
    return failure();
  auto result = dyn_cast<RankedTensorType>(match.root.getType());
  if (!isa<FloatType>(block.resultType) || !result || result.getRank() < 2 ||
      (!result.isDynamicDim(result.getRank() - 1) &&
       result.getShape().back() != match.output->width()))
    return stop.why.at(match.root.getDefiningOp(),
                       "expects a result of shape [tokens, features]");
  return block;
}

/// The size that `dim` stands for.
static OpFoldResult sizeOf(OpBuilder &b, Location loc, const SymbolicDim &dim) {
  if (dim.constant)
    return b.getIndexAttr(*dim.constant);
  Value size;
  auto multiply = [&](Value value, int64_t at) {
    bool leading = at == SymbolicDim::kLeading;
    int64_t end = leading ? rankOf(value) - 1 : at + 1;
    for (int64_t i = leading ? 0 : at; i < end; ++i) {
      Value factor = tensor::DimOp::create(b, loc, value, i);
      size = size ? arith::MulIOp::create(b, loc, size, factor).getResult()
                  : factor;
    }
  };
  multiply(dim.value, dim.dim);
  if (dim.otherValue)
    multiply(dim.otherValue, dim.otherDim);
  return size;
}

/// [T, N] as [batch, sequence, N].
static Value divideTokens(OpBuilder &b, Location loc, Value rows,
                          const ExpertsMatch &match) {
  SmallVector<OpFoldResult> sizes;
  auto given = cast<RankedTensorType>(match.tokens.getType());
  if (match.batch == dimOf(match.tokens, 0) && given.getRank() == 3) {
    sizes = {tensor::getMixedSize(b, loc, match.tokens, 0),
             tensor::getMixedSize(b, loc, match.tokens, 1)};
  } else {
    sizes.push_back(sizeOf(b, loc, match.batch));
    // Where the tokens are a product, its other factor: it may be anything if
    // there is no batch.
    SymbolicDim all = rowsOf(match.tokens);
    if (all.otherValue && match.batch == SymbolicDim::of(all.value, all.dim)) {
      sizes.push_back(
          sizeOf(b, loc, SymbolicDim::of(all.otherValue, all.otherDim)));
    } else {
      Value one = arith::ConstantIndexOp::create(b, loc, 1);
      Value divisor = arith::MaxUIOp::create(
          b, loc, getValueOrCreateConstantIndexOp(b, loc, sizes[0]), one);
      Value tokens = tensor::DimOp::create(b, loc, rows, 0);
      sizes.push_back(
          arith::DivUIOp::create(b, loc, tokens, divisor).getResult());
    }
  }
  auto type = cast<RankedTensorType>(rows.getType());
  int64_t width = type.getDimSize(1);
  sizes.push_back(b.getIndexAttr(width));
  auto [shape, dynamic] = decomposeMixedValues(sizes);
  (void)dynamic;
  bool anyDynamic = ShapedType::isDynamicShape(shape);
  auto flat = RankedTensorType::get(
      {anyDynamic ? ShapedType::kDynamic : shape[0] * shape[1], width},
      type.getElementType());
  if (flat != type)
    rows = tensor::CastOp::create(b, loc, flat, rows);
  SmallVector<ReassociationIndices> fold = {{0, 1}, {2}};
  return tensor::ExpandShapeOp::create(
      b, loc, RankedTensorType::get(shape, type.getElementType()), rows, fold,
      sizes);
}

static void replaceBlock(ExpertsMatch &match, const MoEBlock &block,
                         ExpertWeights &weights,
                         llvm::SmallPtrSetImpl<Operation *> &erased) {
  Operation *root = match.root.getDefiningOp();
  OpBuilder builder(root);
  Value result = emitBlock(builder, root->getLoc(), block, weights);
  if (rankOf(match.root) == 3)
    result = divideTokens(builder, root->getLoc(), result, match);
  if (result.getType() != match.root.getType())
    result = tensor::CastOp::create(builder, root->getLoc(),
                                    match.root.getType(), result);
  match.root.replaceAllUsesWith(result);
  eraseIfDead(root, erased);
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

namespace {
struct ONNXRecognizeMoEPass
    : moe::impl::ONNXRecognizeMoEBase<ONNXRecognizeMoEPass> {
  void runOnOperation() override;

private:
  LogicalResult recognize(NodeOp node, ExpertWeights &weights,
                          WeightValues &values,
                          llvm::SmallPtrSetImpl<Operation *> &erased);
};
} // namespace

static void reportFaultOrStop(NodeOp node, Stop &stop) {
  if (std::optional<ExportFault> fault = fixedCountOf(node))
    reportFault(node, *fault);
  else
    reportStop(node, stop);
}

LogicalResult
ONNXRecognizeMoEPass::recognize(NodeOp node, ExpertWeights &weights,
                                WeightValues &values,
                                llvm::SmallPtrSetImpl<Operation *> &erased) {
  Value ids = chosenIdsOf(node);
  if (!ids || !choosesExperts(ids))
    return success();
  Stop stop{{}, "selection", ""};
  FailureOr<Selection> selection = selectionOf(node, stop.why);
  if (failed(selection)) {
    reportFaultOrStop(node, stop);
    return success();
  }
  if (selection->k > selection->experts)
    return emitError(node.getLoc())
           << node.describe()
           << ": expects k to be at most the number of experts, found "
           << selection->k << " > " << selection->experts;
  RowExprPool pool;
  bool found = false;
  // The form that got so far as to see experts has the reason to tell.
  bool telling = false;
  for (const ExpertForm &form : kExpertForms) {
    if (selection->spread && form.match != matchLoopedExperts)
      continue; // the others follow ids
    ExpertsAttempt attempt;
    Stop here{{}, "experts", form.name};
    form.match(*selection, pool, attempt);
    for (ExpertsMatch &match : attempt.matches) {
      Stop reason{{}, "", form.name};
      FailureOr<MoEBlock> block = blockOf(*selection, match, weights, reason);
      if (failed(block)) {
        if (!here.why)
          here = reason;
        continue;
      }
      LDBG() << "recognised the experts of " << node.describe();
      reportTiedExperts(node, *block, values);
      replaceBlock(match, *block, weights, erased);
      found = true;
    }
    if (found)
      return success();
    if (attempt.fault) {
      reportFault(node, attempt.fault);
      return success();
    }
    bool matched = !attempt.matches.empty(); // the router is at fault then
    bool tells = matched || attempt.looksLikeExperts;
    if (!matched)
      here.why = attempt.rejection;
    if (!stop.why || (tells && !telling))
      stop = here;
    telling |= tells;
  }
  reportFaultOrStop(node, stop);
  return success();
}

/// Large integer constants that ids are compared with (all experts in order),
/// zeros that are written to, and global scales are read from their files:
/// forms look at their values.
static void readConstants(ModuleOp module, WeightValues &values) {
  constexpr int64_t kMostElements = 1 << 16;
  module.walk([&](NodeOp node) {
    SmallVector<unsigned, 2> read;
    if (node.is("Equal"))
      read = {0, 1};
    else if (node.is("ScatterElements"))
      read = {0};
    else if (node.is("QMoE", "com.microsoft"))
      read = {15, 16};
    for (unsigned i : read) {
      Value operand = node.input(i);
      if (!operand || (node.is("Equal") &&
                       !isa_and_nonnull<IntegerType>(elementTypeOf(operand))))
        continue;
      DenseElementsAttr elements = values.constant(operand, kMostElements);
      if (!elements)
        continue;
      OpBuilder b(node);
      node->setOperand(i, onnx::ConstantOp::create(
                              b, node.getLoc(), elements.getType(), elements));
    }
  });
}

void ONNXRecognizeMoEPass::runOnOperation() {
  ExpertWeights weights(getOperation());
  WeightValues values(getOperation());
  readConstants(getOperation(), values);
  SmallVector<NodeOp> contrib, selections;
  getOperation()->walk([&](NodeOp node) {
    if (node.is("MoE", "com.microsoft") || node.is("QMoE", "com.microsoft"))
      contrib.push_back(node);
    else if (chosenIdsOf(node))
      selections.push_back(node);
  });
  UnreadRouters unread(getOperation());
  for (NodeOp node : selections)
    if (std::optional<ExportFault> fault = unread.faultOf(node))
      reportFault(node, *fault);
  // Every failure is reported, not only the first one.
  bool failed = false;
  llvm::SmallPtrSet<Operation *, 16> erased;
  for (NodeOp node : contrib) {
    RowExprPool pool;
    SetVector<Operation *> operands; // omitted ones, and weights read anew
    for (Value operand : node.getInputs())
      if (Operation *producer = operand.getDefiningOp())
        operands.insert(producer);
    if (mlir::failed(raiseContribMoE(node, pool, weights, values))) {
      failed = true;
      continue;
    }
    for (Operation *operand : operands)
      eraseIfDead(operand, erased);
  }
  for (NodeOp node : selections)
    if (!erased.contains(node))
      failed |= mlir::failed(recognize(node, weights, values, erased));
  if (failed)
    signalPassFailure();
}

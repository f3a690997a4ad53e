//===- RecognizeGroupLimited.cpp - top-k among the best groups ------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   groups = Reshape(scores, [T, G, E / G])
//   value of a group = sum of its greatest scores, or the greatest one
//   TopK(group values) -> ScatterElements into zeros -> mask over the experts
//   TopK(Where(mask, scores, fill))
//
// Each value between the scores and the mask has a meaning and an axis layout,
// found from the mask backwards: how the mask was spread over the experts, and
// whether it marks the groups that are kept or the others, need no cases.
//
//===----------------------------------------------------------------------===//

#include "AxisLayout.h"
#include "RecognizeForms.h"

using namespace mlir;
using namespace mlir::moe;
using mlir::onnx::NodeOp;

namespace {

struct Meaning {
  enum Kind {
    Scores,     // of the experts
    Greatest,   // scores of each group
    GroupValue, // what groups are compared by
    GroupIds,   // which groups are kept
    Mask,       // of these groups, or of the others
  };
  Kind kind;
  AxisLayout axes;
  bool marksKept = true;
};

class GroupLimit {
public:
  GroupLimit(Value scores, int64_t experts, Rejection &rejection)
      : scores(scores), experts(experts), rejection(rejection),
        context(scores, /*k=*/1, experts) {
    context.repeated = AxisAtom::Member;
  }

  /// Whether the mask `where` chooses by keeps the scores of the best groups;
  /// `keepsTrue`: where it is true.
  LogicalResult read(NodeOp where, bool keepsTrue);

  int64_t groups = 0, top = 0, kept = 0;

private:
  bool findGroups();
  FailureOr<Meaning> meaningOf(Value value, unsigned depth);
  FailureOr<Meaning> meaningOf(NodeOp node, Value value, unsigned depth);
  FailureOr<Meaning> topOf(NodeOp node, Value value, const Meaning &source);
  FailureOr<Meaning> reductionOf(NodeOp node, const Meaning &source);
  FailureOr<Meaning> scatterOf(NodeOp node, const Meaning &ids);

  Axis group() const {
    return groups == 1 ? Axis() : Axis{{AxisAtom::Group, groups}};
  }
  /// [token, group], and what follows.
  AxisLayout perGroup(std::optional<Axis> last = std::nullopt) const {
    AxisLayout axes = {context.token(), group()};
    if (last)
      axes.push_back(*last);
    return axes;
  }
  AxisLayout perExpert() const {
    Axis axis = group();
    axis.append(context.choice());
    return {context.token(), axis};
  }

  Value scores;
  int64_t experts;
  Rejection &rejection;
  AxisContext context; // k: the experts of a group
};

} // namespace

/// Whether `axis` is the last one of `axes`.
static bool isLast(std::optional<int64_t> axis, const AxisLayout &axes) {
  return axis && normalizeAxis(*axis, axes.size()) ==
                     static_cast<int64_t>(axes.size()) - 1;
}

static std::optional<int64_t> onlyOf(std::optional<SmallVector<int64_t>> ints) {
  return ints && ints->size() == 1 ? std::optional((*ints)[0]) : std::nullopt;
}

/// The groups are those of the reshape of the scores to [T, G, E / G].
bool GroupLimit::findGroups() {
  for (Operation *user : scores.getUsers()) {
    NodeOp node = dyn_cast<NodeOp>(user);
    if (!node || !node.is("Reshape") || rankOf(node.output(0)) != 3)
      continue;
    auto type = cast<RankedTensorType>(node.output(0).getType());
    groups = type.getDimSize(1);
    context.k = type.getDimSize(2);
    if (groups > 0 && context.k > 0 && groups * context.k == experts)
      return true;
  }
  return false;
}

LogicalResult GroupLimit::read(NodeOp where, bool keepsTrue) {
  if (!findGroups())
    return rejection.at(where, "expects scores that are reshaped to groups of "
                               "experts");
  FailureOr<Meaning> mask = meaningOf(where.input(0), /*depth=*/24);
  if (failed(mask))
    return failure();
  if (mask->kind != Meaning::Mask || mask->axes != perExpert())
    return rejection.at(where, "expects a mask over the experts, found " +
                                   describe(mask->axes));
  if (mask->marksKept != keepsTrue)
    return rejection.at(where, "expects to keep the scores of the best groups");
  return success();
}

FailureOr<Meaning> GroupLimit::meaningOf(Value value, unsigned depth) {
  if (value == scores)
    return Meaning{Meaning::Scores, perExpert()};
  NodeOp node = definingNode(value);
  if (!node || depth == 0)
    return rejection.at(value.getDefiningOp(),
                        "expects a mask that derives from the scores");
  return meaningOf(node, value, depth - 1);
}

FailureOr<Meaning> GroupLimit::meaningOf(NodeOp node, Value value,
                                         unsigned depth) {
  bool scatter = node.is("ScatterElements");
  if (!scatter && !movesAxes(node) && !node.is("Not") && !node.is("TopK") &&
      !node.is("ReduceSum") && !node.is("ReduceMax"))
    return rejection.at(node, "expects an operator that makes a mask of the "
                              "best groups");
  FailureOr<Meaning> source = meaningOf(node.input(scatter ? 1 : 0), depth);
  if (failed(source))
    return failure();
  if (scatter)
    return scatterOf(node, *source);
  if (node.is("TopK"))
    return topOf(node, value, *source);
  if (node.is("ReduceSum") || node.is("ReduceMax"))
    return reductionOf(node, *source);
  bool isMask = source->kind == Meaning::Mask;
  if (node.is("Not")) {
    if (!isMask)
      return rejection.at(node, "expects a mask to invert");
    source->marksKept = !source->marksKept;
    return source;
  }
  // 0 and 1 are themselves in every type; other values must stay as they are.
  if (node.is("Cast") && !isMask && skipExactCasts(value) == value)
    return rejection.at(node, "expects a cast that rounds nothing");
  FailureOr<AxisLayout> axes = moveAxes(node, source->axes, context, rejection);
  if (failed(axes))
    return failure();
  source->axes = *axes;
  return source;
}

/// The greatest scores of each group, or the best groups.
FailureOr<Meaning> GroupLimit::topOf(NodeOp node, Value value,
                                     const Meaning &source) {
  auto count = onlyOf(intsOf(node, "k", 1));
  if (!count || *count < 1 || node.getI64("largest", 1) != 1 ||
      !isLast(node.getI64("axis", -1), source.axes))
    return rejection.at(node, "expects the greatest along the last axis, a "
                              "constant number of them");
  Axis chosen;
  if (*count != 1)
    chosen.push_back({AxisAtom::Choice, *count});
  if (source.kind == Meaning::Scores && value == node.output(0) &&
      source.axes == perGroup(context.choice()) && *count <= context.k) {
    top = *count;
    return Meaning{Meaning::Greatest, perGroup(chosen)};
  }
  if (source.kind == Meaning::GroupValue && value == node.output(1) &&
      source.axes == perGroup() && *count <= groups) {
    kept = *count;
    return Meaning{Meaning::GroupIds, {context.token(), chosen}};
  }
  return rejection.at(node, "expects the greatest scores of a group or the "
                            "best groups, found " +
                                describe(source.axes));
}

/// What a group is worth.
FailureOr<Meaning> GroupLimit::reductionOf(NodeOp node, const Meaning &source) {
  bool sum = node.is("ReduceSum");
  if (source.kind != (sum ? Meaning::Greatest : Meaning::Scores) ||
      source.axes.size() != 3 || source.axes[1] != group() ||
      !isLast(onlyOf(intsOf(node, "axes", 1)), source.axes))
    return rejection.at(node, "expects the sum of the greatest scores of a "
                              "group, or the greatest one");
  if (!sum)
    top = 1;
  return Meaning{Meaning::GroupValue, node.getI64("keepdims", 1) != 0
                                          ? perGroup(Axis())
                                          : perGroup()};
}

/// 1 for the groups that are kept in zeros, or the reverse.
FailureOr<Meaning> GroupLimit::scatterOf(NodeOp node, const Meaning &ids) {
  auto others = splatOf(node.input(0)), marks = splatOf(node.input(2));
  bool ones = others == 0 && marks == 1, zeros = others == 1 && marks == 0;
  Value data = node.input(0);
  if (ids.kind != Meaning::GroupIds || (!ones && !zeros) || rankOf(data) != 2 ||
      !(dimOf(data, 0) == context.tokens) ||
      dimOf(data, 1).constant != groups ||
      normalizeAxis(node.getI64("axis", 0), 2) != 1 ||
      node.getString("reduction", "none") != "none")
    return rejection.at(node, "expects a mask of ones for the best groups in "
                              "zeros, one row per token");
  return Meaning{Meaning::Mask, perGroup(), ones};
}

LogicalResult moe::matchGroupLimited(Selection &selection, Value weights,
                                     RouteRecipe &recipe,
                                     Rejection &rejection) {
  recipe = RouteRecipe();
  NodeOp where = definingNode(skipNoOps(selection.scores), "Where");
  if (!where)
    return failure();
  bool keepsTrue = !scalarConstantOf(where.input(1));
  std::optional<double> fill = scalarConstantOf(where.input(keepsTrue ? 2 : 1));
  Value scores = where.input(keepsTrue ? 1 : 2);
  if (!fill || rankOf(scores) != 2)
    return failure();
  GroupLimit limit(scores, selection.experts, rejection);
  if (failed(limit.read(where, keepsTrue)))
    return failure();
  recipe.groups = limit.groups;
  recipe.topGroups = limit.kept;
  recipe.groupTop = limit.top;
  if (limit.groups != 1)
    recipe.groupFill = static_cast<float>(*fill);
  return readScores(selection, scores, weights, recipe, rejection);
}

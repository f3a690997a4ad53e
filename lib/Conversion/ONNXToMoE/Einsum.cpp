//===- Einsum.cpp - sums of products by an equation -----------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Operands are multiplied two at a time, each label summed as soon as nothing
// else reads it. A product of two is a matrix product of
//
//   [batch, rows, depth] and [batch, depth, columns]
//
// where batch labels are of both and go on, depth is of both and does not, and
// rows and columns are of one; without a depth it is elementwise.
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "Products.h"
#include "Registry.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/StringExtras.h"
#include <map>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

/// A letter, or an axis of an ellipsis: -1 is the last one, so that ellipses of
/// different lengths broadcast.
using Label = int64_t;
using Labels = SmallVector<Label>;

namespace {
struct Equation {
  SmallVector<Labels> inputs;
  Labels output;
};

/// A tensor and the label of each of its axes.
struct Term {
  Tensor tensor;
  Labels labels;

  bool has(Label label) const { return llvm::is_contained(labels, label); }
};
} // namespace

//===----------------------------------------------------------------------===//
// The equation
//===----------------------------------------------------------------------===//

static constexpr StringLiteral kEllipsis = "...";

/// The labels of a term whose ellipsis, if it has one, stands for `axes` axes.
static FailureOr<Labels> parseTerm(Lowering &l, StringRef term, int64_t axes) {
  Labels labels;
  bool hasEllipsis = false;
  for (StringRef rest = term; !rest.empty();) {
    if (!hasEllipsis && rest.consume_front(kEllipsis)) {
      hasEllipsis = true;
      llvm::append_range(labels, llvm::seq<Label>(-axes, 0));
    } else if (llvm::isAlpha(rest.front())) {
      labels.push_back(rest.front());
      rest = rest.drop_front();
    } else {
      return l.error() << "expects terms of letters and at most one '...' in "
                          "the equation, got '"
                       << term << "'";
    }
  }
  return labels;
}

static Labels join(ArrayRef<Labels> parts) {
  Labels all;
  for (const Labels &part : parts)
    llvm::append_range(all, part);
  return all;
}

/// Without "->": the axes of ellipses, then what occurs once, in the order of
/// characters.
static Labels implicitOutput(const Equation &equation, int64_t ellipsis) {
  std::map<Label, int64_t> letters;
  for (Label label : join(equation.inputs))
    if (label > 0)
      ++letters[label];
  Labels output = llvm::to_vector(llvm::seq<Label>(-ellipsis, 0));
  for (auto [letter, count] : letters)
    if (count == 1)
      output.push_back(letter);
  return output;
}

static FailureOr<Equation> parseEquation(Lowering &l,
                                         ArrayRef<Tensor> operands) {
  std::string text = l.node.getString("equation", "").str();
  llvm::erase(text, ' ');
  auto [left, right] = StringRef(text).split("->");
  bool isExplicit = left.size() != text.size();
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  if (terms.size() != operands.size())
    return l.error() << "expects an equation with a term for each of the "
                     << operands.size() << " operands, got '" << text << "'";
  Equation equation;
  int64_t ellipsis = 0;
  for (auto [term, operand] : llvm::zip_equal(terms, operands)) {
    int64_t letters = llvm::count_if(term, llvm::isAlpha);
    bool hasEllipsis = term.contains(kEllipsis);
    FailureOr<Labels> labels =
        parseTerm(l, term, std::max<int64_t>(operand->rank() - letters, 0));
    if (failed(labels))
      return failure();
    if (static_cast<int64_t>(labels->size()) != operand->rank())
      return l.error() << "expects a term of " << operand->rank()
                       << " letters for an operand of that rank, got '" << term
                       << "'";
    if (hasEllipsis)
      ellipsis = std::max(ellipsis, operand->rank() - letters);
    equation.inputs.push_back(*labels);
  }
  if (!isExplicit) {
    equation.output = implicitOutput(equation, ellipsis);
    return equation;
  }
  if (ellipsis > 0 && !right.contains(kEllipsis))
    return l.error() << "expects '...' in the result, as operands have it, "
                        "got '"
                     << right << "'";
  FailureOr<Labels> output = parseTerm(l, right, ellipsis);
  if (failed(output))
    return failure();
  Labels known = join(equation.inputs);
  for (auto [i, label] : llvm::enumerate(*output)) {
    if (llvm::is_contained(ArrayRef(*output).take_front(i), label))
      return l.error() << "expects distinct letters in the result, got '"
                       << right << "'";
    if (label > 0 && !llvm::is_contained(known, label))
      return l.error() << "expects the result's letters in the operands' "
                          "terms, got '"
                       << static_cast<char>(label) << "'";
  }
  equation.output = *output;
  return equation;
}

//===----------------------------------------------------------------------===//
// One operand
//===----------------------------------------------------------------------===//

/// The diagonal of axes with the same label.
static FailureOr<Term> diagonal(Lowering &l, const Term &term) {
  Term result{term.tensor, {}};
  Dims dims;
  SmallVector<size_t> from;
  for (auto [label, dim] : llvm::zip_equal(term.labels, term.tensor->dims)) {
    size_t at = llvm::find(result.labels, label) - result.labels.begin();
    from.push_back(at);
    if (at == result.labels.size()) {
      result.labels.push_back(label);
      dims.push_back(dim);
    } else if (failed(l.checkAgree(dim, dims[at], "axes of one letter"))) {
      return failure();
    }
  }
  if (result.labels.size() == term.labels.size())
    return term;
  Value source = l.value(term.tensor);
  result.tensor =
      l.generate(dims, term.tensor->elementType,
                 [&](ImplicitLocOpBuilder &b, ValueRange at) -> Value {
                   SmallVector<Value> index;
                   for (size_t i : from)
                     index.push_back(at[i]);
                   return tensor::ExtractOp::create(b, source, index);
                 });
  return result;
}

/// Gives all axes of a label the same size; terms lose those that broadcast.
static LogicalResult broadcastLabels(Lowering &l, MutableArrayRef<Term> terms) {
  Labels labels;
  for (const Term &term : terms)
    for (Label label : term.labels)
      if (!llvm::is_contained(labels, label))
        labels.push_back(label);
  std::vector<TensorInfo> aligned(terms.size());
  SmallVector<Tensor> pointers;
  for (auto [term, info] : llvm::zip_equal(terms, aligned)) {
    info.dims.assign(labels.size(), Expr(1));
    for (auto [label, dim] : llvm::zip_equal(term.labels, term.tensor->dims))
      info.dims[llvm::find(labels, label) - labels.begin()] = dim;
    pointers.push_back(&info);
  }
  FailureOr<Dims> sizes = l.broadcast(pointers);
  if (failed(sizes))
    return failure();
  for (Term &term : terms) {
    Labels kept;
    Dims dims, full;
    for (auto [label, dim] : llvm::zip_equal(term.labels, term.tensor->dims)) {
      const Expr &size = (*sizes)[llvm::find(labels, label) - labels.begin()];
      if (dim.is(1) && !size.is(1))
        continue;
      kept.push_back(label);
      dims.push_back(dim);
      full.push_back(size);
    }
    term = {l.reshape(term.tensor, dims), kept};
    // Only a run tells whether these broadcast.
    if (dims != full)
      term.tensor = l.tensor(
          l.cast(l.operand(term.tensor, full, /*allowScalar=*/false).value,
                 full),
          term.tensor->elementType, full);
  }
  return success();
}

/// The sum over the labels for which `goes` holds, in the compute type.
static Term sumOver(Lowering &l, const Term &term,
                    function_ref<bool(Label)> goes) {
  SmallVector<bool> reduced = llvm::map_to_vector(term.labels, goes);
  if (!llvm::is_contained(reduced, true))
    return term;
  Term result{nullptr, {}};
  Dims dims;
  for (auto [label, dim, gone] :
       llvm::zip_equal(term.labels, term.tensor->dims, reduced)) {
    if (gone)
      continue;
    result.labels.push_back(label);
    dims.push_back(dim);
  }
  Type compute = Lowering::computeType(term.tensor->elementType);
  result.tensor = l.tensor(
      sumOf(l, term.tensor, reduced),
      isa<FloatType>(compute) ? compute : term.tensor->elementType, dims);
  return result;
}

/// The term with its axes in the order of `labels`.
static Tensor arrange(Lowering &l, const Term &term, ArrayRef<Label> labels) {
  return l.transpose(
      term.tensor, llvm::map_to_vector(labels, [&](Label label) -> int64_t {
        return llvm::find(term.labels, label) - term.labels.begin();
      }));
}

//===----------------------------------------------------------------------===//
// Two operands
//===----------------------------------------------------------------------===//

namespace {
/// The labels of a product, each group in the order of the operand it is from.
struct Groups {
  Labels batch, rows, depth, columns;
};

/// An operand of a matrix product, possibly transposed.
struct Matrix {
  Tensor tensor;
  bool transposed;
};
} // namespace

static Dims dimsOf(const Term &term, ArrayRef<Label> labels) {
  return llvm::map_to_vector(labels, [&](Label label) {
    return term.tensor
        ->dims[llvm::find(term.labels, label) - term.labels.begin()];
  });
}

/// `term` as [batch, rows, columns], the batch left out where there is none;
/// without a copy if it lies in this order or transposed.
static Matrix asMatrix(Lowering &l, const Term &term, const Labels &batch,
                       const Labels &rows, const Labels &columns) {
  Labels turned = join({batch, columns, rows});
  bool transposed = term.labels == turned;
  Labels order = transposed ? turned : join({batch, rows, columns});
  Expr sizes[] = {product(dimsOf(term, rows)), product(dimsOf(term, columns))};
  Dims dims;
  if (!batch.empty())
    dims.push_back(product(dimsOf(term, batch)));
  dims.append({sizes[transposed], sizes[!transposed]});
  return {l.reshape(arrange(l, term, order), dims), transposed};
}

/// Products of elements, in the order of `labels`.
static Term multiplyElements(Lowering &l, const Term &x, const Term &y,
                             const Labels &labels) {
  Dims dims;
  for (Label label : labels)
    dims.push_back(dimsOf(x.has(label) ? x : y, label).front());
  auto operand = [&](const Term &term) -> Operand {
    if (term.tensor->rank() == 0)
      return l.operand(term.tensor, dims);
    SmallVector<AffineExpr> exprs;
    for (Label label : term.labels)
      exprs.push_back(
          l.b.getAffineDimExpr(llvm::find(labels, label) - labels.begin()));
    return {l.value(term.tensor),
            AffineMap::get(labels.size(), 0, exprs, l.b.getContext())};
  };
  Operand operands[] = {operand(x), operand(y)};
  return {l.elementwise(operands, dims, x.tensor->elementType,
                        [](ImplicitLocOpBuilder &b, ValueRange args) {
                          return mulElements(b, args[0], args[1]);
                        }),
          labels};
}

/// The product of two terms; it has the labels for which `stays` holds.
static FailureOr<Term> multiply(Lowering &l, Term x, Term y,
                                const Labels &output,
                                function_ref<bool(Label)> stays) {
  if (x.tensor->elementType != y.tensor->elementType)
    for (Term *term : {&x, &y})
      term->tensor = l.convertFloat(
          term->tensor, Lowering::computeType(term->tensor->elementType));
  // Weights on the right take the packed kernels.
  if (l.weights.lookup(x.tensor->value) && !l.weights.lookup(y.tensor->value))
    std::swap(x, y);
  Groups g;
  for (Label label : x.labels) {
    if (!y.has(label))
      g.rows.push_back(label);
    else
      (stays(label) ? g.batch : g.depth).push_back(label);
  }
  for (Label label : y.labels)
    if (!x.has(label))
      g.columns.push_back(label);
  if (g.depth.empty()) {
    // The result's order, as far as it has these labels.
    Labels all = join({g.batch, g.rows, g.columns}), labels;
    for (ArrayRef<Label> list : {ArrayRef(output), ArrayRef(all)})
      for (Label label : list)
        if (llvm::is_contained(all, label) &&
            !llvm::is_contained(labels, label))
          labels.push_back(label);
    return multiplyElements(l, x, y, labels);
  }
  Matrix a = asMatrix(l, x, g.batch, g.rows, g.depth);
  Matrix b = asMatrix(l, y, g.batch, g.columns, g.depth);
  FailureOr<Tensor> result =
      matmul(l, a.tensor, b.tensor, a.transposed, !b.transposed);
  if (failed(result))
    return failure();
  Dims dims = dimsOf(x, join({g.batch, g.rows}));
  dims.append(dimsOf(y, g.columns));
  return Term{l.reshape(*result, dims), join({g.batch, g.rows, g.columns})};
}

//===----------------------------------------------------------------------===//
// The node
//===----------------------------------------------------------------------===//

static LogicalResult convertEinsum(Lowering &l) {
  SmallVector<Tensor> operands;
  for (unsigned i = 0; i < l.node.getInputs().size(); ++i) {
    if (!l.node.input(i))
      return l.error() << "expects input " << i;
    operands.push_back(l.in(i));
    if (operands[i]->elementType != operands[0]->elementType)
      return l.error() << "expects operands of one type, got "
                       << operands[0]->elementType << " and "
                       << operands[i]->elementType;
  }
  FailureOr<Equation> equation = parseEquation(l, operands);
  if (failed(equation))
    return failure();
  Type elementType = operands[0]->elementType;
  SmallVector<Term> terms;
  for (auto [tensor, labels] : llvm::zip_equal(operands, equation->inputs)) {
    FailureOr<Term> term = diagonal(l, {tensor, labels});
    if (failed(term))
      return failure();
    // One rounding at the end, not one per product.
    if (operands.size() > 2 && tensor->isFloat())
      term->tensor =
          l.convertFloat(term->tensor, Lowering::computeType(elementType));
    terms.push_back(*term);
  }
  if (failed(broadcastLabels(l, terms)))
    return failure();

  auto isRead = [&](Label label) {
    return llvm::is_contained(equation->output, label) ||
           llvm::any_of(terms, [&](const Term &t) { return t.has(label); });
  };
  for (size_t i = 0; i < terms.size(); ++i) {
    Term term = std::exchange(terms[i], Term{nullptr, {}});
    terms[i] = sumOver(l, term, [&](Label label) { return !isRead(label); });
  }
  Term result = terms.front();
  terms.erase(terms.begin());
  while (!terms.empty()) {
    // A term that shares a label makes a smaller product than one that does
    // not.
    auto next = llvm::find_if(terms, [&](const Term &term) {
      return llvm::any_of(term.labels,
                          [&](Label label) { return result.has(label); });
    });
    if (next == terms.end())
      next = terms.begin();
    Term term = *next;
    terms.erase(next);
    FailureOr<Term> product =
        multiply(l, result, term, equation->output, isRead);
    if (failed(product))
      return failure();
    result = *product;
  }
  return l.set(
      l.convertFloat(arrange(l, result, equation->output), elementType));
}

void raise::addEinsum(Registry &r) {
  r.add({{"Einsum", 12, kLatest, convertEinsum, 1, kVariadic, "equation"}});
}

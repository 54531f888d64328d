//===- ReduceOps.cpp - Reductions -----------------------------------------===//

#include "Importer.h"
#include "llvm/Support/MathExtras.h"

using namespace llvm;
using namespace mlir;

namespace galvatron {

namespace {

/// The dimensions to reduce: an attribute in old opsets, an input in new ones.
FailureOr<Shape> reducedDims(NodeContext &node, bool &keep, bool &nothing) {
  keep = node.getInt("keepdims", 1);
  nothing = false;
  bool noop = node.getInt("noop_with_empty_axes", 0);
  std::optional<Shape> axes = node.getInts("axes");
  if (failed(node.expectInputs(1, 2)))
    return failure();
  if (node.has(1)) {
    FailureOr<Shape> given = node.knownInts(1, "axes");
    if (failed(given))
      return failure();
    axes = *given;
  }
  int64_t rank = node.inputs[0].rank();
  if (!axes || axes->empty()) {
    nothing = noop;
    return countFrom(0, rank);
  }
  return node.dimensions(*axes, rank);
}

LogicalResult importReduction(NodeContext &node,
                              llvm::function_ref<Value(Value x, ArrayRef<int64_t> dims, bool keep)> build, bool integers) {
  bool keep, nothing;
  FailureOr<Shape> dims = reducedDims(node, keep, nothing);
  if (failed(dims))
    return failure();
  if (node.inputs[0].element == ElementKind::I1 || (!integers && node.inputs[0].element != ElementKind::F32))
    return node.expectElement(0, ElementKind::F32);
  if (is_contained(node.inputs[0].shape, 0))
    return node.error() << "the input is empty";
  return node.result(build(node.tensor(0), nothing ? ArrayRef<int64_t>() : ArrayRef<int64_t>(*dims), keep));
}

/// Sums, products and extremes of small known integers: shape arithmetic.
template <nn::ReduceKind kind> std::optional<ImportValue> reduceKnown(NodeContext &node, ArrayRef<int64_t> dims, bool keep) {
  const ImportValue &x = node.inputs[0];
  std::optional<Shape> list = x.rank() == 1 && x.element == ElementKind::I64 && x.isKnown() && dims.size() == 1 ? intsOf(x) : std::nullopt;
  if (!list || list->empty())
    return std::nullopt;
  int64_t result = (*list)[0];
  for (int64_t i : ArrayRef<int64_t>(*list).drop_front()) {
    bool overflow = false;
    switch (kind) {
    case nn::ReduceKind::Sum:
      overflow = AddOverflow(result, i, result);
      break;
    case nn::ReduceKind::Prod:
      overflow = MulOverflow(result, i, result);
      break;
    case nn::ReduceKind::Max:
      result = std::max(result, i);
      break;
    case nn::ReduceKind::Min:
      result = std::min(result, i);
      break;
    }
    if (overflow)
      return std::nullopt;
  }
  return keep ? ImportValue::ints({result}) : ImportValue::scalar(result);
}

template <nn::ReduceKind kind> LogicalResult importReduce(NodeContext &node) {
  bool keep, nothing;
  if (!node.inputs.empty() && node.inputs[0].isKnown()) {
    FailureOr<Shape> dims = reducedDims(node, keep, nothing);
    if (failed(dims))
      return failure();
    if (nothing)
      return node.result(node.inputs[0]);
    if (std::optional<ImportValue> known = reduceKnown<kind>(node, *dims, keep))
      return node.result(*known);
  }
  return importReduction(node, [&](Value x, ArrayRef<int64_t> dims, bool keep) {
    return node.emit.reduce(kind, x, dims, keep);
  }, true);
}

LogicalResult importReduceMean(NodeContext &node) {
  return importReduction(node, [&](Value x, ArrayRef<int64_t> dims, bool keep) {
    return dims.empty() ? x : node.emit.mean(x, dims, keep);
  }, false);
}

Value sumOfSquares(Emitter &emit, Value x, ArrayRef<int64_t> dims, bool keep) {
  return emit.reduce(nn::ReduceKind::Sum, emit.make<nn::MulOp>(x, x), dims, keep);
}

LogicalResult importReduceSumSquare(NodeContext &node) {
  return importReduction(node, [&](Value x, ArrayRef<int64_t> dims, bool keep) { return sumOfSquares(node.emit, x, dims, keep); }, true);
}

LogicalResult importReduceL1(NodeContext &node) {
  return importReduction(node, [&](Value x, ArrayRef<int64_t> dims, bool keep) {
    return node.emit.reduce(nn::ReduceKind::Sum, node.emit.make<nn::AbsOp>(x), dims, keep);
  }, true);
}

LogicalResult importReduceL2(NodeContext &node) {
  return importReduction(node, [&](Value x, ArrayRef<int64_t> dims, bool keep) {
    return node.emit.make<nn::SqrtOp>(sumOfSquares(node.emit, x, dims, keep));
  }, false);
}

LogicalResult importReduceLogSum(NodeContext &node) {
  return importReduction(node, [&](Value x, ArrayRef<int64_t> dims, bool keep) {
    return node.emit.make<nn::LogOp>(node.emit.reduce(nn::ReduceKind::Sum, x, dims, keep));
  }, false);
}

LogicalResult importReduceLogSumExp(NodeContext &node) {
  return importReduction(node, [&](Value x, ArrayRef<int64_t> dims, bool keep) {
    // From the largest element, so that nothing overflows.
    Emitter &emit = node.emit;
    ArrayRef<int64_t> shape = nn::tensorType(x).getShape();
    Value top = emit.reduce(nn::ReduceKind::Max, x, dims, true);
    Value e = emit.make<nn::ExpOp>(emit.make<nn::SubOp>(x, emit.broadcast(top, shape)));
    Value sum = emit.make<nn::LogOp>(emit.reduce(nn::ReduceKind::Sum, e, dims, true));
    Value result = emit.make<nn::AddOp>(sum, top);
    Shape dropped;
    for (auto [d, size] : enumerate(shape))
      if (!is_contained(dims, static_cast<int64_t>(d)))
        dropped.push_back(size);
    return keep ? result : emit.reshape(result, dropped);
  }, false);
}

/// The first (or last) place of the largest (or smallest) element: no gradient, but metrics use it.
template <nn::ReduceKind kind> LogicalResult importArg(NodeContext &node) {
  int64_t axis = node.getInt("axis", 0), keep = node.getInt("keepdims", 1), last = node.getInt("select_last_index", 0);
  if (failed(node.expectInputs(1, 1)))
    return failure();
  if (node.inputs[0].element == ElementKind::I1)
    return node.expectElement(0, ElementKind::F32);
  FailureOr<int64_t> dim = node.dimension(axis, node.inputs[0].rank());
  if (failed(dim))
    return failure();
  Emitter &emit = node.emit;
  const Shape &shape = node.inputs[0].shape;
  Value x = node.tensor(0);
  Value best = emit.broadcast(emit.reduce(kind, x, {*dim}, true), shape);
  Value hit = emit.make<nn::CompareOp>(nn::Predicate::EQ, x, best);
  Value place = emit.materialize(affineValue(ElementKind::I64, shape, Affine::index(*dim, shape.size())));
  Value other = emit.numberLike(place, last ? -1 : shape[*dim]);
  Value picked = emit.make<nn::SelectOp>(hit, place, other);
  return node.result(emit.reduce(last ? nn::ReduceKind::Max : nn::ReduceKind::Min, picked, {*dim}, keep));
}

} // namespace

static const OpImporter table[] = {
    {"ArgMax", 13, importArg<nn::ReduceKind::Max>},
    {"ArgMin", 13, importArg<nn::ReduceKind::Min>},
    {"ReduceL1", 13, importReduceL1},
    {"ReduceL2", 13, importReduceL2},
    {"ReduceLogSum", 13, importReduceLogSum},
    {"ReduceLogSumExp", 13, importReduceLogSumExp},
    {"ReduceMax", 13, importReduce<nn::ReduceKind::Max>},
    {"ReduceMean", 13, importReduceMean},
    {"ReduceMin", 13, importReduce<nn::ReduceKind::Min>},
    {"ReduceProd", 13, importReduce<nn::ReduceKind::Prod>},
    {"ReduceSum", 13, importReduce<nn::ReduceKind::Sum>},
    {"ReduceSumSquare", 13, importReduceSumSquare},
};

ArrayRef<OpImporter> reduceOps() { return table; }

} // namespace galvatron

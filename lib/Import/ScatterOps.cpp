//===- ScatterOps.cpp - Writing into a tensor, and the largest of it ------===//
//
// x[:, 2:4] = y comes as a scatter by indices that are known: a box is replaced,
// which is slices and a concatenation. Indices that data chose (experts of a
// token) come from TopK.
//
//===----------------------------------------------------------------------===//

#include "Importer.h"

using namespace llvm;
using namespace mlir;

namespace galvatron {

namespace {

/// More of the largest than this is sorting, which has no op.
constexpr int64_t maxLargest = 64;

/// A box of a tensor: in each dimension, `sizes` places from `offsets` on, `steps` apart.
struct Box {
  Shape offsets, sizes, steps;
};

FailureOr<bool> addsUp(NodeContext &node) {
  std::string reduction = node.getString("reduction", "none");
  if (reduction != "none" && reduction != "add") {
    node.error() << "reduction = '" << reduction << "' is not supported; 'none' and 'add' are";
    return failure();
  }
  return reduction == "add";
}

/// `data` with `box` replaced by `update`, which has the box's shape. Steps must be 1.
ImportValue replaceBox(Emitter &emit, const ImportValue &data, ImportValue update, const Box &box) {
  size_t rank = data.shape.size();
  Shape ones(rank, 1);
  // From the last dimension on, each is completed by what the box leaves of it.
  for (size_t d = rank; d-- > 0;) {
    SmallVector<ImportValue> parts;
    auto keep = [&](int64_t begin, int64_t end) {
      if (begin == end)
        return;
      Shape offsets(rank, 0), sizes = data.shape;
      for (size_t outer = 0; outer < d; ++outer) {
        offsets[outer] = box.offsets[outer];
        sizes[outer] = box.sizes[outer];
      }
      offsets[d] = begin;
      sizes[d] = end - begin;
      parts.push_back(emit.slice(data, offsets, sizes, ones));
    };
    keep(0, box.offsets[d]);
    parts.push_back(update);
    keep(box.offsets[d] + box.sizes[d], data.shape[d]);
    update = emit.concat(parts, d);
  }
  return update;
}

/// Writes or adds `update` to a box of `data`. Every second place of a dimension is one place of a pair.
LogicalResult writeBox(NodeContext &node, const ImportValue &data, const ImportValue &update, const Box &box, bool add) {
  Emitter &emit = node.emit;
  Shape split;
  Box fine;
  for (auto [d, size] : enumerate(data.shape)) {
    int64_t step = box.sizes[d] == 1 ? 1 : box.steps[d];
    if (step < 1 || size % step != 0)
      return node.error() << "writes every " << step << " places of dimension " << d << " of size " << size << ", which is not supported";
    split.push_back(size / step);
    fine.offsets.push_back(box.offsets[d] / step);
    fine.sizes.push_back(box.sizes[d]);
    if (step == 1)
      continue;
    split.push_back(step);
    fine.offsets.push_back(box.offsets[d] % step);
    fine.sizes.push_back(1);
  }
  fine.steps.assign(split.size(), 1);
  ImportValue whole = emit.reshape(data, split), part = emit.reshape(update, fine.sizes);
  if (add) {
    Value old = emit.materialize(emit.slice(whole, fine.offsets, fine.sizes, fine.steps));
    part = ImportValue::tensorOf(emit.make<nn::AddOp>(old, emit.materialize(part)));
  }
  return node.result(emit.reshape(replaceBox(emit, whole, part, fine), data.shape));
}

/// Indices count from the end where they are negative; nothing if they leave the dimension or have no affine form.
std::optional<Affine> placesIn(const ImportValue &indices, int64_t size) {
  std::optional<Affine> affine = affineOf(indices);
  if (!affine)
    return std::nullopt;
  affine->canonicalize(indices.shape);
  auto range = affine->range(indices.shape);
  if (range && range->second < 0) {
    affine->constant += size;
    range = affine->range(indices.shape);
  }
  return range && range->first >= 0 && range->second < size ? affine : std::nullopt;
}

LogicalResult importScatterND(NodeContext &node) {
  FailureOr<bool> add = addsUp(node);
  if (failed(add) || failed(node.expectInputs(3, 3)) || failed(node.expectElement(1, ElementKind::I64)) ||
      failed(node.expectElement(2, node.inputs[0].element)))
    return failure();
  const ImportValue &data = node.inputs[0], &indices = node.inputs[1], &updates = node.inputs[2];
  if (indices.rank() < 1 || indices.shape.back() < 1 || indices.shape.back() > data.rank())
    return node.error() << "indices of rank " << indices.rank() << " do not fit data of rank " << data.rank();
  int64_t columns = indices.shape.back(), lead = indices.rank() - 1;
  Shape wanted(indices.shape.begin(), indices.shape.end() - 1);
  wanted.append(data.shape.begin() + columns, data.shape.end());
  if (wanted != updates.shape)
    return node.error() << "the updates do not have the shape that the indices ask for";
  if (is_contained(wanted, 0))
    return node.result(data);
  auto unsupported = [&] { return node.error() << "the indices are not a box of the data that is known when compiling"; };
  if (!indices.isKnown())
    return unsupported();
  Box box{Shape(data.rank(), 0), data.shape, Shape(data.rank(), 1)};
  Shape order; // the updates' dimensions as the data has them, those of size one in front
  SmallVector<bool> walked(lead, false);
  for (int64_t k = 0; k < columns; ++k) {
    Shape offsets(indices.rank(), 0), sizes = indices.shape, steps(indices.rank(), 1);
    offsets.back() = k;
    sizes.back() = 1;
    ImportValue column = node.emit.slice(indices, offsets, sizes, steps);
    sizes.pop_back();
    std::optional<Affine> place = column.isKnown() ? placesIn(node.emit.reshape(column, sizes), data.shape[k]) : std::nullopt;
    if (!place)
      return unsupported();
    box.offsets[k] = place->constant;
    box.sizes[k] = 1;
    for (auto [d, c] : enumerate(place->coefficients)) {
      if (c == 0)
        continue;
      if (c < 0 || walked[d] || box.sizes[k] != 1)
        return unsupported();
      walked[d] = true;
      order.push_back(d);
      box.sizes[k] = indices.shape[d];
      box.steps[k] = c;
    }
  }
  for (int64_t d = 0; d < lead; ++d) {
    if (walked[d])
      continue;
    if (indices.shape[d] != 1) // the same place written twice
      return unsupported();
    order.insert(order.begin(), d);
  }
  for (int64_t d = lead; d < updates.rank(); ++d)
    order.push_back(d);
  ImportValue update = node.emit.reshape(node.emit.transpose(updates, order), box.sizes);
  return writeBox(node, data, update, box, *add);
}

/// Every index is compared with every place. The indices are as many as the experts that a token goes to.
Value scatterAlong(NodeContext &node, Value data, Value indices, Value updates, int64_t dim, bool add) {
  Emitter &emit = node.emit;
  RankedTensorType type = nn::tensorType(data);
  Shape few(nn::tensorType(indices).getShape().begin(), nn::tensorType(indices).getShape().end()), all = few, kept;
  int64_t size = type.getDimSize(dim);
  all.insert(all.begin() + dim + 1, size);
  for (int64_t d = 0; d < static_cast<int64_t>(all.size()); ++d)
    if (d != dim + 1)
      kept.push_back(d);
  Value negative = emit.make<nn::CompareOp>(nn::Predicate::LT, indices, emit.numberLike(indices, 0));
  indices = emit.make<nn::SelectOp>(negative, emit.make<nn::AddOp>(indices, emit.numberLike(indices, size)), indices);
  Value place = emit.materialize(affineValue(ElementKind::I64, all, Affine::index(dim + 1, all.size())));
  Value hit = emit.make<nn::CompareOp>(nn::Predicate::EQ, emit.broadcastDims(indices, kept, all), place);
  Value wide = emit.broadcastDims(updates, kept, all), none = emit.numberLike(wide, 0);
  Value sum = emit.reduce(nn::ReduceKind::Sum, emit.make<nn::SelectOp>(hit, wide, none), {dim}, false);
  if (add)
    return emit.make<nn::AddOp>(data, sum);
  Value zero = emit.numberLike(place, 0), one = emit.numberLike(place, 1);
  Value count = emit.reduce(nn::ReduceKind::Sum, emit.make<nn::SelectOp>(hit, one, zero), {dim}, false);
  Value written = emit.make<nn::CompareOp>(nn::Predicate::GT, count, emit.numberLike(count, 0));
  return emit.make<nn::SelectOp>(written, sum, data);
}

LogicalResult importScatterElements(NodeContext &node) {
  int64_t axis = node.getInt("axis", 0);
  FailureOr<bool> add = addsUp(node);
  if (failed(add) || failed(node.expectInputs(3, 3)) || failed(node.expectElement(1, ElementKind::I64)) ||
      failed(node.expectElement(2, node.inputs[0].element)))
    return failure();
  const ImportValue &data = node.inputs[0], &indices = node.inputs[1], &updates = node.inputs[2];
  FailureOr<int64_t> dim = node.dimension(axis, data.rank());
  if (failed(dim))
    return failure();
  if (indices.rank() != data.rank() || indices.shape != updates.shape)
    return node.error() << "data, indices and updates do not fit each other";
  for (int64_t d = 0; d < data.rank(); ++d)
    if (d != *dim && indices.shape[d] > data.shape[d])
      return node.error() << "the indices have size " << indices.shape[d] << " in dimension " << d << "; the data has "
                          << data.shape[d];
  if (is_contained(indices.shape, 0))
    return node.result(data);
  Box box{Shape(data.rank(), 0), indices.shape, Shape(data.rank(), 1)};
  if (indices.isKnown())
    if (std::optional<Affine> place = placesIn(indices, data.shape[*dim])) {
      bool alone = true;
      for (auto [d, c] : enumerate(place->coefficients))
        alone &= c == 0 || (static_cast<int64_t>(d) == *dim && c > 0);
      if (int64_t step = place->coefficients[*dim]; alone && (step != 0 || indices.shape[*dim] == 1)) {
        box.offsets[*dim] = place->constant;
        box.steps[*dim] = step;
        return writeBox(node, data, updates, box, *add);
      }
    }
  if (data.element == ElementKind::I1)
    return node.expectElement(0, ElementKind::F32);
  Box part = box;
  part.sizes[*dim] = data.shape[*dim];
  Value old = node.emit.slice(node.tensor(0), part.offsets, part.sizes, part.steps);
  ImportValue written = ImportValue::tensorOf(scatterAlong(node, old, node.tensor(1), node.tensor(2), *dim, *add));
  return node.result(replaceBox(node.emit, data, written, part));
}

LogicalResult importTopK(NodeContext &node) {
  int64_t axis = node.getInt("axis", -1), largest = node.getInt("largest", 1);
  node.getInt("sorted", 1); // sorted is one of the orders that are allowed where it does not matter
  if (failed(node.expectInputs(2, 2)) || failed(node.expectElement(0, ElementKind::F32)))
    return failure();
  FailureOr<int64_t> dim = node.dimension(axis, node.inputs[0].rank());
  FailureOr<Shape> wanted = node.knownInts(1, "number of elements");
  if (failed(dim) || failed(wanted))
    return failure();
  Shape shape = node.inputs[0].shape;
  int64_t size = shape[*dim];
  if (wanted->size() != 1 || (*wanted)[0] < 1 || (*wanted)[0] > std::min(size, maxLargest))
    return node.error() << "wants " << (wanted->empty() ? 0 : (*wanted)[0]) << " of " << size << " elements; 1 to "
                        << std::min(size, maxLargest) << " are supported";
  Emitter &emit = node.emit;
  Value x = node.tensor(0), left = largest ? x : emit.make<nn::NegOp>(x), taken;
  Value place = emit.materialize(affineValue(ElementKind::I64, shape, Affine::index(*dim, shape.size())));
  Value nowhere = emit.numberLike(place, size), low = emit.numberLike(x, -std::numeric_limits<double>::infinity());
  SmallVector<Value> found;
  for (int64_t k = 0; k < (*wanted)[0]; ++k) {
    Value best = emit.broadcast(emit.reduce(nn::ReduceKind::Max, left, {*dim}, true), shape);
    Value picked = emit.make<nn::SelectOp>(emit.make<nn::CompareOp>(nn::Predicate::EQ, left, best), place, nowhere);
    if (taken) // an element may itself be as low as what marks the taken ones
      picked = emit.make<nn::SelectOp>(taken, nowhere, picked);
    found.push_back(emit.reduce(nn::ReduceKind::Min, picked, {*dim}, true));
    Value here = emit.make<nn::CompareOp>(nn::Predicate::EQ, place, emit.broadcast(found.back(), shape));
    left = emit.make<nn::SelectOp>(here, low, left);
    taken = taken ? emit.make<nn::OrOp>(taken, here) : here;
  }
  Value indices = emit.concat(found, *dim);
  node.setOutput(0, ImportValue::tensorOf(emit.make<nn::TakeAlongOp>(x, indices, emit.builder.getI64IntegerAttr(*dim))));
  if (node.wantsOutput(1))
    node.setOutput(1, ImportValue::tensorOf(indices));
  return success();
}

} // namespace

static const OpImporter table[] = {
    {"ScatterElements", 13, importScatterElements, "reductions none and add"},
    {"ScatterND", 13, importScatterND, "known indices that are a box; reductions none and add"},
    {"TopK", 13, importTopK, "known k up to 64, on float32"},
};

ArrayRef<OpImporter> scatterOps() { return table; }

} // namespace galvatron

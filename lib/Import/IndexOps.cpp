//===- IndexOps.cpp - Gather and its relatives ----------------------------===//
//
// Most indices of real models are iotas in disguise, and gathering by an iota is
// a slice. Only indices that come from the model's inputs stay look-ups.
//
//===----------------------------------------------------------------------===//

#include "Importer.h"

using namespace llvm;
using namespace mlir;

namespace galvatron {

namespace {

/// Column k of the last dimension of `indices`.
ImportValue columnOf(NodeContext &node, const ImportValue &indices, int64_t k) {
  Shape offsets(indices.rank(), 0), box = indices.shape, steps(indices.rank(), 1);
  offsets.back() = k;
  box.back() = 1;
  ImportValue column = node.emit.slice(indices, offsets, box, steps);
  box.pop_back();
  return node.emit.reshape(column, box);
}

/// The affine functions that an index tensor follows, one for each index along its last dimension if
/// `columns`, else one. Negative ones count from the end of the dimension they index.
std::optional<SmallVector<Affine>> affineIndices(NodeContext &node, const ImportValue &indices,
                                                 ArrayRef<int64_t> sizes, bool columns) {
  SmallVector<Affine> result;
  for (auto [k, size] : enumerate(sizes)) {
    ImportValue column = indices;
    if (columns)
      column = columnOf(node, indices, k);
    std::optional<Affine> affine = affineOf(column);
    auto range = affine ? affine->range(column.shape) : std::nullopt;
    if (!range)
      return std::nullopt;
    if (range->first < 0 && range->second >= 0)
      return std::nullopt; // some count from the end and some do not
    if (range->second < 0)
      affine->constant += size;
    result.push_back(*affine);
  }
  return result;
}

bool inRange(const Affine &affine, ArrayRef<int64_t> shape, int64_t size) {
  auto range = affine.range(shape);
  return range && range->first >= 0 && range->second < size;
}

/// Refuses known indices that go beyond a dimension. They are mostly positions in a table, and as many as --shapes says.
LogicalResult failOutside(NodeContext &node, int64_t dim, int64_t size) {
  InFlightDiagnostic error = node.error() << "an index is outside of dimension " << dim << " of size " << size;
  auto get = node.tensor(0).getDefiningOp<nn::GetParameterOp>();
  auto parameter = get ? SymbolTable::lookupNearestSymbolFrom<nn::ParameterOp>(get, get.getParameterAttr()) : nullptr;
  if (parameter)
    error << " of parameter '" << parameter.getSaved() << "'";
  if (!node.importer.options.shapes.empty())
    error << "; is a sequence in --shapes longer than the model allows, or of another size than in other inputs?";
  return error;
}

/// Indices that data decides, where negative ones count from the end of a dimension of `size`.
Value wrapNegative(Emitter &emit, Value indices, int64_t size) {
  Value isNegative = emit.make<nn::CompareOp>(nn::Predicate::LT, indices, emit.numberLike(indices, 0));
  return emit.make<nn::SelectOp>(isNegative, emit.make<nn::AddOp>(indices, emit.numberLike(indices, size)), indices);
}

/// The same, but ids that are an input of the model are rows of a table, not places in a dimension: a negative one is an error
/// when the program runs, as it is in PyTorch's embedding.
Value wrapComputed(Emitter &emit, Value indices, int64_t size) {
  return isa<BlockArgument>(indices) ? indices : wrapNegative(emit, indices, size);
}

/// The indices (input 1) as a tensor. Known ones are brought into their dimensions, where negative ones count from the
/// end; their last dimension goes through `sizes`. One that is outside is an error.
FailureOr<Value> indicesWithin(NodeContext &node, ArrayRef<int64_t> sizes) {
  std::optional<std::vector<Scalar>> list = elementsOf(node.inputs[1]);
  if (!list) // columns are wrapped one by one
    return sizes.size() > 1 ? node.tensor(1) : wrapComputed(node.emit, node.tensor(1), sizes[0]);
  bool changed = false;
  for (auto [k, s] : enumerate(*list)) {
    int64_t size = sizes[k % sizes.size()];
    if (s.i < -size || s.i >= size) {
      node.error() << "index " << s.i << " is outside of a dimension of size " << size;
      return failure();
    }
    changed |= s.i < 0;
    s.i += s.i < 0 ? size : 0;
  }
  return changed ? node.emit.materialize(ImportValue::dense(ElementKind::I64, node.inputs[1].shape, std::move(*list)))
                 : node.tensor(1);
}

LogicalResult importGather(NodeContext &node) {
  int64_t axis = node.getInt("axis", 0);
  if (failed(node.expectInputs(2, 2)) || failed(node.expectElement(1, ElementKind::I64)))
    return failure();
  const ImportValue &data = node.inputs[0], &indices = node.inputs[1];
  FailureOr<int64_t> dim = node.dimension(axis, data.rank());
  if (failed(dim))
    return failure();
  Shape shape(data.shape.begin(), data.shape.begin() + *dim);
  shape.append(indices.shape.begin(), indices.shape.end());
  shape.append(data.shape.begin() + *dim + 1, data.shape.end());
  int64_t size = data.shape[*dim];
  if (indices.isKnown() && indices.count() > 0) {
    if (std::optional<SmallVector<Affine>> affine = affineIndices(node, indices, {size}, false)) {
      if (!inRange((*affine)[0], indices.shape, size))
        return failOutside(node, *dim, size);
      SmallVector<Affine> where;
      for (int64_t d = 0; d < data.rank(); ++d) {
        if (d != *dim) {
          where.push_back(Affine::index(d < *dim ? d : d + indices.rank() - 1, shape.size()));
          continue;
        }
        Affine along = Affine::constantOf((*affine)[0].constant, shape.size());
        for (auto [k, c] : enumerate((*affine)[0].coefficients))
          along.coefficients[*dim + k] = c;
        where.push_back(along);
      }
      if (std::optional<ImportValue> value = node.emit.gather(data, where, shape))
        return node.result(*value);
    }
    // Few known indices into known data.
    std::optional<std::vector<Scalar>> list = elementsOf(indices), elements = elementsOf(data);
    if (list) {
      for (Scalar &s : *list) {
        s.i = s.i < 0 ? s.i + size : s.i;
        if (s.i < 0 || s.i >= size)
          return failOutside(node, *dim, size);
      }
      if (elements && numElements(shape).value_or(INT64_MAX) <= maxDenseElements) {
        int64_t inner = 1, outer = 1;
        for (auto [d, s] : enumerate(data.shape))
          (static_cast<int64_t>(d) < *dim ? outer : inner) *= static_cast<int64_t>(d) == *dim ? 1 : s;
        std::vector<Scalar> picked;
        for (int64_t o = 0; o < outer; ++o)
          for (Scalar s : *list)
            for (int64_t i = 0; i < inner; ++i)
              picked.push_back((*elements)[(o * size + s.i) * inner + i]);
        return node.result(ImportValue::dense(data.element, shape, std::move(picked)));
      }
    }
  }
  if (is_contained(shape, 0))
    return node.error() << "the result is empty";
  // The gathered dimension first, and then where it was.
  Value table = node.tensor(0);
  Shape front = {*dim}, back;
  for (int64_t d = 0; d < data.rank(); ++d)
    if (d != *dim)
      front.push_back(d);
  table = node.emit.transpose(table, front);
  FailureOr<Value> ids = indicesWithin(node, {size});
  if (failed(ids))
    return failure();
  Value rows = node.emit.make<nn::EmbeddingOp>(table, *ids, Value());
  for (int64_t d = 0; d < *dim; ++d)
    back.push_back(indices.rank() + d);
  for (int64_t d = 0; d < indices.rank(); ++d)
    back.push_back(d);
  for (int64_t d = *dim; d < data.rank() - 1; ++d)
    back.push_back(indices.rank() + d);
  return node.result(node.emit.transpose(rows, back));
}

LogicalResult importGatherElements(NodeContext &node) {
  int64_t axis = node.getInt("axis", 0);
  if (failed(node.expectInputs(2, 2)) || failed(node.expectElement(1, ElementKind::I64)))
    return failure();
  const ImportValue &data = node.inputs[0], &indices = node.inputs[1];
  FailureOr<int64_t> dim = node.dimension(axis, data.rank());
  if (failed(dim))
    return failure();
  if (indices.rank() != data.rank())
    return node.error() << "the indices have rank " << indices.rank() << "; the data has " << data.rank();
  for (int64_t d = 0; d < data.rank(); ++d)
    if (d != *dim && indices.shape[d] > data.shape[d])
      return node.error() << "the indices have size " << indices.shape[d] << " in dimension " << d << "; the data has "
                          << data.shape[d];
  if (indices.isKnown() && indices.count() > 0)
    if (std::optional<SmallVector<Affine>> affine = affineIndices(node, indices, {data.shape[*dim]}, false)) {
      if (!inRange((*affine)[0], indices.shape, data.shape[*dim]))
        return failOutside(node, *dim, data.shape[*dim]);
      SmallVector<Affine> where;
      for (int64_t d = 0; d < data.rank(); ++d)
        where.push_back(d == *dim ? (*affine)[0] : Affine::index(d, data.rank()));
      if (std::optional<ImportValue> value = node.emit.gather(data, where, indices.shape))
        return node.result(*value);
    }
  // take_along wants equal sizes elsewhere.
  Shape offsets(data.rank(), 0), sizes = indices.shape, steps(data.rank(), 1);
  sizes[*dim] = data.shape[*dim];
  Value box = node.emit.slice(node.tensor(0), offsets, sizes, steps);
  FailureOr<Value> places = indicesWithin(node, {data.shape[*dim]});
  if (failed(places))
    return failure();
  return node.result(node.emit.make<nn::TakeAlongOp>(box, *places, node.emit.builder.getI64IntegerAttr(*dim)));
}

/// Row `row[b..., q...]` of each of input 0's [batch..., rows, rest...], as a tensor of `shape`: [batch..., q..., rest...].
Value takeRows(NodeContext &node, Value row, int64_t batch, int64_t rows, ArrayRef<int64_t> shape) {
  ArrayRef<int64_t> from = node.inputs[0].shape, at = nn::tensorType(row).getShape();
  Shape table(from.take_front(batch));
  table.push_back(rows);
  table.append(shape.begin() + at.size(), shape.end());
  Value data = node.emit.reshape(node.tensor(0), table);
  if (batch == 0)
    return node.emit.make<nn::EmbeddingOp>(data, row, Value());
  // Along one dimension, the same place for the rest of a row.
  Shape places = table;
  places[batch] = *numElements(at.drop_front(batch));
  Shape flat(ArrayRef<int64_t>(places).take_front(batch + 1));
  Value wanted = node.emit.broadcastDims(node.emit.reshape(row, flat), countFrom(0, batch + 1), places);
  return node.emit.reshape(node.emit.make<nn::TakeAlongOp>(data, wanted, node.emit.builder.getI64IntegerAttr(batch)), shape);
}

LogicalResult importGatherND(NodeContext &node) {
  int64_t batch = node.getInt("batch_dims", 0);
  if (failed(node.expectInputs(2, 2)) || failed(node.expectElement(1, ElementKind::I64)))
    return failure();
  const ImportValue &data = node.inputs[0], &indices = node.inputs[1];
  if (indices.rank() < 1 || batch < 0 || batch >= indices.rank() || indices.shape.back() < 1 ||
      batch + indices.shape.back() > data.rank())
    return node.error() << "indices of rank " << indices.rank() << " do not fit data of rank " << data.rank();
  int64_t columns = indices.shape.back();
  Shape shape(indices.shape.begin(), indices.shape.end() - 1);
  for (int64_t d = 0; d < batch; ++d)
    if (shape[d] != data.shape[d])
      return node.error() << "batch dimension " << d << " has sizes " << data.shape[d] << " and " << shape[d];
  size_t indexRank = shape.size();
  shape.append(data.shape.begin() + batch + columns, data.shape.end());
  ArrayRef<int64_t> indexed = ArrayRef<int64_t>(data.shape).slice(batch, columns);
  if (indices.isKnown() && indices.count() > 0)
    if (std::optional<SmallVector<Affine>> affine = affineIndices(node, indices, indexed, true)) {
      SmallVector<Affine> where;
      for (int64_t d = 0; d < data.rank(); ++d) {
        if (d < batch) {
          where.push_back(Affine::index(d, shape.size()));
        } else if (d < batch + columns) {
          Affine along = (*affine)[d - batch];
          if (!inRange(along, ArrayRef<int64_t>(indices.shape).drop_back(), data.shape[d]))
            return failOutside(node, d, data.shape[d]);
          along.coefficients.resize(shape.size(), 0);
          where.push_back(along);
        } else {
          where.push_back(Affine::index(indexRank + d - batch - columns, shape.size()));
        }
      }
      if (std::optional<ImportValue> value = node.emit.gather(data, where, shape))
        return node.result(*value);
    }
  if (is_contained(shape, 0))
    return node.error() << "the result is empty";
  FailureOr<Value> all = indicesWithin(node, indexed);
  if (failed(all))
    return failure();
  // Of several computed columns each is wrapped below, where those that are known are still seen.
  ImportValue table = indices.isKnown() || columns == 1 ? ImportValue::tensorOf(*all) : indices;
  // One row number out of the columns. A first column that counts its own dimension (x[arange(n), ids]) is a batch.
  Value row, isInside;
  int64_t rows = 1;
  for (int64_t k = 0; k < columns; ++k) {
    ImportValue column = columnOf(node, table, k);
    if (!row && k + 1 < columns && batch < column.rank() && column.shape[batch] == data.shape[batch])
      if (std::optional<Affine> affine = column.isKnown() ? affineOf(column) : std::nullopt;
          affine && *affine == Affine::index(batch, column.rank())) {
        ++batch;
        continue;
      }
    int64_t size = indexed[k];
    Value next = node.emit.materialize(column);
    if (indexed.size() > 1 && !indices.isKnown()) {
      // What is outside of its own dimension must not become a place in the next row.
      next = wrapNegative(node.emit, next, size);
      Value inside = node.emit.make<nn::AndOp>(
          node.emit.make<nn::CompareOp>(nn::Predicate::GE, next, node.emit.numberLike(next, 0)),
          node.emit.make<nn::CompareOp>(nn::Predicate::LT, next, node.emit.numberLike(next, size)));
      isInside = isInside ? node.emit.make<nn::AndOp>(isInside, inside) : inside;
    }
    row = row ? node.emit.make<nn::AddOp>(node.emit.make<nn::MulOp>(row, node.emit.numberLike(row, size)), next) : next;
    rows *= size;
  }
  if (isInside)
    row = node.emit.make<nn::SelectOp>(isInside, row, node.emit.numberLike(row, -1));
  return node.result(takeRows(node, row, batch, rows, shape));
}

LogicalResult importOneHot(NodeContext &node) {
  int64_t axis = node.getInt("axis", -1);
  if (failed(node.expectInputs(3, 3)) || failed(node.expectElement(0, ElementKind::I64)))
    return failure();
  FailureOr<Shape> depth = node.knownInts(1, "depth");
  if (failed(depth))
    return failure();
  if (depth->size() != 1 || (*depth)[0] < 1)
    return node.error() << "the depth is not one positive number";
  FailureOr<int64_t> dim = node.dimension(axis, node.inputs[0].rank() + 1);
  if (failed(dim))
    return failure();
  std::optional<std::vector<Scalar>> values = elementsOf(node.inputs[2]);
  if (!values || values->size() != 2)
    return node.error() << "the values are not two known numbers";
  Shape shape = node.inputs[0].shape, kept;
  shape.insert(shape.begin() + *dim, (*depth)[0]);
  if (!numElements(shape))
    return node.error() << "has more elements than 63 bits can count";
  for (int64_t d = 0; d < static_cast<int64_t>(shape.size()); ++d)
    if (d != *dim)
      kept.push_back(d);
  Value ids = node.emit.broadcastDims(wrapNegative(node.emit, node.tensor(0), (*depth)[0]), kept, shape);
  Value iota = node.emit.materialize(affineValue(ElementKind::I64, shape, Affine::index(*dim, shape.size())));
  Value hit = node.emit.make<nn::CompareOp>(nn::Predicate::EQ, ids, iota);
  ElementKind element = node.inputs[2].element;
  return node.result(node.emit.make<nn::SelectOp>(
      hit, node.emit.materialize(ImportValue::splat(element, shape, (*values)[1])),
      node.emit.materialize(ImportValue::splat(element, shape, (*values)[0]))));
}

} // namespace

static const OpImporter table[] = {
    {"Gather", 13, importGather},
    {"GatherElements", 13, importGatherElements},
    {"GatherND", 13, importGatherND},
    {"OneHot", 13, importOneHot, "known depth and values"},
};

ArrayRef<OpImporter> indexOps() { return table; }

} // namespace galvatron

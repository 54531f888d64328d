//===- Emitter.cpp - Builds nn ops for imported values --------------------===//

#include "Emitter.h"
#include "llvm/ADT/STLExtras.h"
#include <numeric>

using namespace llvm;
using namespace mlir;

namespace galvatron {

std::optional<Shape> broadcastShapes(ArrayRef<int64_t> a, ArrayRef<int64_t> b) {
  Shape result(std::max(a.size(), b.size()), 1);
  for (size_t i = 0; i < result.size(); ++i) {
    int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1, y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1)
      return std::nullopt;
    result[result.size() - 1 - i] = x == 1 ? y : x;
  }
  return result;
}

RankedTensorType Emitter::type(ElementKind element, ArrayRef<int64_t> shape) {
  switch (element) {
  case ElementKind::F32:
    return RankedTensorType::get(shape, builder.getF32Type());
  case ElementKind::I64:
    return RankedTensorType::get(shape, builder.getI64Type());
  case ElementKind::I1:
    return RankedTensorType::get(shape, builder.getI1Type());
  }
  llvm_unreachable("covered switch");
}

// SSA values -----------------------------------------------------------------

Value Emitter::number(RankedTensorType type, double value) {
  return nn::createSplat(builder, loc, type, value);
}

Value Emitter::reshape(Value value, ArrayRef<int64_t> shape) {
  RankedTensorType from = nn::tensorType(value);
  // Back to what a reshape came from?
  if (auto reshape = value.getDefiningOp<nn::ReshapeOp>())
    value = reshape.getOperand();
  if (nn::tensorType(value).getShape() == shape)
    return value;
  return make<nn::ReshapeOp>(RankedTensorType::get(shape, from.getElementType()), value);
}

Value Emitter::transpose(Value value, ArrayRef<int64_t> permutation) {
  if (llvm::equal(permutation, llvm::seq<int64_t>(0, permutation.size())))
    return value;
  return make<nn::TransposeOp>(value, builder.getDenseI64ArrayAttr(permutation));
}

Value Emitter::broadcastDims(Value value, ArrayRef<int64_t> dims, ArrayRef<int64_t> shape) {
  RankedTensorType from = nn::tensorType(value);
  if (from.getNumElements() == numElements(shape))
    return reshape(value, shape);
  return make<nn::BroadcastOp>(RankedTensorType::get(shape, from.getElementType()), value, dims);
}

Value Emitter::broadcast(Value value, ArrayRef<int64_t> shape) {
  ArrayRef<int64_t> from = nn::tensorType(value).getShape();
  if (from == shape)
    return value;
  // Dimensions that are repeated are dropped first; leading ones are new.
  Shape kept, dims;
  size_t lead = shape.size() - from.size();
  for (auto [d, size] : enumerate(from))
    if (size == shape[lead + d]) {
      kept.push_back(size);
      dims.push_back(lead + d);
    }
  return broadcastDims(reshape(value, kept), dims, shape);
}

Value Emitter::slice(Value value, ArrayRef<int64_t> offsets, ArrayRef<int64_t> sizes, ArrayRef<int64_t> steps) {
  RankedTensorType from = nn::tensorType(value);
  if (from.getShape() == sizes && all_of(offsets, [](int64_t o) { return o == 0; }) &&
      all_of(steps, [](int64_t s) { return s == 1; }))
    return value;
  return make<nn::SliceOp>(RankedTensorType::get(sizes, from.getElementType()), value, offsets, steps);
}

Value Emitter::reduce(nn::ReduceKind kind, Value value, ArrayRef<int64_t> dims, bool keepDims) {
  RankedTensorType from = nn::tensorType(value);
  if (dims.empty())
    return value;
  Shape reduced, kept(from.getShape().begin(), from.getShape().end());
  for (auto [d, size] : enumerate(from.getShape())) {
    if (is_contained(dims, static_cast<int64_t>(d)))
      kept[d] = 1;
    else
      reduced.push_back(size);
  }
  Value result = make<nn::ReduceOp>(RankedTensorType::get(reduced, from.getElementType()), kind, value, dims);
  return keepDims ? reshape(result, kept) : result;
}

Value Emitter::mean(Value value, ArrayRef<int64_t> dims, bool keepDims) {
  int64_t count = 1;
  for (int64_t d : dims)
    count *= nn::tensorType(value).getDimSize(d);
  Value sum = reduce(nn::ReduceKind::Sum, value, dims, keepDims);
  return make<nn::MulOp>(sum, numberLike(sum, 1.0 / static_cast<double>(count)));
}

Value Emitter::concat(ArrayRef<Value> values, int64_t dim) {
  if (values.size() == 1)
    return values[0];
  return make<nn::ConcatOp>(ValueRange(values), builder.getI64IntegerAttr(dim));
}

Value Emitter::contract(Value lhs, Value rhs, const Twine &subscripts) {
  return make<nn::ContractOp>(lhs, rhs, builder.getStringAttr(subscripts));
}

// Known values as tensors ----------------------------------------------------

Value Emitter::materialize(const ImportValue &value) {
  if (value.kind == ImportValue::Tensor)
    return value.tensor;
  if (value.kind == ImportValue::Symbolic)
    return materializeSymbolic(value);
  // A mask or a list of positions that the file spells out is still what it says.
  if (value.element != ElementKind::F32 && !value.isSplat() && value.count() >= 8)
    if (std::optional<ImportValue> fitted = fitSymbolic(value); fitted && fitted->kind == ImportValue::Symbolic)
      return materializeSymbolic(*fitted);
  RankedTensorType t = type(value.element, value.shape);
  DenseElementsAttr attribute;
  if (value.element == ElementKind::F32) {
    SmallVector<float> elements;
    for (Scalar s : *value.data)
      elements.push_back(s.f);
    attribute = DenseElementsAttr::get(t, ArrayRef<float>(elements));
  } else if (value.element == ElementKind::I64) {
    SmallVector<int64_t> elements;
    for (Scalar s : *value.data)
      elements.push_back(s.i);
    attribute = DenseElementsAttr::get(t, ArrayRef<int64_t>(elements));
  } else {
    SmallVector<bool> elements;
    for (Scalar s : *value.data)
      elements.push_back(s.i != 0);
    attribute = DenseElementsAttr::get(t, ArrayRef<bool>(elements));
  }
  return builder.create<nn::ConstantOp>(loc, attribute);
}

Value Emitter::atStart(llvm::function_ref<Value()> build) {
  OpBuilder::InsertionGuard guard(builder);
  if (lastInPrologue)
    builder.setInsertionPointAfter(lastInPrologue);
  else
    builder.setInsertionPointToStart(body);
  Value result = build();
  if (builder.getInsertionPoint() != body->begin())
    lastInPrologue = &*std::prev(builder.getInsertionPoint());
  return result;
}

Value Emitter::materializeSymbolic(const ImportValue &value) {
  Value &cached = value.symbolic->materialized;
  if (!cached)
    cached = atStart([&] { return buildSymbolic(value); });
  return cached;
}

Value Emitter::buildSymbolic(const ImportValue &value) {
  if (value.element == ElementKind::I1)
    return buildCondition(value);
  SmallVector<Value> pieces;
  int64_t start = 0;
  for (const Piece &piece : value.symbolic->pieces) {
    Shape shape = value.shape;
    Affine local = piece.value;
    if (value.symbolic->pieces.size() > 1) {
      shape[value.symbolic->axis] = piece.extent;
      local.constant += local.coefficients[value.symbolic->axis] * start;
      local.canonicalize(shape);
    }
    Shape dims;
    for (auto [d, c] : enumerate(local.coefficients))
      if (c != 0)
        dims.push_back(d);
    pieces.push_back(broadcastDims(buildAffine(local, value.element, shape, dims), dims, shape));
    start += piece.extent;
  }
  return concat(pieces, value.symbolic->axis);
}

/// The affine expression over the dimensions `dims` only (which hold all that it depends on).
Value Emitter::buildAffine(const Affine &affine, ElementKind element, ArrayRef<int64_t> shape,
                                 ArrayRef<int64_t> dims) {
  Shape sizes;
  for (int64_t d : dims)
    sizes.push_back(shape[d]);
  RankedTensorType ints = type(ElementKind::I64, sizes);
  auto integer = [&](RankedTensorType t, int64_t value) -> Value {
    return builder.create<nn::ConstantOp>(loc, DenseElementsAttr::get(t, ArrayRef<int64_t>(value)));
  };
  Value sum;
  int64_t constant = affine.constant; // added to the first term, before it is repeated
  for (auto [position, d] : enumerate(dims)) {
    if (affine.coefficients[d] == 0)
      continue;
    RankedTensorType line = type(ElementKind::I64, {shape[d]});
    Value term = builder.create<nn::IotaOp>(loc, line, 0);
    if (affine.coefficients[d] != 1)
      term = make<nn::MulOp>(term, integer(line, affine.coefficients[d]));
    if (constant != 0)
      term = make<nn::AddOp>(term, integer(line, constant));
    constant = 0;
    term = broadcastDims(term, {static_cast<int64_t>(position)}, sizes);
    sum = sum ? make<nn::AddOp>(sum, term) : term;
  }
  if (!sum)
    sum = integer(ints, constant);
  return element == ElementKind::F32 ? make<nn::CastOp>(type(ElementKind::F32, sizes), sum) : sum;
}

/// `j - i <= c` becomes compare le (j), (i + c): the constant is always on the right.
Value Emitter::buildCondition(const ImportValue &value) {
  Shape dims; // all that any atom depends on
  for (size_t d = 0; d < value.shape.size(); ++d)
    if (any_of(value.symbolic->atoms, [&](const Atom &atom) { return atom.expression.coefficients[d] != 0; }))
      dims.push_back(d);
  Shape sizes;
  for (int64_t d : dims)
    sizes.push_back(value.shape[d]);
  Value all;
  for (const Atom &atom : value.symbolic->atoms) {
    size_t rank = value.shape.size();
    Affine left = Affine::constantOf(0, rank), right = Affine::constantOf(atom.expression.constant, rank);
    for (auto [d, c] : enumerate(atom.expression.coefficients))
      (c < 0 ? left : right).coefficients[d] = c < 0 ? -c : c;
    nn::Predicate predicate = atom.kind == Atom::NonNegative ? nn::Predicate::LE
                              : atom.kind == Atom::Zero      ? nn::Predicate::EQ
                                                             : nn::Predicate::NE;
    if (left.isConstant()) { // keep the indices on the left
      left = right;
      left.constant = 0;
      right = Affine::constantOf(-atom.expression.constant, rank);
      if (atom.kind == Atom::NonNegative)
        predicate = nn::Predicate::GE;
    }
    Value condition = make<nn::CompareOp>(predicate, buildAffine(left, ElementKind::I64, value.shape, dims),
                                          buildAffine(right, ElementKind::I64, value.shape, dims));
    all = all ? make<nn::AndOp>(all, condition) : condition;
  }
  return broadcastDims(all, dims, value.shape);
}

// Values of any kind ---------------------------------------------------------

/// Each index of the result as itself, for gathers that move whole dimensions.
static SmallVector<Affine> identity(size_t rank) {
  SmallVector<Affine> indices;
  for (size_t d = 0; d < rank; ++d)
    indices.push_back(Affine::index(d, rank));
  return indices;
}

ImportValue Emitter::reshape(const ImportValue &value, ArrayRef<int64_t> shape) {
  if (ArrayRef<int64_t>(value.shape) == shape)
    return value;
  if (std::optional<ImportValue> known = reshapeKnown(value, shape))
    return *known;
  return ImportValue::tensorOf(reshape(materialize(value), shape));
}

ImportValue Emitter::transpose(const ImportValue &value, ArrayRef<int64_t> permutation) {
  if (value.isKnown()) {
    SmallVector<Affine> indices(permutation.size());
    Shape shape;
    for (auto [d, p] : enumerate(permutation)) {
      indices[p] = Affine::index(d, permutation.size());
      shape.push_back(value.shape[p]);
    }
    if (std::optional<ImportValue> known = gatherKnown(value, indices, shape))
      return *known;
  }
  return ImportValue::tensorOf(transpose(materialize(value), permutation));
}

ImportValue Emitter::broadcast(const ImportValue &value, ArrayRef<int64_t> shape) {
  if (ArrayRef<int64_t>(value.shape) == shape)
    return value;
  if (value.isKnown()) {
    size_t lead = shape.size() - value.shape.size();
    SmallVector<Affine> indices;
    for (auto [d, size] : enumerate(value.shape))
      indices.push_back(size == 1 ? Affine::constantOf(0, shape.size()) : Affine::index(lead + d, shape.size()));
    if (std::optional<ImportValue> known = gatherKnown(value, indices, shape))
      return *known;
  }
  return ImportValue::tensorOf(broadcast(materialize(value), shape));
}

ImportValue Emitter::slice(const ImportValue &value, ArrayRef<int64_t> offsets, ArrayRef<int64_t> sizes,
                           ArrayRef<int64_t> steps) {
  if (value.isKnown()) {
    SmallVector<Affine> indices = identity(sizes.size());
    for (size_t d = 0; d < sizes.size(); ++d) {
      indices[d].coefficients[d] = steps[d];
      indices[d].constant = offsets[d];
    }
    if (std::optional<ImportValue> known = gatherKnown(value, indices, sizes))
      return *known;
  }
  if (value.parts) { // what lies in one part is a slice of that, and known if it is
    int64_t begin = offsets[value.axis], last = begin + (sizes[value.axis] - 1) * steps[value.axis], start = 0;
    for (const ImportValue &part : *value.parts) {
      int64_t end = start + part.shape[value.axis];
      if (std::min(begin, last) >= start && std::max(begin, last) < end) {
        Shape inside(offsets);
        inside[value.axis] -= start;
        return slice(part, inside, sizes, steps);
      }
      start = end;
    }
  }
  return ImportValue::tensorOf(slice(materialize(value), offsets, sizes, steps));
}

ImportValue Emitter::concat(ArrayRef<ImportValue> values, int64_t dim) {
  if (values.size() == 1)
    return values[0];
  if (std::optional<ImportValue> known = concatKnown(values, dim))
    return *known;
  SmallVector<Value> tensors;
  for (const ImportValue &v : values)
    tensors.push_back(materialize(v));
  ImportValue joined = ImportValue::tensorOf(concat(tensors, dim));
  if (any_of(values, [](const ImportValue &v) { return v.isKnown(); })) {
    joined.parts = std::make_shared<std::vector<ImportValue>>(values);
    joined.axis = dim;
  }
  return joined;
}

/// A dimension along which several of the result's walk, each inside a step of the one before (16 i + j, with j below 16), is several
/// dimensions. Splits dimension `size` so, with one index for each part, if no part ever carries into the next; appends it as it is otherwise.
static void splitWalk(int64_t size, const Affine &index, ArrayRef<int64_t> shape, Shape &sizes, SmallVectorImpl<Affine> &indices) {
  SmallVector<size_t> walkers;
  for (auto [r, c] : enumerate(index.coefficients))
    if (c != 0)
      walkers.push_back(r);
  llvm::sort(walkers, [&](size_t a, size_t b) { return index.coefficients[a] > index.coefficients[b]; });
  Shape parts;
  SmallVector<Affine> along;
  int64_t step = size, rest = index.constant;
  auto addPart = [&](int64_t nextStep, std::optional<size_t> walker) {
    if (nextStep < 1 || step % nextStep)
      return false;
    Affine digit = Affine::constantOf(rest / nextStep, shape.size());
    if (walker)
      digit.coefficients[*walker] = 1;
    parts.push_back(step / nextStep);
    auto range = digit.range(shape);
    along.push_back(digit);
    step = nextStep;
    rest %= nextStep;
    return range && range->second < parts.back();
  };
  bool nested = walkers.size() > 1;
  for (size_t walker : walkers)
    nested = nested && addPart(index.coefficients[walker], walker);
  if (nested && step > 1)
    nested = addPart(1, std::nullopt);
  if (!nested) {
    parts = {size};
    along = {index};
  }
  sizes.append(parts.begin(), parts.end());
  indices.append(along.begin(), along.end());
}

std::optional<ImportValue> Emitter::gather(const ImportValue &value, ArrayRef<Affine> given, ArrayRef<int64_t> shape) {
  if (value.isKnown())
    if (std::optional<ImportValue> known = gatherKnown(value, given, shape))
      return known;
  Shape whole;
  SmallVector<Affine> indices;
  for (auto [size, each] : zip(value.shape, given)) {
    Affine index = each;
    index.canonicalize(shape);
    auto range = index.range(shape);
    if (!range || range->first < 0 || range->second >= size)
      return std::nullopt;
    splitWalk(size, index, shape, whole, indices);
  }
  // Each dimension of the tensor walks along at most one of the result's, all along different ones.
  size_t rank = whole.size();
  Shape offsets(rank), sizes(rank, 1), steps(rank, 1);
  SmallVector<std::optional<size_t>> walker(rank);
  SmallVector<bool> taken(shape.size(), false);
  for (size_t d = 0; d < rank; ++d) {
    const Affine &index = indices[d];
    offsets[d] = index.constant;
    for (auto [r, c] : enumerate(index.coefficients)) {
      if (c == 0)
        continue;
      if (walker[d] || taken[r])
        return std::nullopt;
      walker[d] = r;
      taken[r] = true;
      sizes[d] = shape[r];
      steps[d] = c;
    }
  }
  Value tensor = slice(reshape(materialize(value), whole), offsets, sizes, steps);
  // Drop what does not walk, order the rest as in the result, repeat along the others.
  Shape kept, dims;
  SmallVector<size_t> walkers;
  for (size_t d = 0; d < rank; ++d)
    if (walker[d]) {
      kept.push_back(sizes[d]);
      walkers.push_back(*walker[d]);
    }
  tensor = reshape(tensor, kept);
  Shape permutation(walkers.size());
  std::iota(permutation.begin(), permutation.end(), 0);
  llvm::sort(permutation, [&](int64_t a, int64_t b) { return walkers[a] < walkers[b]; });
  for (int64_t p : permutation)
    dims.push_back(walkers[p]);
  tensor = transpose(tensor, permutation);
  // Unit dimensions of the result come by reshape, the others by broadcast.
  bool onlyUnits = true;
  for (auto [r, size] : enumerate(shape))
    onlyUnits &= size == 1 || is_contained(dims, static_cast<int64_t>(r));
  return ImportValue::tensorOf(onlyUnits ? reshape(tensor, shape) : broadcastDims(tensor, dims, shape));
}

} // namespace galvatron

//===- ImportValue.cpp - What an ONNX value is while importing ------------===//

#include "ImportValue.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace llvm;

namespace galvatron {

// Construction ---------------------------------------------------------------

ImportValue ImportValue::poison() {
  ImportValue v;
  v.kind = Poison;
  return v;
}

ImportValue ImportValue::dense(ElementKind element, ArrayRef<int64_t> shape, std::vector<Scalar> data) {
  ImportValue v;
  v.kind = Dense;
  v.element = element;
  v.shape.assign(shape.begin(), shape.end());
  v.data = std::make_shared<std::vector<Scalar>>(std::move(data));
  return v;
}

ImportValue ImportValue::splat(ElementKind element, ArrayRef<int64_t> shape, Scalar value) {
  return dense(element, shape, {value});
}

ImportValue ImportValue::ints(ArrayRef<int64_t> values) {
  std::vector<Scalar> data;
  for (int64_t i : values)
    data.push_back(ofInt(i));
  return dense(ElementKind::I64, {int64_t(values.size())}, std::move(data));
}

ImportValue ImportValue::scalar(int64_t value) {
  return dense(ElementKind::I64, {}, {ofInt(value)});
}

ImportValue ImportValue::tensorOf(mlir::Value value) {
  auto type = mlir::cast<mlir::RankedTensorType>(value.getType());
  ImportValue v;
  v.kind = Tensor;
  v.shape.assign(type.getShape().begin(), type.getShape().end());
  v.element = type.getElementType().isF32()          ? ElementKind::F32
              : type.getElementType().isInteger(1) ? ElementKind::I1
                                                   : ElementKind::I64;
  v.tensor = value;
  return v;
}

/// An integer as an element of this kind.
static Scalar numberScalar(ElementKind element, int64_t value) {
  return element == ElementKind::F32 ? ofFloat(static_cast<float>(value)) : ofInt(value);
}

static ImportValue symbolicValue(ElementKind element, ArrayRef<int64_t> shape, Symbolic symbolic) {
  ImportValue v;
  v.kind = ImportValue::Symbolic;
  v.element = element;
  v.shape.assign(shape.begin(), shape.end());
  v.symbolic = std::make_shared<Symbolic>(std::move(symbolic));
  return v;
}

ImportValue affineValue(ElementKind element, ArrayRef<int64_t> shape, const Affine &value) {
  Affine canonical = value;
  canonical.canonicalize(shape);
  if (canonical.isConstant() || numElements(shape) == 0)
    return ImportValue::splat(element, shape, numberScalar(element, canonical.constant));
  Symbolic symbolic;
  symbolic.pieces.push_back({shape[0], canonical});
  return symbolicValue(element, shape, std::move(symbolic));
}

ImportValue conditionValue(ArrayRef<int64_t> shape, const Conjunction &atoms) {
  std::optional<Conjunction> simple = simplify(atoms, shape);
  if (!simple || simple->empty())
    return ImportValue::splat(ElementKind::I1, shape, ofInt(simple ? 1 : 0));
  Symbolic symbolic;
  symbolic.atoms = *simple;
  return symbolicValue(ElementKind::I1, shape, std::move(symbolic));
}

/// Pieces as a value: neighbours that follow one function become one piece.
static ImportValue piecewiseValue(ElementKind element, ArrayRef<int64_t> shape, size_t axis,
                                  ArrayRef<Piece> pieces) {
  SmallVector<Piece, 1> merged;
  int64_t start = 0;
  // A piece of one element fits a function if the function has its values there.
  auto agreesAt = [&](const Affine &function, const Affine &single, int64_t position) {
    Affine a = function, b = single;
    int64_t term;
    if (MulOverflow(a.coefficients[axis], position, term) || AddOverflow(a.constant, term, a.constant) ||
        MulOverflow(b.coefficients[axis], position, term) || AddOverflow(b.constant, term, b.constant))
      return false;
    a.coefficients[axis] = b.coefficients[axis] = 0;
    return a == b;
  };
  for (Piece piece : pieces) {
    if (piece.extent == 0)
      continue;
    for (auto [d, size] : enumerate(shape))
      if (size == 1)
        piece.value.coefficients[d] = 0;
    if (!merged.empty()) {
      Piece &last = merged.back();
      bool same = last.value == piece.value;
      if (!same && last.extent == 1 && agreesAt(piece.value, last.value, start - 1)) {
        last.value = piece.value;
        same = true;
      } else if (!same && piece.extent == 1 && agreesAt(last.value, piece.value, start)) {
        same = true;
      }
      if (same) {
        last.extent += piece.extent;
        start += piece.extent;
        continue;
      }
    }
    merged.push_back(piece);
    start += piece.extent;
  }
  if (merged.size() <= 1)
    return affineValue(element, shape, merged.empty() ? Affine::constantOf(0, shape.size()) : merged[0].value);
  Symbolic symbolic;
  symbolic.axis = axis;
  symbolic.pieces = std::move(merged);
  return symbolicValue(element, shape, std::move(symbolic));
}

// Elements -------------------------------------------------------------------

/// The element of a symbolic value at an index.
static std::optional<Scalar> symbolicAt(const ImportValue &value, ArrayRef<int64_t> index) {
  if (value.element == ElementKind::I1) {
    bool all = true;
    for (const Atom &atom : value.symbolic->atoms) {
      std::optional<bool> holds = atom.evaluate(index);
      if (!holds)
        return std::nullopt;
      all &= *holds;
    }
    return ofInt(all);
  }
  const Piece *piece = value.symbolic->pieces.begin();
  for (int64_t end = piece->extent; value.symbolic->pieces.size() > 1 && index[value.symbolic->axis] >= end;)
    end += (++piece)->extent;
  std::optional<int64_t> number = piece->value.evaluate(index);
  if (!number)
    return std::nullopt;
  return numberScalar(value.element, *number);
}

std::optional<std::vector<Scalar>> elementsOf(const ImportValue &value) {
  if (!value.isKnown() || value.count() > maxDenseElements)
    return std::nullopt;
  std::vector<Scalar> elements;
  elements.reserve(value.count());
  if (value.kind == ImportValue::Dense) {
    for (int64_t i = 0, n = value.count(); i < n; ++i)
      elements.push_back(value.at(i));
    return elements;
  }
  bool exact = true;
  forEachIndex(value.shape, [&](ArrayRef<int64_t> index) {
    std::optional<Scalar> element = symbolicAt(value, index);
    exact &= element.has_value();
    elements.push_back(element.value_or(ofInt(0)));
  });
  if (!exact)
    return std::nullopt;
  return elements;
}

std::optional<Shape> intsOf(const ImportValue &value) {
  if (value.element == ElementKind::F32 || value.rank() > 1)
    return std::nullopt;
  std::optional<std::vector<Scalar>> elements = elementsOf(value);
  if (!elements)
    return std::nullopt;
  Shape ints;
  for (Scalar s : *elements)
    ints.push_back(s.i);
  return ints;
}

// Moves ----------------------------------------------------------------------

/// Row-major strides.
static Shape stridesOf(ArrayRef<int64_t> shape) {
  Shape strides(shape.size(), 1);
  for (size_t d = shape.size(); d-- > 1;)
    strides[d - 1] = strides[d] * shape[d];
  return strides;
}

static std::optional<ImportValue> gatherPieces(const ImportValue &value, ArrayRef<Affine> indices,
                                               ArrayRef<int64_t> shape) {
  const Symbolic &symbolic = *value.symbolic;
  const Affine &along = indices[symbolic.axis];
  auto range = along.range(shape);
  if (!range)
    return std::nullopt;
  // Inside one piece?
  int64_t start = 0;
  for (const Piece &piece : symbolic.pieces) {
    if (range->first >= start && range->second < start + piece.extent) {
      std::optional<Affine> composed = piece.value.compose(indices, shape.size());
      return composed ? std::optional(affineValue(value.element, shape, *composed)) : std::nullopt;
    }
    start += piece.extent;
  }
  // Walking along a dimension of the result with stride one?
  std::optional<size_t> walker;
  for (auto [d, c] : enumerate(along.coefficients)) {
    if (c == 0)
      continue;
    if (c != 1 || walker)
      return std::nullopt;
    walker = d;
  }
  if (!walker)
    return std::nullopt;
  SmallVector<Piece> pieces;
  start = 0;
  for (const Piece &piece : symbolic.pieces) {
    int64_t low = std::max(start, range->first), high = std::min(start + piece.extent - 1, range->second);
    start += piece.extent;
    if (low > high)
      continue;
    std::optional<Affine> composed = piece.value.compose(indices, shape.size());
    if (!composed)
      return std::nullopt;
    pieces.push_back({high - low + 1, *composed});
  }
  return piecewiseValue(value.element, shape, *walker, pieces);
}

std::optional<ImportValue> gatherKnown(const ImportValue &value, ArrayRef<Affine> indices,
                                       ArrayRef<int64_t> shape) {
  if (value.kind == ImportValue::Dense) {
    if (value.isSplat() || numElements(shape) == 0)
      return ImportValue::splat(value.element, shape, value.count() ? value.at(0) : ofInt(0));
    std::optional<int64_t> count = numElements(shape);
    if (!count || *count > maxDenseElements) {
      std::optional<ImportValue> fitted = fitSymbolic(value);
      return fitted && fitted->kind == ImportValue::Symbolic ? gatherKnown(*fitted, indices, shape) : std::nullopt;
    }
    std::vector<Scalar> data;
    data.reserve(*count);
    Shape strides = stridesOf(value.shape);
    bool inside = true;
    forEachIndex(shape, [&](ArrayRef<int64_t> index) {
      int64_t offset = 0;
      for (auto [d, affine] : enumerate(indices)) {
        int64_t i = affine.evaluate(index).value_or(-1);
        inside &= i >= 0 && i < value.shape[d];
        offset += i * strides[d];
      }
      data.push_back(inside ? value.at(offset) : ofInt(0));
    });
    if (!inside)
      return std::nullopt;
    return ImportValue::dense(value.element, shape, std::move(data));
  }
  if (value.kind != ImportValue::Symbolic)
    return std::nullopt;
  if (value.element == ElementKind::I1) {
    Conjunction atoms;
    for (const Atom &atom : value.symbolic->atoms) {
      std::optional<Affine> composed = atom.expression.compose(indices, shape.size());
      if (!composed)
        return std::nullopt;
      atoms.push_back({atom.kind, *composed});
    }
    return conditionValue(shape, atoms);
  }
  if (value.symbolic->pieces.size() > 1)
    return gatherPieces(value, indices, shape);
  std::optional<Affine> composed = value.symbolic->pieces[0].value.compose(indices, shape.size());
  return composed ? std::optional(affineValue(value.element, shape, *composed)) : std::nullopt;
}

/// The same function under another shape. Dimensions fall into groups of equal size; in each, the function
/// must depend on the group's linear index alone.
static std::optional<Affine> reshapeAffine(const Affine &affine, ArrayRef<int64_t> from, ArrayRef<int64_t> to) {
  Affine result = Affine::constantOf(affine.constant, to.size());
  size_t i = 0, j = 0;
  while (i < from.size() || j < to.size()) {
    size_t firstFrom = i, firstTo = j;
    int64_t left = i < from.size() ? from[i++] : 1, right = j < to.size() ? to[j++] : 1;
    while (left != right) {
      if (left < right && i < from.size())
        left *= from[i++];
      else if (right < left && j < to.size())
        right *= to[j++];
      else
        return std::nullopt;
    }
    // left == right: one group. Its linear coefficient is that of its innermost dimension that is not unit.
    int64_t linear = 0, stride = 1;
    for (size_t d = i; d-- > firstFrom; stride *= from[d]) {
      if (from[d] == 1)
        continue;
      int64_t wanted;
      if (stride == 1)
        linear = affine.coefficients[d];
      if (MulOverflow(linear, stride, wanted) || wanted != affine.coefficients[d])
        return std::nullopt;
    }
    stride = 1;
    for (size_t d = j; d-- > firstTo; stride *= to[d])
      if (to[d] != 1 && MulOverflow(linear, stride, result.coefficients[d]))
        return std::nullopt;
  }
  return result;
}

std::optional<ImportValue> reshapeKnown(const ImportValue &value, ArrayRef<int64_t> shape) {
  if (value.kind == ImportValue::Dense) {
    ImportValue result = value;
    result.shape.assign(shape.begin(), shape.end());
    return result;
  }
  if (value.kind != ImportValue::Symbolic)
    return std::nullopt;
  if (value.element == ElementKind::I1) {
    Conjunction atoms;
    for (const Atom &atom : value.symbolic->atoms) {
      std::optional<Affine> reshaped = reshapeAffine(atom.expression, value.shape, shape);
      if (!reshaped)
        return std::nullopt;
      atoms.push_back({atom.kind, *reshaped});
    }
    return conditionValue(shape, atoms);
  }
  if (value.symbolic->pieces.size() == 1) {
    std::optional<Affine> reshaped = reshapeAffine(value.symbolic->pieces[0].value, value.shape, shape);
    return reshaped ? std::optional(affineValue(value.element, shape, *reshaped)) : std::nullopt;
  }
  // Pieces survive unit dimensions that come and go.
  SmallVector<size_t> fromDims, toDims;
  for (auto [d, size] : enumerate(value.shape))
    if (size != 1)
      fromDims.push_back(d);
  for (auto [d, size] : enumerate(shape))
    if (size != 1)
      toDims.push_back(d);
  if (fromDims.size() != toDims.size())
    return std::nullopt;
  size_t axis = 0;
  SmallVector<Piece> pieces;
  for (auto [from, to] : zip(fromDims, toDims)) {
    if (value.shape[from] != shape[to])
      return std::nullopt;
    if (from == value.symbolic->axis)
      axis = to;
  }
  for (const Piece &piece : value.symbolic->pieces) {
    Affine moved = Affine::constantOf(piece.value.constant, shape.size());
    for (auto [from, to] : zip(fromDims, toDims))
      moved.coefficients[to] = piece.value.coefficients[from];
    pieces.push_back({piece.extent, moved});
  }
  return piecewiseValue(value.element, shape, axis, pieces);
}

std::optional<ImportValue> concatKnown(ArrayRef<ImportValue> values, size_t axis) {
  Shape shape = values[0].shape;
  shape[axis] = 0;
  bool allDense = true;
  for (const ImportValue &v : values) {
    if (!v.isKnown() || v.element != values[0].element)
      return std::nullopt;
    allDense &= v.kind == ImportValue::Dense;
    shape[axis] += v.shape[axis];
  }
  std::optional<int64_t> count = numElements(shape);
  if (allDense && count && *count <= maxDenseElements) {
    std::vector<Scalar> data;
    data.reserve(*count);
    int64_t outer = 1, inner = 1;
    for (size_t d = 0; d < shape.size(); ++d)
      (d < axis ? outer : inner) *= d == axis ? 1 : shape[d];
    for (int64_t o = 0; o < outer; ++o)
      for (const ImportValue &v : values)
        for (int64_t i = 0, n = v.shape[axis] * inner; i < n; ++i)
          data.push_back(v.at(o * n + i));
    return ImportValue::dense(values[0].element, shape, std::move(data));
  }
  if (values[0].element == ElementKind::I1)
    return std::nullopt;
  SmallVector<Piece> pieces;
  int64_t start = 0;
  for (const ImportValue &v : values) {
    std::optional<Affine> affine = affineOf(v);
    if (!affine)
      return std::nullopt;
    int64_t shift;
    if (MulOverflow(affine->coefficients[axis], start, shift) ||
        SubOverflow(affine->constant, shift, affine->constant))
      return std::nullopt;
    pieces.push_back({v.shape[axis], *affine});
    start += v.shape[axis];
  }
  return piecewiseValue(values[0].element, shape, axis, pieces);
}

// Recognition ----------------------------------------------------------------

static std::optional<int64_t> integerOf(ElementKind element, Scalar s) {
  if (element != ElementKind::F32)
    return s.i;
  // Integers of this size and their sums are exact in f32.
  if (!(s.f >= -16777216.0f && s.f <= 16777216.0f) || s.f != static_cast<float>(static_cast<int64_t>(s.f)) ||
      (s.f == 0 && std::signbit(s.f)))
    return std::nullopt;
  return static_cast<int64_t>(s.f);
}

/// Fits the elements whose index along `axis` is in [first, first + extent).
static std::optional<Affine> fitAffine(const ImportValue &value, size_t axis, int64_t first, int64_t extent) {
  Shape box = value.shape, strides = stridesOf(value.shape);
  if (!box.empty())
    box[axis] = extent;
  int64_t base = box.empty() ? 0 : first * strides[axis];
  auto at = [&](int64_t offset) { return integerOf(value.element, value.at(base + offset)); };
  std::optional<int64_t> origin = at(0);
  if (!origin)
    return std::nullopt;
  Affine fitted = Affine::constantOf(*origin, box.size());
  for (size_t d = 0; d < box.size(); ++d) {
    if (box[d] == 1)
      continue;
    std::optional<int64_t> next = at(strides[d]);
    if (!next || SubOverflow(*next, *origin, fitted.coefficients[d]))
      return std::nullopt;
  }
  bool fits = true;
  forEachIndex(box, [&](ArrayRef<int64_t> index) {
    int64_t offset = 0;
    for (auto [i, stride] : zip(index, strides))
      offset += i * stride;
    fits = fits && at(offset) == fitted.evaluate(index);
  });
  if (!fits)
    return std::nullopt;
  if (!box.empty() && box[axis] > 1) // index 0 of the box is index `first` of the tensor
    fitted.constant -= fitted.coefficients[axis] * first;
  return fitted;
}

/// A band low <= j - i <= high over the last two dimensions, inside a box, the same along all others.
static std::optional<ImportValue> fitBand(const ImportValue &value) {
  size_t rank = value.rank();
  Shape low(rank, INT64_MAX), high(rank, INT64_MIN);
  int64_t lower = INT64_MAX, upper = INT64_MIN, offset = 0;
  bool any = false;
  forEachIndex(value.shape, [&](ArrayRef<int64_t> index) {
    if (!value.at(offset++).i)
      return;
    any = true;
    for (size_t d = 0; d < rank; ++d) {
      low[d] = std::min(low[d], index[d]);
      high[d] = std::max(high[d], index[d]);
    }
    if (rank >= 2) {
      lower = std::min(lower, index[rank - 1] - index[rank - 2]);
      upper = std::max(upper, index[rank - 1] - index[rank - 2]);
    }
  });
  if (!any)
    return ImportValue::splat(ElementKind::I1, value.shape, ofInt(0));
  Conjunction atoms;
  auto addAtom = [&](int64_t factor, size_t dim, std::optional<size_t> minus, int64_t constant) {
    Affine e = Affine::constantOf(constant, rank);
    e.coefficients[dim] = factor;
    if (minus)
      e.coefficients[*minus] = -factor;
    atoms.push_back({Atom::NonNegative, e});
  };
  if (rank >= 2) {
    addAtom(-1, rank - 1, rank - 2, upper);
    addAtom(1, rank - 1, rank - 2, -lower);
  }
  for (size_t d = 0; d < rank; ++d) {
    addAtom(1, d, std::nullopt, -low[d]);
    addAtom(-1, d, std::nullopt, high[d]);
  }
  ImportValue fitted = conditionValue(value.shape, atoms);
  bool fits = true;
  offset = 0;
  forEachIndex(value.shape, [&](ArrayRef<int64_t> index) {
    bool found = value.at(offset++).i;
    bool wanted = fitted.kind == ImportValue::Dense ? fitted.at(0).i : symbolicAt(fitted, index)->i;
    fits = fits && found == wanted;
  });
  if (!fits)
    return std::nullopt;
  // The bounds of the box that the band implies anyway say nothing: drop those that can go.
  if (fitted.kind == ImportValue::Symbolic)
    for (size_t k = fitted.symbolic->atoms.size(); k-- > 0 && fitted.symbolic->atoms.size() > 1;) {
      Conjunction fewer = fitted.symbolic->atoms;
      fewer.erase(fewer.begin() + k);
      ImportValue candidate = conditionValue(value.shape, fewer);
      if (candidate.kind != ImportValue::Symbolic)
        continue;
      bool same = true;
      offset = 0;
      forEachIndex(value.shape, [&](ArrayRef<int64_t> index) {
        same = same && bool(value.at(offset++).i) == bool(symbolicAt(candidate, index)->i);
      });
      if (same)
        fitted = candidate;
    }
  return fitted;
}

std::optional<ImportValue> fitSymbolic(const ImportValue &value) {
  if (value.kind == ImportValue::Symbolic)
    return value;
  if (value.kind != ImportValue::Dense || value.count() == 0)
    return std::nullopt;
  if (value.isSplat())
    return value;
  if (value.element == ElementKind::I1)
    return fitBand(value);
  if (std::optional<Affine> affine = fitAffine(value, 0, 0, value.shape[0]))
    return affineValue(value.element, value.shape, *affine);
  // The columns of an index tensor for GatherND.
  size_t last = value.rank() - 1;
  if (value.shape[last] > 16)
    return std::nullopt;
  SmallVector<Piece> pieces;
  for (int64_t i = 0; i < value.shape[last]; ++i) {
    std::optional<Affine> column = fitAffine(value, last, i, 1);
    if (!column)
      return std::nullopt;
    pieces.push_back({1, *column});
  }
  return piecewiseValue(value.element, value.shape, last, pieces);
}

std::optional<Affine> affineOf(const ImportValue &value) {
  if (value.element == ElementKind::I1 || !value.isKnown() || value.count() == 0)
    return std::nullopt;
  if (value.isSplat() || (value.kind == ImportValue::Dense && value.count() == 1)) {
    std::optional<int64_t> number = integerOf(value.element, value.at(0));
    return number ? std::optional(Affine::constantOf(*number, value.rank())) : std::nullopt;
  }
  std::optional<ImportValue> fitted = fitSymbolic(value);
  if (!fitted || fitted->kind != ImportValue::Symbolic || fitted->symbolic->pieces.size() != 1)
    return std::nullopt;
  return fitted->symbolic->pieces[0].value;
}

std::optional<Conjunction> conditionOf(const ImportValue &value) {
  if (value.element != ElementKind::I1 || !value.isKnown())
    return std::nullopt;
  std::optional<ImportValue> fitted = fitSymbolic(value);
  if (!fitted)
    return std::nullopt;
  if (fitted->kind == ImportValue::Symbolic)
    return fitted->symbolic->atoms;
  return fitted->at(0).i ? std::optional(Conjunction()) : std::nullopt;
}

} // namespace galvatron

//===- ImportValue.h - What an ONNX value is while importing --------------===//
//
// A value is known data (small, or one element repeated), an affine function of
// its own index (numbers), a conjunction of affine comparisons (booleans), or an
// SSA value of nn. The first three never become tensors unless an op needs them.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_LIB_IMPORT_IMPORTVALUE_H
#define GALVATRON_LIB_IMPORT_IMPORTVALUE_H

#include "Affine.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <memory>
#include <vector>

namespace galvatron {

/// The element types of nn. ONNX's other integers are I64 here.
enum class ElementKind { F32, I64, I1 };

/// One element: `f` of F32, `i` of I64 and I1.
union Scalar {
  int64_t i;
  float f;
};

inline Scalar ofInt(int64_t i) {
  Scalar s;
  s.i = i;
  return s;
}

inline Scalar ofFloat(float f) {
  Scalar s = ofInt(0); // so that equal floats are equal as integers
  s.f = f;
  return s;
}

/// Evaluation of known data stops at this many elements; beyond, nn ops compute it.
inline constexpr int64_t maxDenseElements = 65536;

struct Piece {
  int64_t extent;
  Affine value; // in the index of the whole tensor
};

/// An affine function of the index. Numbers may change from one function to another along `axis` (a Concat
/// of index tensors); booleans are a conjunction.
struct Symbolic {
  size_t axis = 0;
  llvm::SmallVector<Piece, 1> pieces;
  Conjunction atoms;
  mlir::Value materialized; // once an op needed it as a tensor
};

struct ImportValue {
  enum Kind { Absent, Poison, Dense, Symbolic, Tensor, Sequence } kind = Absent;
  ElementKind element = ElementKind::F32;
  Shape shape;
  std::shared_ptr<std::vector<Scalar>> data; // Dense: all elements, or one that is repeated
  std::shared_ptr<galvatron::Symbolic> symbolic;
  mlir::Value tensor;
  std::shared_ptr<std::vector<ImportValue>> sequence;
  // Tensor: what it was joined from along `axis`, where some of that is known.
  std::shared_ptr<std::vector<ImportValue>> parts;
  int64_t axis = 0;

  bool isKnown() const { return kind == Dense || kind == Symbolic; }
  bool isSplat() const { return kind == Dense && data->size() == 1; }
  int64_t rank() const { return shape.size(); }
  int64_t count() const { return numElements(shape).value_or(0); }
  Scalar at(int64_t i) const { return data->size() == 1 ? data->front() : (*data)[i]; }

  static ImportValue poison();
  static ImportValue dense(ElementKind element, llvm::ArrayRef<int64_t> shape, std::vector<Scalar> data);
  static ImportValue splat(ElementKind element, llvm::ArrayRef<int64_t> shape, Scalar value);
  static ImportValue ints(llvm::ArrayRef<int64_t> values);
  static ImportValue scalar(int64_t value);
  static ImportValue tensorOf(mlir::Value value);
};

/// The affine function as a value; known data where it is constant.
ImportValue affineValue(ElementKind element, llvm::ArrayRef<int64_t> shape, const Affine &value);
/// The conjunction as a value; known data where it is constant.
ImportValue conditionValue(llvm::ArrayRef<int64_t> shape, const Conjunction &atoms);

/// result[i...] = value[indices(i...)], for known values. Nothing if that has no small or symbolic form.
std::optional<ImportValue> gatherKnown(const ImportValue &value, llvm::ArrayRef<Affine> indices,
                                       llvm::ArrayRef<int64_t> shape);

/// The same elements in row-major order under another shape, for known values.
std::optional<ImportValue> reshapeKnown(const ImportValue &value, llvm::ArrayRef<int64_t> shape);

/// Joins known values of one element type along a dimension.
std::optional<ImportValue> concatKnown(llvm::ArrayRef<ImportValue> values, size_t axis);

/// The affine function or condition that known data follows, if there is one.
std::optional<ImportValue> fitSymbolic(const ImportValue &value);

/// The single affine function of a number, fitted if it is data.
std::optional<Affine> affineOf(const ImportValue &value);

/// The conjunction of a boolean, fitted if it is data. (False everywhere has none.)
std::optional<Conjunction> conditionOf(const ImportValue &value);

/// All elements, if they are known and few.
std::optional<std::vector<Scalar>> elementsOf(const ImportValue &value);
/// The integers of a known value of rank 0 or 1.
std::optional<Shape> intsOf(const ImportValue &value);

} // namespace galvatron

#endif

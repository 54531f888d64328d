//===- Affine.h - Index arithmetic without data ---------------------------===//
//
// What exporters compute with Range, Expand, Concat, GatherND and comparisons is
// affine in the element's own index. Kept as such, a mask of 64 x 8192 x 8192 is
// two coefficients, and it still says "causal".
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_LIB_IMPORT_AFFINE_H
#define GALVATRON_LIB_IMPORT_AFFINE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include <cstdint>
#include <optional>

namespace galvatron {

using Shape = llvm::SmallVector<int64_t, 4>;

/// The number of elements, or nothing if that does not fit 63 bits (or a size is negative).
std::optional<int64_t> numElements(llvm::ArrayRef<int64_t> shape);

/// begin, begin + 1, ... up to but not including end.
inline Shape countFrom(int64_t begin, int64_t end) {
  Shape result;
  for (int64_t i = begin; i < end; ++i)
    result.push_back(i);
  return result;
}

/// constant + sum of coefficients[d] * index[d]. Arithmetic gives nothing when it would overflow.
struct Affine {
  llvm::SmallVector<int64_t, 4> coefficients;
  int64_t constant = 0;

  static Affine constantOf(int64_t value, size_t rank);
  static Affine index(size_t dim, size_t rank);

  bool isConstant() const;
  bool operator==(const Affine &other) const {
    return constant == other.constant && coefficients == other.coefficients;
  }

  /// Smallest and largest value over a box.
  std::optional<std::pair<int64_t, int64_t>> range(llvm::ArrayRef<int64_t> shape) const;

  /// The value with index[d] = indices[d], affine in other indices.
  std::optional<Affine> compose(llvm::ArrayRef<Affine> indices, size_t rank) const;

  std::optional<int64_t> evaluate(llvm::ArrayRef<int64_t> index) const;

  /// Coefficients of dimensions of size one become zero.
  void canonicalize(llvm::ArrayRef<int64_t> shape);
};

std::optional<Affine> add(const Affine &a, const Affine &b);
std::optional<Affine> scale(const Affine &a, int64_t factor);
std::optional<Affine> subtract(const Affine &a, const Affine &b);

/// One comparison of an affine expression with zero.
struct Atom {
  enum Kind { NonNegative, Zero, NonZero } kind;
  Affine expression;

  bool operator==(const Atom &other) const { return kind == other.kind && expression == other.expression; }
  std::optional<Atom> negated() const;
  std::optional<bool> evaluate(llvm::ArrayRef<int64_t> index) const;
};

/// All of these hold. No atoms: true everywhere.
using Conjunction = llvm::SmallVector<Atom, 2>;

/// Drops what always holds over the box and what another atom implies. Nothing: never true.
std::optional<Conjunction> simplify(const Conjunction &atoms, llvm::ArrayRef<int64_t> shape);

/// Expands to all indices of a box in row-major order.
template <typename Fn> void forEachIndex(llvm::ArrayRef<int64_t> shape, Fn fn) {
  for (int64_t size : shape)
    if (size == 0)
      return;
  Shape index(shape.size(), 0);
  while (true) {
    fn(llvm::ArrayRef<int64_t>(index));
    size_t d = shape.size();
    while (d > 0 && ++index[d - 1] == shape[d - 1])
      index[--d] = 0;
    if (d == 0)
      return;
  }
}

} // namespace galvatron

#endif

//===- Affine.cpp - Index arithmetic without data -------------------------===//

#include "Affine.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace llvm;

namespace galvatron {

std::optional<int64_t> numElements(ArrayRef<int64_t> shape) {
  int64_t product = 1;
  for (int64_t size : shape)
    if (size < 0 || MulOverflow(product, size, product))
      return std::nullopt;
  return product;
}

Affine Affine::constantOf(int64_t value, size_t rank) {
  Affine a;
  a.coefficients.assign(rank, 0);
  a.constant = value;
  return a;
}

Affine Affine::index(size_t dim, size_t rank) {
  Affine a = constantOf(0, rank);
  a.coefficients[dim] = 1;
  return a;
}

bool Affine::isConstant() const {
  return all_of(coefficients, [](int64_t c) { return c == 0; });
}

std::optional<std::pair<int64_t, int64_t>> Affine::range(ArrayRef<int64_t> shape) const {
  int64_t low = constant, high = constant;
  for (auto [c, size] : zip_equal(coefficients, shape)) {
    int64_t reach;
    if (size < 1 || MulOverflow(c, size - 1, reach) || AddOverflow(c < 0 ? low : high, reach, c < 0 ? low : high))
      return std::nullopt;
  }
  return std::make_pair(low, high);
}

std::optional<Affine> Affine::compose(ArrayRef<Affine> indices, size_t rank) const {
  Affine result = constantOf(constant, rank);
  for (auto [c, index] : zip_equal(coefficients, indices)) {
    if (c == 0)
      continue;
    std::optional<Affine> term = scale(index, c);
    std::optional<Affine> sum = term ? add(result, *term) : std::nullopt;
    if (!sum)
      return std::nullopt;
    result = *sum;
  }
  return result;
}

std::optional<int64_t> Affine::evaluate(ArrayRef<int64_t> index) const {
  int64_t value = constant;
  for (auto [c, i] : zip_equal(coefficients, index)) {
    int64_t term;
    if (MulOverflow(c, i, term) || AddOverflow(value, term, value))
      return std::nullopt;
  }
  return value;
}

void Affine::canonicalize(ArrayRef<int64_t> shape) {
  for (auto [c, size] : zip_equal(coefficients, shape))
    if (size == 1)
      c = 0;
}

std::optional<Affine> add(const Affine &a, const Affine &b) {
  Affine sum = a;
  for (auto [c, other] : zip_equal(sum.coefficients, b.coefficients))
    if (AddOverflow(c, other, c))
      return std::nullopt;
  if (AddOverflow(sum.constant, b.constant, sum.constant))
    return std::nullopt;
  return sum;
}

std::optional<Affine> scale(const Affine &a, int64_t factor) {
  Affine product = a;
  for (int64_t &c : product.coefficients)
    if (MulOverflow(c, factor, c))
      return std::nullopt;
  if (MulOverflow(product.constant, factor, product.constant))
    return std::nullopt;
  return product;
}

std::optional<Affine> subtract(const Affine &a, const Affine &b) {
  std::optional<Affine> negative = scale(b, -1);
  return negative ? add(a, *negative) : std::nullopt;
}

std::optional<Atom> Atom::negated() const {
  switch (kind) {
  case Zero:
    return Atom{NonZero, expression};
  case NonZero:
    return Atom{Zero, expression};
  case NonNegative: { // not (e >= 0) is -e - 1 >= 0
    std::optional<Affine> negative = scale(expression, -1);
    if (!negative || SubOverflow(negative->constant, int64_t(1), negative->constant))
      return std::nullopt;
    return Atom{NonNegative, *negative};
  }
  }
  llvm_unreachable("covered switch");
}

std::optional<bool> Atom::evaluate(ArrayRef<int64_t> index) const {
  std::optional<int64_t> value = expression.evaluate(index);
  if (!value)
    return std::nullopt;
  switch (kind) {
  case NonNegative:
    return *value >= 0;
  case Zero:
    return *value == 0;
  case NonZero:
    return *value != 0;
  }
  llvm_unreachable("covered switch");
}

/// True or false if the atom is so everywhere in the box.
static std::optional<bool> decide(const Atom &atom, ArrayRef<int64_t> shape) {
  auto range = atom.expression.range(shape);
  if (!range)
    return std::nullopt;
  auto [low, high] = *range;
  switch (atom.kind) {
  case Atom::NonNegative:
    if (low >= 0)
      return true;
    if (high < 0)
      return false;
    return std::nullopt;
  case Atom::Zero:
  case Atom::NonZero:
    if (low == 0 && high == 0)
      return atom.kind == Atom::Zero;
    if (low > 0 || high < 0)
      return atom.kind == Atom::NonZero;
    return std::nullopt;
  }
  llvm_unreachable("covered switch");
}

std::optional<Conjunction> simplify(const Conjunction &atoms, ArrayRef<int64_t> shape) {
  Conjunction result;
  for (Atom atom : atoms) {
    atom.expression.canonicalize(shape);
    if (std::optional<bool> known = decide(atom, shape)) {
      if (!*known)
        return std::nullopt;
      continue;
    }
    // Of two bounds on one linear form the tighter stays.
    bool merged = false;
    for (Atom &other : result) {
      if (other == atom)
        merged = true;
      else if (atom.kind == Atom::NonNegative && other.kind == Atom::NonNegative &&
               other.expression.coefficients == atom.expression.coefficients) {
        other.expression.constant = std::min(other.expression.constant, atom.expression.constant);
        merged = true;
      }
    }
    if (!merged)
      result.push_back(atom);
  }
  return result;
}

} // namespace galvatron

//===- IndexForm.cpp - Index arithmetic as linear forms -------------------===//

#include "IndexForm.h"

#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace galvatron;

/// Bounds of what nothing is known about. Sums of bounds are formed in 128 bits and held inside these.
static constexpr int64_t unknown = int64_t(1) << 62;

static int64_t clampBound(__int128 value) {
  return static_cast<int64_t>(std::min<__int128>(std::max<__int128>(value, -unknown), unknown));
}

static int64_t floorDiv(int64_t a, int64_t b) { return llvm::divideFloorSigned(a, b); }

//===----------------------------------------------------------------------===//
// IndexForm
//===----------------------------------------------------------------------===//

int64_t IndexForm::coefficient(unsigned atom) const {
  for (auto [a, c] : terms)
    if (a == atom)
      return c;
  return 0;
}

IndexForm IndexForm::operator+(const IndexForm &other) const {
  IndexForm sum(constant + other.constant);
  const auto *x = terms.begin(), *y = other.terms.begin();
  while (x != terms.end() || y != other.terms.end()) {
    if (y == other.terms.end() || (x != terms.end() && x->first < y->first)) {
      sum.terms.push_back(*x++);
    } else if (x == terms.end() || y->first < x->first) {
      sum.terms.push_back(*y++);
    } else {
      if (int64_t c = x->second + y->second)
        sum.terms.emplace_back(x->first, c);
      ++x, ++y;
    }
  }
  return sum;
}

IndexForm IndexForm::operator*(int64_t factor) const {
  IndexForm product(constant * factor);
  if (factor != 0)
    for (auto [atom, c] : terms)
      product.terms.emplace_back(atom, c * factor);
  return product;
}

//===----------------------------------------------------------------------===//
// IndexSpace
//===----------------------------------------------------------------------===//

unsigned IndexSpace::addVariable(Value value, int64_t min, int64_t max) {
  atoms.push_back({value, {}, 0, {min, max}});
  unsigned atom = atoms.size() - 1;
  forms[value] = variable(atom);
  return atom;
}

IndexForm IndexSpace::variable(unsigned atom) const {
  IndexForm form;
  // A variable with one value is that value.
  if (atoms[atom].range.min == atoms[atom].range.max)
    form.constant = atoms[atom].range.min;
  else
    form.terms.emplace_back(atom, 1);
  return form;
}

unsigned IndexSpace::quotient(IndexForm numerator, int64_t divisor) {
  for (auto [i, atom] : llvm::enumerate(atoms))
    if (atom.divisor == divisor && atom.numerator == numerator)
      return i;
  Range of = range(numerator);
  atoms.push_back({Value(), std::move(numerator), divisor, {floorDiv(of.min, divisor), floorDiv(of.max, divisor)}});
  return atoms.size() - 1;
}

IndexForm IndexSpace::div(const IndexForm &form, int64_t divisor) {
  if (divisor == 1)
    return form;
  // form = divisor * whole + rest, and rest is as small as coefficients allow.
  IndexForm whole(floorDiv(form.constant, divisor)), rest(form.constant - floorDiv(form.constant, divisor) * divisor);
  for (auto [atom, c] : form.terms) {
    if (c % divisor == 0)
      whole.terms.emplace_back(atom, c / divisor);
    else
      rest.terms.emplace_back(atom, c);
  }
  Range of = range(rest);
  if (floorDiv(of.min, divisor) == floorDiv(of.max, divisor)) {
    whole.constant += floorDiv(of.min, divisor);
    return whole;
  }
  // (x div a) div b is x div (a * b).
  if (rest.constant == 0 && rest.terms.size() == 1 && rest.terms[0].second == 1) {
    const Atom &atom = atoms[rest.terms[0].first];
    if (atom.divisor)
      return whole + div(IndexForm(atom.numerator), atom.divisor * divisor);
  }
  // (g*a + b) div (g*m) is a div m if b lies in [0, g).
  for (auto [pivot, ignored] : rest.terms) {
    int64_t threshold = std::abs(rest.coefficient(pivot)), g = divisor;
    IndexForm high, low;
    for (auto [atom, c] : rest.terms) {
      (std::abs(c) >= threshold ? high : low).terms.emplace_back(atom, c);
      if (std::abs(c) >= threshold)
        g = std::gcd(g, c);
    }
    if (g == 1)
      continue;
    high.constant = floorDiv(rest.constant, g) * g;
    low.constant = rest.constant - high.constant;
    Range below = range(low);
    if (below.min < 0 || below.max >= g)
      continue;
    high.constant /= g;
    for (auto &term : high.terms)
      term.second /= g;
    return whole + div(high, divisor / g);
  }
  return whole + variable(quotient(std::move(rest), divisor));
}

IndexForm IndexSpace::rem(const IndexForm &form, int64_t divisor) {
  return divisor == 1 ? IndexForm(0) : form - div(form, divisor) * divisor;
}

IndexSpace::Range IndexSpace::range(const IndexForm &form) const { return range(form, 4); }

IndexSpace::Range IndexSpace::range(const IndexForm &form, unsigned budget) const {
  __int128 min = form.constant, max = form.constant;
  for (auto [atom, c] : form.terms) {
    const Range &of = atoms[atom].range;
    min += __int128(c) * (c > 0 ? of.min : of.max);
    max += __int128(c) * (c > 0 ? of.max : of.min);
  }
  Range result{clampBound(min), clampBound(max)};
  if (budget == 0)
    return result;
  // k*x - k*n*(x div n) is k times a remainder, which lies in [0, n).
  for (auto [atom, c] : form.terms) {
    const Atom &q = atoms[atom];
    if (!q.divisor || q.numerator.terms.empty() || c % q.divisor != 0)
      continue;
    int64_t k = -c / q.divisor;
    bool contained = llvm::all_of(q.numerator.terms, [&](auto term) { return form.coefficient(term.first) != 0; });
    if (!contained)
      continue;
    IndexForm others = form - q.numerator * k;
    llvm::erase_if(others.terms, [&, atom = atom](auto term) { return term.first == atom; });
    Range rest = range(others, budget - 1);
    int64_t low = clampBound(rest.min + std::min<__int128>(0, __int128(k) * (q.divisor - 1)));
    int64_t high = clampBound(rest.max + std::max<__int128>(0, __int128(k) * (q.divisor - 1)));
    result = {std::max(result.min, low), std::min(result.max, high)};
  }
  return result;
}

void IndexSpace::define(Value value, const IndexForm &form) { forms[value] = form; }

IndexForm IndexSpace::of(Value value) {
  auto it = forms.find(value);
  if (it != forms.end())
    return it->second;
  IndexForm form = compute(value);
  forms[value] = form;
  return form;
}

IndexForm IndexSpace::opaque(Value value) { return variable(addVariable(value, -unknown, unknown)); }

/// The value of a constant integer that is not absurdly large.
static std::optional<int64_t> constantOf(Value value) {
  auto constant = value.getDefiningOp<arith::ConstantOp>();
  if (!constant)
    return std::nullopt;
  auto integer = dyn_cast<IntegerAttr>(constant.getValue());
  if (!integer || integer.getValue().getSignificantBits() > 40)
    return std::nullopt;
  return integer.getValue().getSExtValue();
}

IndexForm IndexSpace::compute(Value value) {
  if (std::optional<int64_t> constant = constantOf(value))
    return IndexForm(*constant);
  Operation *op = value.getDefiningOp();
  if (!op)
    return opaque(value);
  if (auto cast = dyn_cast<arith::IndexCastOp>(op))
    if (value.getType().isIndex() || value.getType().isInteger(64))
      return of(cast.getIn());
  if (isa<arith::AddIOp>(op))
    return of(op->getOperand(0)) + of(op->getOperand(1));
  if (isa<arith::SubIOp>(op))
    return of(op->getOperand(0)) - of(op->getOperand(1));
  if (isa<arith::MulIOp>(op)) {
    IndexForm x = of(op->getOperand(0)), y = of(op->getOperand(1));
    if (y.isConstant())
      return x * y.constant;
    if (x.isConstant())
      return y * x.constant;
    return opaque(value);
  }
  if (isa<arith::DivUIOp, arith::RemUIOp, arith::FloorDivSIOp, arith::DivSIOp, arith::RemSIOp>(op)) {
    IndexForm x = of(op->getOperand(0)), y = of(op->getOperand(1));
    if (!y.isConstant() || y.constant <= 0)
      return opaque(value);
    if (!isa<arith::FloorDivSIOp>(op) && range(x).min < 0)
      return opaque(value);
    return isa<arith::RemUIOp, arith::RemSIOp>(op) ? rem(x, y.constant) : div(x, y.constant);
  }
  if (isa<arith::MaxSIOp, arith::MinSIOp>(op)) {
    IndexForm x = of(op->getOperand(0)), y = of(op->getOperand(1));
    Range difference = range(x - y);
    bool isMax = isa<arith::MaxSIOp>(op);
    if (difference.min >= 0)
      return isMax ? x : y;
    if (difference.max <= 0)
      return isMax ? y : x;
    Range a = range(x), b = range(y);
    if (isMax)
      return variable(addVariable(value, std::max(a.min, b.min), std::max(a.max, b.max)));
    return variable(addVariable(value, std::min(a.min, b.min), std::min(a.max, b.max)));
  }
  if (auto select = dyn_cast<arith::SelectOp>(op))
    if (std::optional<bool> condition = decide(select.getCondition()))
      return of(*condition ? select.getTrueValue() : select.getFalseValue());
  return opaque(value);
}

std::optional<bool> IndexSpace::decide(Value condition) {
  Operation *op = condition.getDefiningOp();
  if (!op)
    return std::nullopt;
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    if (auto integer = dyn_cast<IntegerAttr>(constant.getValue()))
      return !integer.getValue().isZero();
  if (isa<arith::AndIOp, arith::OrIOp>(op) && condition.getType().isInteger(1)) {
    bool absorbing = isa<arith::OrIOp>(op);
    std::optional<bool> x = decide(op->getOperand(0)), y = decide(op->getOperand(1));
    if ((x && *x == absorbing) || (y && *y == absorbing))
      return absorbing;
    return x && y ? std::optional<bool>(!absorbing) : std::nullopt;
  }
  auto compare = dyn_cast<arith::CmpIOp>(op);
  if (!compare || compare.getLhs().getType().isInteger(1))
    return std::nullopt;
  Range d = range(of(compare.getLhs()) - of(compare.getRhs()));
  // Unsigned comparisons mean the same as long as nothing is negative.
  arith::CmpIPredicate predicate = compare.getPredicate();
  bool isUnsigned = llvm::is_contained({arith::CmpIPredicate::ult, arith::CmpIPredicate::ule,
                                        arith::CmpIPredicate::ugt, arith::CmpIPredicate::uge}, predicate);
  if (isUnsigned && (range(of(compare.getLhs())).min < 0 || range(of(compare.getRhs())).min < 0))
    return std::nullopt;
  auto known = [](bool yes, bool no) { return yes || no ? std::optional<bool>(yes) : std::nullopt; };
  switch (predicate) {
  case arith::CmpIPredicate::eq:
    return known(d.min == 0 && d.max == 0, d.min > 0 || d.max < 0);
  case arith::CmpIPredicate::ne:
    return known(d.min > 0 || d.max < 0, d.min == 0 && d.max == 0);
  case arith::CmpIPredicate::slt:
  case arith::CmpIPredicate::ult:
    return known(d.max < 0, d.min >= 0);
  case arith::CmpIPredicate::sle:
  case arith::CmpIPredicate::ule:
    return known(d.max <= 0, d.min > 0);
  case arith::CmpIPredicate::sgt:
  case arith::CmpIPredicate::ugt:
    return known(d.min > 0, d.max <= 0);
  case arith::CmpIPredicate::sge:
  case arith::CmpIPredicate::uge:
    return known(d.min >= 0, d.max < 0);
  }
  llvm_unreachable("covered switch");
}

IndexForm IndexSpace::linearize(ArrayRef<IndexForm> indices, ArrayRef<int64_t> shape) const {
  IndexForm linear;
  for (auto [index, size] : llvm::zip(indices, shape))
    linear = linear * size + index;
  return linear;
}

SmallVector<IndexForm> IndexSpace::delinearize(const IndexForm &linear, ArrayRef<int64_t> shape) {
  SmallVector<IndexForm> indices(shape.size());
  int64_t stride = 1;
  for (int64_t size : shape)
    stride *= size;
  IndexForm rest = linear;
  for (auto [i, size] : llvm::enumerate(shape)) {
    stride /= std::max<int64_t>(size, 1);
    if (size == 1)
      continue;
    indices[i] = div(rest, stride);
    rest = rest - indices[i] * stride;
  }
  return indices;
}

//===- ElementwiseOps.cpp - Arithmetic, comparisons, choice ---------------===//
//
// On known values these ops compute: small data element by element, affine
// functions by algebra. Only the rest becomes nn ops.
//
//===----------------------------------------------------------------------===//

#include "Importer.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace llvm;
using namespace mlir;

namespace galvatron {

namespace {

enum class Binary { Add, Sub, Mul, Div, Mod, Pow, Max, Min, And, Or, Xor, EQ, LT, LE, GT, GE };

bool isCompare(Binary op) { return op >= Binary::EQ; }

template <typename T> T modulo(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return a - b * std::floor(a / b);
  } else {
    if (b == 0 || b == -1)
      return 0;
    T r = a % b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
  }
}

template <typename T> bool holds(Binary op, T a, T b) {
  switch (op) {
  case Binary::EQ:
    return a == b;
  case Binary::LT:
    return a < b;
  case Binary::LE:
    return a <= b;
  case Binary::GT:
    return a > b;
  case Binary::GE:
    return a >= b;
  default:
    return false;
  }
}

std::optional<Scalar> evaluate(Binary op, ElementKind element, Scalar x, Scalar y) {
  if (element == ElementKind::F32) {
    float a = x.f, b = y.f;
    if (isCompare(op))
      return ofInt(holds(op, a, b));
    switch (op) {
    case Binary::Add:
      return ofFloat(a + b);
    case Binary::Sub:
      return ofFloat(a - b);
    case Binary::Mul:
      return ofFloat(a * b);
    case Binary::Div:
      return ofFloat(a / b);
    case Binary::Mod:
      return ofFloat(modulo(a, b));
    case Binary::Pow:
      return ofFloat(std::pow(a, b));
    case Binary::Max:
      return ofFloat(std::isnan(a) || a > b ? a : b);
    case Binary::Min:
      return ofFloat(std::isnan(a) || a < b ? a : b);
    default:
      return std::nullopt;
    }
  }
  int64_t a = x.i, b = y.i, r;
  if (isCompare(op))
    return ofInt(holds(op, a, b));
  switch (op) {
  case Binary::Add:
    return AddOverflow(a, b, r) ? std::nullopt : std::optional(ofInt(r));
  case Binary::Sub:
    return SubOverflow(a, b, r) ? std::nullopt : std::optional(ofInt(r));
  case Binary::Mul:
    return MulOverflow(a, b, r) ? std::nullopt : std::optional(ofInt(r));
  case Binary::Div:
    return b == 0 || b == -1 ? (b == 0 || a == INT64_MIN ? std::nullopt : std::optional(ofInt(-a))) : std::optional(ofInt(a / b));
  case Binary::Mod:
    return b == 0 ? std::nullopt : std::optional(ofInt(modulo(a, b)));
  case Binary::Pow: {
    int64_t power = 1;
    if (b < 0 || b > 64)
      return std::nullopt;
    for (int64_t i = 0; i < b; ++i)
      if (MulOverflow(power, a, power))
        return std::nullopt;
    return ofInt(power);
  }
  case Binary::Max:
    return ofInt(std::max(a, b));
  case Binary::Min:
    return ofInt(std::min(a, b));
  case Binary::And:
    return ofInt(a && b);
  case Binary::Or:
    return ofInt(a || b);
  case Binary::Xor:
    return ofInt((a != 0) != (b != 0));
  default:
    return std::nullopt;
  }
}

ElementKind resultElement(Binary op, ElementKind element) { return isCompare(op) ? ElementKind::I1 : element; }

/// Element by element, of data.
std::optional<ImportValue> evaluateData(Binary op, const ImportValue &a, const ImportValue &b, const Shape &shape) {
  if (a.kind != ImportValue::Dense || b.kind != ImportValue::Dense)
    return std::nullopt;
  ElementKind element = resultElement(op, a.element);
  if (a.isSplat() && b.isSplat()) {
    std::optional<Scalar> s = evaluate(op, a.element, a.at(0), b.at(0));
    return s ? std::optional(ImportValue::splat(element, shape, *s)) : std::nullopt;
  }
  if (numElements(shape).value_or(INT64_MAX) > maxDenseElements)
    return std::nullopt;
  std::vector<Scalar> data;
  auto offset = [&](const ImportValue &v, ArrayRef<int64_t> index) {
    int64_t at = 0;
    for (size_t d = 0; d < v.shape.size(); ++d)
      at = at * v.shape[d] + (v.shape[d] == 1 ? 0 : index[shape.size() - v.shape.size() + d]);
    return at;
  };
  bool exact = true;
  forEachIndex(shape, [&](ArrayRef<int64_t> index) {
    std::optional<Scalar> s = evaluate(op, a.element, a.at(offset(a, index)), b.at(offset(b, index)));
    exact &= s.has_value();
    data.push_back(s.value_or(ofInt(0)));
  });
  if (!exact)
    return std::nullopt;
  return ImportValue::dense(element, shape, std::move(data));
}

/// `a op b` with the expressions of two numbers over one shape.
std::optional<ImportValue> evaluateAffine(Binary op, ElementKind element, const Affine &a, const Affine &b,
                                          const Shape &shape) {
  auto number = [&](std::optional<Affine> affine) -> std::optional<ImportValue> {
    if (!affine)
      return std::nullopt;
    if (element == ElementKind::F32) { // integers beyond this are not exact in f32
      auto range = affine->range(shape);
      if (!range || range->first < -16777216 || range->second > 16777216)
        return std::nullopt;
    }
    return affineValue(element, shape, *affine);
  };
  auto condition = [&](Atom::Kind kind, std::optional<Affine> e, int64_t constant) -> std::optional<ImportValue> {
    if (!e || AddOverflow(e->constant, constant, e->constant))
      return std::nullopt;
    return conditionValue(shape, {Atom{kind, *e}});
  };
  switch (op) {
  case Binary::Add:
    return number(add(a, b));
  case Binary::Sub:
    return number(subtract(a, b));
  case Binary::Mul:
    if (a.isConstant())
      return number(scale(b, a.constant));
    return b.isConstant() ? number(scale(a, b.constant)) : std::nullopt;
  case Binary::Div:
  case Binary::Mod: {
    if (!b.isConstant() || b.constant <= 0 || element == ElementKind::F32)
      return std::nullopt;
    auto range = a.range(shape);
    bool divides = a.constant % b.constant == 0;
    Affine quotient = a;
    quotient.constant /= b.constant;
    for (int64_t &c : quotient.coefficients) {
      divides &= c % b.constant == 0;
      c /= b.constant;
    }
    if (divides)
      return op == Binary::Div ? number(quotient) : number(Affine::constantOf(0, shape.size()));
    if (range && range->first >= 0 && range->second < b.constant)
      return op == Binary::Div ? number(Affine::constantOf(0, shape.size())) : number(a);
    return std::nullopt;
  }
  case Binary::Max:
  case Binary::Min: {
    std::optional<Affine> difference = subtract(a, b);
    auto range = difference ? difference->range(shape) : std::nullopt;
    if (range && range->first >= 0)
      return number(op == Binary::Max ? a : b);
    if (range && range->second <= 0)
      return number(op == Binary::Max ? b : a);
    return std::nullopt;
  }
  case Binary::EQ:
    return condition(Atom::Zero, subtract(a, b), 0);
  case Binary::LT:
    return condition(Atom::NonNegative, subtract(b, a), -1);
  case Binary::LE:
    return condition(Atom::NonNegative, subtract(b, a), 0);
  case Binary::GT:
    return condition(Atom::NonNegative, subtract(a, b), -1);
  case Binary::GE:
    return condition(Atom::NonNegative, subtract(a, b), 0);
  default:
    return std::nullopt;
  }
}

/// Negation of a condition, where it is one.
std::optional<ImportValue> negate(const ImportValue &value) {
  if (value.kind == ImportValue::Dense) {
    std::vector<Scalar> data = *value.data;
    for (Scalar &s : data)
      s.i = !s.i;
    return ImportValue::dense(ElementKind::I1, value.shape, std::move(data));
  }
  if (value.kind != ImportValue::Symbolic || value.symbolic->atoms.size() != 1)
    return std::nullopt;
  std::optional<Atom> negated = value.symbolic->atoms[0].negated();
  return negated ? std::optional(conditionValue(value.shape, {*negated})) : std::nullopt;
}

std::optional<ImportValue> evaluateLogic(Emitter &emit, Binary op, const ImportValue &a, const ImportValue &b,
                                         const Shape &shape) {
  // A side that is the same everywhere decides, or says nothing.
  for (const auto &[side, other] : {std::make_pair(&a, &b), std::make_pair(&b, &a)}) {
    if (!side->isSplat() || isCompare(op))
      continue;
    bool truth = side->at(0).i;
    if (op == Binary::And || op == Binary::Or)
      return emit.broadcast(truth == (op == Binary::And) ? *other : *side, shape);
    if (!truth)
      return emit.broadcast(*other, shape);
  }
  if (op == Binary::And && a.isKnown() && b.isKnown()) {
    ImportValue left = emit.broadcast(a, shape), right = emit.broadcast(b, shape);
    std::optional<Conjunction> x = conditionOf(left), y = conditionOf(right);
    if (x && y) {
      x->append(y->begin(), y->end());
      return conditionValue(shape, *x);
    }
  }
  if (op == Binary::Or && a.isKnown() && b.isKnown()) { // not (not a and not b)
    std::optional<ImportValue> x = negate(a), y = negate(b);
    std::optional<ImportValue> both = x && y ? evaluateLogic(emit, Binary::And, *x, *y, shape) : std::nullopt;
    return both ? negate(*both) : std::nullopt;
  }
  return std::nullopt;
}

Value emitBinary(Emitter &emit, Binary op, Value a, Value b) {
  switch (op) {
  case Binary::Add:
    return emit.make<nn::AddOp>(a, b);
  case Binary::Sub:
    return emit.make<nn::SubOp>(a, b);
  case Binary::Mul:
    return emit.make<nn::MulOp>(a, b);
  case Binary::Div:
    return emit.make<nn::DivOp>(a, b);
  case Binary::Mod:
    return emit.make<nn::ModOp>(a, b);
  case Binary::Pow:
    return emit.make<nn::PowOp>(a, b);
  case Binary::Max:
    return emit.make<nn::MaximumOp>(a, b);
  case Binary::Min:
    return emit.make<nn::MinimumOp>(a, b);
  case Binary::And:
    return emit.make<nn::AndOp>(a, b);
  case Binary::Or:
    return emit.make<nn::OrOp>(a, b);
  case Binary::Xor:
    return emit.make<nn::XorOp>(a, b);
  case Binary::EQ:
    return emit.make<nn::CompareOp>(nn::Predicate::EQ, a, b);
  case Binary::LT:
    return emit.make<nn::CompareOp>(nn::Predicate::LT, a, b);
  case Binary::LE:
    return emit.make<nn::CompareOp>(nn::Predicate::LE, a, b);
  case Binary::GT:
    return emit.make<nn::CompareOp>(nn::Predicate::GT, a, b);
  case Binary::GE:
    return emit.make<nn::CompareOp>(nn::Predicate::GE, a, b);
  }
  llvm_unreachable("covered switch");
}

ImportValue applyBinary(Emitter &emit, Binary op, const ImportValue &a, const ImportValue &b, const Shape &shape) {
  if (std::optional<ImportValue> known = evaluateData(op, a, b, shape))
    return *known;
  if (a.element == ElementKind::I1) {
    if (std::optional<ImportValue> known = evaluateLogic(emit, op, a, b, shape))
      return *known;
  } else if (a.isKnown() && b.isKnown()) {
    std::optional<Affine> x = affineOf(emit.broadcast(a, shape)), y = affineOf(emit.broadcast(b, shape));
    std::optional<ImportValue> known = x && y ? evaluateAffine(op, a.element, *x, *y, shape) : std::nullopt;
    if (known)
      return *known;
  }
  return ImportValue::tensorOf(
      emitBinary(emit, op, emit.broadcast(emit.materialize(a), shape), emit.broadcast(emit.materialize(b), shape)));
}

/// Two or more inputs of one element type, folded from the left.
LogicalResult importFold(NodeContext &node, Binary op, bool logical, size_t least, size_t most) {
  if (failed(node.expectInputs(least, most)))
    return failure();
  SmallVector<size_t> which;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (failed(node.expectElement(i, logical ? ElementKind::I1 : node.inputs[0].element)))
      return failure();
    which.push_back(i);
  }
  if (!logical && !isCompare(op) && node.inputs[0].element == ElementKind::I1)
    return node.expectElement(0, ElementKind::F32);
  if (op == Binary::Pow && !all_of(node.inputs, [](const ImportValue &v) { return v.kind == ImportValue::Dense; }))
    if (failed(node.expectElement(0, ElementKind::F32)))
      return failure();
  FailureOr<Shape> common = node.commonShape(which);
  if (failed(common))
    return failure();
  ImportValue value = node.inputs[0];
  for (size_t i = 1; i < which.size(); ++i) {
    std::optional<Shape> shape = broadcastShapes(value.shape, node.inputs[i].shape);
    value = applyBinary(node.emit, op, value, node.inputs[i], *shape);
  }
  return node.result(value);
}

template <Binary op> LogicalResult importBinary(NodeContext &node) { return importFold(node, op, false, 2, 2); }
template <Binary op> LogicalResult importVariadic(NodeContext &node) {
  return importFold(node, op, false, 1, SIZE_MAX);
}
template <Binary op> LogicalResult importLogical(NodeContext &node) { return importFold(node, op, true, 2, 2); }

LogicalResult importMean(NodeContext &node) {
  if (failed(importFold(node, Binary::Add, false, 1, SIZE_MAX)) || failed(node.expectElement(0, ElementKind::F32)))
    return failure();
  Value sum = node.emit.materialize(node.outputs[0]);
  return node.result(node.emit.make<nn::MulOp>(sum, node.emit.numberLike(sum, 1.0 / node.inputs.size())));
}

LogicalResult importMod(NodeContext &node) {
  if (failed(node.expectInputs(2, 2)))
    return failure();
  if (node.getInt("fmod", 0) != 0)
    return node.error() << "fmod = 1 is not supported";
  return importBinary<Binary::Mod>(node);
}

LogicalResult importPow(NodeContext &node) {
  if (failed(node.expectInputs(2, 2)))
    return failure();
  // Small whole exponents are products: their gradient exists at 0 and below. An integer exponent is a float's.
  const ImportValue &exponent = node.inputs[1];
  if (node.inputs[0].element != ElementKind::F32)
    return importBinary<Binary::Pow>(node);
  std::optional<double> power;
  if (exponent.isSplat())
    power = exponent.element == ElementKind::F32 ? exponent.at(0).f : static_cast<double>(exponent.at(0).i);
  if (!power) {
    if (exponent.element == ElementKind::I64) {
      Value numbers = node.emit.make<nn::CastOp>(node.emit.type(ElementKind::F32, exponent.shape), node.tensor(1));
      node.inputs[1] = ImportValue::tensorOf(numbers);
    }
    if (failed(node.expectElement(1, ElementKind::F32)))
      return failure();
    return importBinary<Binary::Pow>(node);
  }
  FailureOr<Shape> shape = node.commonShape({0, 1});
  if (failed(shape))
    return failure();
  Value x = node.emit.broadcast(node.tensor(0), *shape);
  if (*power == 1)
    return node.result(x);
  if (*power == 2 || *power == 3 || *power == 4) {
    Value square = node.emit.make<nn::MulOp>(x, x);
    if (*power == 2)
      return node.result(square);
    return node.result(*power == 3 ? node.emit.make<nn::MulOp>(square, x) : node.emit.make<nn::MulOp>(square, square));
  }
  if (*power == 0.5)
    return node.result(node.emit.make<nn::SqrtOp>(x));
  if (*power == -0.5)
    return node.result(node.emit.make<nn::RsqrtOp>(x));
  if (*power == -1)
    return node.result(node.emit.make<nn::ReciprocalOp>(x));
  return node.result(node.emit.make<nn::PowOp>(x, node.emit.numberLike(x, *power)));
}

// Unary ----------------------------------------------------------------------

LogicalResult importNot(NodeContext &node) {
  if (failed(node.expectInputs(1, 1)) || failed(node.expectElement(0, ElementKind::I1)))
    return failure();
  if (std::optional<ImportValue> known = negate(node.inputs[0]))
    return node.result(*known);
  return node.result(node.emit.make<nn::NotOp>(node.tensor(0)));
}

LogicalResult importNeg(NodeContext &node) {
  if (failed(node.expectInputs(1, 1)))
    return failure();
  ImportValue &x = node.inputs[0];
  if (x.element == ElementKind::I1)
    return node.expectElement(0, ElementKind::F32);
  if (x.element == ElementKind::I64 && x.isKnown())
    return node.result(applyBinary(node.emit, Binary::Mul, x, ImportValue::scalar(-1), x.shape));
  if (x.kind == ImportValue::Dense) {
    std::vector<Scalar> data = *x.data;
    for (Scalar &s : data)
      s.f = -s.f;
    return node.result(ImportValue::dense(ElementKind::F32, x.shape, std::move(data)));
  }
  return node.result(node.emit.make<nn::NegOp>(node.tensor(0)));
}

template <typename Op> LogicalResult importSigned(NodeContext &node) { // Abs, Sign
  if (failed(node.expectInputs(1, 1)))
    return failure();
  if (node.inputs[0].element == ElementKind::I1)
    return node.expectElement(0, ElementKind::F32);
  return node.result(node.emit.make<Op>(node.tensor(0)));
}

LogicalResult importClip(NodeContext &node) {
  if (failed(node.expectInputs(1, 3)))
    return failure();
  ImportValue value = node.inputs[0];
  for (auto [i, op] : {std::make_pair(1, Binary::Max), std::make_pair(2, Binary::Min)})
    if (node.has(i)) {
      if (failed(node.expectElement(i, value.element)))
        return failure();
      if (node.inputs[i].count() != 1)
        return node.error() << "input " << i << " has " << node.inputs[i].count() << " elements; wanted one number";
      ImportValue bound = node.emit.broadcast(node.emit.reshape(node.inputs[i], {}), value.shape);
      if (value.kind != ImportValue::Tensor || value.element != ElementKind::F32) {
        value = applyBinary(node.emit, op, value, bound, value.shape);
        continue;
      }
      // As a choice, not as a maximum: at a bound the gradient is zero, as PyTorch's clamp has it.
      Value x = value.tensor, limit = node.emit.materialize(bound);
      Value beyond = node.emit.make<nn::CompareOp>(op == Binary::Max ? nn::Predicate::LE : nn::Predicate::GE, x, limit);
      value = ImportValue::tensorOf(node.emit.make<nn::SelectOp>(beyond, limit, x));
    }
  return node.result(value);
}

// Choice ---------------------------------------------------------------------

LogicalResult importWhere(NodeContext &node) {
  if (failed(node.expectInputs(3, 3)) || failed(node.expectElement(0, ElementKind::I1)) ||
      failed(node.expectElement(2, node.inputs[1].element)))
    return failure();
  FailureOr<Shape> shape = node.commonShape({0, 1, 2});
  if (failed(shape))
    return failure();
  const ImportValue &condition = node.inputs[0];
  if (condition.isSplat())
    return node.result(node.emit.broadcast(node.inputs[condition.at(0).i ? 1 : 2], *shape));
  // Of booleans it is logic: c and a, or not c and b.
  if (node.inputs[1].element == ElementKind::I1 && node.inputs[2].isSplat() && !node.inputs[2].at(0).i)
    return node.result(applyBinary(node.emit, Binary::And, condition, node.inputs[1], *shape));
  if (node.inputs[1].isSplat() && node.inputs[2].isSplat() && node.inputs[1].element == ElementKind::I1 &&
      !node.inputs[1].at(0).i && node.inputs[2].at(0).i)
    if (std::optional<ImportValue> known = negate(condition))
      return node.result(node.emit.broadcast(*known, *shape));
  if (condition.kind == ImportValue::Dense && node.inputs[1].kind == ImportValue::Dense &&
      node.inputs[2].kind == ImportValue::Dense && *numElements(*shape) <= maxDenseElements) {
    std::optional<std::vector<Scalar>> c = elementsOf(node.emit.broadcast(condition, *shape)),
                                       a = elementsOf(node.emit.broadcast(node.inputs[1], *shape)),
                                       b = elementsOf(node.emit.broadcast(node.inputs[2], *shape));
    if (c && a && b) {
      for (auto [x, y, z] : zip(*c, *a, *b))
        x = x.i ? y : z;
      return node.result(ImportValue::dense(node.inputs[1].element, *shape, std::move(*c)));
    }
  }
  Value c = node.emit.broadcast(node.tensor(0), *shape), a = node.emit.broadcast(node.tensor(1), *shape),
        b = node.emit.broadcast(node.tensor(2), *shape);
  return node.result(node.emit.make<nn::SelectOp>(c, a, b));
}

} // namespace

static const OpImporter table[] = {
    {"Abs", 13, importSigned<nn::AbsOp>},
    {"Add", 13, importBinary<Binary::Add>},
    {"And", 13, importLogical<Binary::And>},
    {"Clip", 13, importClip},
    {"Div", 13, importBinary<Binary::Div>},
    {"Equal", 13, importBinary<Binary::EQ>},
    {"Greater", 13, importBinary<Binary::GT>},
    {"GreaterOrEqual", 13, importBinary<Binary::GE>},
    {"Less", 13, importBinary<Binary::LT>},
    {"LessOrEqual", 13, importBinary<Binary::LE>},
    {"Max", 13, importVariadic<Binary::Max>},
    {"Mean", 13, importMean},
    {"Min", 13, importVariadic<Binary::Min>},
    {"Mod", 13, importMod, "fmod = 0"},
    {"Mul", 13, importBinary<Binary::Mul>},
    {"Neg", 13, importNeg},
    {"Not", 13, importNot},
    {"Or", 13, importLogical<Binary::Or>},
    {"Pow", 13, importPow},
    {"Sign", 13, importSigned<nn::SignOp>},
    {"Sub", 13, importBinary<Binary::Sub>},
    {"Sum", 13, importVariadic<Binary::Add>},
    {"Where", 13, importWhere},
    {"Xor", 13, importLogical<Binary::Xor>},
};

ArrayRef<OpImporter> elementwiseOps() { return table; }

} // namespace galvatron

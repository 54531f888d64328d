//===- NNElementwise.cpp - Scalar functions and folds of elementwise ops --===//
//
// Each op's scalar function, in arith and math ops. The float ops carry the
// fast-math flags `reassoc,contract` only: masks are infinities, so nothing may
// assume their absence.
//
//===----------------------------------------------------------------------===//

#include "dialects/NN/NN.h"

#include <cmath>

using namespace mlir;
using namespace galvatron::nn;

namespace {

/// Builds scalar arithmetic on f32 or i64 without naming each arith op twice.
class Scalars {
public:
  Scalars(OpBuilder &builder, Location loc) : b(builder), loc(loc) {
    flags = arith::FastMathFlagsAttr::get(b.getContext(), arith::FastMathFlags::reassoc | arith::FastMathFlags::contract);
  }

  Value constant(Type type, double value) {
    if (isa<FloatType>(type))
      return b.create<arith::ConstantOp>(loc, b.getFloatAttr(type, value));
    return b.create<arith::ConstantOp>(loc, b.getIntegerAttr(type, static_cast<int64_t>(value)));
  }
  static bool isFloat(Value v) { return isa<FloatType>(v.getType()); }

  Value add(Value x, Value y) { return binary<arith::AddFOp, arith::AddIOp>(x, y); }
  Value sub(Value x, Value y) { return binary<arith::SubFOp, arith::SubIOp>(x, y); }
  Value mul(Value x, Value y) { return binary<arith::MulFOp, arith::MulIOp>(x, y); }
  Value max(Value x, Value y) { return binary<arith::MaximumFOp, arith::MaxSIOp>(x, y); }
  Value min(Value x, Value y) { return binary<arith::MinimumFOp, arith::MinSIOp>(x, y); }
  Value mul(Value x, double c) { return mul(x, constant(x.getType(), c)); }
  Value add(Value x, double c) { return add(x, constant(x.getType(), c)); }

  Value div(Value x, Value y) {
    if (isFloat(x))
      return b.create<arith::DivFOp>(loc, x, y, flags);
    // A zero divisor must not trap: it gives zero.
    Value zero = constant(x.getType(), 0), one = constant(x.getType(), 1);
    Value isZero = b.create<arith::CmpIOp>(loc, arith::CmpIPredicate::eq, y, zero);
    Value safe = b.create<arith::SelectOp>(loc, isZero, one, y);
    return select(isZero, zero, b.create<arith::DivSIOp>(loc, x, safe));
  }
  Value neg(Value x) {
    if (isFloat(x))
      return b.create<arith::NegFOp>(loc, x, flags);
    return sub(constant(x.getType(), 0), x);
  }
  Value select(Value c, Value x, Value y) { return b.create<arith::SelectOp>(loc, c, x, y); }
  Value reciprocal(Value x) { return div(constant(x.getType(), 1), x); }
  template <typename Op> Value math(Value x) { return b.create<Op>(loc, x, flags); }

  /// 1 / (1 + e^-x)
  Value sigmoid(Value x) { return reciprocal(add(math<math::ExpOp>(neg(x)), 1.0)); }

  Value compare(Predicate predicate, Value x, Value y) {
    if (isFloat(x)) {
      static constexpr arith::CmpFPredicate table[] = {arith::CmpFPredicate::OEQ, arith::CmpFPredicate::UNE,
                                                       arith::CmpFPredicate::OLT, arith::CmpFPredicate::OLE,
                                                       arith::CmpFPredicate::OGT, arith::CmpFPredicate::OGE};
      return b.create<arith::CmpFOp>(loc, table[static_cast<int>(predicate)], x, y);
    }
    // Booleans order as 0 < 1, which is unsigned order on i1.
    bool isBool = x.getType().isInteger(1);
    static constexpr arith::CmpIPredicate signedTable[] = {arith::CmpIPredicate::eq,  arith::CmpIPredicate::ne,
                                                           arith::CmpIPredicate::slt, arith::CmpIPredicate::sle,
                                                           arith::CmpIPredicate::sgt, arith::CmpIPredicate::sge};
    static constexpr arith::CmpIPredicate boolTable[] = {arith::CmpIPredicate::eq,  arith::CmpIPredicate::ne,
                                                         arith::CmpIPredicate::ult, arith::CmpIPredicate::ule,
                                                         arith::CmpIPredicate::ugt, arith::CmpIPredicate::uge};
    return b.create<arith::CmpIOp>(loc, (isBool ? boolTable : signedTable)[static_cast<int>(predicate)], x, y);
  }
  Value less(Value x, double c) { return compare(Predicate::LT, x, constant(x.getType(), c)); }

  OpBuilder &b;
  Location loc;
  arith::FastMathFlagsAttr flags;

private:
  template <typename FloatOp, typename IntOp> Value binary(Value x, Value y) {
    if (isFloat(x))
      return b.create<FloatOp>(loc, x, y, flags);
    return b.create<IntOp>(loc, x, y);
  }
};

constexpr double sqrt2OverPi = 0.7978845608028654, geluCubic = 0.044715;
constexpr double sqrtHalf = 0.7071067811865476, inverseSqrt2Pi = 0.3989422804014327;

} // namespace

#define SCALAR_FUNCTION(OP, ...)                                                                                      \
  Value OP::emitScalar(OpBuilder &builder, ValueRange operands) {                                                      \
    Scalars s(builder, getLoc());                                                                                      \
    Value x = operands[0];                                                                                             \
    __VA_ARGS__                                                                                                        \
  }

SCALAR_FUNCTION(NegOp, return s.neg(x);)
SCALAR_FUNCTION(AbsOp, {
  if (Scalars::isFloat(x))
    return s.math<math::AbsFOp>(x);
  return builder.create<math::AbsIOp>(getLoc(), x);
})
SCALAR_FUNCTION(SignOp, {
  Value zero = s.constant(x.getType(), 0), one = s.constant(x.getType(), 1), minus = s.constant(x.getType(), -1);
  return s.select(s.compare(Predicate::GT, x, zero), one, s.select(s.compare(Predicate::LT, x, zero), minus, zero));
})
SCALAR_FUNCTION(FloorOp, return s.math<math::FloorOp>(x);)
SCALAR_FUNCTION(CeilOp, return s.math<math::CeilOp>(x);)
SCALAR_FUNCTION(RoundOp, return s.math<math::RoundEvenOp>(x);)
SCALAR_FUNCTION(ReciprocalOp, return s.reciprocal(x);)
SCALAR_FUNCTION(SqrtOp, return s.math<math::SqrtOp>(x);)
SCALAR_FUNCTION(RsqrtOp, return s.reciprocal(s.math<math::SqrtOp>(x));)
SCALAR_FUNCTION(ExpOp, return s.math<math::ExpOp>(x);)
SCALAR_FUNCTION(LogOp, return s.math<math::LogOp>(x);)
SCALAR_FUNCTION(SinOp, return s.math<math::SinOp>(x);)
SCALAR_FUNCTION(CosOp, return s.math<math::CosOp>(x);)
SCALAR_FUNCTION(TanhOp, return s.math<math::TanhOp>(x);)
SCALAR_FUNCTION(ErfOp, return s.math<math::ErfOp>(x);)
SCALAR_FUNCTION(SigmoidOp, return s.sigmoid(x);)
SCALAR_FUNCTION(SiluOp, return s.mul(x, s.sigmoid(x));)
SCALAR_FUNCTION(ReluOp, return s.max(x, s.constant(x.getType(), 0));)
SCALAR_FUNCTION(SoftplusOp, {
  // max(x, 0) + log(1 + t) with t = e^-|x|. In float32 1 + t loses a small t, so the logarithm is 2 artanh(t / (2 + t))
  // = 2 z (1 + z^2 / 3 + z^4 / 5 + ...); z is at most 1/3, and the first term left out is 2e-9 of the sum.
  Value t = s.math<math::ExpOp>(s.neg(s.math<math::AbsFOp>(x)));
  Value z = s.div(t, s.add(t, 2.0)), square = s.mul(z, z), series = s.constant(x.getType(), 1.0 / 15);
  for (int odd = 13; odd > 0; odd -= 2)
    series = s.add(s.mul(series, square), 1.0 / odd);
  return s.add(s.max(x, s.constant(x.getType(), 0)), s.mul(s.mul(z, 2.0), series));
})
SCALAR_FUNCTION(NotOp, return builder.create<arith::XOrIOp>(getLoc(), x, s.constant(x.getType(), 1));)
SCALAR_FUNCTION(IsNanOp, return builder.create<arith::CmpFOp>(getLoc(), arith::CmpFPredicate::UNO, x, x);)
SCALAR_FUNCTION(AddOp, return s.add(x, operands[1]);)
SCALAR_FUNCTION(SubOp, return s.sub(x, operands[1]);)
SCALAR_FUNCTION(MulOp, return s.mul(x, operands[1]);)
SCALAR_FUNCTION(DivOp, return s.div(x, operands[1]);)
SCALAR_FUNCTION(MaximumOp, return s.max(x, operands[1]);)
SCALAR_FUNCTION(MinimumOp, return s.min(x, operands[1]);)
SCALAR_FUNCTION(PowOp, return builder.create<math::PowFOp>(getLoc(), x, operands[1], s.flags);)
SCALAR_FUNCTION(ModOp, {
  Value y = operands[1];
  if (Scalars::isFloat(x))
    return s.sub(x, s.mul(y, s.math<math::FloorOp>(s.div(x, y))));
  Value zero = s.constant(x.getType(), 0);
  Value remainder = s.sub(x, s.mul(y, s.div(x, y)));
  // The truncated remainder has the sign of x; move it to that of y.
  Value wrong = builder.create<arith::CmpIOp>(getLoc(), arith::CmpIPredicate::slt,
                                              builder.create<arith::XOrIOp>(getLoc(), remainder, y), zero);
  Value nonZero = s.compare(Predicate::NE, remainder, zero);
  Value floored = s.select(builder.create<arith::AndIOp>(getLoc(), wrong, nonZero), s.add(remainder, y), remainder);
  return s.select(s.compare(Predicate::EQ, y, zero), zero, floored);
})
SCALAR_FUNCTION(AndOp, return builder.create<arith::AndIOp>(getLoc(), x, operands[1]);)
SCALAR_FUNCTION(OrOp, return builder.create<arith::OrIOp>(getLoc(), x, operands[1]);)
SCALAR_FUNCTION(XorOp, return builder.create<arith::XOrIOp>(getLoc(), x, operands[1]);)
SCALAR_FUNCTION(CompareOp, return s.compare(getPredicate(), x, operands[1]);)
SCALAR_FUNCTION(SelectOp, return s.select(x, operands[1], operands[2]);)
SCALAR_FUNCTION(CastOp, {
  Type from = x.getType(), to = getType().getElementType();
  if (from == to)
    return x;
  if (to.isInteger(1))
    return s.compare(Predicate::NE, x, s.constant(from, 0));
  if (from.isInteger(1)) {
    Value wide = builder.create<arith::ExtUIOp>(getLoc(), builder.getI64Type(), x);
    return isa<FloatType>(to) ? builder.create<arith::SIToFPOp>(getLoc(), to, wide).getResult() : wide;
  }
  if (isa<FloatType>(to))
    return builder.create<arith::SIToFPOp>(getLoc(), to, x);
  return builder.create<arith::FPToSIOp>(getLoc(), to, x);
})
SCALAR_FUNCTION(GeluOp, {
  if (getApproximation() == GeluKind::Erf)
    return s.mul(s.mul(x, 0.5), s.add(s.math<math::ErfOp>(s.mul(x, sqrtHalf)), 1.0));
  Value inner = s.mul(s.mul(x, s.add(s.mul(s.mul(x, x), geluCubic), 1.0)), sqrt2OverPi);
  return s.mul(s.mul(x, 0.5), s.add(s.math<math::TanhOp>(inner), 1.0));
})
SCALAR_FUNCTION(GeluGradOp, {
  Value square = s.mul(x, x);
  if (getApproximation() == GeluKind::Erf) {
    Value cdf = s.mul(s.add(s.math<math::ErfOp>(s.mul(x, sqrtHalf)), 1.0), 0.5);
    Value pdf = s.mul(s.math<math::ExpOp>(s.mul(square, -0.5)), inverseSqrt2Pi);
    return s.mul(operands[1], s.add(cdf, s.mul(x, pdf)));
  }
  Value t = s.math<math::TanhOp>(s.mul(s.mul(x, s.add(s.mul(square, geluCubic), 1.0)), sqrt2OverPi));
  Value slope = s.mul(s.add(s.mul(square, 3.0 * geluCubic), 1.0), sqrt2OverPi);
  Value left = s.mul(s.add(t, 1.0), 0.5);
  Value right = s.mul(s.mul(x, 0.5), s.mul(s.sub(s.constant(x.getType(), 1.0), s.mul(t, t)), slope));
  return s.mul(operands[1], s.add(left, right));
})
#undef SCALAR_FUNCTION

LogicalResult IsNanOp::inferReturnTypes(MLIRContext *context, std::optional<Location>, Adaptor adaptor,
                                        SmallVectorImpl<Type> &types) {
  types.push_back(cast<RankedTensorType>(adaptor.getOperand().getType()).clone(IntegerType::get(context, 1)));
  return success();
}

LogicalResult CompareOp::inferReturnTypes(MLIRContext *context, std::optional<Location>, Adaptor adaptor,
                                          SmallVectorImpl<Type> &types) {
  types.push_back(cast<RankedTensorType>(adaptor.getLhs().getType()).clone(IntegerType::get(context, 1)));
  return success();
}

//===----------------------------------------------------------------------===//
// Folds: constants that repeat one value, and identities
//===----------------------------------------------------------------------===//

/// A splat of `type`; null when a float result is not finite as f32 or an integer is not exact.
static Attribute splatAttr(Type type, double value) {
  auto tensor = cast<RankedTensorType>(type);
  Type element = tensor.getElementType();
  if (isa<FloatType>(element))
    return DenseElementsAttr::get(tensor, FloatAttr::get(element, static_cast<float>(value)));
  if (element.isInteger(1))
    return DenseElementsAttr::get(tensor, value != 0);
  if (!(std::fabs(value) < 9.0e15))
    return {};
  return DenseElementsAttr::get(tensor, IntegerAttr::get(element, static_cast<int64_t>(value)));
}

template <typename Function> static OpFoldResult foldUnary(Attribute operand, Type type, Function function) {
  std::optional<double> x = getSplat(operand);
  return x ? splatAttr(type, function(*x)) : Attribute();
}

template <typename Function>
static OpFoldResult foldBinary(Attribute lhs, Attribute rhs, Type type, Function function) {
  std::optional<double> x = getSplat(lhs), y = getSplat(rhs);
  return x && y ? splatAttr(type, function(*x, *y)) : Attribute();
}

#define FOLD_UNARY(OP, EXPRESSION)                                                                                     \
  OpFoldResult OP::fold(FoldAdaptor adaptor) {                                                                         \
    return foldUnary(adaptor.getOperand(), getType(), [](double x) -> double { return EXPRESSION; });                  \
  }
FOLD_UNARY(NegOp, -x)
FOLD_UNARY(AbsOp, std::fabs(x))
FOLD_UNARY(SignOp, (x > 0) - (x < 0))
FOLD_UNARY(FloorOp, std::floor(x))
FOLD_UNARY(CeilOp, std::ceil(x))
FOLD_UNARY(RoundOp, std::nearbyint(x))
FOLD_UNARY(ReciprocalOp, 1.0 / x)
FOLD_UNARY(SqrtOp, std::sqrt(x))
FOLD_UNARY(RsqrtOp, 1.0 / std::sqrt(x))
FOLD_UNARY(ExpOp, std::exp(x))
FOLD_UNARY(LogOp, std::log(x))
FOLD_UNARY(SinOp, std::sin(x))
FOLD_UNARY(CosOp, std::cos(x))
FOLD_UNARY(TanhOp, std::tanh(x))
FOLD_UNARY(ErfOp, std::erf(x))
FOLD_UNARY(SigmoidOp, 1.0 / (1.0 + std::exp(-x)))
FOLD_UNARY(SiluOp, x / (1.0 + std::exp(-x)))
FOLD_UNARY(ReluOp, x > 0 ? x : 0.0)
FOLD_UNARY(SoftplusOp, std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x))))
FOLD_UNARY(NotOp, x == 0 ? 1.0 : 0.0)
#undef FOLD_UNARY

OpFoldResult AddOp::fold(FoldAdaptor adaptor) {
  if (getSplat(adaptor.getRhs()) == 0.0)
    return getLhs();
  if (getSplat(adaptor.getLhs()) == 0.0)
    return getRhs();
  return foldBinary(adaptor.getLhs(), adaptor.getRhs(), getType(), [](double x, double y) { return x + y; });
}

OpFoldResult SubOp::fold(FoldAdaptor adaptor) {
  if (getSplat(adaptor.getRhs()) == 0.0)
    return getLhs();
  return foldBinary(adaptor.getLhs(), adaptor.getRhs(), getType(), [](double x, double y) { return x - y; });
}

OpFoldResult MulOp::fold(FoldAdaptor adaptor) {
  if (getSplat(adaptor.getRhs()) == 1.0)
    return getLhs();
  if (getSplat(adaptor.getLhs()) == 1.0)
    return getRhs();
  return foldBinary(adaptor.getLhs(), adaptor.getRhs(), getType(), [](double x, double y) { return x * y; });
}

OpFoldResult DivOp::fold(FoldAdaptor adaptor) {
  if (getSplat(adaptor.getRhs()) == 1.0)
    return getLhs();
  bool isInteger = getType().getElementType().isInteger(64);
  return foldBinary(adaptor.getLhs(), adaptor.getRhs(), getType(), [=](double x, double y) {
    return isInteger ? (y == 0 ? 0.0 : std::trunc(x / y)) : x / y;
  });
}

OpFoldResult PowOp::fold(FoldAdaptor adaptor) {
  if (getSplat(adaptor.getRhs()) == 1.0)
    return getLhs();
  return foldBinary(adaptor.getLhs(), adaptor.getRhs(), getType(), [](double x, double y) { return std::pow(x, y); });
}

OpFoldResult ModOp::fold(FoldAdaptor adaptor) {
  bool isInteger = getType().getElementType().isInteger(64);
  return foldBinary(adaptor.getLhs(), adaptor.getRhs(), getType(), [=](double x, double y) {
    return isInteger && y == 0 ? 0.0 : x - y * std::floor(x / y);
  });
}

OpFoldResult MaximumOp::fold(FoldAdaptor adaptor) {
  if (getLhs() == getRhs())
    return getLhs();
  return foldBinary(adaptor.getLhs(), adaptor.getRhs(), getType(),
                    [](double x, double y) { return std::isnan(x) || x > y ? x : y; });
}

OpFoldResult MinimumOp::fold(FoldAdaptor adaptor) {
  if (getLhs() == getRhs())
    return getLhs();
  return foldBinary(adaptor.getLhs(), adaptor.getRhs(), getType(),
                    [](double x, double y) { return std::isnan(x) || x < y ? x : y; });
}

OpFoldResult AndOp::fold(FoldAdaptor adaptor) {
  std::optional<double> x = getSplat(adaptor.getLhs()), y = getSplat(adaptor.getRhs());
  if (x)
    return *x != 0 ? OpFoldResult(getRhs()) : OpFoldResult(splatAttr(getType(), 0));
  if (y)
    return *y != 0 ? OpFoldResult(getLhs()) : OpFoldResult(splatAttr(getType(), 0));
  return getLhs() == getRhs() ? getLhs() : OpFoldResult();
}

OpFoldResult OrOp::fold(FoldAdaptor adaptor) {
  std::optional<double> x = getSplat(adaptor.getLhs()), y = getSplat(adaptor.getRhs());
  if (x)
    return *x == 0 ? OpFoldResult(getRhs()) : OpFoldResult(splatAttr(getType(), 1));
  if (y)
    return *y == 0 ? OpFoldResult(getLhs()) : OpFoldResult(splatAttr(getType(), 1));
  return getLhs() == getRhs() ? getLhs() : OpFoldResult();
}

OpFoldResult XorOp::fold(FoldAdaptor adaptor) {
  return foldBinary(adaptor.getLhs(), adaptor.getRhs(), getType(), [](double x, double y) { return x != y ? 1.0 : 0.0; });
}

OpFoldResult CompareOp::fold(FoldAdaptor adaptor) {
  Predicate predicate = getPredicate();
  return foldBinary(adaptor.getLhs(), adaptor.getRhs(), getType(), [=](double x, double y) -> double {
    switch (predicate) {
    case Predicate::EQ:
      return x == y;
    case Predicate::NE:
      return x != y;
    case Predicate::LT:
      return x < y;
    case Predicate::LE:
      return x <= y;
    case Predicate::GT:
      return x > y;
    case Predicate::GE:
      return x >= y;
    }
    llvm_unreachable("covered switch");
  });
}

OpFoldResult SelectOp::fold(FoldAdaptor adaptor) {
  if (getOnTrue() == getOnFalse())
    return getOnTrue();
  if (std::optional<double> c = getSplat(adaptor.getCondition()))
    return *c != 0 ? getOnTrue() : getOnFalse();
  return {};
}

OpFoldResult CastOp::fold(FoldAdaptor adaptor) {
  if (getOperand().getType() == getType())
    return getOperand();
  bool toInteger = getType().getElementType().isInteger(64);
  return foldUnary(adaptor.getOperand(), getType(), [=](double x) { return toInteger ? std::trunc(x) : x; });
}

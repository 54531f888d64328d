//===- NNGradients.cpp - Reverse-mode differentiation, op by op -----------===//
//
// Each function builds the vector-Jacobian product of its op. y is the op's
// result, dy its cotangent.
//
//===----------------------------------------------------------------------===//

#include "dialects/NN/NN.h"

using namespace mlir;
using namespace galvatron::nn;

namespace {

/// Writes formulas over tensors of one shape.
class Formula {
public:
  Formula(OpBuilder &builder, Location loc) : b(builder), loc(loc) {}

  template <typename Op> Value unary(Value x) { return b.create<Op>(loc, x.getType(), x); }
  template <typename Op> Value binary(Value x, Value y) { return b.create<Op>(loc, x.getType(), x, y); }
  Value constant(Value like, double c) { return createSplat(b, loc, tensorType(like), c); }

  Value add(Value x, Value y) { return binary<AddOp>(x, y); }
  Value sub(Value x, Value y) { return binary<SubOp>(x, y); }
  Value mul(Value x, Value y) { return binary<MulOp>(x, y); }
  Value div(Value x, Value y) { return binary<DivOp>(x, y); }
  Value neg(Value x) { return unary<NegOp>(x); }
  Value mul(Value x, double c) { return mul(x, constant(x, c)); }
  Value add(Value x, double c) { return add(x, constant(x, c)); }
  Value oneMinus(Value x) { return sub(constant(x, 1.0), x); }
  Value compare(Predicate p, Value x, Value y) { return b.create<CompareOp>(loc, p, x, y); }
  Value select(Value c, Value x, Value y) { return b.create<SelectOp>(loc, x.getType(), c, x, y); }
  Value zeroUnless(Value c, Value x) { return select(c, x, constant(x, 0)); }
  Value sum(Value x, ArrayRef<int64_t> dims) { return b.create<ReduceOp>(loc, ReduceKind::Sum, x, b.getDenseI64ArrayAttr(dims)); }
  /// The sum along one dimension, repeated along it.
  Value sumAlong(Value x, int64_t dim) { return broadcastBack(b, loc, sum(x, {dim}), tensorType(x), {dim}); }

  OpBuilder &b;
  Location loc;
};

bool isFloatTensor(Value v) { return isa<FloatType>(tensorType(v).getElementType()); }

} // namespace

/// Gradient of an op with one float operand: the body computes dx from x, y and dy.
#define UNARY_GRADIENT(OP, ...)                                                                                       \
  void OP::buildGradients(OpBuilder &builder, ValueRange resultGradients, ArrayRef<bool> wanted,                       \
                          SmallVectorImpl<Value> &operandGradients) {                                                  \
    Value x = getOperand(), y = getResult(), dy = resultGradients[0];                                                  \
    (void)x, (void)y;                                                                                                  \
    if (!wanted[0] || !dy || !isFloatTensor(x))                                                                        \
      return operandGradients.push_back(nullptr);                                                                      \
    Formula f(builder, getLoc());                                                                                      \
    operandGradients.push_back([&]() -> Value { __VA_ARGS__ }());                                                             \
  }

UNARY_GRADIENT(NegOp, return f.neg(dy);)
UNARY_GRADIENT(AbsOp, return f.mul(dy, f.unary<SignOp>(x));)
UNARY_GRADIENT(SignOp, return nullptr;)
UNARY_GRADIENT(FloorOp, return nullptr;)
UNARY_GRADIENT(CeilOp, return nullptr;)
UNARY_GRADIENT(RoundOp, return nullptr;)
UNARY_GRADIENT(ReciprocalOp, return f.neg(f.mul(dy, f.mul(y, y)));)
UNARY_GRADIENT(SqrtOp, return f.mul(f.div(dy, y), 0.5);)
UNARY_GRADIENT(RsqrtOp, return f.mul(f.mul(dy, f.mul(y, f.mul(y, y))), -0.5);)
UNARY_GRADIENT(ExpOp, return f.mul(dy, y);)
UNARY_GRADIENT(LogOp, return f.div(dy, x);)
UNARY_GRADIENT(SinOp, return f.mul(dy, f.unary<CosOp>(x));)
UNARY_GRADIENT(CosOp, return f.neg(f.mul(dy, f.unary<SinOp>(x)));)
UNARY_GRADIENT(TanhOp, return f.mul(dy, f.oneMinus(f.mul(y, y)));)
UNARY_GRADIENT(ErfOp, return f.mul(f.mul(dy, f.unary<ExpOp>(f.neg(f.mul(x, x)))), 1.1283791670955126);) // 2/sqrt(pi)
UNARY_GRADIENT(SigmoidOp, return f.mul(dy, f.mul(y, f.oneMinus(y)));)
UNARY_GRADIENT(SiluOp, {
  // s + x s (1 - s), s the sigmoid
  Value s = f.unary<SigmoidOp>(x);
  return f.mul(dy, f.mul(s, f.add(f.mul(x, f.oneMinus(s)), 1.0)));
})
UNARY_GRADIENT(ReluOp, return f.zeroUnless(f.compare(Predicate::GT, x, f.constant(x, 0)), dy);)
UNARY_GRADIENT(SoftplusOp, return f.mul(dy, f.unary<SigmoidOp>(x));)
UNARY_GRADIENT(GeluOp, return builder.create<GeluGradOp>(getLoc(), x.getType(), x, dy, getApproximation());)
UNARY_GRADIENT(CastOp, {
  if (!isFloatTensor(y))
    return nullptr;
  return builder.create<CastOp>(getLoc(), x.getType(), dy);
})
UNARY_GRADIENT(ReshapeOp, return builder.create<ReshapeOp>(getLoc(), x.getType(), dy);)
UNARY_GRADIENT(TransposeOp, {
  SmallVector<int64_t> inverse(getPermutation().size());
  for (auto [i, dim] : llvm::enumerate(getPermutation()))
    inverse[dim] = i;
  return builder.create<TransposeOp>(getLoc(), dy, inverse);
})
UNARY_GRADIENT(BroadcastOp, {
  SmallVector<int64_t> added;
  for (int64_t i = 0; i < getType().getRank(); ++i)
    if (!llvm::is_contained(getDims(), i))
      added.push_back(i);
  return f.sum(dy, added);
})
UNARY_GRADIENT(SliceOp, {
  return builder.create<PadOp>(getLoc(), x.getType(), dy, getOffsets(), getSteps(), APFloat(0.0));
})
UNARY_GRADIENT(PadOp, return builder.create<SliceOp>(getLoc(), x.getType(), dy, getLow(), getSteps());)
UNARY_GRADIENT(CumsumOp, return builder.create<CumsumOp>(getLoc(), x.getType(), dy, getDim(), getExclusive(), !getReverse());)
UNARY_GRADIENT(SoftmaxOp, {
  Value product = f.mul(dy, y);
  return f.sub(product, f.mul(y, f.sumAlong(product, getDim())));
})
UNARY_GRADIENT(LogSoftmaxOp, return f.sub(dy, f.mul(f.unary<ExpOp>(y), f.sumAlong(dy, getDim())));)
UNARY_GRADIENT(ReduceOp, {
  auto type = tensorType(x);
  Value back = broadcastBack(builder, getLoc(), dy, type, getDims());
  if (getKind() == ReduceKind::Sum)
    return back;
  Value result = broadcastBack(builder, getLoc(), y, type, getDims());
  if (getKind() == ReduceKind::Prod) {
    // The product of the other elements: result / x, but where there is one zero, what is left without it is not zero.
    Value isZero = f.compare(Predicate::EQ, x, f.constant(x, 0));
    Value others = f.select(isZero, f.constant(x, 1), x);
    Value rest = builder.create<ReduceOp>(getLoc(), ReduceKind::Prod, others, builder.getDenseI64ArrayAttr(getDims()));
    Value zeros = f.sum(builder.create<CastOp>(getLoc(), type, isZero), getDims());
    rest = f.zeroUnless(f.compare(Predicate::EQ, zeros, f.constant(zeros, 1)), rest);
    return f.mul(back, f.select(isZero, broadcastBack(builder, getLoc(), rest, type, getDims()), f.div(result, others)));
  }
  // The elements that attain the extremum share its gradient.
  Value attained = builder.create<CastOp>(getLoc(), type, f.compare(Predicate::EQ, x, result));
  Value count = broadcastBack(builder, getLoc(), f.sum(attained, getDims()), type, getDims());
  return f.div(f.mul(back, attained), count);
})
#undef UNARY_GRADIENT

/// Gradient of a binary float op: LHS and RHS give the two cotangents.
#define BINARY_GRADIENT(OP, LHS, RHS)                                                                                  \
  void OP::buildGradients(OpBuilder &builder, ValueRange resultGradients, ArrayRef<bool> wanted,                       \
                          SmallVectorImpl<Value> &operandGradients) {                                                  \
    Value a = getLhs(), b = getRhs(), y = getResult(), dy = resultGradients[0];                                        \
    (void)a, (void)b, (void)y;                                                                                         \
    bool has = dy && isFloatTensor(a);                                                                                 \
    Formula f(builder, getLoc());                                                                                      \
    operandGradients.push_back(has && wanted[0] ? (LHS) : Value());                                                    \
    operandGradients.push_back(has && wanted[1] ? (RHS) : Value());                                                    \
  }

/// dy where a beats b, half of it where they are equal.
static Value extremumGradient(Formula &f, Predicate beats, Value a, Value b, Value dy) {
  Value half = f.zeroUnless(f.compare(Predicate::EQ, a, b), f.mul(dy, 0.5));
  return f.select(f.compare(beats, a, b), dy, half);
}

BINARY_GRADIENT(AddOp, dy, dy)
BINARY_GRADIENT(SubOp, dy, f.neg(dy))
BINARY_GRADIENT(MulOp, f.mul(dy, b), f.mul(dy, a))
BINARY_GRADIENT(DivOp, f.div(dy, b), f.neg(f.div(f.mul(dy, y), b)))
BINARY_GRADIENT(MaximumOp, extremumGradient(f, Predicate::GT, a, b, dy), extremumGradient(f, Predicate::GT, b, a, dy))
BINARY_GRADIENT(MinimumOp, extremumGradient(f, Predicate::LT, a, b, dy), extremumGradient(f, Predicate::LT, b, a, dy))
/// b a^(b-1), and zero where b is, as PyTorch has it.
static Value powGradient(Formula &f, Value a, Value b, Value dy) {
  if (std::optional<double> c = getSplat(b); c && *c != 0)
    return f.mul(dy, f.mul(*c == 2 ? a : *c == 3 ? f.mul(a, a) : f.binary<PowOp>(a, f.constant(a, *c - 1)), *c));
  Value slope = f.mul(b, f.binary<PowOp>(a, f.add(b, -1.0)));
  return f.zeroUnless(f.compare(Predicate::NE, b, f.constant(b, 0)), f.mul(dy, slope));
}

// d/db = a^b log a, and zero where a is zero, as PyTorch has it.
BINARY_GRADIENT(PowOp, powGradient(f, a, b, dy),
                f.zeroUnless(f.compare(Predicate::NE, a, f.constant(a, 0)), f.mul(dy, f.mul(y, f.unary<LogOp>(a)))))
BINARY_GRADIENT(ModOp, dy, f.neg(f.mul(dy, f.unary<FloorOp>(f.div(a, b)))))
BINARY_GRADIENT(AndOp, Value(), Value())
BINARY_GRADIENT(OrOp, Value(), Value())
BINARY_GRADIENT(XorOp, Value(), Value())
#undef BINARY_GRADIENT

void SelectOp::buildGradients(OpBuilder &builder, ValueRange resultGradients, ArrayRef<bool> wanted,
                              SmallVectorImpl<Value> &operandGradients) {
  Value dy = resultGradients[0];
  bool has = dy && isFloatTensor(getResult());
  Formula f(builder, getLoc());
  operandGradients.push_back(nullptr);
  operandGradients.push_back(has && wanted[1] ? f.zeroUnless(getCondition(), dy) : Value());
  operandGradients.push_back(has && wanted[2] ? f.select(getCondition(), f.constant(dy, 0), dy) : Value());
}

void ConcatOp::buildGradients(OpBuilder &builder, ValueRange resultGradients, ArrayRef<bool> wanted,
                              SmallVectorImpl<Value> &operandGradients) {
  SmallVector<int64_t> offsets(getType().getRank(), 0), steps(getType().getRank(), 1);
  for (auto [i, input] : llvm::enumerate(getInputs())) {
    bool has = resultGradients[0] && wanted[i] && isFloatTensor(input);
    operandGradients.push_back(
        has ? builder.create<SliceOp>(getLoc(), input.getType(), resultGradients[0], offsets, steps).getResult() : Value());
    offsets[getDim()] += tensorType(input).getShape()[getDim()];
  }
}

void ContractOp::buildGradients(OpBuilder &builder, ValueRange resultGradients, ArrayRef<bool> wanted,
                                SmallVectorImpl<Value> &operandGradients) {
  // Every loop is in at least two of the three tensors, so the cotangent of one operand is the contraction of
  // dy with the other.
  Subscripts s = getParsedSubscripts();
  Value dy = resultGradients[0];
  auto contract = [&](Value x, StringRef xs, Value y, StringRef ys, StringRef to) -> Value {
    return builder.create<ContractOp>(getLoc(), x, y, (xs + "," + ys + "->" + to).str());
  };
  operandGradients.push_back(dy && wanted[0] ? contract(dy, s.result, getRhs(), s.rhs, s.lhs) : Value());
  operandGradients.push_back(dy && wanted[1] ? contract(getLhs(), s.lhs, dy, s.result, s.rhs) : Value());
}

void ConvOp::buildGradients(OpBuilder &builder, ValueRange resultGradients, ArrayRef<bool> wanted,
                            SmallVectorImpl<Value> &operandGradients) {
  Value dy = resultGradients[0];
  operandGradients.push_back(dy && wanted[0] ? builder
                                                   .create<ConvInputGradOp>(getLoc(), getInput().getType(), dy, getWeight(), getStrides(),
                                                                            getPadsBegin(), getPadsEnd(), getDilations(), getGroups())
                                                   .getResult()
                                             : Value());
  operandGradients.push_back(dy && wanted[1] ? builder
                                                   .create<ConvWeightGradOp>(getLoc(), getWeight().getType(), getInput(), dy, getStrides(),
                                                                             getPadsBegin(), getPadsEnd(), getDilations(), getGroups())
                                                   .getResult()
                                             : Value());
}

void EmbeddingOp::buildGradients(OpBuilder &builder, ValueRange resultGradients, ArrayRef<bool> wanted,
                                 SmallVectorImpl<Value> &operandGradients) {
  bool has = resultGradients[0] && wanted[0] && isFloatTensor(getTable());
  operandGradients.push_back(
      has ? builder.create<EmbeddingGradOp>(getLoc(), getTable().getType(), getIds(), resultGradients[0], getRows()).getResult() : Value());
  operandGradients.append(getNumOperands() - 1, nullptr);
}

void TakeAlongOp::buildGradients(OpBuilder &builder, ValueRange resultGradients, ArrayRef<bool> wanted,
                                 SmallVectorImpl<Value> &operandGradients) {
  operandGradients.append(2, nullptr);
  Value dy = resultGradients[0];
  if (!dy || !wanted[0] || !isFloatTensor(getOperand()))
    return;
  // dx[..., j, ...] = sum over i of dy[..., i, ...] where indices[..., i, ...] = j: a masked sum over a new dimension.
  auto operand = tensorType(getOperand()), indices = tensorType(getIndices());
  int64_t dim = getDim(), rank = operand.getRank();
  SmallVector<int64_t> shape(operand.getShape()), places;
  shape.push_back(indices.getShape()[dim]);
  for (int64_t i = 0; i < rank; ++i)
    places.push_back(i == dim ? rank : i);
  // Broadcasts place dimensions in ascending order, so the picked dimension is moved last first.
  SmallVector<int64_t> last;
  for (int64_t i = 0; i < rank; ++i)
    if (i != dim)
      last.push_back(i);
  SmallVector<int64_t> targets(last);
  targets.push_back(rank);
  last.push_back(dim);
  auto spread = [&](Value v) -> Value {
    Value moved = builder.create<TransposeOp>(getLoc(), v, last);
    return builder.create<BroadcastOp>(getLoc(), RankedTensorType::get(shape, tensorType(v).getElementType()), moved, targets);
  };
  Formula f(builder, getLoc());
  Value position = builder.create<IotaOp>(getLoc(), RankedTensorType::get(shape, builder.getI64Type()), dim);
  Value hit = f.compare(Predicate::EQ, spread(getIndices()), position);
  operandGradients[0] = f.sum(f.zeroUnless(hit, spread(dy)), {rank});
}

void LayerNormOp::buildGradients(OpBuilder &builder, ValueRange resultGradients, ArrayRef<bool> wanted,
                                 SmallVectorImpl<Value> &operandGradients) {
  operandGradients.append(getNumOperands(), nullptr);
  if (!resultGradients[0])
    return;
  auto grad = builder.create<LayerNormGradOp>(getLoc(), TypeRange{getInput().getType(), getScale().getType(), getScale().getType()},
                                              getInput(), getScale(), resultGradients[0], getEpsilon());
  for (auto [i, gradient] : llvm::enumerate(grad.getResults().take_front(getNumOperands())))
    if (wanted[i])
      operandGradients[i] = gradient;
}

void RmsNormOp::buildGradients(OpBuilder &builder, ValueRange resultGradients, ArrayRef<bool> wanted,
                               SmallVectorImpl<Value> &operandGradients) {
  operandGradients.append(2, nullptr);
  if (!resultGradients[0])
    return;
  auto grad = builder.create<RmsNormGradOp>(getLoc(), TypeRange{getInput().getType(), getScale().getType()}, getInput(), getScale(),
                                            resultGradients[0], getEpsilon());
  for (auto [i, gradient] : llvm::enumerate(grad.getResults()))
    if (wanted[i])
      operandGradients[i] = gradient;
}

void RotaryOp::buildGradients(OpBuilder &builder, ValueRange resultGradients, ArrayRef<bool> wanted,
                              SmallVectorImpl<Value> &operandGradients) {
  operandGradients.append(3, nullptr);
  Value dy = resultGradients[0];
  if (!dy)
    return;
  auto rotate = [&](Value v, Value cos, Value sin, bool inverse) -> Value {
    return builder.create<RotaryOp>(getLoc(), v.getType(), v, cos, sin, getSeqDim(), getInterleaved(), inverse);
  };
  if (wanted[0])
    operandGradients[0] = rotate(dy, getCos(), getSin(), !getInverse());
  // A table that trains: the rotation is linear in it. With c and s set to one and zero, element d of the result
  // is x_d c + (turned x)_d s; sums over everything but the table's dimensions give its cotangents.
  if (!wanted[1] && !wanted[2])
    return;
  Formula f(builder, getLoc());
  auto type = tensorType(getInput()), table = tensorType(getCos());
  int64_t last = type.getRank() - 1, half = type.getShape()[last] / 2;
  Value one = createSplat(builder, getLoc(), table, 1.0);
  Value zero = createSplat(builder, getLoc(), table, 0.0);
  auto reduceToTable = [&](Value product) -> Value {
    // Split the last dimension into the pair and the table's dimension, then sum all that the table lacks.
    SmallVector<int64_t> split(type.getShape().drop_back());
    int64_t pairDim = getInterleaved() ? last + 1 : last, tableDim = getInterleaved() ? last : last + 1;
    split.append(2, 0);
    split[pairDim] = 2;
    split[tableDim] = half;
    Value v = builder.create<ReshapeOp>(getLoc(), type.clone(split), product);
    SmallVector<int64_t> dims;
    for (int64_t i = 0; i < last + 2; ++i)
      if (i != tableDim && i != int64_t(getSeqDim()) && !(i == 0 && table.getRank() == 3))
        dims.push_back(i);
    return f.sum(v, dims);
  };
  if (wanted[1])
    operandGradients[1] = reduceToTable(f.mul(dy, getInput()));
  if (wanted[2])
    operandGradients[2] = reduceToTable(f.mul(dy, rotate(getInput(), zero, one, getInverse())));
}

void AttentionOp::buildGradients(OpBuilder &builder, ValueRange resultGradients, ArrayRef<bool> wanted,
                                 SmallVectorImpl<Value> &operandGradients) {
  operandGradients.append(getNumOperands(), nullptr);
  if (!resultGradients[0])
    return;
  bool wantsBias = getBias() && wanted[getNumOperands() - 1];
  // A softcap needs the scores again, and with them the bias.
  Value bias = wantsBias ? getBias() : Value();
  SmallVector<Type> types{getQuery().getType(), getKey().getType(), getValue().getType()};
  if (bias)
    types.push_back(bias.getType());
  auto grad = builder.create<AttentionGradOp>(getLoc(), types, getQuery(), getKey(), getValue(), getProbabilities(),
                                              resultGradients[0], bias, getScaleAttr(), getSoftcapAttr());
  for (unsigned i = 0; i < 3; ++i)
    if (wanted[i])
      operandGradients[i] = grad.getResult(i);
  if (bias)
    operandGradients[getNumOperands() - 1] = grad.getBiasGradient();
}

void CrossEntropyOp::buildGradients(OpBuilder &builder, ValueRange resultGradients, ArrayRef<bool> wanted,
                                    SmallVectorImpl<Value> &operandGradients) {
  operandGradients.append(2, nullptr);
  Value gradient, logits = getLogits();
  if (!wanted[0])
    return;
  if (resultGradients[0])
    gradient = builder.create<CrossEntropyGradOp>(getLoc(), logits.getType(), logits, getLabels(), getLogSum(), resultGradients[0],
                                                  getIgnoreIndex());
  if (resultGradients[1]) { // softmax(logits)
    auto back = [&](Value row) { return broadcastBack(builder, getLoc(), row, tensorType(logits), tensorType(logits).getRank() - 1); };
    Value moved = builder.create<SubOp>(getLoc(), logits.getType(), logits, back(getLogSum()));
    Value softmax = builder.create<ExpOp>(getLoc(), logits.getType(), moved);
    Value part = builder.create<MulOp>(getLoc(), logits.getType(), softmax, back(resultGradients[1]));
    gradient = gradient ? builder.create<AddOp>(getLoc(), logits.getType(), gradient, part).getResult() : part;
  }
  operandGradients[0] = gradient;
}

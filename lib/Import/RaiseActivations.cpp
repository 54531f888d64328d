//===- RaiseActivations.cpp - silu, gelu, relu, softplus, rsqrt -----------===//

#include "Match.h"
#include "galvatron/Import/Passes.h"

#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

#include <array>

namespace galvatron {
#define GEN_PASS_DEF_NNRAISEACTIVATIONS
#include "galvatron/Import/Passes.h.inc"
} // namespace galvatron

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

namespace {

/// A polynomial in x of degree at most 4.
using Polynomial = std::array<double, 5>;

std::optional<Polynomial> multiply(const Polynomial &a, const Polynomial &b) {
  Polynomial product{};
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t j = 0; j < b.size(); ++j) {
      if (a[i] == 0 || b[j] == 0)
        continue;
      if (i + j >= product.size())
        return std::nullopt;
      product[i + j] += a[i] * b[j];
    }
  return product;
}

bool isZero(const Polynomial &p) {
  return llvm::all_of(p, [](double c) { return c == 0; });
}

bool areNear(const Polynomial &found, const Polynomial &wanted) {
  for (auto [f, w] : llvm::zip(found, wanted))
    if (w == 0 ? std::fabs(f) > 1e-7 : !isNear(f, w, 1e-3))
      return false;
  return true;
}

/// without + with * t, where t is one application of tanh, erf or sigmoid.
struct Affine {
  Polynomial without{}, with{};
};

/// Reads `value` as a function of `x` and `t`. Fails for anything but sums and products of few terms.
std::optional<Affine> read(Value value, Value x, Value t, int depth = 8) {
  if (value == x)
    return Affine{{0, 1}, {}};
  if (t && value == t)
    return Affine{{}, {1}};
  if (std::optional<double> c = getSplat(value))
    return Affine{{*c}, {}};
  Operation *op = value.getDefiningOp();
  if (!op || depth == 0 || !isa<AddOp, SubOp, MulOp, DivOp, PowOp, NegOp>(op))
    return std::nullopt;
  std::optional<Affine> a = read(op->getOperand(0), x, t, depth - 1);
  if (!a)
    return std::nullopt;
  auto combine = [](Affine a, const Affine &b, double sign) {
    for (size_t i = 0; i < a.with.size(); ++i) {
      a.without[i] += sign * b.without[i];
      a.with[i] += sign * b.with[i];
    }
    return a;
  };
  if (isa<NegOp>(op))
    return combine({}, *a, -1);
  std::optional<Affine> b = read(op->getOperand(1), x, t, depth - 1);
  if (!b)
    return std::nullopt;
  if (isa<AddOp>(op))
    return combine(*a, *b, 1);
  if (isa<SubOp>(op))
    return combine(*a, *b, -1);
  auto product = [](const Affine &a, const Affine &b) -> std::optional<Affine> {
    if (!isZero(a.with) && !isZero(b.with))
      return std::nullopt;
    auto without = multiply(a.without, b.without), left = multiply(a.with, b.without), right = multiply(a.without, b.with);
    if (!without || !left || !right)
      return std::nullopt;
    Affine result{*without, *left};
    for (size_t i = 0; i < result.with.size(); ++i)
      result.with[i] += (*right)[i];
    return result;
  };
  if (isa<MulOp>(op))
    return product(*a, *b);
  // What is left divides by a number or raises to a small whole power.
  std::optional<double> c = getSplat(op->getOperand(1));
  if (!c)
    return std::nullopt;
  if (isa<DivOp>(op))
    return *c == 0 ? std::nullopt : product(*a, Affine{{1 / *c}, {}});
  if (*c != 2 && *c != 3)
    return std::nullopt;
  std::optional<Affine> power = product(*a, *a);
  return *c == 3 && power ? product(*power, *a) : power;
}

/// The values that `value` might be a polynomial of, nearest last.
void collectArguments(Value value, SmallVectorImpl<Value> &candidates, int depth = 6) {
  if (getSplat(value) || llvm::is_contained(candidates, value))
    return;
  candidates.push_back(value);
  Operation *op = value.getDefiningOp();
  if (op && depth > 0 && isa<AddOp, SubOp, MulOp, DivOp, PowOp, NegOp>(op))
    for (Value operand : op->getOperands())
      collectArguments(operand, candidates, depth - 1);
}

/// x such that `value` is the polynomial `wanted` of it.
Value findArgument(Value value, const Polynomial &wanted) {
  SmallVector<Value> candidates;
  collectArguments(value, candidates);
  for (Value x : candidates)
    if (std::optional<Affine> found = read(value, x, {}); found && areNear(found->without, wanted))
      return x;
  return {};
}

/// The value among the users of `t`, and theirs, that is without + with * t of x.
Value findResult(Value t, Value x, const Affine &wanted) {
  SmallVector<Value> level{t};
  for (int depth = 0; depth < 4; ++depth) {
    SmallVector<Value> next;
    for (Value value : level)
      for (Operation *user : value.getUsers()) {
        if (!isa<AddOp, SubOp, MulOp, DivOp>(user))
          continue;
        Value result = user->getResult(0);
        std::optional<Affine> found = read(result, x, t);
        if (!found)
          continue;
        if (areNear(found->without, wanted.without) && areNear(found->with, wanted.with))
          return result;
        if (!llvm::is_contained(next, result))
          next.push_back(result);
      }
    level = std::move(next);
  }
  return {};
}

/// `Inner` (tanh, erf) of a polynomial of x, then x/2 (1 + that).
template <typename Inner, GeluKind kind> struct RaiseGelu : OpRewritePattern<Inner> {
  using OpRewritePattern<Inner>::OpRewritePattern;
  LogicalResult matchAndRewrite(Inner op, PatternRewriter &rewriter) const override {
    constexpr double tanhScale = 0.7978845608028654;
    Polynomial inner = kind == GeluKind::Tanh ? Polynomial{0, tanhScale, 0, tanhScale * 0.044715} : Polynomial{0, 0.7071067811865476};
    Value x = findArgument(op.getOperand(), inner);
    Value result = x ? findResult(op.getResult(), x, {{0, 0.5}, {0, 0.5}}) : Value();
    if (!result)
      return failure();
    rewriter.setInsertionPoint(result.getDefiningOp());
    rewriter.replaceOpWithNewOp<GeluOp>(result.getDefiningOp(), op.getType(), x, kind);
    return success();
  }
};

struct RaiseSilu : OpRewritePattern<SigmoidOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(SigmoidOp op, PatternRewriter &rewriter) const override {
    Value x = op.getOperand(), result = findResult(op.getResult(), x, {{}, {0, 1}});
    if (!result)
      return failure();
    rewriter.setInsertionPoint(result.getDefiningOp());
    rewriter.replaceOpWithNewOp<SiluOp>(result.getDefiningOp(), op.getType(), x);
    return success();
  }
};

/// 1 / sqrt(x), and a / sqrt(x) where the root may be repeated along dimensions.
struct RaiseRsqrt : OpRewritePattern<ReciprocalOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ReciprocalOp op, PatternRewriter &rewriter) const override {
    auto sqrt = op.getOperand().getDefiningOp<SqrtOp>();
    if (!sqrt)
      return failure();
    rewriter.replaceOpWithNewOp<RsqrtOp>(op, sqrt.getOperand());
    return success();
  }
};

struct RaiseRsqrtOfDivision : OpRewritePattern<DivOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(DivOp op, PatternRewriter &rewriter) const override {
    auto broadcast = op.getRhs().getDefiningOp<BroadcastOp>();
    auto sqrt = (broadcast ? broadcast.getOperand() : op.getRhs()).getDefiningOp<SqrtOp>();
    if (!sqrt)
      return failure();
    Value root = rewriter.create<RsqrtOp>(op.getLoc(), sqrt.getOperand());
    if (broadcast)
      root = rewriter.create<BroadcastOp>(op.getLoc(), broadcast.getType(), root, broadcast.getDims());
    if (std::optional<double> c = getSplat(op.getLhs()); c && *c == 1)
      rewriter.replaceOp(op, root);
    else
      rewriter.replaceOpWithNewOp<MulOp>(op, op.getLhs(), root);
    return success();
  }
};

struct RaiseRelu : OpRewritePattern<MaximumOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(MaximumOp op, PatternRewriter &rewriter) const override {
    if (!isa<FloatType>(op.getType().getElementType()))
      return failure();
    for (auto [x, zero] : {std::pair(op.getLhs(), op.getRhs()), std::pair(op.getRhs(), op.getLhs())})
      if (std::optional<double> c = getSplat(zero); c && *c == 0) {
        rewriter.replaceOpWithNewOp<ReluOp>(op, x);
        return success();
      }
    return failure();
  }
};

/// where(x > 0, x, 0)
struct RaiseReluOfSelect : OpRewritePattern<SelectOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(SelectOp op, PatternRewriter &rewriter) const override {
    auto compare = op.getCondition().getDefiningOp<CompareOp>();
    if (!compare || !isa<FloatType>(op.getType().getElementType()))
      return failure();
    bool positive = compare.getPredicate() == Predicate::GT || compare.getPredicate() == Predicate::GE;
    std::optional<double> zero = getSplat(op.getOnFalse()), edge = getSplat(compare.getRhs());
    if (!positive || !zero || *zero != 0 || !edge || *edge != 0 || compare.getLhs() != op.getOnTrue())
      return failure();
    rewriter.replaceOpWithNewOp<ReluOp>(op, op.getOnTrue());
    return success();
  }
};

/// log(1 + exp(x))
struct RaiseSoftplus : OpRewritePattern<LogOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(LogOp op, PatternRewriter &rewriter) const override {
    auto sum = matchAddSplat(op.getOperand());
    auto exp = sum && sum->second == 1 ? sum->first.getDefiningOp<ExpOp>() : ExpOp();
    if (!exp)
      return failure();
    rewriter.replaceOpWithNewOp<SoftplusOp>(op, exp.getOperand());
    return success();
  }
};

/// log(sigmoid(x)), which PyTorch computes without the underflow of its two steps: -softplus(-x)
struct RaiseLogSigmoid : OpRewritePattern<LogOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(LogOp op, PatternRewriter &rewriter) const override {
    auto sigmoid = op.getOperand().getDefiningOp<SigmoidOp>();
    if (!sigmoid)
      return failure();
    Value opposite = rewriter.create<NegOp>(op.getLoc(), sigmoid.getOperand());
    rewriter.replaceOpWithNewOp<NegOp>(op, rewriter.create<SoftplusOp>(op.getLoc(), opposite));
    return success();
  }
};

struct NNRaiseActivations : galvatron::impl::NNRaiseActivationsBase<NNRaiseActivations> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<RaiseGelu<TanhOp, GeluKind::Tanh>, RaiseGelu<ErfOp, GeluKind::Erf>, RaiseSilu, RaiseRsqrt,
                 RaiseRsqrtOfDivision, RaiseRelu, RaiseReluOfSelect, RaiseSoftplus, RaiseLogSigmoid>(&getContext());
    if (failed(applyPatternsAndFoldGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

//===- RaiseNorms.cpp - Layer, RMS and L2 normalisation -------------------===//

#include "Match.h"
#include "galvatron/Import/Passes.h"

#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace galvatron {
#define GEN_PASS_DEF_NNRAISENORMS
#include "galvatron/Import/Passes.h.inc"
} // namespace galvatron

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

namespace {

/// factor * (the sum of `value` over its last `count` dimensions).
struct TrailingSum {
  Value value;
  int64_t count;
  double factor;
  double elements; ///< how many are summed
};

std::optional<TrailingSum> matchTrailingSum(Value value) {
  Scaled scaled = stripScale(value);
  auto reduce = scaled.value.getDefiningOp<ReduceOp>();
  if (!reduce || reduce.getKind() != ReduceKind::Sum)
    return std::nullopt;
  auto type = tensorType(reduce.getOperand());
  if (!areTrailing(reduce.getDims(), type.getRank()))
    return std::nullopt;
  double elements = 1;
  for (int64_t dim : reduce.getDims())
    elements *= type.getShape()[dim];
  return TrailingSum{reduce.getOperand(), int64_t(reduce.getDims().size()), scaled.factor, elements};
}

/// x if `value` is x * x or x to the power 2.
Value matchSquare(Value value) {
  if (auto mul = value.getDefiningOp<MulOp>(); mul && mul.getLhs() == mul.getRhs())
    return mul.getLhs();
  if (auto pow = value.getDefiningOp<PowOp>())
    if (std::optional<double> c = getSplat(pow.getRhs()); c && *c == 2)
      return pow.getLhs();
  return {};
}

/// The operand of a broadcast that repeats a tensor along the last `count` dimensions and places the others in order.
Value matchRepeatedTrailing(Value value, int64_t count) {
  auto broadcast = value.getDefiningOp<BroadcastOp>();
  if (!broadcast || int64_t(broadcast.getDims().size()) != broadcast.getType().getRank() - count)
    return {};
  for (auto [i, dim] : llvm::enumerate(broadcast.getDims()))
    if (dim != int64_t(i))
      return {};
  return broadcast.getOperand();
}

/// A tensor of the last `count` dimensions of `value`, which repeats it. Constants qualify too.
Value trailingPart(OpBuilder &builder, Value value, int64_t count) {
  auto type = tensorType(value);
  if (std::optional<double> splat = getSplat(value))
    return createSplat(builder, value.getLoc(), type.clone(type.getShape().take_back(count)), *splat);
  auto broadcast = value.getDefiningOp<BroadcastOp>();
  if (!broadcast || int64_t(broadcast.getDims().size()) != count || !areTrailing(broadcast.getDims(), type.getRank()))
    return {};
  return broadcast.getOperand();
}

/// x * rsqrt(mean(x²) + ε). A sum in the place of the mean (L2) only changes ε and the scale.
struct RaiseRms : OpRewritePattern<MulOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(MulOp op, PatternRewriter &rewriter) const override {
    for (auto [x, factor] : {std::pair(op.getLhs(), op.getRhs()), std::pair(op.getRhs(), op.getLhs())}) {
      auto broadcast = factor.getDefiningOp<BroadcastOp>();
      auto rsqrt = broadcast ? broadcast.getOperand().getDefiningOp<RsqrtOp>() : RsqrtOp();
      auto shifted = rsqrt ? matchAddSplat(rsqrt.getOperand()) : std::nullopt;
      auto sum = shifted ? matchTrailingSum(shifted->first) : std::nullopt;
      if (!sum || !(sum->factor > 0) || matchSquare(sum->value) != x || !matchRepeatedTrailing(factor, sum->count))
        continue;
      // factor * sum + ε = (factor * n) * (mean + ε / (factor * n))
      double perMean = sum->factor * sum->elements;
      bool isMean = isNear(perMean, 1, 1e-6);
      auto scaleType = op.getType().clone(op.getType().getShape().take_back(sum->count));
      Value scale = createSplat(rewriter, op.getLoc(), scaleType, isMean ? 1.0 : 1.0 / std::sqrt(perMean));
      double epsilon = isMean ? shifted->second : shifted->second / perMean;
      rewriter.replaceOpWithNewOp<RmsNormOp>(op, op.getType(), x, scale, rewriter.getF64FloatAttr(epsilon));
      return success();
    }
    return failure();
  }
};

/// norm(x) * w, where w has the normalised dimensions only.
struct ScaleRms : OpRewritePattern<MulOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(MulOp op, PatternRewriter &rewriter) const override {
    for (auto [normed, factor] : {std::pair(op.getLhs(), op.getRhs()), std::pair(op.getRhs(), op.getLhs())}) {
      auto rms = normed.getDefiningOp<RmsNormOp>();
      auto layer = normed.getDefiningOp<LayerNormOp>();
      Operation *norm = normed.getDefiningOp();
      if ((!rms && !layer) || !normed.hasOneUse() || (layer && layer.getBias()))
        continue;
      Value oldScale = norm->getOperand(1);
      std::optional<double> splat = getSplat(oldScale);
      Value scale = splat ? trailingPart(rewriter, factor, tensorType(oldScale).getRank()) : Value();
      if (!scale)
        continue;
      if (*splat != 1)
        scale = rewriter.create<MulOp>(op.getLoc(), scale, oldScale);
      rewriter.setInsertionPoint(op);
      Location loc = rewriter.getFusedLoc({norm->getLoc(), op.getLoc()});
      if (rms)
        rewriter.replaceOp(op, rewriter.create<RmsNormOp>(loc, op.getType(), rms.getInput(), scale, rms.getEpsilonAttr()));
      else
        rewriter.replaceOp(op, rewriter.create<LayerNormOp>(loc, op.getType(), layer.getInput(), scale, Value(), layer.getEpsilonAttr()));
      return success();
    }
    return failure();
  }
};

/// rms_norm(x - mean(x)) is layer_norm(x).
struct RaiseLayerNorm : OpRewritePattern<RmsNormOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(RmsNormOp op, PatternRewriter &rewriter) const override {
    auto sub = op.getInput().getDefiningOp<SubOp>();
    int64_t count = tensorType(op.getScale()).getRank();
    Value mean = sub ? matchRepeatedTrailing(sub.getRhs(), count) : Value();
    auto sum = mean ? matchTrailingSum(mean) : std::nullopt;
    if (!sum || sum->value != sub.getLhs() || sum->count != count || !isNear(sum->factor * sum->elements, 1, 1e-6))
      return failure();
    rewriter.replaceOpWithNewOp<LayerNormOp>(op, op.getType(), sub.getLhs(), op.getScale(), Value(), op.getEpsilonAttr());
    return success();
  }
};

/// layer_norm(x) + b, where b has the normalised dimensions only.
struct AddLayerNormBias : OpRewritePattern<AddOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(AddOp op, PatternRewriter &rewriter) const override {
    for (auto [normed, addend] : {std::pair(op.getLhs(), op.getRhs()), std::pair(op.getRhs(), op.getLhs())}) {
      auto norm = normed.getDefiningOp<LayerNormOp>();
      if (!norm || norm.getBias() || !normed.hasOneUse())
        continue;
      Value bias = trailingPart(rewriter, addend, tensorType(norm.getScale()).getRank());
      if (!bias)
        continue;
      rewriter.replaceOpWithNewOp<LayerNormOp>(op, op.getType(), norm.getInput(), norm.getScale(), bias, norm.getEpsilonAttr());
      return success();
    }
    return failure();
  }
};

struct NNRaiseNorms : galvatron::impl::NNRaiseNormsBase<NNRaiseNorms> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<RaiseRms, ScaleRms, RaiseLayerNorm, AddLayerNormBias>(&getContext());
    if (failed(applyPatternsAndFoldGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

//===- Decompose.cpp - Large nn ops become small ones ---------------------===//
//
// The pass, and the patterns for normalisation and softmax. Every op is written
// so that a row needs as few passes over memory as its mathematics allows: what
// can be summed together is, and divisions are by row, not by element.
//
//===----------------------------------------------------------------------===//

#include "galvatron/Codegen/Passes.h"

#include "DecomposePatterns.h"
#include "TensorBuilder.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;

namespace galvatron {
#define GEN_PASS_DEF_DECOMPOSEPASS
#include "galvatron/Codegen/Passes.h.inc"
} // namespace galvatron

using namespace galvatron;
using namespace galvatron::nn;

namespace {

/// The last dimensions of `input`, as many as `scale` has, and those before them.
struct NormDims {
  NormDims(Value input, Value scale) {
    int64_t rank = tensorType(input).getRank(), inner = tensorType(scale).getRank();
    for (int64_t dim = 0; dim < rank; ++dim)
      (dim < rank - inner ? rows : columns).push_back(dim);
    count = std::max<int64_t>(tensorType(scale).getNumElements(), 1);
  }
  SmallVector<int64_t> rows, columns;
  double count;
};

/// x - mean and, for each row, 1 / sqrt(var + epsilon).
struct Centered {
  Centered(TensorBuilder &t, Value input, const NormDims &dims, double epsilon) {
    Value mean = t.mul(t.sum(input, dims.columns), 1.0 / dims.count);
    difference = t.sub(input, t.broadcastBack(mean, input, dims.columns));
    Value variance = t.mul(t.sum(t.mul(difference, difference), dims.columns), 1.0 / dims.count);
    rstd = t.rsqrt(t.add(variance, epsilon));
  }
  Value difference, rstd;
};

struct DecomposeLayerNorm : OpRewritePattern<LayerNormOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(LayerNormOp op, PatternRewriter &rewriter) const override {
    TensorBuilder t(rewriter, op);
    Value x = op.getInput();
    ArrayRef<int64_t> shape = tensorType(x).getShape();
    NormDims dims(x, op.getScale());
    Centered centered(t, x, dims, op.getEpsilon().convertToDouble());
    Value y = t.mul(centered.difference, t.broadcastBack(centered.rstd, x, dims.columns));
    y = t.mul(y, t.broadcast(op.getScale(), shape, dims.columns));
    if (op.getBias())
      y = t.add(y, t.broadcast(op.getBias(), shape, dims.columns));
    rewriter.replaceOp(op, y);
    return success();
  }
};

struct DecomposeLayerNormGrad : OpRewritePattern<LayerNormGradOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(LayerNormGradOp op, PatternRewriter &rewriter) const override {
    // With c = x - mean and g = dy * scale: dx = rstd * (g - mean(g) - c * rstd² * mean(g * c)). The sums of x and g
    // are taken together, and so are those of c² and g * c.
    TensorBuilder t(rewriter, op);
    Value x = op.getInput(), dy = op.getGradient();
    NormDims dims(x, op.getScale());
    Value g = t.mul(dy, t.broadcast(op.getScale(), tensorType(x).getShape(), dims.columns));
    Value gMean = t.mul(t.sum(g, dims.columns), 1.0 / dims.count);
    Centered centered(t, x, dims, op.getEpsilon().convertToDouble());
    Value gcMean = t.mul(t.sum(t.mul(g, centered.difference), dims.columns), 1.0 / dims.count);
    Value factor = t.mul(gcMean, t.mul(centered.rstd, centered.rstd));
    auto back = [&](Value row) { return t.broadcastBack(row, x, dims.columns); };
    Value inner = t.sub(t.sub(g, back(gMean)), t.mul(centered.difference, back(factor)));
    Value dx = t.mul(inner, back(centered.rstd));
    Value normalized = t.mul(centered.difference, back(centered.rstd));
    Value dScale = t.sum(t.mul(dy, normalized), dims.rows), dBias = t.sum(dy, dims.rows);
    rewriter.replaceOp(op, ValueRange{dx, dScale, dBias});
    return success();
  }
};

/// 1 / sqrt(mean(x²) + epsilon) for each row.
Value rootMeanSquare(TensorBuilder &t, Value x, const NormDims &dims, double epsilon) {
  return t.rsqrt(t.add(t.mul(t.sum(t.mul(x, x), dims.columns), 1.0 / dims.count), epsilon));
}

struct DecomposeRmsNorm : OpRewritePattern<RmsNormOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(RmsNormOp op, PatternRewriter &rewriter) const override {
    TensorBuilder t(rewriter, op);
    Value x = op.getInput();
    NormDims dims(x, op.getScale());
    Value r = rootMeanSquare(t, x, dims, op.getEpsilon().convertToDouble());
    Value y = t.mul(x, t.broadcastBack(r, x, dims.columns));
    rewriter.replaceOp(op, t.mul(y, t.broadcast(op.getScale(), tensorType(x).getShape(), dims.columns)));
    return success();
  }
};

struct DecomposeRmsNormGrad : OpRewritePattern<RmsNormGradOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(RmsNormGradOp op, PatternRewriter &rewriter) const override {
    // With g = dy * scale: dx = r * (g - x * r² * mean(g * x)).
    TensorBuilder t(rewriter, op);
    Value x = op.getInput(), dy = op.getGradient();
    NormDims dims(x, op.getScale());
    Value r = rootMeanSquare(t, x, dims, op.getEpsilon().convertToDouble());
    Value g = t.mul(dy, t.broadcast(op.getScale(), tensorType(x).getShape(), dims.columns));
    Value gxMean = t.mul(t.sum(t.mul(g, x), dims.columns), 1.0 / dims.count);
    auto back = [&](Value row) { return t.broadcastBack(row, x, dims.columns); };
    Value dx = t.mul(t.sub(g, t.mul(x, back(t.mul(gxMean, t.mul(r, r))))), back(r));
    Value dScale = t.sum(t.mul(dy, t.mul(x, back(r))), dims.rows);
    rewriter.replaceOp(op, ValueRange{dx, dScale});
    return success();
  }
};

struct DecomposeSoftmax : OpRewritePattern<SoftmaxOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(SoftmaxOp op, PatternRewriter &rewriter) const override {
    TensorBuilder t(rewriter, op);
    Value x = op.getOperand();
    int64_t dim = op.getDim();
    Value e = t.exp(t.sub(x, t.broadcastBack(t.max(x, dim), x, dim)));
    Value inverse = t.reciprocal(t.sum(e, dim));
    rewriter.replaceOp(op, t.mul(e, t.broadcastBack(inverse, x, dim)));
    return success();
  }
};

struct DecomposeLogSoftmax : OpRewritePattern<LogSoftmaxOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(LogSoftmaxOp op, PatternRewriter &rewriter) const override {
    TensorBuilder t(rewriter, op);
    Value x = op.getOperand();
    int64_t dim = op.getDim();
    Value moved = t.sub(x, t.broadcastBack(t.max(x, dim), x, dim));
    Value logarithm = t.log(t.sum(t.exp(moved), dim));
    rewriter.replaceOp(op, t.sub(moved, t.broadcastBack(logarithm, x, dim)));
    return success();
  }
};

/// A sum over all of a large tensor has two levels: of rows, in parallel, then of what these give.
struct DecomposeFullReduce : OpRewritePattern<ReduceOp> {
  using OpRewritePattern::OpRewritePattern;

  // Rows of about this many elements are summed by one thread each; a dimension that would make them much longer is not part of
  // them.
  static constexpr int64_t rowElements = 1024, maxRowElements = 16 * rowElements;

  /// `value` in another shape; what is computed element by element is computed in that shape.
  static Value reshape(PatternRewriter &rewriter, Value value, ArrayRef<int64_t> shape) {
    auto type = tensorType(value).clone(shape);
    Operation *op = value.getDefiningOp();
    if (!isa_and_nonnull<MulOp, AddOp, SubOp>(op) || !value.hasOneUse())
      return rewriter.create<ReshapeOp>(value.getLoc(), type, value);
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(operand == op->getOperand(0) && !operands.empty() ? operands[0] : reshape(rewriter, operand, shape));
    return rewriter.create(op->getLoc(), op->getName().getIdentifier(), operands, type, op->getAttrs())->getResult(0);
  }

  LogicalResult matchAndRewrite(ReduceOp op, PatternRewriter &rewriter) const override {
    RankedTensorType type = tensorType(op.getOperand());
    if (static_cast<int64_t>(op.getDims().size()) != type.getRank() || type.getNumElements() == 0)
      return failure();
    int64_t row = 1;
    for (int64_t size : llvm::reverse(type.getShape()))
      if (row == 1 || (row < rowElements && row * size <= maxRowElements))
        row *= size;
    int64_t rows = type.getNumElements() / row;
    if (rows == 1)
      return failure();
    TensorBuilder t(rewriter, op);
    Value flat = reshape(rewriter, op.getOperand(), {rows, row});
    rewriter.replaceOp(op, t.reduce(op.getKind(), t.reduce(op.getKind(), flat, {1}), {0}));
    return success();
  }
};

struct DecomposePass : galvatron::impl::DecomposePassBase<DecomposePass> {
  using DecomposePassBase::DecomposePassBase;

  LogicalResult initialize(MLIRContext *context) override {
    RewritePatternSet owned(context);
    owned.add<DecomposeLayerNorm, DecomposeLayerNormGrad, DecomposeRmsNorm, DecomposeRmsNormGrad, DecomposeSoftmax,
              DecomposeLogSoftmax, DecomposeFullReduce>(context);
    populateDecomposeAttentionPatterns(owned);
    populateDecomposeTrainingPatterns(owned);
    patterns = std::move(owned);
    return success();
  }

  void runOnOperation() override {
    if (failed(applyPatternsAndFoldGreedily(getOperation(), patterns))) {
      getOperation().emitError("decomposing ops did not come to an end"); // untested: each pattern makes simpler ops
      signalPassFailure();
    }
  }

  FrozenRewritePatternSet patterns;
};

} // namespace

//===- DecomposeTraining.cpp - Loss and updates become small ops ----------===//

#include "DecomposePatterns.h"

#include "TensorBuilder.h"
#include "galvatron_rt.h"

#include <limits>

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

namespace {

struct DecomposeCrossEntropy : OpRewritePattern<CrossEntropyOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(CrossEntropyOp op, PatternRewriter &rewriter) const override {
    TensorBuilder t(rewriter, op);
    Value logits = op.getLogits(), labels = op.getLabels();
    int64_t last = tensorType(logits).getRank() - 1;
    Value largest = t.max(logits, last);
    Value sum = t.sum(t.exp(t.sub(logits, t.broadcastBack(largest, logits, last))), last);
    Value logSum = t.add(t.log(sum), largest);
    // A label that is not counted may be out of range: read class 0 for it.
    Value isIgnored = t.compare(Predicate::EQ, labels, t.splat(labels, double(int64_t(op.getIgnoreIndex()))));
    Value safe = t.select(isIgnored, t.splat(labels, 0), labels);
    SmallVector<int64_t> column(tensorType(labels).getShape());
    column.push_back(1);
    Value picked = rewriter.create<TakeAlongOp>(op.getLoc(), logits, t.reshape(safe, column), last);
    picked = t.reshape(picked, tensorType(labels).getShape());
    Value loss = t.sub(logSum, picked);
    rewriter.replaceOp(op, {t.select(isIgnored, t.splat(loss, 0), loss), logSum});
    return success();
  }
};

struct DecomposeCrossEntropyGrad : OpRewritePattern<CrossEntropyGradOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(CrossEntropyGradOp op, PatternRewriter &rewriter) const override {
    TensorBuilder t(rewriter, op);
    Value logits = op.getLogits(), labels = op.getLabels();
    ArrayRef<int64_t> shape = tensorType(logits).getShape();
    int64_t last = shape.size() - 1;
    auto back = [&](Value row) { return t.broadcastBack(row, logits, last); };
    Value isIgnored = t.compare(Predicate::EQ, labels, t.splat(labels, double(int64_t(op.getIgnoreIndex()))));
    Value dLoss = t.select(isIgnored, t.splat(op.getGradient(), 0), op.getGradient());
    Value p = t.mul(t.exp(t.sub(logits, back(op.getLogSum()))), back(dLoss));
    Value isLabel = t.compare(Predicate::EQ, t.iota(shape, last), back(labels));
    rewriter.replaceOp(op, t.sub(p, t.select(isLabel, back(dLoss), t.splat(logits, 0))));
    return success();
  }
};

/// Looks up in a table of `count` rows with the numbers `rows`.
struct PieceOfTable {
  PieceOfTable(TensorBuilder &t, Value globalIds, Value rows) {
    auto one = RankedTensorType::get({1}, tensorType(rows).getElementType());
    Value first = t.b.create<SliceOp>(t.loc, one, rows, t.b.getDenseI64ArrayAttr(0), t.b.getDenseI64ArrayAttr(1));
    ids = t.sub(globalIds, t.broadcast(t.reshape(first, {}), tensorType(globalIds).getShape(), {}));
    Value count = t.splat(ids, double(tensorType(rows).getDimSize(0)));
    isHere = t.both(t.compare(Predicate::GE, ids, t.splat(ids, 0)), t.compare(Predicate::LT, ids, count));
  }
  Value ids;    ///< places in the piece, or outside of it
  Value isHere; ///< which are in it
};

struct DecomposeEmbedding : OpRewritePattern<EmbeddingOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(EmbeddingOp op, PatternRewriter &rewriter) const override {
    if (!op.getRows())
      return failure();
    TensorBuilder t(rewriter, op);
    PieceOfTable piece(t, op.getIds(), op.getRows());
    Value found = rewriter.create<EmbeddingOp>(op.getLoc(), op.getTable(), piece.ids, Value());
    SmallVector<int64_t> dims;
    for (int64_t i = 0; i < tensorType(piece.ids).getRank(); ++i)
      dims.push_back(i);
    rewriter.replaceOp(op, t.select(t.broadcast(piece.isHere, tensorType(found).getShape(), dims), found, t.splat(found, 0)));
    return success();
  }
};

struct DecomposeEmbeddingGrad : OpRewritePattern<EmbeddingGradOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(EmbeddingGradOp op, PatternRewriter &rewriter) const override {
    if (!op.getRows())
      return failure();
    TensorBuilder t(rewriter, op);
    PieceOfTable piece(t, op.getIds(), op.getRows());
    Value ids = t.select(piece.isHere, piece.ids, t.splat(piece.ids, -1)); // -1 is passed over
    rewriter.replaceOpWithNewOp<EmbeddingGradOp>(op, op.getType(), ids, op.getGradient(), Value());
    return success();
  }
};

/// Updates write over what they update: the kernel that computes these gets `rt.inplace` for them.
void markInPlace(ValueRange updated) {
  for (Value value : updated)
    value.getDefiningOp()->setAttr("rt.in_place", UnitAttr::get(value.getContext()));
}

/// Scalars of the step, repeated to the shape of a parameter.
class Hyper {
public:
  Hyper(TensorBuilder &t, Value hyper, Value like) : t(t), hyper(hyper), like(like) {}

  Value operator()(int64_t which) {
    auto one = RankedTensorType::get({1}, tensorType(hyper).getElementType());
    Value picked = t.b.create<SliceOp>(t.loc, one, hyper, t.b.getDenseI64ArrayAttr(which), t.b.getDenseI64ArrayAttr(1));
    return spread(t.reshape(picked, {}));
  }
  Value spread(Value scalar) { return t.broadcast(scalar, tensorType(like).getShape(), {}); }

private:
  TensorBuilder &t;
  Value hyper, like;
};

struct DecomposeAdamW : OpRewritePattern<AdamWOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(AdamWOp op, PatternRewriter &rewriter) const override {
    TensorBuilder t(rewriter, op);
    Value p = op.getParameter();
    Hyper hyper(t, op.getHyper(), p);
    Value g = t.mul(op.getGradient(), hyper.spread(op.getClipScale()));
    Value m = t.add(t.mul(op.getExpAvg(), hyper(GALVATRON_RT_HYPER_BETA1)),
                    t.mul(g, hyper(GALVATRON_RT_HYPER_ONE_MINUS_BETA1)));
    Value v = t.add(t.mul(op.getExpAvgSq(), hyper(GALVATRON_RT_HYPER_BETA2)),
                    t.mul(t.mul(g, g), hyper(GALVATRON_RT_HYPER_ONE_MINUS_BETA2)));
    if (op.getDecay())
      p = t.mul(p, hyper(GALVATRON_RT_HYPER_DECAY_FACTOR));
    Value root = t.add(t.mul(t.sqrt(v), hyper(GALVATRON_RT_HYPER_BIAS2)), hyper(GALVATRON_RT_HYPER_EPS));
    // With ε = 0 what has never had a gradient, and padding is of that kind, would become 0 / 0.
    root = t.binary<MaximumOp>(root, t.splat(root, std::numeric_limits<float>::min()));
    p = t.sub(p, t.mul(t.div(m, root), hyper(GALVATRON_RT_HYPER_STEP_SIZE)));
    markInPlace({p, m, v});
    rewriter.replaceOp(op, ValueRange{p, m, v});
    return success();
  }
};

struct DecomposeSgd : OpRewritePattern<SgdOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(SgdOp op, PatternRewriter &rewriter) const override {
    TensorBuilder t(rewriter, op);
    Value p = op.getParameter();
    Hyper hyper(t, op.getHyper(), p);
    Value g = t.mul(op.getGradient(), hyper.spread(op.getClipScale()));
    if (op.getDecay())
      g = t.add(g, t.mul(p, hyper(GALVATRON_RT_HYPER_WEIGHT_DECAY)));
    Value buffer = t.add(t.mul(op.getMomentumBuffer(), hyper(GALVATRON_RT_HYPER_MOMENTUM)), g);
    Value first = hyper(GALVATRON_RT_HYPER_FIRST_STEP);
    buffer = t.select(t.compare(Predicate::NE, first, t.splat(first, 0)), g, buffer);
    p = t.sub(p, t.mul(buffer, hyper(GALVATRON_RT_HYPER_LR)));
    markInPlace({p, buffer});
    rewriter.replaceOp(op, ValueRange{p, buffer});
    return success();
  }
};

} // namespace

void galvatron::populateDecomposeTrainingPatterns(RewritePatternSet &patterns) {
  patterns.add<DecomposeCrossEntropy, DecomposeCrossEntropyGrad, DecomposeEmbedding, DecomposeEmbeddingGrad, DecomposeAdamW, DecomposeSgd>(patterns.getContext());
}

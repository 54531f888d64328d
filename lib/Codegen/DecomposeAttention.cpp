//===- DecomposeAttention.cpp - Attention becomes matrix products ---------===//
//
// b batch, q query, k key, h kv head, g head of its group, d size of a key, e
// size of a value: the letters of the contractions below.
//
//===----------------------------------------------------------------------===//

#include "DecomposePatterns.h"

#include "TensorBuilder.h"

#include <limits>

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

namespace {

/// Pairs that take part, broadcast to the shape of the scores; null if all do.
Value attentionMask(TensorBuilder &t, AttentionOp op, ArrayRef<int64_t> scores) {
  int64_t q = scores[3], k = scores[4];
  Value band;
  if (op.getLower() || op.getUpper()) {
    Value distance = t.sub(t.iota({q, k}, 1), t.iota({q, k}, 0));
    if (std::optional<int64_t> upper = op.getUpper())
      band = t.compare(Predicate::LE, distance, t.splat(distance, *upper));
    if (std::optional<int64_t> lower = op.getLower())
      band = t.both(band, t.compare(Predicate::GE, distance, t.splat(distance, *lower)));
    band = t.broadcast(band, scores, {3, 4});
  }
  Value keys = op.getKeyMask();
  if (keys)
    keys = t.broadcast(keys, scores, {0, 4});
  return t.both(band, keys);
}

/// `bias`, whose dimensions of size one are repeated, in the shape of the scores.
Value broadcastBias(TensorBuilder &t, Value bias, ArrayRef<int64_t> scores) {
  SmallVector<int64_t> dims, shape;
  for (auto [dim, size] : llvm::enumerate(tensorType(bias).getShape())) {
    if (size == 1 && scores[dim] != 1)
      continue;
    dims.push_back(dim);
    shape.push_back(size);
  }
  return t.broadcast(t.reshape(bias, shape), scores, dims);
}

Value scaledScores(TensorBuilder &t, Value query, Value key, double scale) {
  return t.mul(t.contract(query, key, "bqhgd,bkhd->bhgqk"), scale);
}

struct DecomposeAttention : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(AttentionOp op, PatternRewriter &rewriter) const override {
    TensorBuilder t(rewriter, op);
    double infinity = std::numeric_limits<double>::infinity();
    Value scores = scaledScores(t, op.getQuery(), op.getKey(), op.getScale().convertToDouble());
    SmallVector<int64_t> shape(tensorType(scores).getShape());
    if (double cap = op.getSoftcap().convertToDouble(); cap > 0)
      scores = t.mul(t.tanh(t.mul(scores, 1.0 / cap)), cap);
    if (op.getBias())
      scores = t.add(scores, broadcastBias(t, op.getBias(), shape));
    Value mask = attentionMask(t, op, shape);
    // The lowest float instead of -inf makes a row without pairs uniform.
    double masked = op.getFiniteMask() ? std::numeric_limits<float>::lowest() : -infinity;
    if (mask)
      scores = t.select(mask, scores, t.splat(scores, masked));
    // A row of -inf alone has maximum -inf; with 0 in its place its exponentials are 0, and so is its result.
    Value largest = t.max(scores, {4});
    bool guard = (mask && !op.getFiniteMask()) || op.getBias();
    if (guard) {
      Value isEmpty = t.compare(Predicate::EQ, largest, t.splat(largest, -infinity));
      largest = t.select(isEmpty, t.splat(largest, 0), largest);
    }
    Value e = t.exp(t.sub(scores, t.broadcastBack(largest, scores, {4})));
    Value total = t.sum(e, {4});
    Value inverse = t.reciprocal(total);
    if (guard) {
      Value isZero = t.compare(Predicate::EQ, total, t.splat(total, 0));
      inverse = t.select(isZero, t.splat(total, 0), inverse);
    }
    Value probabilities = t.mul(e, t.broadcastBack(inverse, scores, {4}));
    Value result = t.contract(probabilities, op.getValue(), "bhgqk,bkhe->bqhge");
    rewriter.replaceOp(op, ValueRange{result, probabilities});
    return success();
  }
};

struct DecomposeAttentionGrad : OpRewritePattern<AttentionGradOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(AttentionGradOp op, PatternRewriter &rewriter) const override {
    TensorBuilder t(rewriter, op);
    Value p = op.getProbabilities(), dO = op.getGradient();
    double scale = op.getScale().convertToDouble();
    Value dV = t.contract(p, dO, "bhgqk,bqhge->bkhe");
    Value dP = t.contract(dO, op.getValue(), "bqhge,bkhe->bhgqk");
    Value inner = t.sum(t.mul(dP, p), {4});
    Value dS = t.mul(p, t.sub(dP, t.broadcastBack(inner, p, {4})));
    SmallVector<Value> results(3);
    if (op.getBias()) {
      SmallVector<int64_t> repeated;
      for (auto [dim, size] : llvm::enumerate(tensorType(op.getBias()).getShape()))
        if (size == 1 && tensorType(p).getShape()[dim] != 1)
          repeated.push_back(dim);
      Value dBias = repeated.empty() ? dS : t.sum(dS, repeated);
      results.push_back(t.reshape(dBias, tensorType(op.getBias()).getShape()));
    }
    if (double cap = op.getSoftcap().convertToDouble(); cap > 0) {
      // d/ds c tanh(s / c) = 1 - tanh(s / c)²
      Value bent = t.tanh(t.mul(scaledScores(t, op.getQuery(), op.getKey(), scale), 1.0 / cap));
      dS = t.mul(dS, t.sub(t.splat(bent, 1), t.mul(bent, bent)));
    }
    dS = t.mul(dS, scale);
    results[0] = t.contract(dS, op.getKey(), "bhgqk,bkhd->bqhgd");
    results[1] = t.contract(dS, op.getQuery(), "bhgqk,bqhgd->bkhd");
    results[2] = dV;
    rewriter.replaceOp(op, results);
    return success();
  }
};

struct DecomposeRotary : OpRewritePattern<RotaryOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(RotaryOp op, PatternRewriter &rewriter) const override {
    // The pairs get a dimension of their own, of size two; the partner of an element is that dimension read
    // backwards. As two slices at an offset of half the size this would become gathers.
    TensorBuilder t(rewriter, op);
    Value x = op.getInput();
    SmallVector<int64_t> shape(tensorType(x).getShape());
    int64_t rank = shape.size(), half = shape.back() / 2;
    bool interleaved = op.getInterleaved();
    int64_t pairDim = interleaved ? rank : rank - 1, elementDim = interleaved ? rank - 1 : rank;
    SmallVector<int64_t> split(shape);
    split.resize(rank + 1);
    split[pairDim] = 2;
    split[elementDim] = half;
    Value pairs = t.reshape(x, split);
    SmallVector<int64_t> offsets(rank + 1, 0), steps(rank + 1, 1);
    offsets[pairDim] = 1;
    steps[pairDim] = -1;
    Value partner = rewriter.create<SliceOp>(op.getLoc(), pairs.getType(), pairs, rewriter.getDenseI64ArrayAttr(offsets),
                                             rewriter.getDenseI64ArrayAttr(steps));
    SmallVector<int64_t> dims;
    if (tensorType(op.getCos()).getRank() == 3)
      dims.push_back(0);
    dims.push_back(op.getSeqDim());
    dims.push_back(elementDim);
    Value c = t.broadcast(op.getCos(), split, dims), s = t.broadcast(op.getSin(), split, dims);
    // First of a pair: x cos - y sin; second: x cos + y sin; the inverse exchanges the signs.
    Value which = t.iota(split, pairDim);
    Value isMinus = t.compare(Predicate::EQ, which, t.splat(which, op.getInverse() ? 1 : 0));
    Value turned = t.mul(partner, s);
    turned = t.select(isMinus, t.unary<NegOp>(turned), turned);
    rewriter.replaceOp(op, t.reshape(t.add(t.mul(pairs, c), turned), shape));
    return success();
  }
};

} // namespace

void galvatron::populateDecomposeAttentionPatterns(RewritePatternSet &patterns) {
  patterns.add<DecomposeAttention, DecomposeAttentionGrad, DecomposeRotary>(patterns.getContext());
}

//===- MathExpansion.cpp - Transcendental functions as arithmetic ---------===//

#include "MathExpansion.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/IR/Matchers.h"

#include <limits>

using namespace mlir;
using namespace galvatron;

namespace {

/// f32 arithmetic without flags: range reduction must not be reassociated.
class Floats {
public:
  Floats(OpBuilder &builder, Location loc) : b(builder), loc(loc) {}

  Value constant(double value) { return b.create<arith::ConstantOp>(loc, b.getF32FloatAttr(value)); }
  Value fma(Value x, Value y, Value z) { return b.create<math::FmaOp>(loc, x, y, z); }
  Value fma(Value x, double y, Value z) { return fma(x, constant(y), z); }
  Value fma(Value x, Value y, double z) { return fma(x, y, constant(z)); }
  Value mul(Value x, Value y) { return b.create<arith::MulFOp>(loc, x, y); }
  Value mul(Value x, double y) { return mul(x, constant(y)); }
  Value sub(Value x, Value y) { return b.create<arith::SubFOp>(loc, x, y); }
  Value neg(Value x) { return b.create<arith::NegFOp>(loc, x); }
  Value floor(Value x) { return b.create<math::FloorOp>(loc, x); }
  Value select(Value c, Value x, Value y) { return b.create<arith::SelectOp>(loc, c, x, y); }
  Value compare(arith::CmpFPredicate predicate, Value x, Value y) {
    return b.create<arith::CmpFOp>(loc, predicate, x, y);
  }
  Value equal(Value x, Value y) { return compare(arith::CmpFPredicate::OEQ, x, y); }
  Value both(Value x, Value y) { return b.create<arith::AndIOp>(loc, x, y); }

  OpBuilder &b;
  Location loc;
};

/// sin(x) or cos(x) = ± a polynomial of r = x - k pi/2, |r| <= pi/4. Subtracting k pi/2 in three parts (Cody and
/// Waite, 1980) keeps r exact to f32 for |x| up to some 10^5; polynomials as in Cephes (Moshier, 1989).
Value expandSinCos(OpBuilder &b, Location loc, Value x, bool isCos) {
  Floats f(b, loc);
  Value k = b.create<math::RoundEvenOp>(loc, f.mul(x, 0.63661977236758134));
  Value minusK = f.neg(k);
  Value r = f.fma(minusK, 1.5707962512969971, x);
  r = f.fma(minusK, 7.5497894158615964e-8, r);
  r = f.fma(minusK, 5.3903029534742384e-15, r);
  Value square = f.mul(r, r);
  Value sinTail = f.fma(f.fma(square, f.constant(-1.9515295891e-4), 8.3321608736e-3), square, -1.6666654611e-1);
  Value sine = f.fma(f.mul(sinTail, square), r, r);
  Value cosTail = f.fma(f.fma(square, f.constant(2.443315711809948e-5), -1.388731625493765e-3), square,
                        4.166664568298827e-2);
  Value cosine = f.fma(f.mul(cosTail, square), square, f.fma(square, f.constant(-0.5), 1.0));
  // The quadrant, k mod 4, in floats so that NaN and infinity stay defined. cos is sin a quarter turn later.
  Value turned = isCos ? b.create<arith::AddFOp>(loc, k, f.constant(1.0)).getResult() : k;
  Value quadrant = f.fma(f.floor(f.mul(turned, 0.25)), -4.0, turned);
  Value isOdd = f.compare(arith::CmpFPredicate::UNE, f.mul(f.floor(f.mul(quadrant, 0.5)), 2.0), quadrant);
  Value value = f.select(isOdd, cosine, sine);
  Value isLower = f.compare(arith::CmpFPredicate::OGE, quadrant, f.constant(2.0));
  return f.select(isLower, f.neg(value), value);
}

template <typename Op, bool isCos> struct ExpandSinCos : OpRewritePattern<Op> {
  ExpandSinCos(MLIRContext *context) : OpRewritePattern<Op>(context, /*benefit=*/10) {}
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    if (!op.getType().isF32())
      return failure();
    rewriter.replaceOp(op, expandSinCos(rewriter, op.getLoc(), op.getOperand(), isCos));
    return success();
  }
};

/// |x|^y = e^(y log |x|), negative for negative x and odd y, NaN for negative x and y that is not whole.
struct ExpandPow : OpRewritePattern<math::PowFOp> {
  ExpandPow(MLIRContext *context) : OpRewritePattern(context, /*benefit=*/1) {}
  LogicalResult matchAndRewrite(math::PowFOp op, PatternRewriter &rewriter) const override {
    if (!op.getType().isF32())
      return failure();
    Location loc = op.getLoc();
    Floats f(rewriter, loc);
    Value x = op.getLhs(), y = op.getRhs(), zero = f.constant(0), one = f.constant(1);
    Value logarithm = rewriter.create<math::LogOp>(loc, rewriter.create<math::AbsFOp>(loc, x));
    Value size = rewriter.create<math::ExpOp>(loc, f.mul(y, logarithm));
    Value half = f.mul(y, 0.5);
    Value isWhole = f.equal(f.floor(y), y);
    Value isOdd = f.both(isWhole, f.compare(arith::CmpFPredicate::UNE, f.floor(half), half));
    Value ofNegative = f.select(isOdd, f.neg(size), size);
    ofNegative = f.select(isWhole, ofNegative, f.constant(std::numeric_limits<double>::quiet_NaN()));
    Value isNegative = f.compare(arith::CmpFPredicate::OLT, x, zero);
    Value value = f.select(isNegative, ofNegative, size);
    // 0 * infinity stands in the way of these two.
    value = f.select(f.equal(y, zero), one, value);
    rewriter.replaceOp(op, f.select(f.equal(x, one), one, value));
    return success();
  }
};

/// Powers that people write, exactly.
struct ExpandSmallPow : OpRewritePattern<math::PowFOp> {
  ExpandSmallPow(MLIRContext *context) : OpRewritePattern(context, /*benefit=*/10) {}
  LogicalResult matchAndRewrite(math::PowFOp op, PatternRewriter &rewriter) const override {
    FloatAttr exponent;
    if (!op.getType().isF32() || !matchPattern(op.getRhs(), m_Constant(&exponent)))
      return failure();
    double y = exponent.getValueAsDouble();
    Floats f(rewriter, op.getLoc());
    Value x = op.getLhs(), one = f.constant(1), result;
    auto inverse = [&](Value value) { return rewriter.create<arith::DivFOp>(op.getLoc(), one, value).getResult(); };
    auto root = [&] { return rewriter.create<math::SqrtOp>(op.getLoc(), x).getResult(); };
    if (y == 0)
      result = one;
    else if (y == 1)
      result = x;
    else if (y == 2)
      result = f.mul(x, x);
    else if (y == 3)
      result = f.mul(f.mul(x, x), x);
    else if (y == 4)
      result = f.mul(f.mul(x, x), f.mul(x, x));
    else if (y == -1)
      result = inverse(x);
    else if (y == -2)
      result = inverse(f.mul(x, x));
    else if (y == 0.5)
      result = root();
    else if (y == -0.5)
      result = inverse(root());
    else if (y == 1.5)
      result = f.mul(x, root());
    else if (y == -1.5)
      result = inverse(f.mul(x, root()));
    else
      return failure();
    rewriter.replaceOp(op, result);
    return success();
  }
};

} // namespace

void galvatron::populateMathExpansionPatterns(RewritePatternSet &patterns) {
  populateMathPolynomialApproximationPatterns(patterns);
  patterns.add<ExpandSinCos<math::SinOp, false>, ExpandSinCos<math::CosOp, true>, ExpandPow, ExpandSmallPow>(
      patterns.getContext());
}

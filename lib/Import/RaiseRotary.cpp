//===- RaiseRotary.cpp - Rotary position embedding ------------------------===//

#include "Match.h"
#include "galvatron/Import/Passes.h"

#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace galvatron {
#define GEN_PASS_DEF_NNRAISEROTARY
#include "galvatron/Import/Passes.h.inc"
} // namespace galvatron

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

namespace {

/// A slice of the last dimension alone: from `offset` in steps of `step`.
bool isLastDimSlice(SliceOp slice, int64_t offset, int64_t step, int64_t size) {
  auto type = slice.getType();
  int64_t last = type.getRank() - 1;
  for (int64_t i = 0; i < last; ++i)
    if (type.getShape()[i] != tensorType(slice.getOperand()).getShape()[i] || slice.getSteps()[i] != 1)
      return false;
  return slice.getOffsets()[last] == offset && slice.getSteps()[last] == step && type.getShape()[last] == size;
}

/// `value` before reshapes that only add or drop dimensions of size one.
Value stripUnits(Value value) {
  while (auto reshape = value.getDefiningOp<ReshapeOp>()) {
    auto withoutOnes = [](Value v) {
      SmallVector<int64_t> shape;
      llvm::copy_if(tensorType(v).getShape(), std::back_inserter(shape), [](int64_t s) { return s != 1; });
      return shape;
    };
    if (withoutOnes(reshape.getOperand()) != withoutOnes(reshape.getResult()))
      break;
    value = reshape.getOperand();
  }
  return value;
}

/// The tensor of which `value` is a slice of the last dimension.
Value sliceSource(Value value, int64_t offset, int64_t step, int64_t size) {
  auto slice = stripUnits(value).getDefiningOp<SliceOp>();
  return slice && isLastDimSlice(slice, offset, step, size) ? slice.getOperand() : Value();
}

/// x if `value` is concat(-second half, first half) of x.
Value matchRotatedHalves(Value value) {
  auto concat = value.getDefiningOp<ConcatOp>();
  if (!concat || concat.getInputs().size() != 2 || int64_t(concat.getDim()) != concat.getType().getRank() - 1)
    return {};
  int64_t half = concat.getType().getShape().back() / 2;
  auto neg = stripUnits(concat.getInputs()[0]).getDefiningOp<NegOp>();
  Value x = sliceSource(concat.getInputs()[1], 0, 1, half);
  return neg && x && x.getType() == concat.getType() && sliceSource(neg.getOperand(), half, 1, half) == x ? x : Value();
}

/// x if `value` is stack(-x[1::2], x[0::2]) with the two merged into the last dimension.
Value matchRotatedNeighbours(Value value) {
  auto reshape = value.getDefiningOp<ReshapeOp>();
  auto concat = reshape ? reshape.getOperand().getDefiningOp<ConcatOp>() : ConcatOp();
  if (!concat || concat.getInputs().size() != 2 || int64_t(concat.getDim()) != concat.getType().getRank() - 1 ||
      concat.getType().getShape().back() != 2)
    return {};
  int64_t half = reshape.getType().getShape().back() / 2;
  auto neg = stripUnits(concat.getInputs()[0]).getDefiningOp<NegOp>();
  Value x = sliceSource(concat.getInputs()[1], 0, 2, half);
  return neg && x && x.getType() == reshape.getType() && sliceSource(neg.getOperand(), 1, 2, half) == x ? x : Value();
}

/// Finds the table of half the size that a table of cosines or sines repeats. `value` has the pairs in its last
/// dimension; the ops between it and the repetition are built again on the half.
Value halveTable(OpBuilder &builder, Value value, bool interleaved, int depth = 6) {
  auto type = tensorType(value);
  if (type.getRank() == 0 || depth == 0)
    return {};
  int64_t half = type.getShape().back() / 2;
  SmallVector<int64_t> shape(type.getShape());
  shape.back() = half;
  auto halfType = type.clone(shape);
  if (std::optional<double> splat = getSplat(value))
    return createSplat(builder, value.getLoc(), halfType, *splat);

  Operation *op = value.getDefiningOp();
  if (!op)
    return {};
  if (auto concat = dyn_cast<ConcatOp>(op)) {
    bool twice = concat.getInputs().size() == 2 && concat.getInputs()[0] == concat.getInputs()[1] &&
                 int64_t(concat.getDim()) == type.getRank() - 1;
    return !interleaved && twice ? concat.getInputs()[0] : Value();
  }
  if (auto reshape = dyn_cast<ReshapeOp>(op)) {
    // repeat_interleave: a new last dimension of two, merged.
    auto broadcast = reshape.getOperand().getDefiningOp<BroadcastOp>();
    if (!interleaved || !broadcast || broadcast.getType().getShape().back() != 2 ||
        broadcast.getType().getShape().drop_back() != ArrayRef(shape) ||
        llvm::is_contained(broadcast.getDims(), broadcast.getType().getRank() - 1))
      return {};
    if (broadcast.getOperand().getType() == halfType)
      return broadcast.getOperand();
    return builder.create<BroadcastOp>(op->getLoc(), halfType, broadcast.getOperand(), broadcast.getDims());
  }
  if (auto constant = dyn_cast<ConstantOp>(op)) {
    auto dense = dyn_cast<DenseFPElementsAttr>(constant.getValue());
    if (!dense || half == 0)
      return {};
    SmallVector<APFloat> all(dense.value_begin<APFloat>(), dense.value_end<APFloat>()), kept;
    for (size_t i = 0; i < all.size(); ++i) {
      int64_t column = i % (2 * half);
      bool isFirst = interleaved ? column % 2 == 0 : column < half;
      if (!isFirst)
        continue;
      if (!all[i].bitwiseIsEqual(all[i + (interleaved ? 1 : half)]))
        return {};
      kept.push_back(all[i]);
    }
    return builder.create<ConstantOp>(op->getLoc(), DenseElementsAttr::get(halfType, kept));
  }
  if (auto broadcast = dyn_cast<BroadcastOp>(op)) {
    if (!llvm::is_contained(broadcast.getDims(), type.getRank() - 1))
      return {};
    Value small = halveTable(builder, broadcast.getOperand(), interleaved, depth - 1);
    return small ? builder.create<BroadcastOp>(op->getLoc(), halfType, small, broadcast.getDims()) : Value();
  }
  if (op->hasTrait<OpTrait::Elementwise>()) {
    SmallVector<Value> operands;
    for (Value operand : op->getOperands()) {
      operands.push_back(halveTable(builder, operand, interleaved, depth - 1));
      if (!operands.back())
        return {};
    }
    OperationState state(op->getLoc(), op->getName(), operands, halfType, op->getAttrs());
    return builder.create(state)->getResult(0);
  }
  return {};
}

/// x * cos + rotated(x) * sin
struct RaiseRotation : OpRewritePattern<AddOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AddOp op, PatternRewriter &rewriter) const override {
    for (auto [plain, turned] : {std::pair(op.getLhs(), op.getRhs()), std::pair(op.getRhs(), op.getLhs())}) {
      auto a = plain.getDefiningOp<MulOp>(), b = turned.getDefiningOp<MulOp>();
      if (!a || !b)
        return failure();
      for (auto [rotated, sin] : {std::pair(b.getLhs(), b.getRhs()), std::pair(b.getRhs(), b.getLhs())}) {
        bool interleaved = false;
        Value x = matchRotatedHalves(rotated);
        if (!x) {
          x = matchRotatedNeighbours(rotated);
          interleaved = true;
        }
        if (!x || (a.getLhs() != x && a.getRhs() != x))
          continue;
        Value cos = a.getLhs() == x ? a.getRhs() : a.getLhs();
        if (succeeded(rewrite(op, x, cos, sin, interleaved, rewriter)))
          return success();
      }
    }
    return failure();
  }

  /// Tables are repeated along all dimensions of x but the sequence, the last one and perhaps the batch (dimension 0).
  static LogicalResult rewrite(AddOp op, Value x, Value cos, Value sin, bool interleaved, PatternRewriter &rewriter) {
    auto cosRepeated = cos.getDefiningOp<BroadcastOp>(), sinRepeated = sin.getDefiningOp<BroadcastOp>();
    int64_t rank = op.getType().getRank();
    SmallVector<int64_t> dims;
    if (cosRepeated && sinRepeated && cosRepeated.getDims() == sinRepeated.getDims()) {
      dims.assign(cosRepeated.getDims().begin(), cosRepeated.getDims().end());
      cos = cosRepeated.getOperand();
      sin = sinRepeated.getOperand();
    } else if (rank <= 3 && !cosRepeated && !sinRepeated) {
      dims.assign(llvm::seq<int64_t>(0, rank).begin(), llvm::seq<int64_t>(0, rank).end()); // one head, not a dimension of its own
    }
    bool fits = (dims.size() == 2 || (dims.size() == 3 && dims[0] == 0)) && dims.back() == rank - 1;
    if (!fits)
      return failure();
    Value halfCos = halveTable(rewriter, cos, interleaved), halfSin = halfCos ? halveTable(rewriter, sin, interleaved) : Value();
    if (!halfSin)
      return failure();
    rewriter.replaceOpWithNewOp<RotaryOp>(op, op.getType(), x, halfCos, halfSin, dims[dims.size() - 2], interleaved,
                                          /*inverse=*/false);
    return success();
  }
};

struct NNRaiseRotary : galvatron::impl::NNRaiseRotaryBase<NNRaiseRotary> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<RaiseRotation>(&getContext());
    if (failed(applyPatternsAndFoldGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

//===- SinkBroadcasts.cpp - Compute before repeating ----------------------===//

#include "galvatron/Import/Passes.h"

#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "llvm/ADT/SmallBitVector.h"

namespace galvatron {
#define GEN_PASS_DEF_NNSINKBROADCASTS
#include "galvatron/Import/Passes.h.inc"
} // namespace galvatron

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

namespace {

/// op(broadcast(a), broadcast(b), constant) is broadcast(op(a', b', constant')), where a' and b' are repeated only
/// along the dimensions that the other one has.
struct SinkThroughElementwise : RewritePattern {
  SinkThroughElementwise(MLIRContext *context) : RewritePattern(MatchAnyOpTypeTag(), 1, context) {}

  LogicalResult matchAndRewrite(Operation *op, PatternRewriter &rewriter) const override {
    if (!op->hasTrait<OpTrait::Elementwise>() || op->getNumOperands() == 0 || op->getNumResults() != 1)
      return failure();
    auto type = tensorType(op->getResult(0));
    llvm::SmallBitVector used(type.getRank());
    bool any = false;
    for (Value operand : op->getOperands()) {
      if (getSplat(operand))
        continue;
      auto broadcast = operand.getDefiningOp<BroadcastOp>();
      if (!broadcast)
        return failure();
      for (int64_t dim : broadcast.getDims())
        used.set(dim);
      any = true;
    }
    if (!any || used.all())
      return failure();

    SmallVector<int64_t> kept, shape, place(type.getRank(), -1);
    for (unsigned dim : used.set_bits()) {
      place[dim] = kept.size();
      kept.push_back(dim);
      shape.push_back(type.getShape()[dim]);
    }
    SmallVector<Value> operands;
    for (Value operand : op->getOperands()) {
      auto small = RankedTensorType::get(shape, tensorType(operand).getElementType());
      if (std::optional<double> splat = getSplat(operand)) {
        // The attribute is copied, not its value as a double: integers stay exact.
        auto constant = operand.getDefiningOp<ConstantOp>();
        auto dense = constant ? dyn_cast<DenseElementsAttr>(constant.getValue()) : DenseElementsAttr();
        operands.push_back(dense ? rewriter.create<ConstantOp>(op->getLoc(), dense.resizeSplat(small)).getResult()
                                 : createSplat(rewriter, op->getLoc(), small, *splat));
        continue;
      }
      auto broadcast = operand.getDefiningOp<BroadcastOp>();
      SmallVector<int64_t> dims;
      for (int64_t dim : broadcast.getDims())
        dims.push_back(place[dim]);
      operands.push_back(broadcast.getOperand().getType() == small
                             ? broadcast.getOperand()
                             : rewriter.create<BroadcastOp>(op->getLoc(), small, broadcast.getOperand(), dims));
    }
    OperationState state(op->getLoc(), op->getName(), operands, RankedTensorType::get(shape, type.getElementType()),
                         op->getAttrs());
    Operation *copy = rewriter.create(state);
    rewriter.replaceOpWithNewOp<BroadcastOp>(op, type, copy->getResult(0), kept);
    return success();
  }
};

/// A slice of a repeated tensor repeats a slice.
struct SinkThroughSlice : OpRewritePattern<SliceOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(SliceOp op, PatternRewriter &rewriter) const override {
    auto broadcast = op.getOperand().getDefiningOp<BroadcastOp>();
    if (!broadcast)
      return failure();
    SmallVector<int64_t> offsets, steps, shape;
    for (int64_t dim : broadcast.getDims()) {
      offsets.push_back(op.getOffsets()[dim]);
      steps.push_back(op.getSteps()[dim]);
      shape.push_back(op.getType().getShape()[dim]);
    }
    Value slice = rewriter.create<SliceOp>(op.getLoc(), op.getType().clone(shape), broadcast.getOperand(), offsets, steps);
    rewriter.replaceOpWithNewOp<BroadcastOp>(op, op.getType(), slice, broadcast.getDims());
    return success();
  }
};

struct NNSinkBroadcasts : galvatron::impl::NNSinkBroadcastsBase<NNSinkBroadcasts> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<SinkThroughElementwise, SinkThroughSlice>(&getContext());
    if (failed(applyPatternsAndFoldGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

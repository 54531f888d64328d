//===- HoistTransposes.cpp - Transposes move to where they are free -------===//
//
// Every transpose costs a copy unless it renames the loops of a contraction or changes how a
// parameter is read. This moves transposes against the flow of data, over any op that has the
// transpose as its only use, as long as no more than one transpose comes out above it.
//
//===----------------------------------------------------------------------===//

#include "Match.h"
#include "galvatron/Import/Passes.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "llvm/ADT/TypeSwitch.h"

namespace galvatron {
#define GEN_PASS_DEF_NNHOISTTRANSPOSES
#include "galvatron/Import/Passes.h.inc"
} // namespace galvatron

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

namespace {

/// 1 if a transpose of `value` would be a copy. Broadcasts repeat something smaller, contractions write in any order.
unsigned transposeCost(Value value) {
  if (getSplat(value))
    return 0;
  Operation *op = value.getDefiningOp();
  return isa_and_nonnull<BroadcastOp, TransposeOp>(op) || (isa_and_nonnull<ContractOp>(op) && value.hasOneUse()) ? 0 : 1;
}

Value transposed(OpBuilder &builder, Value value, ArrayRef<int64_t> permutation) {
  return builder.create<TransposeOp>(value.getLoc(), value, permutation);
}

/// Where dimension `dim` of the operand is after the transpose.
int64_t placeOf(ArrayRef<int64_t> permutation, int64_t dim) {
  return llvm::find(permutation, dim) - permutation.begin();
}

/// The last `count` dimensions stay where they are.
bool keepsTrailing(ArrayRef<int64_t> permutation, int64_t count) {
  int64_t rank = permutation.size();
  for (int64_t i = rank - count; i < rank; ++i)
    if (permutation[i] != i)
      return false;
  return true;
}

struct HoistTranspose : OpRewritePattern<TransposeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(TransposeOp op, PatternRewriter &rewriter) const override {
    Operation *source = op.getOperand().getDefiningOp();
    if (!source || !op.getOperand().hasOneUse() || source->getNumResults() != 1)
      return failure();
    rewriter.setInsertionPoint(source);
    ArrayRef<int64_t> permutation = op.getPermutation();
    Value moved = TypeSwitch<Operation *, Value>(source)
                      .Case([&](ContractOp contract) { return overContract(contract, permutation, rewriter); })
                      .Case([&](RotaryOp rotary) { return overRotary(rotary, permutation, rewriter); })
                      .Case<RmsNormOp, LayerNormOp>([&](auto norm) -> Value {
                        if (!keepsTrailing(permutation, tensorType(norm.getScale()).getRank()))
                          return {};
                        return overFirstOperand(norm, op, rewriter);
                      })
                      .Case<SoftmaxOp, LogSoftmaxOp, CumsumOp>([&](auto along) {
                        Value result = overFirstOperand(along, op, rewriter);
                        auto copy = result.getDefiningOp<decltype(along)>();
                        copy.setDim(placeOf(permutation, along.getDim()));
                        return result;
                      })
                      .Case([&](SliceOp slice) { return overSlice(slice, op, rewriter); })
                      .Case([&](ConcatOp concat) { return overConcat(concat, op, rewriter); })
                      .Default([&](Operation *other) -> Value {
                        return other->hasTrait<OpTrait::Elementwise>() ? overElementwise(other, op, rewriter) : Value();
                      });
    if (!moved)
      return failure();
    rewriter.replaceOp(op, moved);
    return success();
  }

  static Value overContract(ContractOp contract, ArrayRef<int64_t> permutation, PatternRewriter &rewriter) {
    ContractOp::Subscripts subscripts = contract.getParsedSubscripts();
    std::string text = (subscripts.lhs + "," + subscripts.rhs + "->").str();
    for (int64_t dim : permutation)
      text += subscripts.result[dim];
    return rewriter.create<ContractOp>(contract.getLoc(), contract.getLhs(), contract.getRhs(), text);
  }

  /// A copy of `source` whose first operand is transposed; the others stay.
  static Value overFirstOperand(Operation *source, TransposeOp op, PatternRewriter &rewriter) {
    IRMapping mapping;
    mapping.map(source->getOperand(0), transposed(rewriter, source->getOperand(0), op.getPermutation()));
    Operation *copy = rewriter.clone(*source, mapping);
    copy->getResult(0).setType(op.getType());
    return copy->getResult(0);
  }

  static Value overRotary(RotaryOp rotary, ArrayRef<int64_t> permutation, PatternRewriter &rewriter) {
    bool hasBatch = tensorType(rotary.getCos()).getRank() == 3;
    if (!keepsTrailing(permutation, 1) || (hasBatch && permutation[0] != 0))
      return {};
    Value input = transposed(rewriter, rotary.getInput(), permutation);
    return rewriter.create<RotaryOp>(rotary.getLoc(), input.getType(), input, rotary.getCos(), rotary.getSin(),
                                     placeOf(permutation, rotary.getSeqDim()), rotary.getInterleaved(), rotary.getInverse());
  }

  static Value overSlice(SliceOp slice, TransposeOp op, PatternRewriter &rewriter) {
    // Elsewhere the transpose would copy what the slice leaves out.
    if (transposeCost(slice.getOperand()) > 0)
      return {};
    SmallVector<int64_t> offsets, steps;
    for (int64_t dim : op.getPermutation()) {
      offsets.push_back(slice.getOffsets()[dim]);
      steps.push_back(slice.getSteps()[dim]);
    }
    Value operand = transposed(rewriter, slice.getOperand(), op.getPermutation());
    return rewriter.create<SliceOp>(slice.getLoc(), op.getType(), operand, offsets, steps);
  }

  static Value overConcat(ConcatOp concat, TransposeOp op, PatternRewriter &rewriter) {
    unsigned cost = 0;
    for (Value input : concat.getInputs())
      cost += transposeCost(input);
    if (cost > 1)
      return {};
    SmallVector<Value> inputs;
    for (Value input : concat.getInputs())
      inputs.push_back(transposed(rewriter, input, op.getPermutation()));
    return rewriter.create<ConcatOp>(concat.getLoc(), inputs, placeOf(op.getPermutation(), concat.getDim()));
  }

  static Value overElementwise(Operation *source, TransposeOp op, PatternRewriter &rewriter) {
    unsigned cost = 0;
    for (Value operand : source->getOperands())
      cost += transposeCost(operand);
    if (cost > 1)
      return {};
    SmallVector<Value> operands;
    for (Value operand : source->getOperands())
      operands.push_back(transposed(rewriter, operand, op.getPermutation()));
    OperationState state(source->getLoc(), source->getName(), operands, op.getType(), source->getAttrs());
    return rewriter.create(state)->getResult(0);
  }
};

/// A transpose of a repeated tensor repeats a transpose, in the new order of dimensions.
struct TransposeOfBroadcast : OpRewritePattern<TransposeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(TransposeOp op, PatternRewriter &rewriter) const override {
    auto broadcast = op.getOperand().getDefiningOp<BroadcastOp>();
    if (!broadcast)
      return failure();
    SmallVector<int64_t> dims, permutation;
    for (auto [to, from] : llvm::enumerate(op.getPermutation()))
      if (const int64_t *found = llvm::find(broadcast.getDims(), from); found != broadcast.getDims().end()) {
        dims.push_back(to);
        permutation.push_back(found - broadcast.getDims().begin());
      }
    Value small = broadcast.getOperand();
    if (!llvm::is_sorted(permutation))
      small = transposed(rewriter, small, permutation);
    rewriter.replaceOpWithNewOp<BroadcastOp>(op, op.getType(), small, dims);
    return success();
  }
};

struct NNHoistTransposes : galvatron::impl::NNHoistTransposesBase<NNHoistTransposes> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<HoistTranspose, TransposeOfBroadcast>(&getContext());
    if (failed(applyPatternsAndFoldGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

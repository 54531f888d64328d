//===- NNCounted.cpp - Ops that count, given the numbers that they count --===//
//
// An embedding counts its rows, a cross entropy its classes. With the numbers as
// a value each can be computed from pieces: the first by an operand, the second
// as small ops, in which a maximum and two sums over the classes are partial.
//
//===----------------------------------------------------------------------===//

#include "dialects/NN/NN.h"

using namespace mlir;
using namespace galvatron::nn;

namespace {

/// Builds what the losses of a cross entropy and their gradients have in common.
struct Loss {
  OpBuilder &b;
  Location loc;
  RankedTensorType type; ///< of the logits
  Value labels, numbers;
  int64_t ignored;

  int64_t last() const { return type.getRank() - 1; }
  template <typename Op> Value make(Value x, Value y) { return b.create<Op>(loc, x.getType(), x, y); }
  template <typename Op> Value make(Value x) { return b.create<Op>(loc, x.getType(), x); }
  /// One value per label, repeated over the classes.
  Value back(Value row) { return broadcastBack(b, loc, row, type, last()); }
  Value reduce(ReduceKind kind, Value x) { return b.create<ReduceOp>(loc, kind, x, b.getDenseI64ArrayAttr(last())); }
  Value select(Value condition, Value x, Value y) { return b.create<SelectOp>(loc, x.getType(), condition, x, y); }
  Value zero(Value like) { return createSplat(b, loc, tensorType(like), 0); }

  /// `value`, but zero where the label is not counted.
  Value counted(Value value) {
    Value ignoredLabels = createSplat(b, loc, tensorType(labels), double(ignored));
    Value isIgnored = b.create<CompareOp>(loc, Predicate::EQ, labels, ignoredLabels);
    return select(isIgnored, zero(value), value);
  }
  /// Whether a class is that of the label.
  Value isLabel() {
    Value classes = b.create<BroadcastOp>(loc, type.clone(b.getI64Type()), numbers, ArrayRef<int64_t>(last()));
    return b.create<CompareOp>(loc, Predicate::EQ, classes, back(labels));
  }
};

/// Ids that are looked up in pieces, checked as a whole.
Value inRange(OpBuilder &builder, Location loc, Value ids, int64_t size, IntegerAttr ignored, StringRef name) {
  return builder.create<InRangeOp>(loc, ids.getType(), ids, builder.getI64IntegerAttr(size), ignored, builder.getStringAttr(name));
}

} // namespace

int64_t EmbeddingOp::getCountedFactor() { return getRows() ? -1 : tensorType(getIds()).getRank(); }

void EmbeddingOp::takeNumbers(OpBuilder &builder, Value numbers) {
  Value ids = inRange(builder, getLoc(), getIds(), tensorType(getTable()).getDimSize(0), {}, embeddingIdsName);
  replaceAllUsesWith(builder.create<EmbeddingOp>(getLoc(), getTable(), ids, numbers).getResult());
  erase();
}

int64_t EmbeddingGradOp::getCountedFactor() { return getRows() ? -1 : tensorType(getIds()).getRank(); }

void EmbeddingGradOp::takeNumbers(OpBuilder &, Value numbers) { getRowsMutable().assign(numbers); }

int64_t CrossEntropyOp::getCountedFactor() { return tensorType(getLogits()).getRank() - 1; }

void CrossEntropyOp::takeNumbers(OpBuilder &builder, Value numbers) {
  RankedTensorType type = tensorType(getLogits());
  Value labels = inRange(builder, getLoc(), getLabels(), type.getShape().back(), getIgnoreIndexAttr(), labelsName);
  Loss loss{builder, getLoc(), type, labels, numbers, int64_t(getIgnoreIndex())};
  Value largest = loss.reduce(ReduceKind::Max, getLogits());
  Value moved = loss.make<SubOp>(getLogits(), loss.back(largest));
  Value logSum = loss.make<AddOp>(loss.make<LogOp>(loss.reduce(ReduceKind::Sum, loss.make<ExpOp>(moved))), largest);
  Value picked = loss.reduce(ReduceKind::Sum, loss.select(loss.isLabel(), getLogits(), loss.zero(getLogits())));
  Value each = loss.counted(loss.make<SubOp>(logSum, picked));
  (*this)->replaceAllUsesWith(ValueRange{each, logSum});
  erase();
}

int64_t CrossEntropyGradOp::getCountedFactor() { return tensorType(getLogits()).getRank() - 1; }

void CrossEntropyGradOp::takeNumbers(OpBuilder &builder, Value numbers) {
  Loss loss{builder, getLoc(), getType(), getLabels(), numbers, int64_t(getIgnoreIndex())};
  Value gradient = loss.back(loss.counted(getGradient()));
  Value moved = loss.make<SubOp>(getLogits(), loss.back(getLogSum()));
  Value softmax = loss.make<MulOp>(loss.make<ExpOp>(moved), gradient);
  replaceAllUsesWith(loss.make<SubOp>(softmax, loss.select(loss.isLabel(), gradient, loss.zero(gradient))));
  erase();
}

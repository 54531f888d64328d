//===- RowTraits.cpp - Which ops keep the rows of a tensor apart ----------===//

#include "RowTraits.h"

#include "KernelShape.h"

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

std::optional<unsigned> galvatron::rowPrefix(ArrayRef<int64_t> shape, int64_t rows) {
  int64_t product = 1;
  for (unsigned i = 0; i <= shape.size(); ++i) {
    if (product == rows)
      return i;
    if (i < shape.size())
      product *= shape[i];
  }
  return std::nullopt;
}

SmallVector<int64_t> galvatron::rowCandidates(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> candidates{1};
  for (int64_t size : shape)
    if (size != 1)
      candidates.push_back(candidates.back() * size);
  return candidates;
}

/// Whether no dimension that is part of the rows is cut, moved or stretched.
static bool isWholeInPrefix(ArrayRef<int64_t> from, ArrayRef<int64_t> to, int64_t rows,
                            llvm::function_ref<bool(unsigned)> untouched) {
  std::optional<unsigned> a = rowPrefix(from, rows), b = rowPrefix(to, rows);
  if (!a || !b || *a != *b)
    return false;
  for (unsigned dim = 0; dim < *a; ++dim)
    if (from[dim] != to[dim] || !untouched(dim))
      return false;
  return true;
}

bool galvatron::keepsRows(OpOperand &operand, int64_t rows) {
  if (rows == 1)
    return true;
  Operation *op = operand.getOwner();
  ArrayRef<int64_t> from = tensorType(operand.get()).getShape(), to = tensorType(op->getResult(0)).getShape();
  if (auto broadcast = dyn_cast<BroadcastOp>(op)) {
    // Every dimension of the rows has to come from the operand, and those must be its first.
    std::optional<unsigned> prefix = rowPrefix(to, rows);
    if (!prefix)
      return false;
    unsigned next = 0;
    for (unsigned dim = 0; dim < *prefix; ++dim) {
      if (next < broadcast.getDims().size() && broadcast.getDims()[next] == int64_t(dim))
        ++next;
      else if (to[dim] != 1)
        return false;
    }
    return true;
  }
  if (auto transpose = dyn_cast<TransposeOp>(op))
    return isWholeInPrefix(from, to, rows, [&](unsigned dim) { return transpose.getPermutation()[dim] == int64_t(dim); });
  if (auto slice = dyn_cast<SliceOp>(op))
    return isWholeInPrefix(from, to, rows,
                           [&](unsigned dim) { return slice.getOffsets()[dim] == 0 && slice.getSteps()[dim] == 1; });
  if (auto pad = dyn_cast<PadOp>(op))
    return isWholeInPrefix(from, to, rows,
                           [&](unsigned dim) { return pad.getLow()[dim] == 0 && pad.getSteps()[dim] == 1; });
  if (auto concat = dyn_cast<ConcatOp>(op))
    return isWholeInPrefix(from, to, rows, [&](unsigned dim) { return concat.getDim() != dim; });
  if (auto take = dyn_cast<TakeAlongOp>(op))
    return isWholeInPrefix(from, to, rows, [&](unsigned dim) { return take.getDim() != dim; });
  if (isa<EmbeddingOp>(op))
    return operand.getOperandNumber() == 1 && rowPrefix(from, rows) && rowPrefix(to, rows);
  if (auto reduce = dyn_cast<ReduceOp>(op))
    return reducesTrailing(reduce) && tensorType(reduce.getResult()).getNumElements() == rows;
  if (isa<RotaryOp>(op))
    return operand.getOperandNumber() == 0 && rowPrefix(to, rows) && *rowPrefix(to, rows) < to.size();
  if (isa<ReshapeOp>(op) || op->hasTrait<OpTrait::Elementwise>())
    return rowPrefix(from, rows) && rowPrefix(to, rows);
  return false;
}

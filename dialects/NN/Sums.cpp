//===- Sums.cpp -----------------------------------------------------------===//

#include "dialects/NN/Sums.h"

#include "dialects/NN/NN.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace galvatron;

bool nn::isSum(Operation *op) { return op && op->hasTrait<IsSum>(); }

SmallVector<Value> nn::getAddends(Value sum) {
  SmallVector<Value> addends, work{sum};
  while (!work.empty()) {
    Value next = work.pop_back_val();
    if (isSum(next.getDefiningOp()) && (next == sum || next.hasOneUse()))
      llvm::append_range(work, llvm::reverse(next.getDefiningOp()->getOperands()));
    else
      addends.push_back(next);
  }
  return addends;
}

Value nn::addUp(OpBuilder &builder, Location loc, ArrayRef<Value> values) {
  Value sum = values.front();
  for (Value value : values.drop_front())
    sum = builder.create<AddOp>(loc, sum.getType(), sum, value);
  return sum;
}

bool nn::groupSums(Block &block, function_ref<Attribute(Value)> keyOf, function_ref<bool(Operation *)> isKept) {
  bool changed = false;
  for (Operation &root : llvm::make_early_inc_range(block)) {
    bool isInside = root.hasOneUse() && isSum(*root.user_begin());
    if (!isSum(&root) || isInside || isKept(&root))
      continue;
    SmallVector<Value> addends = getAddends(root.getResult(0));
    llvm::MapVector<Attribute, SmallVector<Value>> groups;
    for (Value addend : addends)
      groups[keyOf(addend)].push_back(addend);
    if (groups.size() < 2 || groups.size() == addends.size())
      continue;
    OpBuilder builder(&root);
    // It is grouped already where all groups but the first are operands of a chain of additions that begins with the first.
    auto isGroup = [&](Value operand) {
      SmallVector<Value> below = operand.hasOneUse() ? getAddends(operand) : SmallVector<Value>{operand};
      Attribute key = keyOf(below.front());
      return llvm::all_of(below, [&](Value value) { return keyOf(value) == key; }) && below.size() == groups[key].size();
    };
    Operation *spine = &root;
    bool isGrouped = false;
    while (!isGrouped && llvm::all_of(spine->getOperands().drop_front(), isGroup)) {
      Value first = spine->getOperand(0);
      isGrouped = isGroup(first);
      if (!isSum(first.getDefiningOp()) || !first.hasOneUse())
        break;
      spine = first.getDefiningOp();
    }
    if (isGrouped)
      continue;
    SmallVector<Value> sums;
    for (auto &[key, values] : groups)
      sums.push_back(addUp(builder, root.getLoc(), values));
    root.getResult(0).replaceAllUsesWith(addUp(builder, root.getLoc(), sums));
    changed = true;
  }
  if (changed)
    eraseUnusedSums(block);
  return changed;
}

void nn::eraseUnusedSums(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
    if (isSum(&op) && op.use_empty())
      op.erase();
}

//===- PropagationPartial.cpp - Which values are partial ------------------===//

#include "Propagation.h"

using namespace mlir;
using namespace galvatron;

using nn::FactorKind;
using nn::ShardingRule;

std::optional<dist::Monoid> Propagation::getPartial(Value value, StringAttr over) const {
  auto found = states.find(value);
  if (found != states.end())
    for (auto [name, monoid] : found->second.partial)
      if (name == over)
        return monoid;
  return std::nullopt;
}

bool Propagation::makePartial(Value value, dist::Monoid monoid) {
  if (getPartial(value, axis) || splitDim(value) >= 0)
    return false;
  stateOf(value).partial.emplace_back(axis, monoid);
  return true;
}

/// Whether the op turns its partial operands into partial results: it is linear in all of them together. A zero is a
/// partial sum as well as a whole one.
bool Propagation::isLinear(Operation *op, const ShardingRule &rule, StringAttr over) const {
  SmallVector<int64_t> operands;
  for (auto [i, operand] : llvm::enumerate(op->getOperands()))
    if (auto monoid = getPartial(operand, over)) {
      if (*monoid != dist::Monoid::Sum)
        return false;
      operands.push_back(i);
    }
  return llvm::any_of(rule.linearIn, [&](ArrayRef<int64_t> set) {
    return llvm::all_of(operands, [&](int64_t i) { return llvm::is_contained(set, i); }) &&
           llvm::all_of(set, [&](int64_t i) {
             return llvm::is_contained(operands, i) || nn::getSplat(op->getOperand(i)) == 0.0;
           });
  });
}

/// Whether partial operands stay partial through an op. Over ranks they are combined before an op that makes several results of
/// them, together larger: each would have to be.
bool Propagation::isPassedOn(Operation *op, const ShardingRule &rule, StringAttr over) const {
  int64_t before = 0, after = 0;
  for (Value operand : op->getOperands())
    if (getPartial(operand, over))
      before += nn::tensorType(operand).getNumElements();
  for (Value result : op->getResults())
    after += nn::tensorType(result).getNumElements();
  return before > 0 && isLinear(op, rule, over) && (over == dist::timeAxis || op->getNumResults() == 1 || after <= before);
}

/// Marks the partial results of an op; true if that is news.
bool Propagation::transferPartial(Operation *op) {
  if (auto call = dyn_cast<func::CallOp>(op))
    return isVisited(call) && transferPartialOfCall(call);
  auto interface = dyn_cast<nn::ShardingRuleInterface>(op);
  if (!interface)
    return false;
  bool changed = false;
  ShardingRule rule = interface.getShardingRule();
  if (std::optional<int64_t> factor = getLoop(op, axis)) {
    std::optional<dist::Monoid> monoid;
    switch (rule.factors[*factor].kind) {
    case FactorKind::ReductionSum:
      monoid = dist::Monoid::Sum;
      break;
    case FactorKind::ReductionMax:
      monoid = dist::Monoid::Max;
      break;
    case FactorKind::ReductionMin:
      monoid = dist::Monoid::Min;
      break;
    case FactorKind::Parallel:
    case FactorKind::Whole:
      break;
    }
    if (monoid)
      for (auto [result, dims] : llvm::zip(op->getResults(), rule.results))
        if (llvm::none_of(dims, [&](ArrayRef<int64_t> dim) { return llvm::is_contained(dim, *factor); }))
          changed |= makePartial(result, *monoid);
  } else if (isPassedOn(op, rule, axis)) {
    for (Value result : op->getResults())
      changed |= makePartial(result, dist::Monoid::Sum);
  }
  return changed;
}

/// Over ranks functions have whole arguments: a partial operand is combined before the call.
bool Propagation::transferPartialOfCall(func::CallOp call) {
  bool changed = false;
  func::FuncOp callee = getCallee(call);
  if (isOverTime())
    for (auto [operand, argument] : llvm::zip(call.getOperands(), callee.getArguments()))
      if (auto monoid = getPartial(operand, axis))
        changed |= makePartial(argument, *monoid);
  for (Operation &inner : callee.front())
    changed |= transferPartial(&inner);
  for (auto [result, returned] : llvm::zip(call.getResults(), callee.front().getTerminator()->getOperands()))
    if (auto monoid = getReturned(returned).getPartialOver(axis))
      changed |= makePartial(result, *monoid);
  return changed;
}

void Propagation::findPartial() {
  bool changed = true;
  while (changed) {
    changed = false;
    for (func::FuncOp step : steps)
      for (Operation &op : step.front())
        changed |= transferPartial(&op);
  }
}

/// Over time, inside a function a partial value may only go through linear ops; calls must agree on what is partial.
void Propagation::checkPartial() {
  if (!isOverTime())
    return;
  for (func::FuncOp function : functions) {
    for (Operation &op : function.front()) {
      auto interface = dyn_cast<nn::ShardingRuleInterface>(op);
      auto *found = llvm::find_if(op.getOpOperands(), [&](OpOperand &use) { return getPartial(use.get(), axis).has_value(); });
      if (!interface || found == op.getOpOperands().end())
        continue;
      if (!getLoop(&op, axis) && isLinear(&op, interface.getShardingRule(), axis))
        continue;
      conflict(&op, "needs all of operand #" + Twine(found->getOperandNumber()) + ", which is a partial " +
                        dist::stringifyMonoid(*getPartial(found->get(), axis)) + " over \"" + axis.getValue() +
                        "\" until the last piece");
    }
    for (func::CallOp call : callsOf.lookup(function))
      for (auto [i, operand] : llvm::enumerate(call.getOperands()))
        if (getPartial(function.getArgument(i), axis) && !getPartial(operand, axis))
          conflict(call, "has a whole operand #" + Twine(i) + " where another call of " + function.getSymName() +
                             " has a partial result over \"" + axis.getValue() + "\"");
  }
}

//===- PropagationCalls.cpp - Which calls a propagation works on ----------===//

#include "Propagation.h"

#include <map>

using namespace mlir;
using namespace galvatron;

namespace {
/// Tells calls apart that are made once a step, by where their operands come from: only those of one origin are sure to have one
/// layout. How many there are does not grow with the number of blocks.
class Origins {
public:
  unsigned operator()(Value value) {
    if (auto found = ofValue.find(value); found != ofValue.end())
      return found->second;
    std::vector<const void *> key{value.getType().getAsOpaquePointer()};
    if (auto read = value.getDefiningOp<nn::GetParameterOp>()) {
      std::vector<std::pair<const void *, const void *>> users;
      for (OpOperand &use : value.getUses())
        if (auto call = dyn_cast<func::CallOp>(use.getOwner()); call && hasStrategy(call))
          users.emplace_back(call.getCalleeAttr().getAsOpaquePointer(), reinterpret_cast<const void *>(uintptr_t(use.getOperandNumber())));
      llvm::sort(users);
      users.erase(std::unique(users.begin(), users.end()), users.end());
      for (auto [callee, number] : users)
        key.insert(key.end(), {callee, number});
    } else if (Operation *op = value.getDefiningOp()) {
      auto call = dyn_cast<func::CallOp>(op);
      key.push_back(call ? call.getCalleeAttr().getAsOpaquePointer() : op->getName().getAsOpaquePointer());
      key.push_back(reinterpret_cast<const void *>(uintptr_t(cast<OpResult>(value).getResultNumber())));
      if (!call)
        for (Value operand : op->getOperands())
          key.push_back(reinterpret_cast<const void *>(uintptr_t((*this)(operand))));
    } else {
      key.push_back(value.getAsOpaquePointer());
    }
    return ofValue[value] = numbers.try_emplace(key, numbers.size()).first->second;
  }

private:
  DenseMap<Value, unsigned> ofValue;
  std::map<std::vector<const void *>, unsigned> numbers;
};
} // namespace

/// The parameter in whose pieces one is stored: what the optimizer keeps of a parameter ("NAME.exp_avg") is where that is.
FlatSymbolRefAttr Propagation::getStoredAs(FlatSymbolRefAttr parameter) const {
  auto state = symbols.lookup<nn::ParameterOp>(parameter.getValue());
  if (!state || state.getKind() != nn::ParameterKind::State)
    return parameter;
  auto owner = symbols.lookup<nn::ParameterOp>(state.getSymName().rsplit('.').first);
  return owner && owner.getType() == state.getType() ? FlatSymbolRefAttr::get(owner) : parameter;
}

/// Finds the steps and the functions they call, and gives each strategy functions of its own. Over tensor axes functions that
/// run once a step have layouts as well.
LogicalResult Propagation::collect() {
  steps = getSteps(module);
  bool hasTensor = llvm::any_of(module.getOps<dist::StrategyOp>(),
                                [](dist::StrategyOp strategy) { return !strategy.getRole(dist::tensorRole).empty(); });
  using Key = std::vector<const void *>;
  DenseMap<Operation *, Key> keyOf;
  std::map<std::pair<Operation *, Key>, func::FuncOp> clones;
  for (func::FuncOp step : steps) {
    Origins origins;
    DenseSet<Value> trained; // what depends on a parameter
    for (Operation &op : step.front()) {
      if (auto read = dyn_cast<nn::GetParameterOp>(op))
        readsOf[getStoredAs(read.getParameterAttr())].push_back(read);
      bool isTrained = isa<nn::GetParameterOp>(op) ||
                       llvm::any_of(op.getOperands(), [&](Value operand) { return trained.contains(operand); });
      if (isTrained)
        trained.insert(op.result_begin(), op.result_end());
      auto call = dyn_cast<func::CallOp>(op);
      if (!call)
        continue;
      if (!isTrained)
        prepared.insert(call);
      func::FuncOp callee = getCallee(call);
      Key key{call->getAttr(dist::strategyAttrName).getAsOpaquePointer()};
      if (hasTensor && isTrained && !hasStrategy(call))
        for (Value operand : call.getOperands())
          key.push_back(reinterpret_cast<const void *>(uintptr_t(1 + origins(operand))));
      auto [found, isNew] = keyOf.try_emplace(callee, key);
      if (!isNew && found->second != key) {
        func::FuncOp &clone = clones[{callee, key}];
        if (!clone) {
          clone = callee.clone();
          symbols.insert(clone, std::next(Block::iterator(callee))); // makes the name unique
          keyOf[clone] = key;
        }
        call.setCallee(clone.getSymName());
        callee = clone;
      }
      if (hasStrategy(call) || (hasTensor && isTrained))
        callsOf[callee].push_back(call);
    }
  }
  for (auto function : module.getOps<func::FuncOp>()) {
    if (!callsOf.contains(function))
      continue;
    if (function.isDeclaration()) {
      ok = false;
      function.emitOpError("is called by a step and has no body");
      continue;
    }
    functions.push_back(function);
    for (auto call : function.getOps<func::CallOp>()) {
      ok = false;
      call.emitOpError("is in a function that a step calls; only steps call functions");
    }
  }
  return success(ok);
}

//===----------------------------------------------------------------------===//
// What passes from call to call
//===----------------------------------------------------------------------===//

/// Whether the two are the forward and the backward of one call of a block.
bool Propagation::isPair(Operation *one, Operation *other) {
  auto numberOf = [](Operation *call) {
    Attribute number = call->getAttr(dist::callAttrName);
    return number ? number : call->getAttr(dist::backwardOfAttrName);
  };
  Attribute number = numberOf(one);
  return number && number == numberOf(other) && one->getParentOp() == other->getParentOp();
}

/// Whether a call takes its operand as it is split outside. Strategies may differ from block to block: rows pass between calls
/// whose batch the axis splits, what is inside a block stays there.
bool Propagation::entersCall(Value value, int64_t dim, func::CallOp call) const {
  if (!hasStrategy(call)) {
    auto fixed = fixedCalls.find(call);
    return fixed == fixedCalls.end() || fixed->second == dim;
  }
  Role role = getRole(call);
  if (auto maker = value.getDefiningOp<func::CallOp>(); maker && hasStrategy(maker))
    return isPair(maker, call) || (role == Role::Batch && getRole(maker) == Role::Batch);
  if (role != Role::Tensor)
    return role == Role::Batch;
  auto found = rowsOf.find(value);
  return found == rowsOf.end() || found->second != dim;
}

/// Whether a call makes its result in the pieces that `by` asks for.
bool Propagation::isAskedOf(func::CallOp maker, Value value, int64_t dim, Operation *by) const {
  if (!hasStrategy(maker) || getRole(maker) == Role::Batch)
    return true;
  if (isa<func::CallOp>(by) && hasStrategy(by))
    return isPair(maker, by);
  auto found = rowsOf.find(value);
  return getRole(maker) == Role::Tensor && (found == rowsOf.end() || found->second != dim);
}

/// For values that are whole: which dimension has the rows of the model's inputs, followed through what steps compute.
/// (If they are split over an axis, that dimension is where.)
void Propagation::findRows() {
  // A function is followed once for each way in which its arguments have rows.
  std::map<std::pair<Operation *, std::vector<int64_t>>, std::vector<int64_t>> known;
  auto dimOf = [](const nn::Rows &rows, Value value) {
    auto found = rows.find(value);
    return found == rows.end() ? int64_t(-1) : int64_t(found->second);
  };
  for (func::FuncOp step : steps) {
    nn::Rows rows = nn::getInputRows(step);
    for (Operation &op : step.front()) {
      nn::followRows(&op, rows);
      auto call = dyn_cast<func::CallOp>(op);
      if (!call || getCallee(call).isDeclaration())
        continue;
      func::FuncOp callee = getCallee(call);
      std::vector<int64_t> dims;
      for (Value operand : call.getOperands())
        dims.push_back(dimOf(rows, operand));
      auto [found, isNew] = known.try_emplace({callee, dims});
      if (isNew) {
        nn::Rows inside;
        for (auto [argument, dim] : llvm::zip(callee.getArguments(), dims))
          if (dim >= 0)
            inside[argument] = dim;
        for (Operation &inner : callee.front())
          nn::followRows(&inner, inside);
        for (Value returned : callee.front().getTerminator()->getOperands())
          found->second.push_back(dimOf(inside, returned));
      }
      for (auto [result, dim] : llvm::zip(call.getResults(), found->second))
        if (dim >= 0)
          rows[result] = dim;
    }
    rowsOf.insert(rows.begin(), rows.end());
  }
}

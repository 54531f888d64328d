//===- Propagation.cpp ----------------------------------------------------===//

#include "Propagation.h"

using namespace mlir;
using namespace galvatron;

using nn::DimFactors;
using nn::FactorKind;
using nn::ShardingRule;

Propagation::Propagation(ModuleOp module, dist::MeshOp mesh) : module(module), mesh(mesh), symbols(module) {}

func::FuncOp Propagation::getCallee(Operation *call) const {
  return symbols.lookup<func::FuncOp>(cast<func::CallOp>(call).getCallee());
}

/// Values of a step that are whole by themselves: inputs, parameters, constants, and what is computed once a step.
bool Propagation::isSource(Value value) const {
  Operation *op = value.getDefiningOp();
  if (!op)
    return llvm::is_contained(steps, cast<BlockArgument>(value).getOwner()->getParentOp());
  if (!llvm::is_contained(steps, op->getParentOp()))
    return false;
  if (isa<func::CallOp>(op))
    return !hasStrategy(op);
  return !isa<nn::ShardingRuleInterface>(op) || op->getNumOperands() == 0;
}

Propagation::State &Propagation::stateOf(Value value) {
  State &state = states[value];
  if (state.dims.empty())
    state.dims.resize(nn::tensorType(value).getRank());
  return state;
}

void Propagation::conflict(Operation *op, const Twine &reason) {
  if (pieces == 1) {
    isUnsplit = true;
    return;
  }
  ok = false;
  // The forward, its backward and the one for inference have copies of an op.
  if (reported.insert({op->getName().getAsOpaquePointer(), op->getLoc().getAsOpaquePointer()}).second)
    op->emitOpError() << reason;
}

/// Forgets all that was found for the axis.
void Propagation::dropAxis() {
  for (auto &[value, state] : states) {
    for (auto &axes : state.dims)
      llvm::erase(axes, axis);
    llvm::erase_if(state.partial, [&](auto &entry) { return entry.first == axis; });
  }
  isUnsplit = false;
}

LogicalResult Propagation::run() {
  if (failed(collect()))
    return failure();
  // The axes of all strategies, outermost first.
  SmallVector<StringAttr> axes;
  for (auto strategy : module.getOps<dist::StrategyOp>())
    for (StringAttr name : strategy.getRole(dist::batchRole))
      if (!llvm::is_contained(axes, name))
        axes.push_back(name);
  for (StringAttr name : axes) {
    axis = name;
    pieces = mesh.getAxisSize(name);
    seed();
    while (!worklist.empty())
      visit(worklist.pop_back_val());
    if (!ok) // what is partial depends on what is split
      continue;
    findPartial();
    checkPartial();
    // One piece is the whole: where it cannot be a piece everywhere, it is one nowhere.
    if (isUnsplit)
      dropAxis();
  }
  return success(ok);
}

/// Finds the steps and the functions they call with strategies, and gives each strategy functions of its own.
LogicalResult Propagation::collect() {
  steps = getSteps(module);
  DenseMap<Operation *, Attribute> strategyOf;
  DenseMap<std::pair<Operation *, Attribute>, func::FuncOp> clones;
  for (func::FuncOp step : steps) {
    for (auto call : step.getOps<func::CallOp>()) {
      func::FuncOp callee = getCallee(call);
      Attribute strategy = call->getAttr(dist::strategyAttrName);
      auto [found, isNew] = strategyOf.try_emplace(callee, strategy);
      if (!isNew && found->second != strategy) {
        func::FuncOp &clone = clones[{callee, strategy}];
        if (!clone) {
          clone = callee.clone();
          symbols.insert(clone, std::next(Block::iterator(callee))); // makes the name unique
          strategyOf[clone] = strategy;
        }
        call.setCallee(clone.getSymName());
        callee = clone;
      }
      if (strategy)
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
// What is split
//===----------------------------------------------------------------------===//

/// For values that are whole: which dimension has the rows of the model's inputs, followed through what is computed
/// once a step. (If they are split over an axis, that dimension is where.)
nn::Rows Propagation::findRows(func::FuncOp step) const {
  nn::Rows rows = nn::getInputRows(step);
  for (Operation &op : step.front()) {
    nn::followRows(&op, rows);
    auto call = dyn_cast<func::CallOp>(op);
    if (!call || hasStrategy(call) || getCallee(call).isDeclaration())
      continue;
    func::FuncOp callee = getCallee(call);
    for (auto [operand, argument] : llvm::zip(call.getOperands(), callee.getArguments())) {
      rows.erase(argument);
      if (auto found = rows.find(operand); found != rows.end())
        rows[argument] = int64_t(found->second);
    }
    for (Operation &inner : callee.front()) {
      for (Value result : inner.getResults())
        rows.erase(result);
      nn::followRows(&inner, rows);
    }
    for (auto [result, returned] : llvm::zip(call.getResults(), callee.front().getTerminator()->getOperands()))
      if (auto found = rows.find(returned); found != rows.end())
        rows[result] = int64_t(found->second);
  }
  return rows;
}

/// Splits the rows of the model's inputs in every call whose strategy has the axis in its batch role.
void Propagation::seed() {
  for (func::FuncOp step : steps) {
    nn::Rows rows = findRows(step);
    for (auto call : step.getOps<func::CallOp>()) {
      auto name = call->getAttrOfType<FlatSymbolRefAttr>(dist::strategyAttrName);
      auto strategy = name ? symbols.lookup<dist::StrategyOp>(name.getAttr()) : dist::StrategyOp();
      if (!strategy || !llvm::is_contained(strategy.getRole(dist::batchRole), axis))
        continue;
      for (auto [operand, argument] : llvm::zip(call.getOperands(), getCallee(call).getArguments()))
        if (auto found = rows.find(operand); found != rows.end() && isSource(operand))
          split(argument, found->second, call);
    }
  }
}

int64_t Propagation::splitDim(Value value) const {
  auto found = states.find(value);
  if (found != states.end())
    for (auto [i, axes] : llvm::enumerate(found->second.dims))
      if (llvm::is_contained(axes, axis))
        return i;
  return -1;
}

/// Splits dimension `dim` of `value`, as `by` asks.
void Propagation::split(Value value, int64_t dim, Operation *by) {
  int64_t now = splitDim(value);
  if (now == dim)
    return;
  if (now >= 0)
    return conflict(by, "needs dimension " + Twine(dim) + " of a value split over \"" + axis.getValue() +
                            "\" whose dimension " + Twine(now) + " is");
  State &state = stateOf(value);
  int64_t already = pieces;
  for (StringAttr other : state.dims[dim])
    already *= mesh.getAxisSize(other);
  if (int64_t size = nn::tensorType(value).getDimSize(dim); size % already)
    return conflict(by, "cuts a dimension of size " + Twine(size) + " into " + Twine(already) + " pieces over \"" +
                            axis.getValue() + "\", which does not divide it");
  state.dims[dim].push_back(axis);
  enqueueAround(value);
}

void Propagation::enqueueAround(Value value) {
  if (Operation *op = value.getDefiningOp())
    worklist.insert(op);
  else
    for (func::CallOp call : callsOf.lookup(cast<BlockArgument>(value).getOwner()->getParentOp()))
      worklist.insert(call);
  for (Operation *user : value.getUsers())
    worklist.insert(user);
}

/// A value outside a call and the argument or result inside have one layout, but what is whole anyway can be cut.
void Propagation::agree(Operation *call, Value outside, Value inside) {
  int64_t out = splitDim(outside), in = splitDim(inside);
  if (out == in || isSource(outside))
    return;
  if (in < 0)
    split(inside, out, call);
  else
    split(outside, in, call);
}

void Propagation::visit(Operation *op) {
  if (auto call = dyn_cast<func::CallOp>(op)) {
    if (!hasStrategy(call))
      return;
    func::FuncOp callee = getCallee(call);
    for (auto [operand, argument] : llvm::zip(call.getOperands(), callee.getArguments()))
      agree(call, operand, argument);
    for (auto [result, returned] : llvm::zip(call.getResults(), callee.front().getTerminator()->getOperands()))
      agree(call, result, returned);
  } else if (isa<func::ReturnOp>(op)) {
    for (func::CallOp call : callsOf.lookup(op->getParentOp()))
      worklist.insert(call);
  } else if (auto rule = dyn_cast<nn::ShardingRuleInterface>(op)) {
    visitRule(rule);
  }
}

/// The factor that `axis` splits in an op, if it splits one.
std::optional<int64_t> Propagation::splitFactor(Operation *op, const ShardingRule &rule) const {
  for (auto [i, operand] : llvm::enumerate(op->getOperands()))
    if (int64_t dim = splitDim(operand); dim >= 0 && !isSource(operand))
      return getSplitFactor(rule.operands[i], dim);
  for (auto [i, result] : llvm::enumerate(op->getResults()))
    if (int64_t dim = splitDim(result); dim >= 0)
      return getSplitFactor(rule.results[i], dim);
  return std::nullopt;
}

void Propagation::visitRule(nn::ShardingRuleInterface op) {
  ShardingRule rule = op.getShardingRule();
  std::optional<int64_t> found = splitFactor(op, rule);
  if (!found || *found < 0)
    return;
  int64_t factor = *found;
  std::string name = " over \"" + axis.str() + "\"";
  if (rule.factors[factor].kind == FactorKind::Whole && op->getNumOperands() == 0) {
    if (pieces > 1)
      outsiders.insert(op);
    return;
  }
  if (rule.factors[factor].kind == FactorKind::Whole)
    return conflict(op, "needs a dimension of size " + Twine(rule.factors[factor].size) + " whole that is split" + name);
  if (rule.factors[factor].size % pieces)
    return conflict(op, "cuts a loop of size " + Twine(rule.factors[factor].size) + " into " + Twine(pieces) +
                            " pieces" + name + ", which does not divide it");
  auto splitTensor = [&](Value value, const DimFactors &dims) {
    for (int64_t dim = 0, rank = dims.size(); dim < rank; ++dim) {
      if (!llvm::is_contained(dims[dim], factor))
        continue;
      if (dims[dim].front() != factor)
        conflict(op, "merges a dimension that is split" + name + " into the inside of another");
      else if (!isSource(value))
        split(value, dim, op);
    }
    if (int64_t dim = splitDim(value); dim >= 0 && !isSource(value) && getSplitFactor(dims, dim) != factor)
      conflict(op, "has two loops that are split" + name);
  };
  for (auto [value, dims] : llvm::zip(op->getOperands(), rule.operands))
    splitTensor(value, dims);
  for (auto [value, dims] : llvm::zip(op->getResults(), rule.results))
    splitTensor(value, dims);
}

//===----------------------------------------------------------------------===//
// What is partial
//===----------------------------------------------------------------------===//

std::optional<dist::Monoid> Propagation::partial(Value value) const {
  auto found = states.find(value);
  if (found != states.end())
    for (auto [name, monoid] : found->second.partial)
      if (name == axis)
        return monoid;
  return std::nullopt;
}

bool Propagation::makePartial(Value value, dist::Monoid monoid) {
  if (partial(value) || splitDim(value) >= 0)
    return false;
  stateOf(value).partial.emplace_back(axis, monoid);
  return true;
}

/// Whether the op turns its partial operands into partial results: it is linear in all of them together. A zero is a
/// partial sum as well as a whole one.
bool Propagation::isLinear(Operation *op, const ShardingRule &rule) const {
  SmallVector<int64_t> operands;
  for (auto [i, operand] : llvm::enumerate(op->getOperands()))
    if (auto monoid = partial(operand)) {
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

/// Marks the partial results of an op; true if that is news.
bool Propagation::transferPartial(Operation *op) {
  bool changed = false;
  if (auto call = dyn_cast<func::CallOp>(op)) {
    if (!hasStrategy(call))
      return false;
    func::FuncOp callee = getCallee(call);
    for (auto [operand, argument] : llvm::zip(call.getOperands(), callee.getArguments()))
      if (auto monoid = partial(operand))
        changed |= makePartial(argument, *monoid);
    for (auto [result, returned] : llvm::zip(call.getResults(), callee.front().getTerminator()->getOperands()))
      if (auto monoid = partial(returned))
        changed |= makePartial(result, *monoid);
    return changed;
  }
  auto interface = dyn_cast<nn::ShardingRuleInterface>(op);
  if (!interface)
    return false;
  ShardingRule rule = interface.getShardingRule();
  if (std::optional<int64_t> factor = splitFactor(op, rule); factor && *factor >= 0) {
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
  } else if (llvm::any_of(op->getOperands(), [&](Value operand) { return partial(operand).has_value(); }) &&
             isLinear(op, rule)) {
    for (Value result : op->getResults())
      changed |= makePartial(result, dist::Monoid::Sum);
  }
  return changed;
}

void Propagation::findPartial() {
  bool changed = true;
  while (changed) {
    changed = false;
    for (func::FuncOp step : steps) {
      for (Operation &op : step.front()) {
        changed |= transferPartial(&op);
        if (auto call = dyn_cast<func::CallOp>(op); call && hasStrategy(call))
          for (Operation &inner : getCallee(call).front())
            changed |= transferPartial(&inner);
      }
    }
  }
}

/// Inside a function a partial value may only go through linear ops; calls must agree on what is partial.
void Propagation::checkPartial() {
  for (func::FuncOp function : functions) {
    for (Operation &op : function.front()) {
      auto interface = dyn_cast<nn::ShardingRuleInterface>(op);
      auto *found = llvm::find_if(op.getOpOperands(), [&](OpOperand &use) { return partial(use.get()).has_value(); });
      if (!interface || found == op.getOpOperands().end())
        continue;
      ShardingRule rule = interface.getShardingRule();
      std::optional<int64_t> factor = splitFactor(&op, rule);
      if (!(factor && *factor >= 0) && isLinear(&op, rule))
        continue;
      conflict(&op, "needs all of operand #" + Twine(found->getOperandNumber()) + ", which is a partial " +
                        dist::stringifyMonoid(*partial(found->get())) + " over \"" + axis.getValue() +
                        "\" until the last piece");
    }
    for (func::CallOp call : callsOf.lookup(function))
      for (auto [i, operand] : llvm::enumerate(call.getOperands()))
        if (partial(function.getArgument(i)) && !partial(operand))
          conflict(call, "has a whole operand #" + Twine(i) + " where another call of " + function.getSymName() +
                             " has a partial result over \"" + axis.getValue() + "\"");
  }
}

//===----------------------------------------------------------------------===//
// The answer
//===----------------------------------------------------------------------===//

dist::LayoutAttr Propagation::toAttr(const State &state) const {
  MLIRContext *context = mesh.getContext();
  SmallVector<Attribute> dims;
  for (const auto &axes : state.dims)
    dims.push_back(ArrayAttr::get(context, SmallVector<Attribute>(axes.begin(), axes.end())));
  SmallVector<dist::PartialAttr> partial;
  for (auto [name, monoid] : state.partial)
    partial.push_back(dist::PartialAttr::get(context, monoid, name));
  return dist::LayoutAttr::get(context, FlatSymbolRefAttr::get(mesh.getSymNameAttr()), ArrayAttr::get(context, dims), partial);
}

dist::LayoutAttr Propagation::getLayout(Value value) const {
  auto found = states.find(value);
  if (found == states.end() || isSource(value))
    return getWholeLayout(mesh, nn::tensorType(value).getRank());
  State state = found->second;
  state.dims.resize(nn::tensorType(value).getRank());
  return toAttr(state);
}

dist::LayoutAttr Propagation::getWanted(OpOperand &use) const {
  Operation *op = use.getOwner();
  dist::LayoutAttr have = getLayout(use.get());
  if (isa<func::CallOp>(op) && hasStrategy(op))
    return getLayout(getCallee(op).getArgument(use.getOperandNumber()));
  dist::LayoutAttr whole = getWholeLayout(mesh, nn::tensorType(use.get()).getRank());
  // What a step returns may be in pieces over time, which are handed out one by one; every rank has all of each.
  if (isa<func::ReturnOp>(op)) {
    State returned;
    for (Attribute dim : have.getDims()) {
      auto &axes = returned.dims.emplace_back();
      for (auto name : cast<ArrayAttr>(dim).getAsRange<StringAttr>())
        if (name == dist::timeAxis && have.getPartial().empty())
          axes.push_back(name);
    }
    return toAttr(returned);
  }
  auto interface = dyn_cast<nn::ShardingRuleInterface>(op);
  if (!interface)
    return whole;
  // An op between calls: what it splits is split in every operand that has the loop, what it is linear in stays partial.
  ShardingRule rule = interface.getShardingRule();
  State wanted;
  const DimFactors &dims = rule.operands[use.getOperandNumber()];
  wanted.dims.resize(dims.size());
  for (OpResult result : op->getResults()) {
    dist::LayoutAttr layout = getLayout(result);
    for (auto [dim, axes] : llvm::enumerate(layout.getDims()))
      for (Attribute name : cast<ArrayAttr>(axes))
        for (int64_t i = 0, rank = dims.size(); i < rank; ++i)
          if (getSplitFactor(dims, i) == getSplitFactor(rule.results[result.getResultNumber()], dim) &&
              !llvm::is_contained(wanted.dims[i], name))
            wanted.dims[i].push_back(cast<StringAttr>(name));
    for (dist::PartialAttr entry : layout.getPartial()) {
      if (have.getPartialOver(entry.getAxis()))
        wanted.partial.emplace_back(entry.getAxis(), entry.getMonoid());
      else if (int64_t dim = have.getSplitDim(entry.getAxis()); dim >= 0)
        wanted.dims[dim].push_back(entry.getAxis());
    }
  }
  return toAttr(wanted);
}

//===- Propagation.cpp ----------------------------------------------------===//

#include "Propagation.h"

#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace galvatron;

using nn::DimFactors;
using nn::FactorKind;
using nn::ShardingRule;

Propagation::Propagation(ModuleOp module, dist::MeshOp mesh) : module(module), mesh(mesh), symbols(module) {}

func::FuncOp Propagation::getCallee(Operation *call) const {
  return symbols.lookup<func::FuncOp>(cast<func::CallOp>(call).getCallee());
}

/// Values of a step that are whole by themselves, of which a use can have a piece: inputs, constants, and what is computed once
/// a step from inputs. Over the axes of rows also parameters and all that is computed once a step.
bool Propagation::isSource(Value value) const {
  Operation *op = value.getDefiningOp();
  if (!op)
    return llvm::is_contained(steps, cast<BlockArgument>(value).getOwner()->getParentOp());
  if (!llvm::is_contained(steps, op->getParentOp()))
    return false;
  if (auto call = dyn_cast<func::CallOp>(op))
    return !isVisited(call);
  if (isa<nn::GetParameterOp>(op))
    return !isTensor;
  return !isa<nn::ShardingRuleInterface>(op) || op->getNumOperands() == 0;
}

/// Whether a call can work on pieces over the axis.
bool Propagation::isVisited(func::CallOp call) const {
  return hasStrategy(call) || (isTensor && !prepared.contains(call));
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
  if (!reported.insert({op->getName().getAsOpaquePointer(), op->getLoc().getAsOpaquePointer()}).second)
    return;
  InFlightDiagnostic error = op->emitOpError() << reason;
  if (isOverTime() && reported.size() == 1)
    error.attachNote() << "\"time\" is the " << pieces << " micro-batches of a step, in which this cannot be computed; in one it can";
}

/// Forgets all that was found for the axis.
void Propagation::dropAxis() {
  for (auto &[value, state] : states) {
    for (auto &axes : state.dims)
      llvm::erase(axes, axis);
    llvm::erase_if(state.partial, [&](auto &entry) { return entry.first == axis; });
  }
  for (auto &[op, split] : loops)
    llvm::erase_if(split, [&](const Loop &loop) { return loop.first == axis; });
  isUnsplit = false;
}

LogicalResult Propagation::run() {
  if (failed(collect()))
    return failure();
  findRows();
  // Outermost first: micro-batches, then the slowest link.
  SmallVector<StringAttr> axes{StringAttr::get(module.getContext(), dist::timeAxis)};
  llvm::append_range(axes, mesh.getAxisNames().getAsRange<StringAttr>());
  for (StringAttr name : axes) {
    begin(name);
    if (llvm::all_of(roles, [](const auto &entry) { return entry.second == Role::None; }))
      continue;
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

//===----------------------------------------------------------------------===//
// What is split
//===----------------------------------------------------------------------===//

/// Makes `name` the axis at hand.
void Propagation::begin(StringAttr name) {
  axis = name;
  pieces = mesh.getAxisSize(name);
  roles.clear();
  fixedLoops.clear();
  fixedDims.clear();
  fixedCalls.clear();
  bool isBatch = false, isOther = false;
  isTensor = false;
  for (auto strategy : module.getOps<dist::StrategyOp>()) {
    Role role = llvm::is_contained(strategy.getRole(dist::batchRole), name)    ? Role::Batch
                : llvm::is_contained(strategy.getRole(dist::tensorRole), name) ? Role::Tensor
                                                                               : Role::None;
    roles[FlatSymbolRefAttr::get(strategy.getSymNameAttr())] = role;
    (role == Role::Batch ? isBatch : isOther) = true;
    isTensor |= role == Role::Tensor;
  }
  isMixed = isBatch && isOther;
}

dist::StrategyOp Propagation::getStrategy(Operation *call) const {
  auto name = call->getAttrOfType<FlatSymbolRefAttr>(dist::strategyAttrName);
  return name ? symbols.lookup<dist::StrategyOp>(name.getAttr()) : dist::StrategyOp();
}

Propagation::Role Propagation::getRole(Operation *call) const { return roles.lookup(call->getAttr(dist::strategyAttrName)); }

/// Splits the rows of the model's inputs, and of what other blocks made whole, in every call whose strategy has the axis in its batch
/// role, and what the strategy splits in the calls of a block.
void Propagation::seed() {
  for (func::FuncOp function : functions)
    seedOps(function);
  seedUpdates();
  for (func::FuncOp step : steps)
    for (auto call : step.getOps<func::CallOp>()) {
      dist::StrategyOp strategy = getStrategy(call);
      if (!strategy)
        continue;
      if (getRole(call) == Role::Batch)
        for (auto [operand, argument] : llvm::zip(call.getOperands(), getCallee(call).getArguments())) {
          Operation *maker = operand.getDefiningOp();
          bool comesWhole = isMixed && maker && !(hasStrategy(maker) && getRole(maker) == Role::Batch);
          if (auto found = rowsOf.find(operand); found != rowsOf.end() && (isSource(operand) || comesWhole))
            demand(argument, found->second, call);
        }
      if (call->hasAttr(dist::callAttrName) && strategy.getSplits())
        seedSplits(call, strategy);
    }
}

/// Optimizer state is stored as its parameter is, and updated where that is whole or in the same pieces.
void Propagation::seedUpdates() {
  for (func::FuncOp step : steps)
    for (auto call : step.getOps<func::CallOp>()) {
      if (hasStrategy(call))
        continue;
      std::optional<int64_t> dim;
      for (Value operand : call.getOperands())
        if (auto read = operand.getDefiningOp<nn::GetParameterOp>())
          if (auto fixed = fixedDims.find(read.getParameterAttr()); fixed != fixedDims.end())
            dim = fixed->second;
      if (!dim)
        continue;
      fixedCalls[call] = *dim;
      for (Value operand : call.getOperands())
        if (auto read = operand.getDefiningOp<nn::GetParameterOp>())
          fixedDims.try_emplace(read.getParameterAttr(), *dim);
    }
}

/// Fixes the loops of ops that the function's strategy names, and how the parameters are stored that these read.
void Propagation::seedOps(func::FuncOp function) {
  ArrayRef<func::CallOp> calls = callsOf.find(function)->second;
  dist::StrategyOp strategy = getStrategy(calls.front());
  if (!strategy || !strategy.getOps() || getRole(calls.front()) != Role::Tensor)
    return;
  for (Operation &op : function.front()) {
    auto rule = dyn_cast<nn::ShardingRuleInterface>(op);
    if (!rule)
      continue;
    for (auto entry : strategy.getOps()->getAsRange<dist::OpAttr>()) {
      if (entry.getName() != op.getAttr(dist::opAttrName))
        continue;
      ShardingRule loops = rule.getShardingRule();
      int64_t factor = -1;
      for (auto split : entry.getSplits().getAsRange<dist::SplitAttr>()) {
        if (!llvm::is_contained(split.getAxes(), axis))
          continue;
        int64_t number = split.getInput(), dim = split.getDim();
        if (number < 0 || number >= int64_t(loops.operands.size()) || dim < 0 || dim >= int64_t(loops.operands[number].size()))
          return conflict(&op, "has no operand " + Twine(number) + " with a dimension " + Twine(dim) + ", which " +
                                   strategy.getSymName() + " splits");
        factor = getSplitFactor(loops.operands[number], dim);
      }
      fixedLoops[&op] = factor;
      for (OpOperand &operand : op.getOpOperands())
        if (auto argument = dyn_cast<BlockArgument>(operand.get()))
          for (func::CallOp call : calls)
            if (auto read = call.getOperand(argument.getArgNumber()).getDefiningOp<nn::GetParameterOp>()) {
              const DimFactors &dims = loops.operands[operand.getOperandNumber()];
              auto *found = llvm::find_if(dims, [&](ArrayRef<int64_t> dim) { return factor >= 0 && !dim.empty() && dim.front() == factor; });
              fixedDims[read.getParameterAttr()] = found == dims.end() ? -1 : found - dims.begin();
            }
      if (factor >= 0)
        assign(&op, factor, &op);
    }
  }
}

void Propagation::seedSplits(func::CallOp call, dist::StrategyOp strategy) {
  for (auto entry : strategy.getSplits()->getAsRange<dist::SplitAttr>()) {
    if (!llvm::is_contained(entry.getAxes(), axis))
      continue;
    int64_t input = entry.getInput(), dim = entry.getDim();
    if (input < 0 || input >= int64_t(call.getNumOperands()) || dim < 0 ||
        dim >= nn::tensorType(call.getOperand(input)).getRank())
      return conflict(call, "has no input " + Twine(input) + " with a dimension " + Twine(dim) + ", which " + strategy.getSymName() +
                                " splits");
    demand(getCallee(call).getArgument(input), dim, call);
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

/// The loop of an op that an axis splits, if it splits one.
std::optional<int64_t> Propagation::getLoop(Operation *op, StringAttr over) const {
  auto found = loops.find(op);
  if (found != loops.end())
    for (auto [name, factor] : found->second)
      if (name == over)
        return factor;
  return std::nullopt;
}

/// Has `value` made in pieces of dimension `dim`, as `by` reads it, where that is possible: whatever makes it is asked in turn.
void Propagation::demand(Value value, int64_t dim, Operation *by) {
  int64_t now = splitDim(value);
  if (now == dim || isSource(value))
    return;
  if (now >= 0) {
    if (isOverTime())
      conflict(by, "needs dimension " + Twine(dim) + " of a value split over \"" + axis.getValue() + "\" whose dimension " +
                       Twine(now) + " is");
    return;
  }
  Operation *op = value.getDefiningOp();
  unsigned number = op ? cast<OpResult>(value).getResultNumber() : 0;
  if (auto rule = dyn_cast_if_present<nn::ShardingRuleInterface>(op))
    return assign(op, getSplitFactor(rule.getShardingRule().results[number], dim), by);
  if (auto call = dyn_cast_if_present<func::CallOp>(op)) {
    if (isAskedOf(call, value, dim, by))
      demand(getCallee(call).front().getTerminator()->getOperand(number), dim, by);
    return;
  }
  // All steps read a parameter from one place.
  if (auto read = dyn_cast_if_present<nn::GetParameterOp>(op)) {
    FlatSymbolRefAttr stored = getStoredAs(read.getParameterAttr());
    if (auto fixed = fixedDims.find(stored); fixed != fixedDims.end() && fixed->second != dim)
      return;
    for (nn::GetParameterOp other : readsOf.lookup(stored))
      setSplit(other.getResult(), dim, by);
    return;
  }
  setSplit(value, dim, by);
}

void Propagation::setSplit(Value value, int64_t dim, Operation *by) {
  if (splitDim(value) >= 0)
    return;
  State &state = stateOf(value);
  int64_t already = pieces;
  for (StringAttr other : state.dims[dim])
    already *= mesh.getAxisSize(other);
  // What is inside a block is padded where it does not divide.
  if (int64_t size = nn::tensorType(value).getDimSize(dim); size % already && !isTensor)
    return conflict(by, "cuts a dimension of size " + Twine(size) + " into " + Twine(already) + " pieces over \"" +
                            axis.getValue() + "\", which does not divide it");
  state.dims[dim].push_back(axis);
  if (Operation *op = value.getDefiningOp()) {
    worklist.insert(op);
  } else {
    for (func::CallOp call : callsOf.lookup(cast<BlockArgument>(value).getOwner()->getParentOp()))
      worklist.insert(call);
  }
  for (Operation *user : value.getUsers())
    worklist.insert(user);
}

/// Splits a loop of an op: its results are made in pieces, and it asks for its operands in pieces.
void Propagation::assign(Operation *op, int64_t factor, Operation *by) {
  std::optional<int64_t> now = getLoop(op, axis);
  if (auto fixed = fixedLoops.find(op); fixed != fixedLoops.end() && fixed->second != factor)
    return;
  if (factor < 0) { // a dimension of size one, which only one piece fits
    isUnsplit |= pieces == 1;
    return;
  }
  if (now == factor)
    return;
  auto interface = cast<nn::ShardingRuleInterface>(op);
  ShardingRule rule = interface.getShardingRule();
  std::string over = " over \"" + axis.str() + "\"";
  // Over ranks the op can have its operands gathered, and what it makes cut.
  auto refuse = [&](const Twine &reason) {
    if (isOverTime())
      conflict(op, reason);
  };
  bool isWhole = rule.factors[factor].kind == FactorKind::Whole;
  if (isWhole && op->getNumOperands() == 0) {
    if (pieces > 1)
      outsiders.insert(op);
    return;
  }
  if (auto counted = dyn_cast<nn::CountedLoopInterface>(op); counted && counted.getCountedFactor() == factor && !isOverTime()) {
    counting.insert(op);
    return;
  }
  if (isWhole)
    return refuse("needs a dimension of size " + Twine(rule.factors[factor].size) + " whole that is split" + over);
  if (now)
    return refuse("has two loops that are split" + over);
  auto isInside = [&](const DimFactors &dims) {
    return llvm::any_of(dims, [&](ArrayRef<int64_t> dim) { return llvm::is_contained(dim, factor) && dim.front() != factor; });
  };
  if (llvm::any_of(rule.operands, isInside) || llvm::any_of(rule.results, isInside))
    return refuse("merges a dimension that is split" + over + " into the inside of another");
  int64_t already = pieces;
  for (auto [other, split] : loops.lookup(op))
    if (split == factor)
      already *= mesh.getAxisSize(other);
  auto isPartOfDim = [&](const DimFactors &dims) {
    return llvm::any_of(dims, [&](ArrayRef<int64_t> dim) { return dim.size() > 1 && llvm::is_contained(dim, factor); });
  };
  bool canPad = isTensor && llvm::none_of(rule.operands, isPartOfDim) && llvm::none_of(rule.results, isPartOfDim);
  if (rule.factors[factor].size % already && !canPad)
    return conflict(op, "cuts a loop of size " + Twine(rule.factors[factor].size) + " into " + Twine(already) + " pieces" + over +
                            ", which does not divide it");
  loops[op].emplace_back(axis, factor);
  worklist.insert(op);
  for (auto [result, dims] : llvm::zip(op->getResults(), rule.results))
    for (int64_t dim = 0, rank = dims.size(); dim < rank; ++dim)
      if (getSplitFactor(dims, dim) == factor)
        setSplit(result, dim, by);
}

void Propagation::visit(Operation *op) {
  if (auto call = dyn_cast<func::CallOp>(op))
    visitCall(call);
  else if (isa<func::ReturnOp>(op))
    for (func::CallOp call : callsOf.lookup(op->getParentOp()))
      worklist.insert(call);
  else if (auto rule = dyn_cast<nn::ShardingRuleInterface>(op))
    visitRule(rule);
}

/// A value outside a call and the argument or result inside have one layout where they can.
void Propagation::visitCall(func::CallOp call) {
  if (!isVisited(call))
    return;
  func::FuncOp callee = getCallee(call);
  for (auto [operand, argument] : llvm::zip(call.getOperands(), callee.getArguments())) {
    if (isSource(operand))
      continue;
    if (int64_t inside = splitDim(argument); inside >= 0 && entersCall(operand, inside, call))
      demand(operand, inside, call);
    if (int64_t outside = splitDim(operand); outside >= 0 && entersCall(operand, outside, call))
      demand(argument, outside, call);
  }
  for (auto [result, returned] : llvm::zip(call.getResults(), callee.front().getTerminator()->getOperands()))
    if (int64_t inside = splitDim(returned); inside >= 0)
      setSplit(result, inside, call);
}

void Propagation::visitRule(nn::ShardingRuleInterface op) {
  ShardingRule rule = op.getShardingRule();
  for (auto [operand, dims] : llvm::zip(op->getOperands(), rule.operands))
    if (int64_t dim = splitDim(operand); dim >= 0 && !isSource(operand))
      assign(op, getSplitFactor(dims, dim), op);
  std::optional<int64_t> factor = getLoop(op, axis);
  if (!factor)
    return;
  for (auto [operand, dims] : llvm::zip(op->getOperands(), rule.operands))
    for (int64_t dim = 0, rank = dims.size(); dim < rank; ++dim)
      if (getSplitFactor(dims, dim) == *factor)
        demand(operand, dim, op);
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

Propagation::State Propagation::toState(dist::LayoutAttr layout) const {
  State state;
  for (Attribute dim : layout.getDims()) {
    auto axes = cast<ArrayAttr>(dim).getAsRange<StringAttr>();
    state.dims.emplace_back(axes.begin(), axes.end());
  }
  for (dist::PartialAttr entry : layout.getPartial())
    state.partial.emplace_back(entry.getAxis(), entry.getMonoid());
  return state;
}

dist::LayoutAttr Propagation::getLayout(Value value) const {
  auto found = states.find(value);
  if (found == states.end())
    return getWholeLayout(mesh, nn::tensorType(value).getRank());
  State state = found->second;
  state.dims.resize(nn::tensorType(value).getRank());
  return toAttr(state);
}

/// The layout in which a function returns a value: what it combines for itself it returns combined.
dist::LayoutAttr Propagation::getReturned(Value value) const {
  State state = toState(getLayout(value));
  llvm::erase_if(state.partial, [&](auto &entry) {
    return entry.first != dist::timeAxis && llvm::any_of(value.getUses(), [&, name = entry.first](OpOperand &use) {
             return isa<nn::ShardingRuleInterface>(use.getOwner()) && !getWanted(use).getPartialOver(name);
           });
  });
  return toAttr(state);
}

dist::LayoutAttr Propagation::getWanted(OpOperand &use) const {
  Operation *op = use.getOwner();
  dist::LayoutAttr have = getLayout(use.get()), whole = getWholeLayout(mesh, nn::tensorType(use.get()).getRank());
  if (auto call = dyn_cast<func::CallOp>(op))
    return callsOf.contains(getCallee(call)) ? getLayout(getCallee(call).getArgument(use.getOperandNumber())) : whole;
  // A parameter is stored, and its gradient handed out, in the pieces in which it is read.
  if (auto sink = dyn_cast<nn::ParameterSinkInterface>(op)) {
    ArrayRef<nn::GetParameterOp> reads;
    if (auto found = readsOf.find(getStoredAs(sink.getParameterAttr())); found != readsOf.end())
      reads = found->second;
    return reads.empty() ? whole : getLayout(nn::GetParameterOp(reads.front()).getResult());
  }
  if (isa<func::ReturnOp>(op)) {
    if (!llvm::is_contained(steps, op->getParentOp()))
      return getReturned(use.get());
    // What a step returns may be in pieces over time, which are handed out one by one; every rank has all of each.
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
  // What an op splits is split in every operand that has the loop, what it is linear in stays partial.
  ShardingRule rule = interface.getShardingRule();
  State wanted;
  const DimFactors &dims = rule.operands[use.getOperandNumber()];
  wanted.dims.resize(dims.size());
  for (auto [name, factor] : loops.lookup(op))
    for (int64_t dim = 0, rank = dims.size(); dim < rank; ++dim)
      if (getSplitFactor(dims, dim) == factor)
        wanted.dims[dim].push_back(name);
  for (dist::PartialAttr entry : have.getPartial())
    if (!getLoop(op, entry.getAxis()) && isPassedOn(op, rule, entry.getAxis()))
      wanted.partial.emplace_back(entry.getAxis(), entry.getMonoid());
  return toAttr(wanted);
}

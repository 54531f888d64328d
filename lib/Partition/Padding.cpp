//===- Padding.cpp --------------------------------------------------------===//

#include "Padding.h"

#include <limits>

using namespace mlir;
using namespace galvatron;

using nn::DimFactors;
using nn::FactorKind;
using nn::ShardingRule;

Padding::Padding(ModuleOp module, dist::MeshOp mesh) : module(module), mesh(mesh), steps(getSteps(module)) {
  for (auto function : module.getOps<func::FuncOp>())
    if (!function.isDeclaration() && !llvm::is_contained(steps, function))
      functions[FlatSymbolRefAttr::get(function.getSymNameAttr())] = function;
}

int64_t Padding::getPieces(dist::MeshOp mesh, dist::LayoutAttr layout, int64_t dim) {
  int64_t pieces = 1;
  for (StringRef axis : cast<ArrayAttr>(layout.getDims()[dim]).getAsValueRange<StringAttr>())
    pieces *= mesh.getAxisSize(axis);
  return pieces;
}

bool Padding::isPadded(Value value, int64_t dim) const {
  dist::LayoutAttr layout = getLayout(value);
  if (!layout || dim >= int64_t(layout.getDims().size()))
    return false;
  int64_t pieces = getPieces(mesh, layout, dim);
  return pieces > 0 && nn::tensorType(value).getDimSize(dim) % pieces != 0;
}

SmallVector<int64_t> Padding::getPaddedDims(Value value) const {
  SmallVector<int64_t> dims;
  auto type = dyn_cast<RankedTensorType>(value.getType());
  for (int64_t dim = 0, rank = type ? type.getRank() : 0; dim < rank; ++dim)
    if (isPadded(value, dim))
      dims.push_back(dim);
  return dims;
}

//===----------------------------------------------------------------------===//
// What padding holds
//===----------------------------------------------------------------------===//

/// The dimension of a tensor that is a loop of an op, or -1.
static int64_t getDim(const DimFactors &dims, int64_t factor) {
  for (int64_t dim = 0, rank = dims.size(); dim < rank; ++dim)
    if (getSplitFactor(dims, dim) == factor)
      return dim;
  return -1;
}

/// Calls `visit` with the operands of an op that it computes with, and the dimension of each that is the loop. Numbers by which it
/// finds its way are others.
static void visitComputed(Operation *op, const ShardingRule &rule, int64_t factor,
                          function_ref<void(OpOperand &, int64_t)> visit) {
  Type type = nn::tensorType(op->getResult(0)).getElementType();
  for (auto [use, dims] : llvm::zip(op->getOpOperands(), rule.operands))
    if (int64_t dim = getDim(dims, factor); dim >= 0 && nn::tensorType(use.get()).getElementType() == type)
      visit(use, dim);
}

/// A result is zero behind the end of a loop if all that it is computed from is, and zeros in all of that give zeros (a quotient of zeros
/// is none).
bool Padding::mayHoldAnything(OpResult result, int64_t dim) const {
  Operation *op = result.getOwner();
  if (auto found = selected.find({result, dim}); found != selected.end())
    return found->second != 0;
  if (op->getNumOperands() == 0)
    return nn::getSplat(result) != 0.0;
  ShardingRule rule = cast<nn::ShardingRuleInterface>(op).getShardingRule();
  int64_t factor = getSplitFactor(rule.results[result.getResultNumber()], dim);
  auto isInSome = [](ArrayRef<SmallVector<int64_t>> sets, int64_t operand) {
    return llvm::any_of(sets, [&](ArrayRef<int64_t> set) { return llvm::is_contained(set, operand); });
  };
  bool isZero = true;
  visitComputed(op, rule, factor, [&](OpOperand &use, int64_t dim) {
    int64_t number = use.getOperandNumber();
    isZero &= !anything.contains({use.get(), dim}) && (isInSome(rule.linearIn, number) || isInSome(rule.zeroIn, number));
  });
  auto hasLoop = [&](int64_t operand) { return getDim(rule.operands[operand], factor) >= 0; };
  auto givesZeros = [&](ArrayRef<int64_t> set) { return llvm::all_of(set, hasLoop); };
  return !isZero || (llvm::none_of(rule.linearIn, givesZeros) && llvm::none_of(rule.zeroIn, givesZeros));
}

/// The function that an op of a step calls.
func::FuncOp Padding::getCallee(Operation *op) const {
  auto call = dyn_cast<func::CallOp>(op);
  return call && llvm::is_contained(steps, op->getParentOp()) ? functions.lookup(call.getCalleeAttr()) : func::FuncOp();
}

/// What holds for one value holds for the other.
void Padding::spread(Value from, Value to) {
  for (int64_t dim : getPaddedDims(to))
    if (anything.contains({from, dim}))
      changed |= anything.insert({to, dim}).second;
}

void Padding::visit(Operation *op) {
  if (isa<nn::GetParameterOp>(op))
    return;
  if (auto reshard = dyn_cast<dist::ReshardOp>(op)) {
    // What is cut anew is padded with zeros, or numbers that are none.
    for (int64_t dim : getPaddedDims(reshard)) {
      bool isCutAnew = !isPadded(reshard.getValue(), dim);
      bool isFloat = isa<FloatType>(reshard.getType().getElementType());
      if (isCutAnew ? !isFloat : anything.contains({reshard.getValue(), dim}))
        changed |= anything.insert({reshard, dim}).second;
    }
    return;
  }
  if (func::FuncOp callee = getCallee(op)) {
    auto call = cast<func::CallOp>(op);
    for (auto [operand, argument] : llvm::zip(call.getOperands(), callee.getArguments()))
      spread(operand, argument);
    for (Operation &inner : callee.front().without_terminator())
      visit(&inner);
    for (auto [result, returned] : llvm::zip(call.getResults(), callee.front().getTerminator()->getOperands()))
      spread(returned, result);
    return;
  }
  for (OpResult result : op->getResults())
    for (int64_t dim : getPaddedDims(result))
      if (!isa<nn::ShardingRuleInterface>(op) || mayHoldAnything(result, dim))
        changed |= anything.insert({result, dim}).second;
}

/// What a step stores it reads as zeros; from there on, to a fixpoint.
void Padding::analyze() {
  anything.clear();
  do {
    changed = false;
    for (func::FuncOp step : steps)
      for (Operation &op : step.front().without_terminator())
        visit(&op);
  } while (changed);
}

//===----------------------------------------------------------------------===//
// What it must hold
//===----------------------------------------------------------------------===//

/// The first operand of an op whose padding must be something and is not known to be.
std::optional<Padding::Need> Padding::findNeed(Operation *op) const {
  if (isa<nn::ParameterSinkInterface>(op)) {
    for (int64_t dim : getPaddedDims(op->getOperand(0)))
      if (anything.contains({op->getOperand(0), dim}))
        return Need{&op->getOpOperand(0), dim, 0};
    return std::nullopt;
  }
  auto interface = dyn_cast<nn::ShardingRuleInterface>(op);
  if (!interface || llvm::all_of(op->getOperands(), [&](Value operand) { return getPaddedDims(operand).empty(); }))
    return std::nullopt;
  ShardingRule rule = interface.getShardingRule();
  std::optional<Need> need;
  for (auto [factor, loop] : llvm::enumerate(rule.factors)) {
    double identity = 0;
    switch (loop.kind) {
    case FactorKind::Parallel:
    case FactorKind::Whole:
      continue;
    case FactorKind::ReductionSum:
      break;
    case FactorKind::ReductionMax:
      identity = -std::numeric_limits<double>::infinity();
      break;
    case FactorKind::ReductionMin:
      identity = std::numeric_limits<double>::infinity();
      break;
    }
    visitComputed(op, rule, factor, [&](OpOperand &use, int64_t dim) {
      auto found = selected.find({use.get(), dim});
      bool isThere = identity == 0 ? !anything.contains({use.get(), dim}) : found != selected.end() && found->second == identity;
      if (!need && !isThere && isPadded(use.get(), dim))
        need = Need{&use, dim, identity};
    });
  }
  return need;
}

/// The numbers along a dimension, in the pieces in which it is cut: 0, 1, ... and, behind its end, larger ones.
Value Padding::getNumbers(func::FuncOp function, int64_t size, ArrayAttr axes) {
  Value &numbers = numbersOf[{function, {size, axes}}];
  if (numbers)
    return numbers;
  Builder builder(function.getContext());
  auto type = RankedTensorType::get({size}, builder.getI64Type());
  auto layout = dist::LayoutAttr::get(function.getContext(), FlatSymbolRefAttr::get(mesh.getSymNameAttr()),
                                      builder.getArrayAttr(axes), {});
  if (llvm::is_contained(steps, function)) {
    auto start = OpBuilder::atBlockBegin(&function.front());
    auto iota = start.create<nn::IotaOp>(function.getLoc(), type, uint64_t(0));
    iota->setAttr(dist::layoutsAttrName, builder.getArrayAttr(getWholeLayout(mesh, 1)));
    return numbers = start.create<dist::ReshardOp>(function.getLoc(), type, iota, layout);
  }
  unsigned number = function.getNumArguments();
  function.insertArgument(number, type, builder.getDictionaryAttr(builder.getNamedAttr(dist::layoutAttrName, layout)),
                          function.getLoc());
  numbers = function.getArgument(number);
  Value inside = numbers; // the reference does not survive the next call
  for (func::FuncOp step : steps)
    for (auto call : step.getOps<func::CallOp>())
      if (getCallee(call) == function)
        call.getOperandsMutable().append(getNumbers(step, size, axes));
  return inside;
}

/// Puts the identity behind the end of a dimension: for one use, or, if that is zero, where the value is made, for all.
void Padding::insert(func::FuncOp function, Need need) {
  Value value = need.use->get();
  RankedTensorType type = nn::tensorType(value);
  dist::LayoutAttr layout = getLayout(value);
  Value numbers = getNumbers(function, type.getDimSize(need.dim), cast<ArrayAttr>(layout.getDims()[need.dim]));
  OpBuilder builder(need.use->getOwner());
  if (need.identity == 0) {
    if (Operation *maker = value.getDefiningOp())
      builder.setInsertionPointAfter(maker);
    else
      builder.setInsertionPointToStart(&function.front());
  }
  auto split = dist::LayoutAttr::get(builder.getContext(), layout.getMesh(), layout.getDims(), {});
  auto make = [&](Operation *op, dist::LayoutAttr result) {
    op->setAttr(dist::layoutsAttrName, builder.getArrayAttr(result));
    return op->getResult(0);
  };
  Location loc = value.getLoc();
  auto places = type.clone(builder.getI64Type());
  Value place = make(builder.create<nn::BroadcastOp>(loc, places, numbers, ArrayRef(need.dim)), split);
  Value end = make(nn::createSplat(builder, loc, places, type.getDimSize(need.dim)).getDefiningOp(), split);
  Value isInside = make(builder.create<nn::CompareOp>(loc, nn::Predicate::LT, place, end), split);
  Value identity = make(nn::createSplat(builder, loc, type, need.identity).getDefiningOp(), split);
  auto select = builder.create<nn::SelectOp>(loc, type, isInside, value, identity);
  make(select, layout);
  selected[{select, need.dim}] = need.identity;
  if (need.identity == 0)
    value.replaceAllUsesExcept(select, select);
  else
    need.use->set(select);
}

/// Puts in the first select that is lacking, in the order in which ops run; false if none is.
bool Padding::insertInto(func::FuncOp function) {
  for (Operation &op : function.front()) {
    if (std::optional<Need> need = findNeed(&op)) {
      insert(function, *need);
      return true;
    }
    if (func::FuncOp callee = getCallee(&op); callee && insertInto(callee))
      return true;
  }
  return false;
}

void Padding::insertSelects() {
  bool isAnyPadded = false;
  module.walk([&](nn::GetParameterOp read) { isAnyPadded |= !getPaddedDims(read.getResult()).empty(); });
  module.walk([&](dist::ReshardOp reshard) { isAnyPadded |= !getPaddedDims(reshard.getResult()).empty(); });
  // Each select changes what is known of all that follows; there are few, as functions are few.
  while (isAnyPadded) {
    analyze();
    isAnyPadded = llvm::any_of(steps, [&](func::FuncOp step) { return insertInto(step); });
  }
}

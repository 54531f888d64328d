//===- ModelOrder.cpp - A model's ops in an order that its dataflow gives -===//
//
// A depth-first walk from the outputs, operands before their users, puts each op
// as late as its first user allows. Two things would tear layers apart and are
// put first: what many layers share (an encoder's output, a bias table), because
// the first layer would hold it; and operands made of parameters alone are
// visited after the others, because they would come before all earlier layers.
//
//===----------------------------------------------------------------------===//

#include "ModelOrder.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace galvatron;

/// Recomputing up to this many arithmetic instructions per element is cheaper than reading a tensor.
static constexpr unsigned maxRecomputeCost = 8;
/// Constants of this many different floats are data, as layers of one model have them (folded weights), and no part of
/// what a layer is.
static constexpr int64_t minTableElements = 16;

ModelOrder::ModelOrder(func::FuncOp forward) : forward(forward), symbols(forward->getParentOfType<ModuleOp>()) {
  classify(/*inputsAreModel=*/false);
  bool hasModel = llvm::any_of(forward.front().without_terminator(), [&](Operation &op) {
    return !isa<nn::GetParameterOp>(op) && op.getNumResults() && roleOf(op.getResult(0)) == Role::Model;
  });
  if (!hasModel)
    classify(/*inputsAreModel=*/true);
  measureHeights();
  for (Operation *op : findShared())
    visit(op);
  for (Value output : forward.front().getTerminator()->getOperands())
    if (!isLeaf(output) && roleOf(output) == Role::Model)
      visit(output.getDefiningOp());

  DenseMap<Attribute, unsigned> interned;
  for (Operation *op : ops)
    keys.push_back(interned.try_emplace(keyOf(op), interned.size()).first->second);
}

void ModelOrder::classify(bool inputsAreModel) {
  info.clear();
  for (BlockArgument argument : forward.getArguments())
    info[argument] = {inputsAreModel ? Role::Model : Role::Prepared, true, 0, {argument}};
  for (Operation &op : forward.front().without_terminator()) {
    Info found = classifyOp(&op);
    for (Value result : op.getResults()) {
      if (found.bases.empty())
        info[result] = {found.role, found.dependsOnInputs, found.role == Role::Recomputed ? found.cost : 0, {result}};
      else
        info[result] = found;
    }
  }
}

static int64_t bytesOf(ArrayRef<Value> values) {
  int64_t bytes = 0;
  for (Value value : values) {
    RankedTensorType type = nn::tensorType(value);
    bytes += type.getNumElements() * std::max<int64_t>(type.getElementTypeBitWidth() / 8, 1);
  }
  return bytes;
}

/// The info of an op's results; without bases, each result is its own.
ModelOrder::Info ModelOrder::classifyOp(Operation *op) {
  if (auto get = dyn_cast<nn::GetParameterOp>(op)) {
    auto parameter = symbols.lookup<nn::ParameterOp>(get.getParameter());
    bool isModel = parameter.getKind() == nn::ParameterKind::Trainable || parameter.getKind() == nn::ParameterKind::Frozen;
    return {isModel ? Role::Parameter : Role::Prepared, false, 0, {}};
  }
  Info result{Role::Recomputed, false, 0, {}};
  for (Value operand : op->getOperands()) {
    const Info &operandInfo = info[operand];
    Role role = operandInfo.role == Role::Parameter ? Role::Model : operandInfo.role;
    result.role = std::max(result.role, role);
    result.dependsOnInputs |= operandInfo.dependsOnInputs;
    result.cost = std::min(result.cost + operandInfo.cost, maxRecomputeCost + 1);
    if (role == Role::Prepared)
      for (Value base : operandInfo.bases)
        if (!llvm::is_contained(result.bases, base))
          result.bases.push_back(base);
  }
  if (auto constant = dyn_cast<nn::ConstantOp>(op)) {
    ElementsAttr value = constant.getValue();
    if (!value.isSplat() && isa<FloatType>(value.getElementType()) && value.getNumElements() >= minTableElements)
      return {Role::Prepared, false, 0, {}};
  }
  bool isMove = isa<nn::ConstantOp, nn::IotaOp, nn::BroadcastOp, nn::ReshapeOp, nn::TransposeOp, nn::SliceOp>(op);
  result.cost += isMove ? 0 : 1;
  auto element = dyn_cast<nn::ElementOpInterface>(op);
  bool isCheap = element && element.getElementCost() <= 1 && result.cost <= maxRecomputeCost;
  if (result.role == Role::Recomputed && !isCheap)
    result.role = Role::Prepared;
  if (result.role != Role::Prepared || !isCheap || bytesOf(result.bases) >= bytesOf(op->getResult(0)))
    result.bases.clear();
  return result;
}

/// The height of an op is the length of the longest path from it to an output.
void ModelOrder::measureHeights() {
  for (Operation &op : llvm::reverse(forward.front().without_terminator())) {
    int64_t height = 0;
    for (Operation *user : op.getUsers())
      if (auto found = heights.find(user); found != heights.end())
        height = std::max(height, found->second + 1);
    heights[&op] = height;
    maxHeight = std::max(maxHeight, height);
  }
}

SmallVector<Operation *> ModelOrder::findShared() {
  SmallVector<Operation *> shared;
  for (Operation &op : forward.front().without_terminator()) {
    if (isa<nn::GetParameterOp>(op) || op.getNumResults() == 0 || roleOf(op.getResult(0)) != Role::Model)
      continue;
    SmallVector<int64_t> users;
    for (Operation *user : op.getUsers())
      if (auto found = heights.find(user); found != heights.end())
        users.push_back(found->second);
    // A hidden state has a few users close to it; what layers share has users all over the model.
    bool isData = info[op.getResult(0)].dependsOnInputs;
    if (users.size() < (isData ? 4 : 2))
      continue;
    auto [low, high] = std::minmax_element(users.begin(), users.end());
    if ((*high - *low) * (isData ? 5 : 8) > maxHeight)
      shared.push_back(&op);
  }
  llvm::sort(shared, [&](Operation *a, Operation *b) {
    return heights[a] != heights[b] ? heights[a] > heights[b] : a->isBeforeInBlock(b);
  });
  return shared;
}

SmallVector<Operation *> ModelOrder::producersOf(Operation *op) {
  SmallVector<Operation *> data, weights;
  for (Value operand : op->getOperands())
    if (!isLeaf(operand) && roleOf(operand) == Role::Model)
      (info[operand].dependsOnInputs ? data : weights).push_back(operand.getDefiningOp());
  data.append(weights);
  return data;
}

void ModelOrder::visit(Operation *root) {
  struct Frame {
    Operation *op;
    SmallVector<Operation *> producers;
    size_t next;
  };
  if (positions.contains(root))
    return;
  SmallVector<Frame> stack;
  stack.push_back({root, producersOf(root), 0});
  while (!stack.empty()) {
    Frame &top = stack.back();
    if (top.next < top.producers.size()) {
      Operation *producer = top.producers[top.next++];
      if (!positions.contains(producer))
        stack.push_back({producer, producersOf(producer), 0});
      continue;
    }
    if (positions.try_emplace(top.op, ops.size()).second)
      ops.push_back(top.op);
    stack.pop_back();
  }
}

/// What an operand must have in common with another for their users to be equal.
Attribute ModelOrder::describe(Value value) {
  if (Attribute known = descriptions.lookup(value))
    return known;
  Builder builder(forward.getContext());
  // What is prepared may stand where another layer has a hidden state: the first layer may read an input.
  Role role = roleOf(value) == Role::Model ? Role::Prepared : roleOf(value);
  SmallVector<Attribute> parts{TypeAttr::get(value.getType()), builder.getI64IntegerAttr(int64_t(role))};
  bool isDerived = roleOf(value) == Role::Prepared && basesOf(value).front() != value;
  if (role == Role::Recomputed || isDerived) {
    // Such chains are short: their cost is bounded.
    Operation *op = value.getDefiningOp();
    parts.push_back(op->getName().getIdentifier());
    parts.push_back(op->getAttrDictionary());
    for (Value operand : op->getOperands())
      parts.push_back(describe(operand));
  } else if (auto get = value.getDefiningOp<nn::GetParameterOp>()) {
    auto parameter = symbols.lookup<nn::ParameterOp>(get.getParameter());
    parts.push_back(builder.getI64IntegerAttr(int64_t(parameter.getKind())));
    parts.push_back(builder.getBoolAttr(parameter.getSavedShape().size() >= 2)); // decays
  }
  return descriptions[value] = builder.getArrayAttr(parts);
}

Attribute ModelOrder::keyOf(Operation *op) {
  Builder builder(op->getContext());
  SmallVector<Attribute> parts{op->getName().getIdentifier(), op->getAttrDictionary()};
  for (Value operand : op->getOperands())
    parts.push_back(describe(operand));
  for (Type type : op->getResultTypes())
    parts.push_back(TypeAttr::get(type));
  return builder.getArrayAttr(parts);
}

//===- Chain.cpp ----------------------------------------------------------===//

#include "Chain.h"

#include "dialects/NN/Rows.h"
#include "galvatron/Plan/PlanModule.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace galvatron;

std::string ChainLink::describe() const {
  switch (role) {
  case Embedding:
    return "embedding";
  case Head:
    return "head";
  case Block:
    return "block " + std::to_string(block);
  }
  llvm_unreachable("covered switch");
}

const Strategy &ChainLink::getStrategy(const Plan &plan) const {
  switch (role) {
  case Embedding:
    return *plan.embedding;
  case Head:
    return *plan.head;
  case Block:
    return getBlockStrategy(plan, block);
  }
  llvm_unreachable("covered switch");
}

SmallVector<ChainLink> galvatron::getChain(func::FuncOp step) {
  SmallVector<ChainLink> chain;
  llvm::DenseMap<Attribute, unsigned> calls;
  for (auto call : step.getOps<nn::ForwardOp>()) {
    ++calls[call.getCalleeAttr()];
    chain.emplace_back().call = call;
  }
  size_t first = chain.size(), last = 0;
  for (auto [i, link] : llvm::enumerate(chain)) {
    link.isRepeated = calls.lookup(link.call.getCalleeAttr()) > 1;
    if (link.isRepeated) {
      first = std::min(first, i);
      last = i;
    }
  }
  bool hasBlocks = first < chain.size();
  int64_t next = 0;
  for (auto [i, link] : llvm::enumerate(chain)) {
    link.role = hasBlocks && i < first ? ChainLink::Embedding : hasBlocks && i > last ? ChainLink::Head : ChainLink::Block;
    if (link.role == ChainLink::Block)
      link.block = next++;
  }
  return chain;
}

SmallVector<func::FuncOp> galvatron::getPlannedSteps(ModuleOp module) {
  SmallVector<func::FuncOp> steps;
  for (auto function : module.getOps<func::FuncOp>())
    if (!function.isPrivate() && !function.isDeclaration())
      steps.push_back(function);
  return steps;
}

Location galvatron::getPlanLocation(ModuleOp module, const Plan &plan) {
  if (plan.file.empty())
    return module.getLoc();
  return FileLineColLoc::get(module.getContext(), plan.file, /*line=*/0, /*column=*/0);
}

PlannedModel galvatron::getPlannedModel(ModuleOp module) {
  PlannedModel model;
  // All steps have the inputs of one model.
  SmallVector<func::FuncOp> steps = getPlannedSteps(module);
  if (steps.empty())
    return model;
  model.batch = nn::getBatch(steps.front());
  model.blocks = llvm::count_if(getChain(steps.front()), [](const ChainLink &link) { return link.role == ChainLink::Block; });
  return model;
}

llvm::MapVector<StringAttr, BlockFunction> galvatron::getBlockFunctions(ModuleOp module) {
  llvm::MapVector<StringAttr, BlockFunction> blocks;
  SymbolTable symbols(module);
  for (func::FuncOp step : getPlannedSteps(module))
    for (auto call : step.getOps<nn::ForwardOp>()) {
      auto [found, isNew] = blocks.insert({call.getCalleeAttr().getAttr(), {}});
      BlockFunction &block = found->second;
      if (isNew) {
        block.joint = symbols.lookup<func::FuncOp>(call.getCallee());
        block.parameters.resize(call.getInputs().size(), true);
        block.handedOut.resize(call.getOutputs().size(), true);
      }
      for (auto [i, output] : llvm::enumerate(call.getOutputs()))
        if (llvm::any_of(output.getUsers(), [](Operation *user) { return !isa<func::ReturnOp>(user); }))
          block.handedOut.reset(i);
      for (auto [i, input] : llvm::enumerate(call.getInputs())) {
        auto read = input.getDefiningOp<nn::GetParameterOp>();
        if (!read)
          block.parameters.reset(i);
        if (isNew)
          block.names.push_back(read ? read.getParameter().str() : "");
      }
      block.calls.push_back(call);
    }
  return blocks;
}

/// What all names begin with, up to and with a dot.
static size_t getCommonPrefix(ArrayRef<StringRef> names) {
  if (names.empty())
    return 0;
  StringRef prefix = names.front();
  prefix = prefix.take_front(prefix.rfind('.') + 1);
  for (StringRef name : names.drop_front())
    while (!name.starts_with(prefix))
      prefix = prefix.take_front(prefix.drop_back().rfind('.') + 1);
  return prefix.size();
}

SmallVector<std::pair<Operation *, std::string>> galvatron::nameOps(const BlockFunction &block) {
  // A parameter that all calls share says nothing of where the block is.
  SmallVector<StringRef> own;
  SmallVector<bool> isOwn(block.names.size());
  for (unsigned i = 0; i < block.names.size(); ++i) {
    nn::ForwardOp first = block.calls.front();
    bool isShared = block.calls.size() > 1 && llvm::all_of(block.calls, [&](nn::ForwardOp call) {
                      return call.getInputs()[i] == first.getInputs()[i] || call->getParentOp() != first->getParentOp();
                    });
    isOwn[i] = !block.names[i].empty() && !isShared;
    if (isOwn[i])
      own.push_back(block.names[i]);
  }
  size_t prefix = getCommonPrefix(own);
  SmallVector<std::pair<Operation *, std::string>> named;
  llvm::StringMap<unsigned> taken;
  func::FuncOp joint = block.joint;
  for (Operation &op : joint.front()) {
    if (isa<nn::BackwardBeginOp>(op))
      break;
    if (!isa<nn::ShardingRuleInterface>(op))
      continue;
    std::string name = op.getName().stripDialect().str();
    for (Value operand : op.getOperands())
      if (auto argument = dyn_cast<BlockArgument>(operand))
        if (const std::string &parameter = block.names[argument.getArgNumber()]; !parameter.empty()) {
          name = isOwn[argument.getArgNumber()] ? parameter.substr(prefix) : parameter;
          break;
        }
    unsigned number = ++taken[name];
    named.emplace_back(&op, number == 1 ? name : name + "#" + std::to_string(number));
  }
  return named;
}

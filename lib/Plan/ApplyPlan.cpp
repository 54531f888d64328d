//===- ApplyPlan.cpp - Strategies and stages on the calls of a step -------===//
//
// Writes a plan (Plan.h) onto a module: a mesh, strategies, and their names on calls. What a call depends on decides whether it
// belongs to a micro-batch or runs once a step.
//
//===----------------------------------------------------------------------===//

#include "Chain.h"
#include "OpSplits.h"
#include "TensorSplits.h"
#include "dialects/Dist/Dist.h"
#include "dialects/NN/NN.h"
#include "dialects/NN/Rows.h"
#include "galvatron/Plan/Passes.h"
#include "galvatron/Plan/PlanFile.h"
#include "galvatron/Plan/PlanModule.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_DISTAPPLYPLANPASS
#include "galvatron/Plan/Passes.h.inc"
} // namespace galvatron

namespace {

/// Which of the calls of `step` belong to a micro-batch.
SmallVector<Operation *> findMicroBatchCalls(func::FuncOp step) {
  // What a value depends on, as bits.
  enum : unsigned { Inputs = 1, Parameters = 2, Gradients = 4 };
  DenseMap<Value, unsigned> dependsOn;
  for (BlockArgument argument : step.getArguments())
    dependsOn[argument] = nn::isModelInput(step, argument.getArgNumber()) ? Inputs : 0;
  SmallVector<Operation *> calls;
  for (Operation &op : step.front()) {
    unsigned bits = isa<nn::GetParameterOp>(op) ? Parameters : 0;
    for (Value operand : op.getOperands())
      bits |= dependsOn.lookup(operand);
    if (isa<nn::ForwardOp, nn::BackwardOp>(op) ||
        (isa<func::CallOp>(op) && bits == (Inputs | Parameters))) {
      calls.push_back(&op);
      if (isa<nn::BackwardOp>(op))
        bits |= Gradients;
    }
    for (Value result : op.getResults())
      dependsOn[result] = bits;
  }
  return calls;
}

/// Writes the strategies of a resolved plan.
class StrategyWriter {
public:
  StrategyWriter(ModuleOp module, const Plan &plan) : module(module), plan(plan), builder(OpBuilder::atBlockBegin(module.getBody())) {}

  /// Makes the mesh and a strategy for each call. Reports all that does not fit.
  LogicalResult run(ArrayRef<func::FuncOp> steps);
  /// The strategy of a forward, or of another call that belongs to a micro-batch.
  FlatSymbolRefAttr lookup(Operation *call) const {
    auto found = strategyOf.find(call);
    return found == strategyOf.end() ? first : found->second;
  }

private:
  StringAttr getAxis(unsigned axis) { return builder.getStringAttr(getAxisName(axis)); }
  ArrayAttr getAxes(const PlanAxes &axes);
  DictionaryAttr getRoles(const Strategy &strategy);
  FlatSymbolRefAttr getStrategy(DictionaryAttr roles, ArrayAttr splits, ArrayAttr ops);
  FailureOr<FlatSymbolRefAttr> makeStrategy(const ChainLink &link);

  ModuleOp module;
  const Plan &plan;
  OpBuilder builder;
  dist::MeshOp mesh;
  llvm::MapVector<StringAttr, BlockFunction> blocks;
  llvm::DenseMap<Attribute, std::unique_ptr<InnerDimensions>> inside; ///< by function
  llvm::DenseMap<Attribute, FlatSymbolRefAttr> strategies;            ///< by roles, splits and ops
  /// What was made for a function under a strategy of the plan.
  llvm::DenseMap<std::pair<Attribute, const Strategy *>, FailureOr<FlatSymbolRefAttr>> made;
  llvm::DenseMap<Operation *, FlatSymbolRefAttr> strategyOf;
  FlatSymbolRefAttr first;
  bool isSplit = false; ///< some strategy splits something over tensor axes
};

ArrayAttr StrategyWriter::getAxes(const PlanAxes &axes) {
  SmallVector<Attribute> names;
  for (unsigned axis : axes)
    names.push_back(getAxis(axis));
  return builder.getArrayAttr(names);
}

DictionaryAttr StrategyWriter::getRoles(const Strategy &strategy) {
  // Row b of the batch is (micro-batch, place among the ranks, row of the piece).
  SmallVector<Attribute> rows{builder.getStringAttr(dist::timeAxis)};
  llvm::append_range(rows, getAxes(strategy.data));
  SmallVector<NamedAttribute> roles{builder.getNamedAttr(dist::batchRole, builder.getArrayAttr(rows))};
  if (!strategy.tensor.empty())
    roles.push_back(builder.getNamedAttr(dist::tensorRole, getAxes(strategy.tensor)));
  return builder.getDictionaryAttr(roles);
}

FlatSymbolRefAttr StrategyWriter::getStrategy(DictionaryAttr roles, ArrayAttr splits, ArrayAttr ops) {
  ArrayAttr none = builder.getArrayAttr({});
  FlatSymbolRefAttr &made = strategies[builder.getArrayAttr({roles, splits ? splits : none, ops ? ops : none})];
  if (made)
    return made;
  std::string name = "s" + std::to_string(strategies.size() - 1);
  auto strategy = builder.create<dist::StrategyOp>(builder.getUnknownLoc(), name, mesh.getSymName(), roles, splits, ops);
  return made = FlatSymbolRefAttr::get(strategy.getSymNameAttr());
}

FailureOr<FlatSymbolRefAttr> StrategyWriter::makeStrategy(const ChainLink &link) {
  const Strategy &strategy = link.getStrategy(plan);
  StringAttr callee = link.call->getAttrOfType<FlatSymbolRefAttr>("callee").getAttr();
  BlockFunction &block = blocks.find(callee)->second;
  SmallVector<dist::SplitAttr> splits;
  SmallVector<Attribute> ops;
  if (!strategy.tensor.empty()) {
    auto &dimensions = inside[callee];
    if (!dimensions)
      dimensions = std::make_unique<InnerDimensions>(block.joint, block.parameters, block.handedOut);
    SmallVector<StringAttr> axes;
    SmallVector<int64_t> sizes;
    for (unsigned axis : strategy.tensor) {
      axes.push_back(getAxis(axis));
      sizes.push_back(plan.mesh[axis]);
    }
    // What stands before and after the blocks is whole where it cannot be split; a block is split.
    FailureOr<SmallVector<dist::SplitAttr>> found = dimensions->split(axes, sizes, link.isRepeated, getPlanLocation(module, plan));
    if (failed(found))
      return failure();
    splits = *found;
  }
  OpSplits overrides(block, plan, link.describe());
  if (failed(overrides.apply(strategy.ops, splits, ops)))
    return failure();
  isSplit |= !splits.empty() || !ops.empty();
  auto arrayOf = [&](ArrayRef<Attribute> list) { return list.empty() ? ArrayAttr() : builder.getArrayAttr(list); };
  return getStrategy(getRoles(strategy), arrayOf(SmallVector<Attribute>(splits.begin(), splits.end())), arrayOf(ops));
}

LogicalResult StrategyWriter::run(ArrayRef<func::FuncOp> steps) {
  // Slowest link first: ranks that share a block say more to each other than those that share a batch.
  SmallVector<Attribute> names;
  for (unsigned axis = 0; axis < plan.mesh.size(); ++axis)
    names.push_back(getAxis(axis));
  mesh = builder.create<dist::MeshOp>(module.getLoc(), "mesh", builder.getArrayAttr(names), builder.getDenseI64ArrayAttr(plan.mesh),
                                      *plan.microBatches, plan.stages.count);
  if (plan.schedule != PlanSchedule::OneFOneB)
    mesh->setAttr(dist::scheduleAttrName, builder.getStringAttr(stringifySchedule(plan.schedule)));
  first = getStrategy(getRoles(*plan.embedding), ArrayAttr(), ArrayAttr());
  blocks = getBlockFunctions(module);
  bool ok = true;
  for (func::FuncOp step : steps)
    for (ChainLink &link : getChain(step)) {
      auto key = std::pair<Attribute, const Strategy *>(link.call.getCalleeAttr(), &link.getStrategy(plan));
      auto found = made.find(key);
      if (found == made.end())
        found = made.try_emplace(key, makeStrategy(link)).first;
      ok &= succeeded(found->second);
      if (succeeded(found->second))
        strategyOf[link.call] = *found->second;
    }
  // Embedding and head are whole where they cannot be split.
  int64_t ranks = 1;
  for (const BlockRun &run : plan.blocks)
    ranks = std::max(ranks, plan.getSize(run.strategy.tensor));
  if (ok && ranks > 1 && !isSplit)
    return emitError(getPlanLocation(module, plan)) << ranks << " ranks cannot share a block: nothing inside one can be split";
  return success(ok);
}

/// Gives each call of a step the stage that its block is on, and a backward that of its forward. Anything else is where the block before
/// it is.
void setStages(func::FuncOp step, const Plan &plan) {
  SmallVector<ChainLink> chain = getChain(step);
  int64_t blocks = llvm::count_if(chain, [](const ChainLink &link) { return link.role == ChainLink::Block; });
  llvm::DenseMap<Operation *, int64_t> stageOf;
  for (const ChainLink &link : chain) {
    nn::ForwardOp call = link.call;
    stageOf[call] = link.role == ChainLink::Embedding ? 0
                    : link.role == ChainLink::Head    ? plan.stages.count - 1
                                                      : getStageOfBlock(plan.stages, link.block, blocks);
  }
  Builder builder(step.getContext());
  int64_t stage = 0;
  for (Operation &op : step.front()) {
    if (!isa<func::CallOp, nn::ForwardOp, nn::BackwardOp>(op))
      continue;
    auto backward = dyn_cast<nn::BackwardOp>(op);
    if (auto found = stageOf.find(&op); found != stageOf.end())
      stage = found->second;
    int64_t own = backward ? stageOf.lookup(backward.getResiduals().getDefiningOp()) : stage;
    op.setAttr(dist::stageAttrName, builder.getI64IntegerAttr(own));
  }
}

class ApplyPlan : public galvatron::impl::DistApplyPlanPassBase<ApplyPlan> {
public:
  using DistApplyPlanPassBase::DistApplyPlanPassBase;
  explicit ApplyPlan(Plan plan) : given(std::move(plan)) {}

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (auto meshes = module.getOps<dist::MeshOp>(); !meshes.empty()) {
      (*meshes.begin()).emitOpError("is here already: the module has a plan");
      return signalPassFailure();
    }
    auto report = [&](const Twine &message) { emitError(module.getLoc()) << message; };
    std::optional<Plan> plan = given ? given : readOptions(report);
    if (!plan)
      return signalPassFailure();
    Location loc = getPlanLocation(module, *plan);
    auto reportPlan = [&](const Twine &message) { emitError(loc) << message; };
    plan = resolvePlan(*plan, getPlannedModel(module), reportPlan);
    if (!plan || !checkExecutable(*plan, reportPlan))
      return signalPassFailure();
    SmallVector<func::FuncOp> steps = getPlannedSteps(module);
    StrategyWriter writer(module, *plan);
    if (failed(writer.run(steps)))
      return signalPassFailure();
    for (func::FuncOp step : steps) {
      setStages(step, *plan);
      for (Operation *call : findMicroBatchCalls(step)) {
        auto backward = dyn_cast<nn::BackwardOp>(call);
        call->setAttr(dist::strategyAttrName, writer.lookup(backward ? backward.getResiduals().getDefiningOp() : call));
      }
    }
  }

private:
  /// The plan of the pass's options.
  std::optional<Plan> readOptions(Report report) {
    if (!plan.empty())
      return readPlanFile(plan, report);
    PlanDegrees degrees;
    if (ranks.hasValue())
      degrees.ranks = ranks;
    degrees.pipeline = stages;
    degrees.tensor = tensor;
    if (microBatches.hasValue())
      degrees.microBatches = microBatches;
    std::optional<PlanSchedule> order = parseSchedule(schedule, report);
    std::optional<std::vector<int64_t>> sizes;
    if (!mesh.empty() && !(sizes = parseMesh(mesh, report)))
      return std::nullopt;
    if (!order)
      return std::nullopt;
    degrees.schedule = *order;
    if (sizes)
      degrees.mesh = *sizes;
    return makePlan(degrees, report);
  }

  std::optional<Plan> given;
};

} // namespace

std::unique_ptr<Pass> galvatron::createDistApplyPlanPass(Plan plan) { return std::make_unique<ApplyPlan>(std::move(plan)); }

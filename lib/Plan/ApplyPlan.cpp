//===- ApplyPlan.cpp - Strategies and stages on the calls of a step -------===//
//
// A plan is a mesh of ranks, what its axes are for, and a number of micro-batches. The pass decides, by
// what a call depends on, whether it belongs to a micro-batch or runs once a step.
//
//===----------------------------------------------------------------------===//

#include "Divisors.h"
#include "TensorSplits.h"
#include "dialects/Dist/Dist.h"
#include "dialects/NN/NN.h"
#include "dialects/NN/Rows.h"
#include "galvatron/Plan/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_DISTAPPLYPLANPASS
#include "galvatron/Plan/Passes.h.inc"
} // namespace galvatron

namespace {

/// Checks that there are ranks and micro-batches, and that they divide the batch of a step.
LogicalResult checkBatch(func::FuncOp step, int64_t ranks, int64_t tensor, int64_t microBatches, Location loc) {
  if (ranks < 1)
    return emitError(loc) << "a step has at least 1 rank, not " << ranks;
  if (tensor < 1 || ranks % tensor)
    return emitError(loc) << tensor << " ranks cannot share each block where there are " << ranks << "; "
                          << listDivisors(ranks) << " can";
  if (microBatches < 1)
    return emitError(loc) << "a step has at least 1 micro-batch, not " << microBatches;
  int64_t batch = nn::getBatch(step), replicas = ranks / tensor;
  if (batch % replicas)
    return emitError(loc) << replicas << " ranks do not divide a batch of " << batch << " rows; " << listDivisors(batch)
                          << " do";
  if (batch / replicas % microBatches)
    return emitError(loc) << microBatches << " micro-batches do not divide a batch of " << batch / replicas << " rows"
                          << (replicas > 1 ? " on each rank" : "") << "; " << listDivisors(batch / replicas) << " do";
  return success();
}

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

/// Small axes, one for each prime factor: they are what roles are given to.
struct Axes {
  SmallVector<StringAttr> names;
  SmallVector<int64_t> sizes;

  Axes(MLIRContext *context, int64_t ranks, unsigned first) : sizes(galvatron::factorize(ranks)) {
    for (size_t i = first; i < first + sizes.size(); ++i) {
      std::string name(1, static_cast<char>('a' + i % 26));
      names.push_back(StringAttr::get(context, i < 26 ? name : name + std::to_string(i / 26)));
    }
  }
};

class ApplyPlan : public galvatron::impl::DistApplyPlanPassBase<ApplyPlan> {
public:
  using DistApplyPlanPassBase::DistApplyPlanPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (auto meshes = module.getOps<dist::MeshOp>(); !meshes.empty()) {
      (*meshes.begin()).emitOpError("is here already: the module has a plan");
      return signalPassFailure();
    }
    SmallVector<func::FuncOp> steps;
    for (auto function : module.getOps<func::FuncOp>())
      if (!function.isPrivate() && !function.isDeclaration())
        steps.push_back(function);
    Location loc = module.getLoc();
    // All steps have the inputs of one model.
    if (!steps.empty() && failed(checkBatch(steps.front(), ranks, tensor, microBatches, loc)))
      return signalPassFailure();

    // Slowest link first: ranks that share a block say more to each other than those that share a batch.
    Axes batch(&getContext(), ranks / tensor, 0), inside(&getContext(), tensor, batch.names.size());
    auto builder = OpBuilder::atBlockBegin(module.getBody());
    SmallVector<Attribute> names(batch.names.begin(), batch.names.end());
    names.append(inside.names.begin(), inside.names.end());
    SmallVector<int64_t> sizes(batch.sizes);
    sizes.append(inside.sizes);
    mesh = builder.create<dist::MeshOp>(loc, "mesh", builder.getArrayAttr(names), builder.getDenseI64ArrayAttr(sizes), microBatches);
    // Row b of the batch is (micro-batch, place among the ranks, row of the piece).
    SmallVector<Attribute> rows{builder.getStringAttr(dist::timeAxis)};
    rows.append(batch.names.begin(), batch.names.end());
    roles.push_back(builder.getNamedAttr(dist::batchRole, builder.getArrayAttr(rows)));
    if (tensor > 1)
      roles.push_back(builder.getNamedAttr(dist::tensorRole, builder.getArrayAttr({inside.names.begin(), inside.names.end()})));
    makeStrategy(builder, ArrayAttr());
    if (tensor > 1 && failed(makeSplits(builder, steps, inside)))
      return signalPassFailure();
    for (func::FuncOp step : steps) {
      for (Operation &op : step.front())
        if (isa<func::CallOp, nn::ForwardOp, nn::BackwardOp>(op))
          op.setAttr(dist::stageAttrName, builder.getI64IntegerAttr(0));
      for (Operation *call : findMicroBatchCalls(step)) {
        auto callee = call->getAttrOfType<FlatSymbolRefAttr>("callee");
        auto found = strategyOf.find(callee.getAttr());
        call->setAttr(dist::strategyAttrName, found == strategyOf.end() ? strategies.front() : found->second);
      }
    }
  }

private:
  FlatSymbolRefAttr makeStrategy(OpBuilder &builder, ArrayAttr splits) {
    std::string name = "s" + std::to_string(strategies.size());
    auto strategy = builder.create<dist::StrategyOp>(builder.getUnknownLoc(), name, mesh.getSymName(),
                                                     builder.getDictionaryAttr(roles), splits);
    return strategies.emplace_back(FlatSymbolRefAttr::get(strategy.getSymNameAttr()));
  }

  /// Gives each block that something inside of can be split a strategy of its own.
  LogicalResult makeSplits(OpBuilder &builder, ArrayRef<func::FuncOp> steps, const Axes &axes) {
    llvm::MapVector<StringAttr, SmallVector<nn::ForwardOp>> forwards;
    for (func::FuncOp step : steps)
      for (auto forward : step.getOps<nn::ForwardOp>())
        forwards[forward.getCalleeAttr().getAttr()].push_back(forward);
    SymbolTable symbols(getOperation());
    for (auto &[callee, calls] : forwards) {
      llvm::BitVector parameters(calls.front().getInputs().size(), true), handedOut(calls.front().getOutputs().size(), true);
      llvm::DenseMap<Operation *, unsigned> inStep;
      bool isRepeated = false;
      for (nn::ForwardOp call : calls) {
        isRepeated |= ++inStep[call->getParentOp()] > 1;
        for (auto [i, input] : llvm::enumerate(call.getInputs()))
          if (!input.getDefiningOp<nn::GetParameterOp>())
            parameters.reset(i);
        for (auto [i, output] : llvm::enumerate(call.getOutputs()))
          if (llvm::any_of(output.getUsers(), [](Operation *user) { return !isa<func::ReturnOp>(user); }))
            handedOut.reset(i);
      }
      auto joint = symbols.lookup<func::FuncOp>(callee);
      // What stands before and after the blocks is whole where it cannot be split; a block is split.
      FailureOr<SmallVector<dist::SplitAttr>> splits =
          InnerDimensions(joint, parameters, handedOut).split(axes.names, axes.sizes, isRepeated, getOperation().getLoc());
      if (failed(splits))
        return failure();
      if (!splits->empty())
        strategyOf[callee] = makeStrategy(builder, builder.getArrayAttr({splits->begin(), splits->end()}));
    }
    if (strategyOf.empty())
      return emitError(getOperation().getLoc()) << int64_t(tensor) << " ranks cannot share a block: nothing inside one can be split";
    return success();
  }

  dist::MeshOp mesh;
  SmallVector<NamedAttribute> roles;
  SmallVector<FlatSymbolRefAttr> strategies;
  llvm::DenseMap<StringAttr, FlatSymbolRefAttr> strategyOf; ///< of functions that have one of their own
};

} // namespace

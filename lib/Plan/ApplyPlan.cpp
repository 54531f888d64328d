//===- ApplyPlan.cpp - Strategies and stages on the calls of a step -------===//
//
// For one rank a plan is a number of micro-batches. The pass decides, by what a
// call depends on, whether it belongs to a micro-batch or runs once a step.
//
//===----------------------------------------------------------------------===//

#include "dialects/Dist/Dist.h"
#include "dialects/NN/NN.h"
#include "dialects/NN/Rows.h"
#include "galvatron/Plan/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace galvatron {
#define GEN_PASS_DEF_DISTAPPLYPLANPASS
#include "galvatron/Plan/Passes.h.inc"
} // namespace galvatron

namespace {

/// The divisors of `n` as text: "1, 2 or 4".
std::string listDivisors(int64_t n) {
  SmallVector<int64_t> divisors;
  for (int64_t i = 1; i <= n / i; ++i)
    if (n % i == 0) {
      divisors.push_back(i);
      if (i != n / i)
        divisors.push_back(n / i);
    }
  llvm::sort(divisors);
  std::string text;
  for (auto [i, divisor] : llvm::enumerate(divisors))
    text += (i == 0 ? "" : i + 1 == divisors.size() ? " or " : ", ") + std::to_string(divisor);
  return text;
}

/// Checks that there are micro-batches, and that they divide the batch of a step.
LogicalResult checkMicroBatches(func::FuncOp step, int64_t microBatches, Location loc) {
  if (microBatches < 1)
    return emitError(loc) << "a step has at least 1 micro-batch, not " << microBatches;
  int64_t batch = galvatron::nn::getBatch(step);
  if (batch % microBatches)
    return emitError(loc) << microBatches << " micro-batches do not divide a batch of " << batch << " rows; "
                          << listDivisors(batch) << " do";
  return success();
}

/// Which of the calls of `step` belong to a micro-batch.
SmallVector<Operation *> findMicroBatchCalls(func::FuncOp step) {
  // What a value depends on, as bits.
  enum : unsigned { Inputs = 1, Parameters = 2, Gradients = 4 };
  DenseMap<Value, unsigned> dependsOn;
  for (BlockArgument argument : step.getArguments())
    dependsOn[argument] = galvatron::nn::isModelInput(step, argument.getArgNumber()) ? Inputs : 0;
  SmallVector<Operation *> calls;
  for (Operation &op : step.front()) {
    unsigned bits = isa<galvatron::nn::GetParameterOp>(op) ? Parameters : 0;
    for (Value operand : op.getOperands())
      bits |= dependsOn.lookup(operand);
    if (isa<galvatron::nn::ForwardOp, galvatron::nn::BackwardOp>(op) ||
        (isa<func::CallOp>(op) && bits == (Inputs | Parameters))) {
      calls.push_back(&op);
      if (isa<galvatron::nn::BackwardOp>(op))
        bits |= Gradients;
    }
    for (Value result : op.getResults())
      dependsOn[result] = bits;
  }
  return calls;
}

class ApplyPlan : public galvatron::impl::DistApplyPlanPassBase<ApplyPlan> {
public:
  using DistApplyPlanPassBase::DistApplyPlanPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (auto meshes = module.getOps<galvatron::dist::MeshOp>(); !meshes.empty()) {
      (*meshes.begin()).emitOpError("is here already: the module has a plan");
      return signalPassFailure();
    }
    SmallVector<func::FuncOp> steps;
    for (auto function : module.getOps<func::FuncOp>())
      if (!function.isPrivate() && !function.isDeclaration())
        steps.push_back(function);
    // All steps have the inputs of one model.
    if (!steps.empty() && failed(checkMicroBatches(steps.front(), microBatches, module.getLoc())))
      return signalPassFailure();

    auto builder = OpBuilder::atBlockBegin(module.getBody());
    Location loc = module.getLoc();
    auto mesh = builder.create<galvatron::dist::MeshOp>(loc, "mesh", builder.getArrayAttr({}),
                                                        builder.getDenseI64ArrayAttr({}), microBatches);
    auto batch = builder.getNamedAttr(galvatron::dist::batchRole, builder.getStrArrayAttr({galvatron::dist::timeAxis}));
    auto strategy = builder.create<galvatron::dist::StrategyOp>(loc, "s0", mesh.getSymName(), builder.getDictionaryAttr({batch}));
    for (func::FuncOp step : steps) {
      for (Operation &op : step.front())
        if (isa<func::CallOp, galvatron::nn::ForwardOp, galvatron::nn::BackwardOp>(op))
          op.setAttr(galvatron::dist::stageAttrName, builder.getI64IntegerAttr(0));
      for (Operation *call : findMicroBatchCalls(step))
        call->setAttr(galvatron::dist::strategyAttrName, FlatSymbolRefAttr::get(strategy.getSymNameAttr()));
    }
  }
};

} // namespace

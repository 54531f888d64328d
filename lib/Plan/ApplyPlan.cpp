//===- ApplyPlan.cpp - Strategies and stages on the calls of a step -------===//
//
// A plan is a mesh of ranks and a number of micro-batches. The pass decides, by
// what a call depends on, whether it belongs to a micro-batch or runs once a step.
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

/// The prime factors of `n`, the largest first.
SmallVector<int64_t> factorize(int64_t n) {
  SmallVector<int64_t> factors;
  for (int64_t prime = 2; prime <= n / prime; ++prime)
    for (; n % prime == 0; n /= prime)
      factors.push_back(prime);
  if (n > 1)
    factors.push_back(n);
  std::reverse(factors.begin(), factors.end());
  return factors;
}

/// Checks that there are ranks and micro-batches, and that they divide the batch of a step.
LogicalResult checkBatch(func::FuncOp step, int64_t ranks, int64_t microBatches, Location loc) {
  if (ranks < 1)
    return emitError(loc) << "a step has at least 1 rank, not " << ranks;
  if (microBatches < 1)
    return emitError(loc) << "a step has at least 1 micro-batch, not " << microBatches;
  int64_t batch = galvatron::nn::getBatch(step);
  if (batch % ranks)
    return emitError(loc) << ranks << " ranks do not divide a batch of " << batch << " rows; " << listDivisors(batch) << " do";
  if (batch / ranks % microBatches)
    return emitError(loc) << microBatches << " micro-batches do not divide a batch of " << batch / ranks << " rows"
                          << (ranks > 1 ? " on each rank" : "") << "; " << listDivisors(batch / ranks) << " do";
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
    if (!steps.empty() && failed(checkBatch(steps.front(), ranks, microBatches, module.getLoc())))
      return signalPassFailure();

    auto builder = OpBuilder::atBlockBegin(module.getBody());
    Location loc = module.getLoc();
    // Small axes, one for each prime factor: they are what roles are given to.
    SmallVector<int64_t> sizes = factorize(ranks);
    SmallVector<std::string> names;
    for (size_t i = 0; i < sizes.size(); ++i) {
      names.emplace_back(1, static_cast<char>('a' + i % 26));
      if (i >= 26)
        names.back() += std::to_string(i / 26);
    }
    SmallVector<StringRef> axes(names.begin(), names.end());
    auto mesh = builder.create<galvatron::dist::MeshOp>(loc, "mesh", builder.getStrArrayAttr(axes),
                                                        builder.getDenseI64ArrayAttr(sizes), microBatches);
    // Row b of the batch is (micro-batch, place among the ranks, row of the piece).
    axes.insert(axes.begin(), galvatron::dist::timeAxis);
    auto batch = builder.getNamedAttr(galvatron::dist::batchRole, builder.getStrArrayAttr(axes));
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

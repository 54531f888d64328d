//===- Split.cpp - Steps become numbered calls with a phase ---------------===//
//
// A row of a table runs a function and nothing else, so arithmetic between calls
// is outlined, and functions are cut where ranks talk. What one stage makes and
// another reads becomes a transfer.
//
//===----------------------------------------------------------------------===//

#include "CutFunctions.h"
#include "Stages.h"
#include "galvatron/Schedule/Passes.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_PIPESPLITPASS
#include "galvatron/Schedule/Passes.h.inc"
} // namespace galvatron

namespace {

/// Moves single ops into functions, equal ones into the same.
class Outliner {
public:
  explicit Outliner(ModuleOp module) : symbols(module) {}
  void outline(Operation *op);
  bool isMade(func::CallOp call) const {
    return llvm::any_of(made, [&](auto entry) { return entry.second.getSymName() == call.getCallee(); });
  }

private:
  SymbolTable symbols;
  SmallVector<std::pair<Operation *, func::FuncOp>> made; ///< the op inside, and its function
};

void Outliner::outline(Operation *op) {
  auto *found = llvm::find_if(made, [&](auto &entry) {
    return entry.first->getName() == op->getName() && entry.first->getAttrDictionary() == op->getAttrDictionary() &&
           entry.first->getOperandTypes() == op->getOperandTypes() && entry.first->getResultTypes() == op->getResultTypes();
  });
  func::FuncOp function;
  OpBuilder builder(op);
  if (found != made.end()) {
    function = found->second;
  } else {
    auto step = op->getParentOfType<func::FuncOp>();
    function = func::FuncOp::create(op->getLoc(), (step.getSymName() + "." + op->getName().stripDialect()).str(),
                                    builder.getFunctionType(op->getOperandTypes(), op->getResultTypes()));
    function.setPrivate();
    symbols.insert(function, Block::iterator(step));
    auto inside = OpBuilder::atBlockBegin(function.addEntryBlock());
    IRMapping map;
    map.map(op->getOperands(), function.getArguments());
    Operation *copy = inside.clone(*op, map);
    inside.create<func::ReturnOp>(op->getLoc(), copy->getResults());
    made.emplace_back(copy, function);
  }
  auto call = builder.create<func::CallOp>(op->getLoc(), function, op->getOperands());
  call->setAttr(dist::stageAttrName, builder.getI64IntegerAttr(0));
  op->replaceAllUsesWith(call.getResults());
  op->erase();
}

class PipeSplit : public galvatron::impl::PipeSplitPassBase<PipeSplit> {
  void runOnOperation() override {
    auto meshes = getOperation().getOps<dist::MeshOp>();
    int64_t stages = meshes.empty() ? 1 : int64_t((*meshes.begin()).getStages());
    cutFunctionsAtMoves(getOperation());
    Outliner outliner(getOperation());
    bool ok = true;
    for (func::FuncOp step : getSteps(getOperation())) {
      groupSumsByStage(step, stages);
      SmallVector<Operation *> arithmetic;
      for (Operation &op : step.front())
        if (isa<nn::ShardingRuleInterface>(op) && !isAccumulation(&op))
          arithmetic.push_back(&op);
      for (Operation *op : arithmetic)
        outliner.outline(op);
      placeOnStages(step, stages);
      ok &= succeeded(number(step, outliner));
    }
    if (!ok)
      signalPassFailure();
  }

  LogicalResult number(func::FuncOp step, const Outliner &outliner) {
    // What a value is of: a micro-batch, or the step before (nothing) or after all micro-batches.
    DenseMap<Value, pipe::Phase> phaseOf;
    DenseMap<Attribute, IntegerAttr> numberOf; // dist.call to pipe.call
    Builder builder(&getContext());
    int64_t next = 0;
    bool ok = true;
    for (Operation &op : step.front()) {
      bool each = false, after = false;
      for (Value operand : op.getOperands())
        if (auto found = phaseOf.find(operand); found != phaseOf.end()) {
          each |= found->second == pipe::Phase::Forward;
          after |= found->second == pipe::Phase::Finish;
        }
      if (auto slice = dyn_cast<dist::SliceOp>(op))
        each |= isOverTime(slice);
      if (isCompletedOverTime(&op)) {
        each = false;
        after = true;
      }
      auto call = dyn_cast<func::CallOp>(op);
      // A call with a strategy runs for each micro-batch whatever it reads; one of the plan without runs once. What was outlined
      // here goes by what it reads.
      if (call && call->hasAttr(dist::strategyAttrName)) {
        each = true;
      } else if (call && !outliner.isMade(call)) {
        // What every micro-batch makes the same is there after the last one.
        after |= each;
        each = false;
      }
      for (Value result : op.getResults())
        if (each || after)
          phaseOf[result] = each ? pipe::Phase::Forward : pipe::Phase::Finish;
      if (!call)
        continue;
      pipe::Phase phase = each ? pipe::Phase::Forward : after ? pipe::Phase::Finish : pipe::Phase::Prepare;
      if (each && after) {
        call.emitOpError("belongs to a micro-batch and reads a value that is whole only after the last one");
        ok = false;
      }
      IntegerAttr number;
      if (Attribute forward = call->getAttr(dist::backwardOfAttrName)) {
        phase = pipe::Phase::Backward;
        number = numberOf.lookup(forward);
        if (!number) {
          call.emitOpError("is the backward of call ") << forward << ", which the step does not make before it";
          ok = false;
        }
      }
      // The parts of a function that was cut are one call.
      Attribute forward = call->getAttr(dist::callAttrName);
      if (!number && forward)
        number = numberOf.lookup(forward);
      if (!number)
        number = builder.getI64IntegerAttr(next++);
      if (forward)
        numberOf[forward] = number;
      call->setAttr(callAttrName, number);
      call->setAttr(phaseAttrName, pipe::PhaseAttr::get(&getContext(), phase));
    }
    return success(ok);
  }
};

} // namespace

//===- VerifyPlanned.cpp - What holds from --dist-apply-plan on -----------===//

#include "dialects/Dist/Dist.h"
#include "dialects/NN/NN.h"
#include "galvatron/Plan/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace galvatron {
#define GEN_PASS_DEF_VERIFYPLANNEDPASS
#include "galvatron/Plan/Passes.h.inc"
} // namespace galvatron

namespace {

class VerifyPlanned : public galvatron::impl::VerifyPlannedPassBase<VerifyPlanned> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    int64_t meshes = llvm::range_size(module.getOps<galvatron::dist::MeshOp>());
    bool ok = meshes == 1;
    if (!ok)
      module.emitError() << "module has " << meshes << " meshes after planning; exactly one is needed";
    SymbolTableCollection symbols;
    int64_t stages = 0;
    for (auto mesh : module.getOps<galvatron::dist::MeshOp>())
      stages = mesh.getStages();
    for (auto step : module.getOps<func::FuncOp>())
      if (!step.isPrivate() && !step.isDeclaration())
        for (Operation &op : step.front())
          ok &= succeeded(verifyCall(&op, stages, symbols));
    if (!ok)
      signalPassFailure();
  }

  static LogicalResult verifyCall(Operation *op, int64_t stages, SymbolTableCollection &symbols) {
    using namespace galvatron;
    if (!isa<func::CallOp, nn::ForwardOp, nn::BackwardOp>(op))
      return success();
    auto stage = op->getAttrOfType<IntegerAttr>(dist::stageAttrName);
    if (!stage)
      return op->emitOpError("has no ") << dist::stageAttrName << " after planning";
    if (stage.getInt() < 0 || stage.getInt() >= stages)
      return op->emitOpError("is on stage ") << stage.getInt() << " of " << stages;
    auto strategy = op->getAttrOfType<FlatSymbolRefAttr>(dist::strategyAttrName);
    if (!strategy && !isa<func::CallOp>(op))
      return op->emitOpError("has no ") << dist::strategyAttrName << " after planning";
    if (strategy && !symbols.lookupNearestSymbolFrom<dist::StrategyOp>(op, strategy))
      return op->emitOpError("names ") << strategy << ", which is no dist.strategy";
    if (auto backward = dyn_cast<nn::BackwardOp>(op))
      if (Operation *forward = backward.getResiduals().getDefiningOp())
        for (StringRef name : {dist::strategyAttrName, dist::stageAttrName})
          if (op->getAttr(name) != forward->getAttr(name))
            return op->emitOpError("has ") << name << " = " << op->getAttr(name) << ", but its forward has "
                                           << forward->getAttr(name);
    return success();
  }
};

} // namespace

//===- VerifyScheduled.cpp - What holds from --pipe-schedule on -----------===//

#include "Steps.h"
#include "galvatron/Schedule/Passes.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_VERIFYSCHEDULEDPASS
#include "galvatron/Schedule/Passes.h.inc"
} // namespace galvatron

namespace {

class VerifyScheduled : public galvatron::impl::VerifyScheduledPassBase<VerifyScheduled> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    bool ok = true;
    if (module.getOps<pipe::TableOp>().empty()) {
      module.emitError() << "module has no pipe.table after scheduling";
      ok = false;
    }
    for (func::FuncOp step : getSteps(module)) {
      step.emitOpError("is left after scheduling");
      ok = false;
    }
    module.walk([&](func::FuncOp function) {
      function.walk([&](Operation *op) {
        if (!isa<dist::DistDialect>(op->getDialect()))
          return;
        op->emitOpError("is in a function that a table runs: functions hold no collective");
        ok = false;
      });
    });
    SymbolTable symbols(module);
    DenseSet<Operation *> seen;
    module.walk([&](pipe::RunOp run) {
      auto callee = symbols.lookup<func::FuncOp>(run.getCallee());
      if (callee && callee.isDeclaration() && seen.insert(callee).second) {
        callee.emitOpError("is run by a table and has no body");
        ok = false;
      }
    });
    markAllAnalysesPreserved();
    if (!ok)
      signalPassFailure();
  }
};

} // namespace

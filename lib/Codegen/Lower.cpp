//===- Lower.cpp - From tensors and the schedule to buffers and the program ===//

#include "galvatron/Codegen/Passes.h"

#include "StageLowering.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_LOWERPASS
#include "galvatron/Codegen/Passes.h.inc"
} // namespace galvatron

/// The optimizer that a module's state is for.
static StringRef findOptimizer(ModuleOp module) {
  for (auto parameter : module.getOps<nn::ParameterOp>())
    if (parameter.getKind() == nn::ParameterKind::State)
      return parameter.getSymName().ends_with(".momentum_buffer") ? "sgd" : "adamw";
  return "none";
}

/// The program weighs batches by their counted labels: it must know which are not.
static void noteIgnoredLabel(ModuleOp module) {
  module.walk([&](rt::CheckRangeOp check) {
    if (!check.getIgnoreAttr())
      return WalkResult::advance();
    for (auto program : module.getOps<rt::ProgramOp>())
      program->setAttr("ignored_label", check.getIgnoreAttr());
    return WalkResult::interrupt();
  });
}

namespace {

struct LowerPass : galvatron::impl::LowerPassBase<LowerPass> {
  using LowerPassBase::LowerPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<pipe::TableOp> tables(module.getOps<pipe::TableOp>());
    SmallVector<func::FuncOp> functions;
    for (auto function : module.getOps<func::FuncOp>())
      if (!function->hasAttr(rt::kernelAttr) && !function->hasAttr(rt::outsAttr) && !function.isExternal())
        functions.push_back(function);
    Descriptors descriptors(module);
    bool ok = true;
    for (func::FuncOp function : functions)
      ok &= succeeded(lowerStageFunction(function, descriptors));
    if (ok && !tables.empty())
      ok = succeeded(lowerTables(tables, threads, cpu, findOptimizer(module)));
    if (ok)
      noteIgnoredLabel(module);
    if (!ok)
      signalPassFailure();
  }
};

} // namespace

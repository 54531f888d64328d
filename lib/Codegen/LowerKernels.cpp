//===- LowerKernels.cpp - Kernels become loops ----------------------------===//

#include "galvatron/Codegen/Passes.h"

#include "KernelEmitter.h"
#include "dialects/RT/RT.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Dominance.h"
#include "mlir/Transforms/CSE.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;

namespace galvatron {
#define GEN_PASS_DEF_LOWERKERNELSPASS
#include "galvatron/Codegen/Passes.h.inc"
} // namespace galvatron

using namespace galvatron;

namespace {

struct LowerKernelsPass : galvatron::impl::LowerKernelsPassBase<LowerKernelsPass> {
  using LowerKernelsPassBase::LowerKernelsPassBase;

  LogicalResult initialize(MLIRContext *context) override {
    RewritePatternSet owned(context);
    for (StringRef name : {"arith", "scf", "memref"}) {
      Dialect *dialect = context->getLoadedDialect(name);
      if (dialect)
        dialect->getCanonicalizationPatterns(owned);
    }
    for (RegisteredOperationName op : context->getRegisteredOperations())
      if (llvm::is_contained({"arith", "scf", "memref"}, op.getDialectNamespace()))
        op.getCanonicalizationPatterns(owned, context);
    cleanups = std::move(owned);
    return success();
  }

  void runOnOperation() override {
    SmallVector<func::FuncOp> kernels;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function->hasAttr(rt::kernelAttr) && !function->hasAttr(rt::rowsAttr))
        kernels.push_back(function);
    bool ok = true;
    for (func::FuncOp kernel : kernels)
      ok &= succeeded(lower(kernel));
    if (!ok)
      signalPassFailure();
  }

  LogicalResult lower(func::FuncOp kernel) {
    FailureOr<LoweredKernel> lowered = emitKernel(kernel);
    if (failed(lowered))
      return failure();
    OpBuilder b(kernel);
    for (auto &[name, contents] : lowered->tables) {
      auto type = cast<RankedTensorType>(contents.getType());
      b.create<memref::GlobalOp>(kernel.getLoc(), name, b.getStringAttr("private"),
                                 MemRefType::get(type.getShape(), type.getElementType()), contents,
                                 /*constant=*/true, /*alignment=*/IntegerAttr());
    }
    func::FuncOp function = lowered->function.release();
    for (NamedAttribute attribute : kernel->getDiscardableAttrs())
      function->setAttr(attribute.getName(), attribute.getValue());
    function.setVisibility(kernel.getVisibility());
    b.insert(function);
    kernel.erase();
    // Index arithmetic that was folded into forms is dead by now.
    if (failed(applyPatternsAndFoldGreedily(function, cleanups)))
      // untested: canonicalization patterns agree on what is simple
      return function.emitError("cleaning up the kernel did not come to an end");
    IRRewriter rewriter(&getContext());
    DominanceInfo dominance(function);
    eliminateCommonSubExpressions(rewriter, dominance, function);
    return success();
  }

  FrozenRewritePatternSet cleanups;
};

} // namespace

//===- ConvertKernels.cpp - Lowered kernels become LLVM functions ---------===//
//
// Only kernels are touched, and what they refer to: the functions that call
// them are converted elsewhere.
//
//===----------------------------------------------------------------------===//

#include "galvatron/Codegen/Passes.h"

#include "MathExpansion.h"
#include "dialects/RT/RT.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVM.h"
#include "mlir/Conversion/LLVMCommon/ConversionTarget.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Transforms/DialectConversion.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;

namespace galvatron {
#define GEN_PASS_DEF_CONVERTKERNELSPASS
#include "galvatron/Codegen/Passes.h.inc"
} // namespace galvatron

using namespace galvatron;

namespace {

struct Kernel {
  std::string name;
  unsigned arguments; ///< inputs and outputs
  NamedAttrList attributes;
};

struct ConvertKernelsPass : galvatron::impl::ConvertKernelsPassBase<ConvertKernelsPass> {
  using ConvertKernelsPassBase::ConvertKernelsPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    MLIRContext *context = &getContext();
    SmallVector<Operation *> roots;
    SmallVector<Kernel> kernels;
    for (auto function : module.getOps<func::FuncOp>()) {
      if (!function->hasAttr(rt::kernelAttr) || !function->hasAttr(rt::rowsAttr))
        continue;
      roots.push_back(function);
      std::string name = function.getSymName().str();
      kernels.push_back({name, function.getNumArguments() - 2, {}});
      // The body gets out of the way: the kernel's name is that of the function the runtime calls.
      function.setSymName(name + "_body");
      function->setAttr("llvm.linkage", LLVM::LinkageAttr::get(context, LLVM::Linkage::Internal));
      for (StringRef attribute : {rt::kernelAttr, rt::rowsAttr, rt::grainAttr, rt::inplaceAttr, rt::mayInplaceAttr})
        if (Attribute value = function->removeAttr(attribute))
          kernels.back().attributes.set(attribute, value);
    }
    if (failed(expandMath(roots)) || failed(convert(module, roots)))
      return signalPassFailure();
    for (const Kernel &kernel : kernels) {
      // Casts between a pointer and its memref meet their opposites now and fold away.
      Operation *body = module.lookupSymbol(kernel.name + "_body");
      if (failed(applyPatternsAndFoldGreedily(body, FrozenRewritePatternSet()))) {
        body->emitError("folding the kernel's casts did not come to an end"); // untested: folding makes no ops
        return signalPassFailure();
      }
      addThunk(module, kernel);
    }
  }

  LogicalResult expandMath(ArrayRef<Operation *> kernels) {
    RewritePatternSet patterns(&getContext());
    populateMathExpansionPatterns(patterns);
    arith::populateCeilFloorDivExpandOpsPatterns(patterns);
    FrozenRewritePatternSet frozen(std::move(patterns));
    for (Operation *kernel : kernels)
      if (failed(applyPatternsAndFoldGreedily(kernel, frozen)))
        return kernel->emitError("expanding math functions did not come to an end"); // untested: each pattern makes simpler ops
    return success();
  }

  LogicalResult convert(ModuleOp module, SmallVector<Operation *> roots) {
    MLIRContext *context = &getContext();
    // Loops first: their patterns make blocks that the second conversion must see.
    RewritePatternSet loops(context);
    populateSCFToControlFlowConversionPatterns(loops);
    ConversionTarget flat(*context);
    flat.addIllegalDialect<scf::SCFDialect>();
    flat.markUnknownOpDynamicallyLegal([](Operation *) { return true; });
    if (failed(applyPartialConversion(roots, flat, std::move(loops))))
      return failure();
    for (auto global : module.getOps<memref::GlobalOp>())
      roots.push_back(global);
    LowerToLLVMOptions options(context);
    options.useBarePtrCallConv = true;
    LLVMTypeConverter converter(context, options);
    RewritePatternSet patterns(context);
    arith::populateArithToLLVMConversionPatterns(converter, patterns);
    populateMathToLLVMConversionPatterns(converter, patterns);
    populateFinalizeMemRefToLLVMConversionPatterns(converter, patterns);
    cf::populateControlFlowToLLVMConversionPatterns(converter, patterns);
    populateFuncToLLVMConversionPatterns(converter, patterns);
    LLVMConversionTarget target(*context);
    target.addLegalOp<ModuleOp>();
    return applyFullConversion(roots, target, std::move(patterns));
  }

  /// void name(void **args, int64_t begin, int64_t end), which calls name_body.
  void addThunk(ModuleOp module, const Kernel &kernel) {
    auto body = module.lookupSymbol<LLVM::LLVMFuncOp>(kernel.name + "_body");
    OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
    b.setInsertionPointAfter(body);
    Location loc = body.getLoc();
    Type pointer = LLVM::LLVMPointerType::get(b.getContext()), i64 = b.getI64Type();
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()), {pointer, i64, i64});
    auto thunk = b.create<LLVM::LLVMFuncOp>(loc, kernel.name, type);
    // Those who launch it read these.
    thunk->setDiscardableAttrs(kernel.attributes.getDictionary(b.getContext()));
    Block *entry = thunk.addEntryBlock(b);
    b.setInsertionPointToStart(entry);
    SmallVector<Value> operands;
    for (unsigned i = 0; i < kernel.arguments; ++i) {
      Value slot = b.create<LLVM::GEPOp>(loc, pointer, pointer, entry->getArgument(0), LLVM::GEPArg(int32_t(i)));
      operands.push_back(b.create<LLVM::LoadOp>(loc, pointer, slot));
    }
    operands.push_back(entry->getArgument(1));
    operands.push_back(entry->getArgument(2));
    b.create<LLVM::CallOp>(loc, body, operands);
    b.create<LLVM::ReturnOp>(loc, ValueRange());
  }
};

} // namespace

//===- import-fuzzer.cpp - Any bytes as a model ---------------------------===//
//
// The compiler says what is wrong with a file, or makes a module that verifies.
// It never crashes, hangs, or takes memory that the file does not pay for.
//
//   import-fuzzer -max_total_time=60 CORPUS                    imports
//   import-fuzzer --stage=training -max_total_time=60 CORPUS   makes a training step of what imports, too
//
//===----------------------------------------------------------------------===//

#include "ModelMutator.h"
#include "dialects/NN/NN.h"
#include "galvatron/Import/Import.h"
#include "galvatron/Import/Passes.h"
#include "galvatron/Training/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/PassManager.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maxSize);

using namespace galvatron;

static bool trains = false;

extern "C" int LLVMFuzzerInitialize(int *argc, char ***argv) {
  for (int i = 1; i < *argc; ++i)
    trains |= llvm::StringRef((*argv)[i]) == "--stage=training";
  return 0;
}

/// Mostly a model with something changed in it; now and then just bytes.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maxSize, unsigned seed) {
  ModelMutator mutator(seed);
  if (seed % 16 != 0)
    if (size_t newSize = mutator.mutate(data, size, maxSize))
      return newSize;
  return LLVMFuzzerMutate(data, size, maxSize);
}

/// The name of the model's first output.
static std::string firstOutput(mlir::ModuleOp module) {
  for (auto function : module.getOps<mlir::func::FuncOp>())
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      if (auto name = function.getResultAttrOfType<mlir::StringAttr>(i, "nn.name"))
        return name.str();
  return "y";
}

static void compile(llvm::StringRef bytes, const ImportOptions &options) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
  mlir::ScopedDiagnosticHandler silence(&context, [](mlir::Diagnostic &) { return mlir::success(); });
  mlir::OwningOpRef<mlir::ModuleOp> module = importOnnxBuffer(bytes, "fuzzed.onnx", options, &context);
  if (!module)
    return;
  mlir::PassManager passes(&context);
  buildRaisePipeline(passes);
  if (trains) {
    TrainingOptions training;
    // Either loss, as the file has it: what does not fit the output is refused.
    training.loss = (bytes.size() % 2 ? "output:" : "cross-entropy:") + firstOutput(*module);
    addTrainingPasses(passes, training);
  }
  (void)passes.run(*module);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  ImportOptions options;
  options.randomWeights = true; // no file is opened
  options.listParameters = false;
  compile(llvm::StringRef(reinterpret_cast<const char *>(data), size), options);
  return 0;
}

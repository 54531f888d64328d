//===- galvatron-opt.cpp - Runs any slice of the passes -------------------===//

#include "../Flags.h"

#include "dialects/Dist/Dist.h"
#include "dialects/NN/NN.h"
#include "dialects/Pipe/Pipe.h"
#include "dialects/RT/RT.h"
#include "galvatron/Codegen/Passes.h"
#include "galvatron/Import/Passes.h"
#include "galvatron/Partition/Passes.h"
#include "galvatron/Plan/Passes.h"
#include "galvatron/Schedule/Passes.h"
#include "galvatron/Training/Passes.h"

#include "mlir/Debug/Counter.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/Timing.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/CommandLine.h"

using namespace llvm;

static constexpr char overview[] = R"(Runs passes on a module, in the order in which they are named.

  One pass on a stage that galvatron-compile printed:

    galvatron-compile model.onnx --shapes=input_ids:8x32 --emit=imported -o model.mlir
    galvatron-opt model.mlir --nn-outline-blocks

  Several, with options; and the same as a text, as --dump-pass-pipeline and reproducers of crashes have it:

    galvatron-opt model.mlir --nn-outline-blocks --nn-add-loss=loss=cross-entropy:logits -o loss.mlir
    galvatron-opt model.mlir --pass-pipeline='builtin.module(nn-outline-blocks,nn-add-loss{loss=cross-entropy:logits})'

  A plan that galvatron-compile --save-plan wrote, and what it means:

    galvatron-opt step.mlir --dist-apply-plan=plan=plan.json --dist-print-plan -o planned.mlir

  What happens inside:

    galvatron-opt model.mlir --mlir-print-ir-after-change --nn-outline-blocks

  What galvatron-compile runs to get from each stage to the next. A pass is named after the dialect that it works on: nn (what
  is computed), dist (how it is laid out), pipe (when it runs), rt (calls of the runtime); verify-... checks what closes a stage.

    imported     --nn-raise
    training     --nn-outline-blocks --nn-add-loss=loss=cross-entropy:logits --nn-differentiate
                 --nn-add-optimizer=optimizer=adamw --verify-training
    planned      --dist-apply-plan=micro-batches=1 --verify-planned
    partitioned  --dist-cut --dist-propagate-layouts --dist-partition --verify-partitioned
    scheduled    --pipe-split --pipe-schedule --pipe-overlap --pipe-verify-schedule --verify-scheduled
    lowered      --rt-insert-checks --nn-decompose --rt-legalize-contracts --canonicalize --cse --rt-form-kernels
                 --rt-lower=threads=1 --rt-plan-memory --rt-lower-kernels --rt-convert-kernels --rt-convert-functions

  --help-hidden lists LLVM's options too.
)";

/// Every option there is so far, but for the help, is one of LLVM's libraries and says nothing about these passes.
static void hideOptionsOfLLVM() {
  for (const auto &entry : cl::getRegisteredOptions())
    if (!StringRef(entry.getKey()).starts_with("help") && entry.getKey() != "version")
      entry.getValue()->setHiddenFlag(cl::Hidden);
}

int main(int argc, char **argv) {
  hideOptionsOfLLVM();
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  registry.insert<galvatron::nn::NNDialect, galvatron::dist::DistDialect, galvatron::pipe::PipeDialect,
                  galvatron::rt::RTDialect>();
  mlir::registerTransformsPasses();
  galvatron::registerImportPasses();
  galvatron::registerRaisePipeline();
  galvatron::registerTrainingPasses();
  galvatron::registerPlanPasses();
  galvatron::registerPartitionPasses();
  galvatron::registerSchedulePasses();
  galvatron::registerCodegenPasses();

  // As mlir::registerAndParseCLIOptions does, with help that teaches.
  cl::opt<std::string> input(cl::Positional, cl::desc("stage.mlir"), cl::init("-"));
  cl::opt<std::string> output("o", cl::desc("Output file (default: -, stdout)"), cl::value_desc("file"), cl::init("-"));
  mlir::MlirOptMainConfig::registerCLOptions(registry);
  mlir::registerAsmPrinterCLOptions();
  mlir::registerMLIRContextCLOptions();
  mlir::registerPassManagerCLOptions();
  mlir::registerDefaultTimingManagerCLOptions();
  mlir::tracing::DebugCounter::registerCLOptions();
  // A message names its op; printing all of a step after it buries what it says.
  if (cl::Option *print = cl::getRegisteredOptions().lookup("mlir-print-op-on-diagnostic"))
    static_cast<cl::opt<bool> *>(print)->setInitialValue(false);
  galvatron::printVersionOf("galvatron-opt");
  galvatron::refuseUnknownFlags("galvatron-opt", argc, argv);
  cl::ParseCommandLineOptions(argc, argv, overview);
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, input, output, registry));
}

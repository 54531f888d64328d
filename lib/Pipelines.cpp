//===- Pipelines.cpp - The whole story on one screen ----------------------===//
//
// From the small ops of an ONNX file to the table and the code of a program. Each stage is a function; each pass is
// preceded by what it achieves, and what closes a stage checks what then holds.
//
//===----------------------------------------------------------------------===//

#include "galvatron/Pipelines.h"

#include "dialects/Dist/Dist.h"
#include "dialects/NN/NN.h"
#include "dialects/Pipe/Pipe.h"
#include "dialects/RT/RT.h"
#include "galvatron/Codegen/Passes.h"
#include "galvatron/Import/Passes.h"
#include "galvatron/Partition/Passes.h"
#include "galvatron/Plan/Passes.h"
#include "galvatron/Plan/PlanModule.h"
#include "galvatron/Schedule/Passes.h"
#include "galvatron/Training/Passes.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace galvatron;

/// The model as a person would write it.
static void addImportedPasses(OpPassManager &pm) {
  // Exporters' idioms become the ops that they mean, and merged dimensions come apart.
  buildRaisePipeline(pm);
}

/// The model's training step: forward, backward and update of every distinct block.
static void addTrainingStagePasses(OpPassManager &pm, const PipelineOptions &options) {
  TrainingOptions training;
  training.loss = options.loss;
  training.optimizer = options.optimizer;
  addTrainingPasses(pm, training);
}

/// The same step; every call has a strategy and a stage.
static void addPlannedPasses(OpPassManager &pm, const PipelineOptions &options) {
  // Ranks are axes in space, micro-batches one in time; the batch is split over all of them.
  pm.addPass(createDistApplyPlanPass(options.plan));
  // Every call knows where and how it runs.
  pm.addPass(createVerifyPlannedPass());
}

/// Per-device shapes; forward and backward are functions of their own.
static void addPartitionedPasses(OpPassManager &pm) {
  // A joint function becomes two: what the backward reads is a result of the one and an argument of the other.
  pm.addPass(createDistCutPass());
  // What the plan leaves open follows from the sharding rules.
  pm.addPass(createDistPropagateLayoutsPass());
  // Every tensor gets the shape of the piece that one device has at one time.
  pm.addPass(createDistPartitionPass());
  // What moves between devices or over time is an op of its own.
  pm.addPass(createVerifyPartitionedPass());
}

/// The order in which functions run on micro-batches, as a table.
static void addScheduledPasses(OpPassManager &pm) {
  // The step is calls and nothing else, each on its stage.
  pm.addPass(createPipeSplitPass());
  // Each call becomes a row per micro-batch, in the table of its stage.
  pm.addPass(createPipeSchedulePass());
  // Ranks compute while they reduce.
  pm.addPass(createPipeOverlapPass());
  // Rows fit together: every value is there when it is read, and no stages wait for each other.
  pm.addPass(createPipeVerifySchedulePass());
  pm.addPass(createVerifyScheduledPass());
}

/// LLVM functions and one constant table.
static void addLoweredPasses(OpPassManager &pm, const PipelineOptions &options) {
  // What reads where data says looks first.
  pm.addNestedPass<func::FuncOp>(createInsertChecksPass());
  // Big ops become products, sums and elementwise ops.
  pm.addPass(createDecomposePass());
  // Products that the library cannot walk get their operands in order.
  pm.addNestedPass<func::FuncOp>(createLegalizeContractsPass());
  // What one function computes twice it computes once.
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  // What lies between two library calls becomes one kernel each.
  pm.addPass(createFormKernelsPass());
  // Tensors become buffers, and the schedule the program's table.
  LowerPassOptions lower;
  lower.threads = options.threads;
  lower.cpu = options.cpu;
  pm.addPass(createLowerPass(lower));
  // Every buffer has its place.
  pm.addPass(createPlanMemoryPass());
  // Kernels become loops over rows, and these LLVM functions.
  pm.addPass(createLowerKernelsPass());
  pm.addPass(createConvertKernelsPass());
  // Stage functions become calls of the runtime.
  pm.addPass(createConvertFunctionsPass());
}

void galvatron::addStagePasses(OpPassManager &pm, Stage stage, const PipelineOptions &options) {
  switch (stage) {
  case Stage::Imported:
    return addImportedPasses(pm);
  case Stage::Training:
    return addTrainingStagePasses(pm, options);
  case Stage::Planned:
    return addPlannedPasses(pm, options);
  case Stage::Partitioned:
    return addPartitionedPasses(pm);
  case Stage::Scheduled:
    return addScheduledPasses(pm);
  case Stage::Lowered:
    return addLoweredPasses(pm, options);
  }
  llvm_unreachable("covered switch");
}

static constexpr llvm::StringLiteral stageNames[] = {"imported",    "training",  "planned",
                                                     "partitioned", "scheduled", "lowered"};

StringRef galvatron::stringifyStage(Stage stage) { return stageNames[static_cast<int>(stage)]; }

std::optional<Stage> galvatron::parseStage(StringRef name) {
  for (auto [index, known] : llvm::enumerate(stageNames))
    if (name == known)
      return static_cast<Stage>(index);
  return std::nullopt;
}

Stage galvatron::detectStage(ModuleOp module) {
  bool hasMesh = false, hasForward = false;
  for (Operation &op : *module.getBody()) {
    if (isa<rt::ProgramOp>(op))
      return Stage::Lowered;
    if (isa<pipe::TableOp>(op))
      return Stage::Scheduled;
    hasMesh |= isa<dist::MeshOp>(op);
    if (auto function = dyn_cast<func::FuncOp>(op))
      hasForward |= !function.getOps<nn::ForwardOp>().empty();
  }
  if (!hasMesh)
    return hasForward ? Stage::Training : Stage::Imported;
  return hasForward ? Stage::Planned : Stage::Partitioned;
}

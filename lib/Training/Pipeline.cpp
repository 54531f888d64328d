//===- Pipeline.cpp - The order of the training passes --------------------===//

#include "galvatron/Training/Passes.h"
#include "mlir/Pass/PassManager.h"

void galvatron::addTrainingPasses(mlir::OpPassManager &pm, const TrainingOptions &options) {
  // The model becomes a chain of calls of few distinct functions.
  pm.addPass(createNnOutlineBlocksPass());
  // The last of them makes the loss; what depends on labels alone is prepared once a step.
  pm.addPass(createNnAddLossPass({options.loss, options.ignoreIndex}));
  // Each function gets its backward, and the step calls both halves.
  pm.addPass(createNnDifferentiatePass());
  // Gradients are measured, clipped and applied.
  pm.addPass(createNnAddOptimizerPass({options.optimizer}));
  // The step computes nothing itself: it is a list of calls.
  pm.addPass(createVerifyTrainingPass());
}

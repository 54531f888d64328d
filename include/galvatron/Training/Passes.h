//===- Passes.h - The passes of lib/Training ------------------------------===//

#ifndef GALVATRON_TRAINING_PASSES_H
#define GALVATRON_TRAINING_PASSES_H

#include "mlir/Pass/Pass.h"

namespace galvatron {

#define GEN_PASS_DECL
#include "galvatron/Training/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "galvatron/Training/Passes.h.inc"

/// What the user chooses about training.
struct TrainingOptions {
  std::string loss;                ///< cross-entropy:NAME or output:NAME
  std::string optimizer = "adamw"; ///< adamw or sgd
  int64_t ignoreIndex = -100;      ///< labels of this value are not counted
};

/// From an imported model to its training step.
void addTrainingPasses(mlir::OpPassManager &pm, const TrainingOptions &options);

} // namespace galvatron

#endif

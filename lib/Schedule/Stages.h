//===- Stages.h - What each stage runs of a step --------------------------===//

#ifndef GALVATRON_LIB_SCHEDULE_STAGES_H
#define GALVATRON_LIB_SCHEDULE_STAGES_H

#include "Steps.h"

namespace galvatron {

/// Adds up what one stage makes before anything of another stage is added to it: a sum over the micro-batches (an accumulator)
/// has contributions of one stage only, and of the other sums one value a stage is sent.
void groupSumsByStage(mlir::func::FuncOp step, int64_t stages);

/// Gives every op of a step a `dist.stage`. Calls of the plan that have a strategy have one. Any other op runs on the stages that need
/// its results, or on one of them, or where its operands are, whatever sends fewer bytes; one that runs on several stages is there
/// several times. Where a value is made on one stage and read on another there is a `pipe.transfer`, and nowhere else.
///
/// A parameter lives on the stages that read it. What is made of inputs alone is made on each stage that needs it. Each stage gets
/// the scalars that the step returns; the last one gets anything else that it returns.
void placeOnStages(mlir::func::FuncOp step, int64_t stages);

} // namespace galvatron

#endif

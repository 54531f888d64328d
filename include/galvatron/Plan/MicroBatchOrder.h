//===- MicroBatchOrder.h - In which order a stage runs its micro-batches --===//

#ifndef GALVATRON_PLAN_MICROBATCHORDER_H
#define GALVATRON_PLAN_MICROBATCHORDER_H

#include "galvatron/Plan/Plan.h"
#include "llvm/ADT/SmallVector.h"

namespace galvatron {

/// The forward or the backward of a micro-batch, on one stage.
struct StageWork {
  bool isBackward;
  int64_t microBatch;
};

/// What a stage runs, in order. With one stage both halves of a micro-batch follow each other under 1F1B. Under GPipe a stage holds what all
/// micro-batches keep, under 1F1B stage s of P what min(P - s, M) of them keep.
///
/// GPipe is Huang et al. 2019 (arXiv:1811.06965), 1F1B the schedule without interleaving of Narayanan et al. 2021
/// (arXiv:2104.04473, figure 4 top).
llvm::SmallVector<StageWork> orderMicroBatches(PlanSchedule schedule, int64_t stage, int64_t stages, int64_t microBatches);

} // namespace galvatron

#endif

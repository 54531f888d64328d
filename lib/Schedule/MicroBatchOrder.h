//===- MicroBatchOrder.h - In which order a stage runs its micro-batches --===//

#ifndef GALVATRON_LIB_SCHEDULE_MICROBATCHORDER_H
#define GALVATRON_LIB_SCHEDULE_MICROBATCHORDER_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <optional>

namespace galvatron {

enum class PipelineSchedule {
  GPipe, ///< all forwards, then all backwards: a stage holds what all micro-batches keep
  OneFOneB ///< a backward as soon as it can be: stage s of P holds what min(P - s, M) micro-batches keep
};

/// "gpipe", "1f1b".
std::optional<PipelineSchedule> parsePipelineSchedule(llvm::StringRef name);

/// The forward or the backward of a micro-batch, on one stage.
struct StageWork {
  bool isBackward;
  int64_t microBatch;
};

/// What a stage runs, in order. With one stage both halves of a micro-batch follow each other under 1F1B.
///
/// GPipe is Huang et al. 2019 (arXiv:1811.06965), 1F1B the schedule without interleaving of Narayanan et al. 2021
/// (arXiv:2104.04473, figure 4 top).
llvm::SmallVector<StageWork> orderMicroBatches(PipelineSchedule schedule, int64_t stage, int64_t stages, int64_t microBatches);

} // namespace galvatron

#endif

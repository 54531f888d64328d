//===- MicroBatchOrder.cpp ------------------------------------------------===//

#include "galvatron/Plan/MicroBatchOrder.h"

#include <algorithm>

using namespace llvm;
using namespace galvatron;

SmallVector<StageWork> galvatron::orderMicroBatches(PlanSchedule schedule, int64_t stage, int64_t stages, int64_t microBatches) {
  // How many forwards a stage runs before its first backward, beside the one that belongs to it.
  int64_t ahead = schedule == PlanSchedule::GPipe ? microBatches : std::min(stages - 1 - stage, microBatches);
  SmallVector<StageWork> work;
  for (int64_t m = 0; m < microBatches + ahead; ++m) {
    if (m < microBatches)
      work.push_back({false, m});
    if (m >= ahead)
      work.push_back({true, m - ahead});
  }
  return work;
}

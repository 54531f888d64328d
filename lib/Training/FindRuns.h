//===- FindRuns.h - Periodic runs in a sequence of keys -------------------===//
//
// The part of block outlining that knows no IR: where does a sequence repeat,
// and where is a repeat best cut?
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_LIB_TRAINING_FINDRUNS_H
#define GALVATRON_LIB_TRAINING_FINDRUNS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallVector.h"
#include <tuple>

namespace galvatron {

/// What is passed on if the sequence is cut before a position.
struct CutCost {
  int64_t values = 0, bytes = 0;
  bool operator<(const CutCost &other) const { return std::tie(values, bytes) < std::tie(other.values, other.bytes); }
};

/// Positions [begin, begin + period * count), the same `count` times.
struct Run {
  size_t begin = 0, period = 0, count = 0;
  size_t end() const { return begin + period * count; }
  bool operator==(const Run &other) const {
    return begin == other.begin && period == other.period && count == other.count;
  }
};

/// Finds disjoint runs, in ascending order, longest savings first. `cuts[i]` is the cost of a cut before position i
/// (one more than keys). Equal keys are only a hint: `verify` gets a run that the keys allow and returns the part of it that
/// is one, with a count below 2 if none is.
llvm::SmallVector<Run> findRuns(llvm::ArrayRef<unsigned> keys, llvm::ArrayRef<CutCost> cuts,
                                llvm::function_ref<Run(Run)> verify);

} // namespace galvatron

#endif

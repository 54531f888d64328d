//===- FindRuns.cpp - Periodic runs in a sequence of keys -----------------===//
//
// Candidate periods are distances between neighbouring equal grams of the
// sequence; there are few of them, and each is checked in one pass. So the time
// is linear in the length for a given block.
//
//===----------------------------------------------------------------------===//

#include "FindRuns.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/Hashing.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SetVector.h"

using namespace llvm;
using namespace galvatron;

namespace {

/// A single op is not worth a function.
constexpr size_t minPeriod = 2;
/// Rotations of one stretch to try before the next stretch.
constexpr size_t maxRotations = 8;

/// Positions [begin, end) where each key equals the one a period later, if that is in the stretch.
struct Stretch {
  size_t begin, end, period;
  size_t savings() const { return ((end - begin) / period - 1) * period; }
};

class RunFinder {
public:
  RunFinder(ArrayRef<unsigned> keys, ArrayRef<CutCost> cuts, function_ref<Run(Run)> verify)
      : keys(keys), cuts(cuts), verify(verify) {}

  SmallVector<Run> find();

private:
  SmallVector<size_t> candidatePeriods(size_t begin, size_t end);
  SmallVector<Stretch> findStretches(size_t begin, size_t end);
  Run bestRotation(const Stretch &stretch);

  ArrayRef<unsigned> keys;
  ArrayRef<CutCost> cuts;
  function_ref<Run(Run)> verify;
};

SmallVector<size_t> RunFinder::candidatePeriods(size_t begin, size_t end) {
  SmallSetVector<size_t, 32> periods;
  // Long grams find the period of a block whose every op appears several times in it, short ones that of a small block.
  for (size_t length : {1, 4, 16}) {
    DenseMap<size_t, size_t> last;
    for (size_t i = begin; i + length <= end; ++i) {
      ArrayRef<unsigned> gram = keys.slice(i, length);
      // The shift keeps the two values that DenseMap reserves out of the way.
      size_t hash = size_t(hash_combine_range(gram.begin(), gram.end())) >> 1;
      auto [entry, isNew] = last.try_emplace(hash, i);
      if (isNew)
        continue;
      size_t distance = i - entry->second;
      entry->second = i;
      if (distance >= minPeriod && distance <= (end - begin) / 2)
        periods.insert(distance);
    }
  }
  return SmallVector<size_t>(periods.getArrayRef());
}

SmallVector<Stretch> RunFinder::findStretches(size_t begin, size_t end) {
  SmallVector<Stretch> stretches;
  for (size_t period : candidatePeriods(begin, end))
    for (size_t i = begin; i + period < end; ++i) {
      size_t first = i;
      while (i + period < end && keys[i] == keys[i + period])
        ++i;
      if (i - first >= period)
        stretches.push_back({first, i + period, period});
    }
  llvm::sort(stretches, [](const Stretch &a, const Stretch &b) {
    return std::make_tuple(b.savings(), a.period, a.begin) < std::make_tuple(a.savings(), b.period, b.begin);
  });
  return stretches;
}

Run RunFinder::bestRotation(const Stretch &stretch) {
  SmallVector<Run> rotations;
  for (size_t begin = stretch.begin; begin < stretch.begin + stretch.period; ++begin)
    if (size_t count = (stretch.end - begin) / stretch.period; count >= 2)
      rotations.push_back({begin, stretch.period, count});
  // Cuts between instances cost the same; the first and the last may be special.
  llvm::sort(rotations, [&](const Run &a, const Run &b) {
    const CutCost &costA = cuts[a.begin + a.period], &costB = cuts[b.begin + b.period];
    return std::tie(costA, b.count, a.begin) < std::tie(costB, a.count, b.begin);
  });
  for (const Run &rotation : ArrayRef(rotations).take_front(maxRotations))
    if (Run run = verify(rotation); run.count >= 2)
      return run;
  return {};
}

SmallVector<Run> RunFinder::find() {
  SmallVector<Run> runs;
  SmallVector<std::pair<size_t, size_t>> ranges{{0, keys.size()}};
  while (!ranges.empty()) {
    auto [begin, end] = ranges.pop_back_val();
    for (const Stretch &stretch : findStretches(begin, end)) {
      Run run = bestRotation(stretch);
      if (run.count < 2)
        continue;
      runs.push_back(run);
      ranges.push_back({begin, run.begin});
      ranges.push_back({run.end(), end});
      break;
    }
  }
  llvm::sort(runs, [](const Run &a, const Run &b) { return a.begin < b.begin; });
  return runs;
}

} // namespace

SmallVector<Run> galvatron::findRuns(ArrayRef<unsigned> keys, ArrayRef<CutCost> cuts, function_ref<Run(Run)> verify) {
  return RunFinder(keys, cuts, verify).find();
}

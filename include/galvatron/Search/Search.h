//===- Search.h - The best assignment, with a proof -------------*- C++ -*-===//

#ifndef GALVATRON_SEARCH_SEARCH_H
#define GALVATRON_SEARCH_SEARCH_H

#include "galvatron/Search/Problem.h"
#include "llvm/ADT/STLFunctionalExtras.h"

#include <optional>

namespace galvatron::search {

/// Many problems, made when they are looked at, of which the best one is wanted. Making the same one again gives the same.
class ProblemSet {
public:
  virtual ~ProblemSet() = default;
  virtual size_t size() const = 0;
  virtual Problem make(size_t index) const = 0;
};

/// How much a search did.
struct Statistics {
  size_t problems = 0;   ///< that were looked at
  size_t ends = 0;       ///< choices of ends, over all problems, that could fit
  size_t opened = 0;     ///< of these: not ruled out by a bound alone
  size_t nodes = 0;      ///< partial assignments of a stage
};

struct Result {
  /// Nothing if no assignment fits, or none was found in time.
  std::optional<Assignment> best;
  size_t problem = 0;    ///< whose assignment it is
  double time = 0;       ///< its time
  double bound = 0;      ///< no assignment of any problem takes less, times being at least 0; infinite if none fits
  bool isStopped = false;
  Statistics statistics;
  /// The part of the time that may be too much. What rounding makes of 0 is 0.
  double getGap() const;
};

struct Options {
  /// Asked now and then whether to end with the best so far.
  llvm::function_ref<bool()> shouldStop = [] { return false; };
  /// Told now and then: of how many opened candidates how many are done, and the best time so far (infinite: none).
  llvm::function_ref<void(size_t done, size_t all, double best)> onProgress = [](size_t, size_t, double) {};
};

/// Finds the assignment that takes least, and proves it. Of several that do, always the same.
///
/// Every form of a problem is bounded from below, stage by stage: the least of its part there under the limit on memory, first with
/// fractions of blocks, on the lower hull of choices over memory; then with whole ones. What remains possible is looked at in the order
/// of bounds, so that most is ruled out unseen.
Result findBest(const ProblemSet &problems, const Options &options = {});

/// The assignment that misses the memory limits by least, on the stage on which it misses them by most.
struct ClosestMiss {
  size_t problem = 0, stage = 0;
  double excess = 0;     ///< on that stage; not above 0 if it fits
  Assignment assignment; ///< of least memory on every stage
};
ClosestMiss findClosestMiss(const ProblemSet &problems);

} // namespace galvatron::search

#endif

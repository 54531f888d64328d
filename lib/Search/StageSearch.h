//===- StageSearch.h - Choices for the blocks of one stage ------*- C++ -*-===//

#ifndef GALVATRON_LIB_SEARCH_STAGESEARCH_H
#define GALVATRON_LIB_SEARCH_STAGESEARCH_H

#include "Relaxation.h"
#include "Routes.h"
#include "galvatron/Search/Search.h"
#include "llvm/ADT/SmallVector.h"

#include <optional>

namespace galvatron::search {

/// What a form of the step's time says of one stage: so much of the time of its blocks, of their `sync`, and of what moves.
struct Direction {
  double time = 0, sync = 0, moves = 0;
  double of(const Cost &cost) const { return time * cost.time + sync * cost.sync; }
  bool operator==(const Direction &other) const { return time == other.time && sync == other.sync && moves == other.moves; }
};

/// A choice for every block of a stage: how many blocks of each run have which one.
struct StageChoice {
  size_t route = 0;
  std::vector<ChosenRun> chosen; ///< without those of no block
  double time = 0, sync = 0;     ///< of all blocks
  double moves = 0;              ///< of the route
  double of(const Direction &direction) const { return direction.time * time + direction.sync * sync + direction.moves * moves; }
};

/// The relaxation of all blocks of a stage in one direction, over all choices, where moving costs nothing.
Relaxation relax(const Problem &problem, size_t stage, const Direction &direction);

/// Walks over choices for the blocks of a stage, in which equal blocks are counted, not named.
class StageSearch {
public:
  /// Of the routes of a stage, one. Choices that another one is better than in memory and in every direction are left out.
  StageSearch(const Problem &problem, size_t stage, const Route &route, llvm::ArrayRef<Direction> directions);

  /// Who is shown choices, and says which are of no use.
  class Visitor {
  public:
    virtual ~Visitor() = default;
    /// Choices whose cost in some direction is not below this are of none. It may fall as the search goes.
    llvm::SmallVector<double, 4> thresholds;
    /// Whether choices that cost no less than this, by direction, are of no use for another reason.
    virtual bool isUseless(llvm::ArrayRef<double> /*costs*/) const { return false; }
    virtual void visit(const StageChoice &choice) = 0;
  };

  /// Visits choices that need at most `capacity` and may be of use. Costs are those of the blocks alone. Ends early where `shouldStop` says so;
  /// then it returns false.
  bool visit(double capacity, Visitor &visitor, llvm::function_ref<bool()> shouldStop, size_t &nodes) const;

private:
  struct Item {
    size_t choice;
    Cost cost;
    llvm::SmallVector<double, 4> costs; ///< by direction
  };
  struct Blocks {
    int64_t count;
    std::vector<Item> items;                         ///< cheapest in the first direction first
    std::vector<std::vector<Relaxation>> relaxation; ///< of one block, by the first item that is allowed, and direction
  };
  struct Walk;

  std::vector<Blocks> runs;
  std::vector<std::vector<Relaxation>> tail; ///< of all blocks of runs from one on, by direction; one more at the end
  size_t numDirections;
};

} // namespace galvatron::search

#endif

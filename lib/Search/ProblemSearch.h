//===- ProblemSearch.h - One problem ----------------------------*- C++ -*-===//

#ifndef GALVATRON_LIB_SEARCH_PROBLEMSEARCH_H
#define GALVATRON_LIB_SEARCH_PROBLEMSEARCH_H

#include "StageSearch.h"

#include <memory>

namespace galvatron::search {

/// What the search knows so far: the best assignment of all problems.
struct Incumbent {
  double time;
  size_t problem = 0;
  std::optional<Assignment> best;
};

/// Solves one problem for one choice of its ends after the other.
class ProblemSearch {
public:
  explicit ProblemSearch(Problem problem);

  const Problem &getProblem() const { return problem; }
  /// The least that the first form says with fractions of blocks; infinite if memory does not suffice.
  double boundByFirstForm(size_t end) const;
  /// How much may be done for a choice of ends.
  enum class Effort {
    Quick, ///< forms and their means alone, which is most of the time all
    Full   ///< what may be better on each stage, one after the other, too
  };

  /// Looks for something better than `best` with an end, and sets it. What no assignment with this end is below, which is not below the best
  /// one's time after a full effort; as far as `shouldStop` lets it come.
  double solve(size_t end, size_t number, Effort effort, Incumbent &best, llvm::function_ref<bool()> shouldStop, size_t &nodes);

private:
  friend class EndSearch;
  /// What a stage is asked in several problems of ends.
  struct Stage {
    std::vector<Direction> directions;  ///< all that forms ask of it
    std::vector<Relaxation> relaxations; ///< by direction
    std::vector<Route> routes;
    std::vector<std::vector<std::unique_ptr<StageSearch>>> searches; ///< by route and direction, made when needed
    std::vector<std::unique_ptr<StageSearch>> whole;                 ///< by route, of all directions; made when needed
  };
  double evaluateEnds(const TimeForm &form, const End &end) const;
  const StageSearch &getSearch(size_t stage, size_t route, size_t direction);
  const StageSearch &getSearch(size_t stage, size_t route);
  size_t &directionOf(size_t form, size_t stage) { return directions[form * problem.getNumStages() + stage]; }
  void prepare();
  /// One more form, of which every assignment's time is known to be at least what it says; its number.
  size_t addForm(TimeForm form);
  /// Forgets forms from one on.
  void dropForms(size_t first);

  Problem problem;
  std::vector<Relaxation> firstForm; ///< by stage
  bool isPrepared = false;
  size_t numGiven = 0; ///< forms of the problem itself
  std::vector<Stage> stages;
  std::vector<size_t> directions; ///< numbers of directions by form and stage
};

} // namespace galvatron::search

#endif

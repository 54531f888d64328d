//===- EndSearch.h - One choice of the ends of a problem --------*- C++ -*-===//

#ifndef GALVATRON_LIB_SEARCH_ENDSEARCH_H
#define GALVATRON_LIB_SEARCH_ENDSEARCH_H

#include "ProblemSearch.h"

namespace galvatron::search {

/// One choice of the ends, and maybe of some stages: what forms and means of them say of it (EndSearch.cpp), better assignments that are near
/// (Polish.cpp), and what is left stage by stage (Branch.cpp).
class EndSearch {
public:
  EndSearch(ProblemSearch &all, size_t end, size_t number, Incumbent &best, llvm::function_ref<bool()> shouldStop, size_t &nodes)
      : all(all), problem(all.problem), end(end), number(number), best(best), shouldStop(shouldStop), nodes(nodes), fixed(all.stages.size()) {}

  /// As ProblemSearch::solve.
  double run(ProblemSearch::Effort effort);

private:
  using Limits = std::vector<std::vector<double>>; ///< by stage and direction

  const Direction &directionOf(size_t form, size_t stage) const { return all.stages[stage].directions[all.directionOf(form, stage)]; }
  double capacityOf(size_t stage) const { return problem.capacity[stage] - problem.ends[end].memory[stage]; }
  void addDirections();
  double boundOf(size_t form) const;
  double getBound() const;

  std::vector<double> getSays(llvm::ArrayRef<const StageChoice *> choices) const;
  size_t offer(llvm::ArrayRef<const StageChoice *> choices);
  bool solveStage(size_t stage, size_t direction, double threshold);
  std::optional<size_t> solveForm(size_t form);
  double relaxForm(const TimeForm &form) const;
  size_t addMixture(size_t start, llvm::ArrayRef<size_t> forms);

  std::optional<StageChoice> exchange(size_t stage, const StageChoice &choice, size_t place, size_t other, int64_t blocks) const;
  bool improve(std::vector<StageChoice> &choices, std::vector<double> &says);
  void polish(size_t form);

  Limits getLimits() const;
  std::optional<std::vector<StageChoice>> listChoices(size_t stage, size_t most, double bound, const Limits &limits);
  std::optional<size_t> listFewest(double bound, std::vector<StageChoice> &choices);
  double solveLast(size_t stage, double bound, std::optional<StageChoice> &found);
  double branch(double bound);

  ProblemSearch &all;
  const Problem &problem;
  size_t end, number;
  Incumbent &best;
  llvm::function_ref<bool()> shouldStop;
  size_t &nodes;
  std::vector<std::vector<double>> least;                      ///< by stage and direction: no choice is below
  std::vector<std::vector<std::optional<StageChoice>>> solved; ///< by stage and direction: the choice that is at `least`
  std::vector<std::optional<StageChoice>> fixed;               ///< by stage: what alone is looked at
};

} // namespace galvatron::search

#endif

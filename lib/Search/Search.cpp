//===- Search.cpp ---------------------------------------------------------===//

#include "galvatron/Search/Search.h"

#include "ProblemSearch.h"
#include "Tolerance.h"
#include "llvm/ADT/STLExtras.h"

#include <algorithm>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::search;

double Result::getGap() const {
  double gap = time > 0 ? (time - bound) / time : 0;
  return gap < 1e-9 ? 0 : gap;
}

namespace {

/// A choice of ends of a problem that has not been looked at.
struct Candidate {
  double bound;
  size_t problem, end;
  bool operator<(const Candidate &other) const {
    return std::tuple(bound, problem, end) < std::tuple(other.bound, other.problem, other.end);
  }
};

} // namespace

Result search::findBest(const ProblemSet &problems, const Options &options) {
  Result result;
  std::vector<Candidate> candidates;
  result.bound = infinity;
  for (size_t number = 0; number < problems.size(); ++number) {
    if (number && options.shouldStop()) {
      result.isStopped = true;
      result.bound = 0; // of what nobody has looked at
      break;
    }
    ProblemSearch search(problems.make(number));
    ++result.statistics.problems;
    for (size_t end = 0; end < search.getProblem().ends.size(); ++end)
      if (double bound = search.boundByFirstForm(end); bound != infinity)
        candidates.push_back({bound, number, end});
  }
  result.statistics.ends = candidates.size();

  Incumbent best{infinity, 0, std::nullopt};
  // However little time there was, there is a result if the first candidates have one.
  auto shouldStop = [&] { return best.best && options.shouldStop(); };
  std::optional<ProblemSearch> current;
  size_t currentNumber = 0;
  auto solve = [&](const Candidate &candidate, ProblemSearch::Effort effort) {
    if (!current || currentNumber != candidate.problem)
      current.emplace(problems.make(candidate.problem));
    currentNumber = candidate.problem;
    return current->solve(candidate.end, candidate.problem, effort, best, shouldStop, result.statistics.nodes);
  };
  // What is quick is done for all of them first: the better the best one is then, the less is left of what takes long.
  std::vector<Candidate> hard;
  for (ProblemSearch::Effort effort : {ProblemSearch::Effort::Quick, ProblemSearch::Effort::Full}) {
    std::vector<Candidate> &list = effort == ProblemSearch::Effort::Quick ? candidates : hard;
    llvm::sort(list);
    for (auto [index, candidate] : enumerate(list)) {
      if (isRuledOut(candidate.bound, best.time))
        break;
      if (shouldStop()) {
        result.isStopped = true;
        result.bound = std::min(result.bound, candidate.bound);
        break;
      }
      options.onProgress(index, list.size(), best.time);
      double bound = solve(candidate, effort);
      if (effort == ProblemSearch::Effort::Full) {
        result.bound = std::min(result.bound, bound); // where it ended early, what it came to
        result.isStopped |= !isRuledOut(bound, best.time);
        continue;
      }
      ++result.statistics.opened;
      if (!isRuledOut(bound, best.time))
        hard.push_back({bound, candidate.problem, candidate.end});
    }
  }
  result.best = std::move(best.best);
  result.problem = best.problem;
  result.time = best.time;
  result.bound = result.isStopped ? std::min(result.bound, best.time) : best.time;
  return result;
}

ClosestMiss search::findClosestMiss(const ProblemSet &problems) {
  ClosestMiss closest;
  closest.excess = infinity;
  for (size_t number = 0; number < problems.size(); ++number) {
    Problem problem = problems.make(number);
    Assignment least;
    std::vector<double> memory;
    for (size_t stage = 0; stage < problem.getNumStages(); ++stage) {
      std::vector<ChosenRun> &chosen = least.stages.emplace_back();
      double &sum = memory.emplace_back(0);
      for (auto [index, run] : enumerate(problem.stages[stage])) {
        const std::vector<Choice> &choices = problem.kinds[run.kind];
        auto smallest = std::min_element(choices.begin(), choices.end(), [&, stage = stage](const Choice &a, const Choice &b) {
          return a.stages[stage].memory < b.stages[stage].memory;
        });
        chosen.push_back({index, static_cast<size_t>(smallest - choices.begin()), run.count});
        sum += smallest->stages[stage].memory * static_cast<double>(run.count);
      }
    }
    for (least.end = 0; least.end < problem.ends.size(); ++least.end) {
      double worst = -infinity;
      size_t where = 0;
      for (size_t stage = 0; stage < problem.getNumStages(); ++stage)
        if (double excess = memory[stage] + problem.ends[least.end].memory[stage] - problem.capacity[stage]; excess > worst) {
          worst = excess;
          where = stage;
        }
      if (worst < closest.excess || closest.assignment.stages.empty())
        closest = {number, where, worst, least};
    }
  }
  return closest;
}

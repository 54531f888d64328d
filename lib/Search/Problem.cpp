//===- Problem.cpp --------------------------------------------------------===//

#include "galvatron/Search/Problem.h"

#include "Tolerance.h"
#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <cassert>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::search;

std::vector<std::vector<double>> search::getCheapestMoves(const Problem &problem) {
  std::vector<std::vector<double>> moves = problem.moves;
  for (size_t i = 0; i < moves.size(); ++i)
    moves[i][i] = 0;
  // Floyd and Warshall.
  for (size_t by = 0; by < moves.size(); ++by)
    for (std::vector<double> &from : moves)
      for (size_t to = 0; to < moves.size(); ++to)
        from[to] = std::min(from[to], from[by] + moves[by][to]);
  if (all_of(moves, [](ArrayRef<double> row) { return all_of(row, [](double cost) { return cost == 0; }); }))
    return {};
  return moves;
}

bool Evaluation::fits(const Problem &problem) const {
  return all_of(zip_equal(memory, problem.capacity), [](auto pair) { return isWithin(std::get<0>(pair), std::get<1>(pair)); });
}

Evaluation search::evaluate(const Problem &problem, const Assignment &assignment) {
  std::vector<std::vector<double>> moves = getCheapestMoves(problem);
  const End &end = problem.ends[assignment.end];
  size_t count = problem.getNumStages();
  assert(assignment.stages.size() == count);
  Evaluation result;
  result.memory = end.memory;
  result.blocks.assign(count, 0);
  result.sync.assign(count, 0);
  result.moves.assign(count, 0);
  for (size_t stage = 0; stage < count; ++stage) {
    const Choice *before = nullptr;
    for (const ChosenRun &chosen : assignment.stages[stage]) {
      const Choice &choice = problem.kinds[problem.stages[stage][chosen.run].kind][chosen.choice];
      const Cost &cost = choice.stages[stage];
      double blocks = static_cast<double>(chosen.count);
      result.blocks[stage] += blocks * cost.time;
      result.sync[stage] += blocks * cost.sync;
      result.memory[stage] += blocks * cost.memory;
      if (before && !moves.empty())
        result.moves[stage] += moves[before->layout][choice.layout];
      before = &choice;
    }
  }
  result.time = -std::numeric_limits<double>::infinity();
  for (const TimeForm &form : problem.forms) {
    double time = form.constant;
    for (size_t stage = 0; stage < count; ++stage)
      time += form.blocks[stage] * result.blocks[stage] + form.sync[stage] * result.sync[stage] +
              form.moves[stage] * result.moves[stage] + form.ends[stage] * end.time[stage];
    result.time = std::max(result.time, time);
  }
  return result;
}

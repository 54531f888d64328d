//===- ProblemSearch.cpp --------------------------------------------------===//

#include "EndSearch.h"
#include "llvm/ADT/STLExtras.h"

#include <numeric>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::search;

ProblemSearch::ProblemSearch(Problem given) : problem(std::move(given)) {
  const TimeForm &form = problem.forms.front();
  for (size_t stage = 0; stage < problem.getNumStages(); ++stage)
    firstForm.push_back(relax(problem, stage, {form.blocks[stage], form.sync[stage], form.moves[stage]}));
}

double ProblemSearch::evaluateEnds(const TimeForm &form, const End &end) const {
  return std::inner_product(form.ends.begin(), form.ends.end(), end.time.begin(), form.constant);
}

double ProblemSearch::boundByFirstForm(size_t number) const {
  const End &end = problem.ends[number];
  double bound = evaluateEnds(problem.forms.front(), end);
  for (auto [stage, relaxation] : enumerate(firstForm))
    bound += relaxation.evaluate(problem.capacity[stage] - end.memory[stage]);
  return bound;
}

/// What all choices of ends have in common, once one of them is opened.
void ProblemSearch::prepare() {
  if (isPrepared)
    return;
  isPrepared = true;
  const std::vector<std::vector<double>> moves = getCheapestMoves(problem);
  stages.resize(problem.getNumStages());
  for (size_t number = 0; number < problem.getNumStages(); ++number)
    stages[number].routes = listRoutes(problem, number, moves);
  std::vector<TimeForm> forms = std::move(problem.forms);
  problem.forms.clear();
  for (TimeForm &form : forms)
    addForm(std::move(form));
  numGiven = problem.forms.size();
}

size_t ProblemSearch::addForm(TimeForm form) {
  for (auto [number, stage] : enumerate(stages)) {
    Direction direction{form.blocks[number], form.sync[number], form.moves[number]};
    auto found = llvm::find(stage.directions, direction);
    directions.push_back(static_cast<size_t>(found - stage.directions.begin()));
    if (found != stage.directions.end())
      continue;
    stage.directions.push_back(direction);
    stage.whole.clear();
    stage.relaxations.push_back(relax(problem, number, direction));
    stage.searches.resize(stage.routes.size());
    for (auto &byDirection : stage.searches)
      byDirection.resize(stage.directions.size());
  }
  problem.forms.push_back(std::move(form));
  return problem.forms.size() - 1;
}

void ProblemSearch::dropForms(size_t first) {
  problem.forms.resize(first);
  directions.resize(first * stages.size());
  for (size_t number = 0; number < stages.size(); ++number) {
    Stage &stage = stages[number];
    size_t used = 0;
    for (size_t form = 0; form < first; ++form)
      used = std::max(used, directionOf(form, number) + 1);
    if (used == stage.directions.size())
      continue;
    stage.whole.clear();
    stage.directions.resize(used);
    stage.relaxations.resize(used);
    for (auto &byDirection : stage.searches)
      byDirection.resize(used);
  }
}

const StageSearch &ProblemSearch::getSearch(size_t stage, size_t route, size_t direction) {
  std::unique_ptr<StageSearch> &search = stages[stage].searches[route][direction];
  if (!search)
    search = std::make_unique<StageSearch>(problem, stage, stages[stage].routes[route], stages[stage].directions[direction]);
  return *search;
}

const StageSearch &ProblemSearch::getSearch(size_t number, size_t route) {
  Stage &stage = stages[number];
  stage.whole.resize(stage.routes.size());
  std::unique_ptr<StageSearch> &search = stage.whole[route];
  if (!search)
    search = std::make_unique<StageSearch>(problem, number, stage.routes[route], stage.directions);
  return *search;
}

double ProblemSearch::solve(size_t end, size_t number, Effort effort, Incumbent &best, function_ref<bool()> shouldStop, size_t &nodes) {
  prepare();
  return EndSearch(*this, end, number, best, shouldStop, nodes).run(effort);
}

//===- Polish.cpp - Better assignments that are near ----------------------===//

#include "EndSearch.h"
#include "Tolerance.h"
#include "llvm/ADT/STLExtras.h"

#include <algorithm>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::search;

/// Gives some blocks of a stage another choice, those of the place `place` of what is chosen. Nothing if no route allows what there is then.
std::optional<StageChoice> EndSearch::exchange(size_t stage, const StageChoice &choice, size_t place, size_t other, int64_t blocks) const {
  const ChosenRun from = choice.chosen[place];
  const std::vector<Choice> &kind = problem.kinds[problem.stages[stage][from.run].kind];
  const Cost &before = kind[from.choice].stages[stage], &after = kind[other].stages[stage];
  double count = static_cast<double>(blocks);
  StageChoice changed = choice;
  changed.time += count * (after.time - before.time);
  changed.sync += count * (after.sync - before.sync);
  changed.chosen[place].count -= blocks;
  auto same = llvm::find_if(changed.chosen, [&](const ChosenRun &chosen) { return chosen.run == from.run && chosen.choice == other; });
  if (same != changed.chosen.end())
    same->count += blocks;
  else
    changed.chosen.push_back({from.run, other, blocks});
  llvm::erase_if(changed.chosen, [](const ChosenRun &run) { return run.count == 0; });
  // The cheapest route that allows what there is now.
  const std::vector<Route> &routes = all.stages[stage].routes;
  auto route = llvm::find_if(routes, [&](const Route &route) {
    return all_of(changed.chosen, [&](const ChosenRun &run) { return route.allows(run.run, problem.kinds[problem.stages[stage][run.run].kind][run.choice].layout); });
  });
  if (route == routes.end())
    return std::nullopt;
  changed.route = static_cast<size_t>(route - routes.begin());
  changed.moves = route->moves;
  return changed;
}

/// Gives some blocks of one stage another choice, the ones that shorten the step most; false if none do.
bool EndSearch::improve(std::vector<StageChoice> &choices, std::vector<double> &says) {
  double best = *std::max_element(says.begin(), says.end()), lowest = best - rounding * std::fabs(best);
  std::optional<std::pair<size_t, StageChoice>> found;
  std::vector<double> foundSays, next(says.size());
  auto tryChange = [&](size_t stage, StageChoice changed) {
    for (size_t form = 0; form < says.size(); ++form) {
      const Direction &direction = directionOf(form, stage);
      next[form] = says[form] + changed.of(direction) - choices[stage].of(direction);
    }
    double largest = *std::max_element(next.begin(), next.end());
    if (largest >= lowest)
      return;
    lowest = largest;
    found.emplace(stage, std::move(changed));
    foundSays = next;
  };
  for (auto [stage, choice] : enumerate(choices)) {
    double memory = 0;
    for (const ChosenRun &run : choice.chosen)
      memory += static_cast<double>(run.count) * problem.kinds[problem.stages[stage][run.run].kind][run.choice].stages[stage].memory;
    for (auto [place, from] : enumerate(choice.chosen)) {
      const std::vector<Choice> &kind = problem.kinds[problem.stages[stage][from.run].kind];
      for (size_t other = 0; other < kind.size(); ++other) {
        double more = kind[other].stages[stage].memory - kind[from.choice].stages[stage].memory;
        for (int64_t blocks = from.count; other != from.choice && blocks > 0; blocks /= 2)
          if (isWithin(memory + static_cast<double>(blocks) * more, capacityOf(stage)))
            if (std::optional<StageChoice> changed = exchange(stage, choice, place, other, blocks))
              tryChange(stage, std::move(*changed));
      }
    }
  }
  if (!found)
    return false;
  choices[found->first] = std::move(found->second);
  says = std::move(foundSays);
  return true;
}

/// Goes from what solves a form to better assignments, as long as there are any with another choice on one stage: the better the best one is, the
/// less is left to go through.
void EndSearch::polish(size_t form) {
  constexpr size_t mostNodes = 4096; // of a stage, so that it stays quick
  std::vector<StageChoice> choices;
  for (size_t stage = 0; stage < fixed.size(); ++stage)
    choices.push_back(*solved[stage][all.directionOf(form, stage)]);
  std::vector<const StageChoice *> chosen;
  for (const StageChoice &choice : choices)
    chosen.push_back(&choice);
  std::vector<double> says = getSays(chosen);
  while (!shouldStop() && improve(choices, says))
    ++nodes;
  says = getSays(chosen); // without what rounding has added up
  Incumbent near{*std::max_element(says.begin(), says.end()), number, std::nullopt};
  for (size_t stage = 0, since = 0; since < choices.size() && !shouldStop(); stage = (stage + 1) % choices.size(), ++since) {
    size_t numNodes = 0;
    auto isEnough = [&] { return numNodes > mostNodes || shouldStop(); };
    EndSearch part(all, end, number, near, isEnough, numNodes);
    for (size_t other = 0; other < choices.size(); ++other)
      if (other != stage)
        part.fixed[other] = choices[other];
    part.addDirections();
    std::optional<StageChoice> found;
    part.solveLast(stage, 0, found);
    nodes += numNodes;
    if (!found)
      continue;
    choices[stage] = std::move(*found);
    since = 0;
  }
  offer(chosen);
}

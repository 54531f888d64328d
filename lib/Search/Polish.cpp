//===- Polish.cpp - Better assignments that are near ----------------------===//

#include "EndSearch.h"
#include "Tolerance.h"
#include "llvm/ADT/STLExtras.h"

#include <algorithm>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::search;

/// Gives some blocks of one stage another choice, the ones that shorten the step most; false if none do.
bool EndSearch::improve(std::vector<StageChoice> &choices, std::vector<double> &says) {
  double best = *std::max_element(says.begin(), says.end()), lowest = best - rounding * std::fabs(best);
  std::optional<std::pair<size_t, StageChoice>> found;
  std::vector<double> foundSays, next(says.size());
  for (auto [stage, choice] : enumerate(choices)) {
    double memory = 0;
    for (const ChosenRun &run : choice.chosen)
      memory += static_cast<double>(run.count) * problem.kinds[problem.stages[stage][run.run].kind][run.choice].stages[stage].memory;
    for (size_t place = 0; place < choice.chosen.size(); ++place) {
      const ChosenRun &from = choice.chosen[place];
      const std::vector<Choice> &kind = problem.kinds[problem.stages[stage][from.run].kind];
      const Cost &before = kind[from.choice].stages[stage];
      for (auto [index, other] : enumerate(kind)) {
        const Cost &after = other.stages[stage];
        for (int64_t blocks = from.count; index != from.choice && blocks > 0; blocks /= 2) {
          double count = static_cast<double>(blocks);
          if (!isWithin(memory + count * (after.memory - before.memory), capacityOf(stage)))
            continue;
          StageChoice changed = choice;
          changed.time += count * (after.time - before.time);
          changed.sync += count * (after.sync - before.sync);
          changed.chosen[place].count -= blocks;
          auto same = llvm::find_if(changed.chosen, [&, run = from.run, index = index](const ChosenRun &chosen) { return chosen.run == run && chosen.choice == index; });
          if (same != changed.chosen.end())
            same->count += blocks;
          else
            changed.chosen.push_back({from.run, index, blocks});
          llvm::erase_if(changed.chosen, [](const ChosenRun &run) { return run.count == 0; });
          // The cheapest route that allows what there is now.
          const std::vector<Route> &routes = all.stages[stage].routes;
          changed.route = static_cast<size_t>(llvm::find_if(routes, [&, stage = stage](const Route &route) {
            return all_of(changed.chosen, [&](const ChosenRun &run) {
              return route.allows(run.run, problem.kinds[problem.stages[stage][run.run].kind][run.choice].layout);
            });
          }) - routes.begin());
          if (changed.route == routes.size())
            continue;
          changed.moves = routes[changed.route].moves;
          double largest = -infinity;
          for (size_t form = 0; form < says.size(); ++form) {
            const Direction &direction = directionOf(form, stage);
            next[form] = says[form] + changed.of(direction) - choice.of(direction);
            largest = std::max(largest, next[form]);
          }
          if (largest >= lowest)
            continue;
          lowest = largest;
          found.emplace(stage, std::move(changed));
          foundSays = next;
        }
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
  std::vector<double> says;
  for (size_t given = 0; given < all.numGiven; ++given) {
    says.push_back(all.evaluateEnds(problem.forms[given], problem.ends[end]));
    for (auto [stage, choice] : enumerate(choices))
      says.back() += choice.of(directionOf(given, stage));
  }
  while (!shouldStop() && improve(choices, says))
    ++nodes;
  std::vector<const StageChoice *> chosen;
  for (const StageChoice &choice : choices)
    chosen.push_back(&choice);
  Incumbent near{getTime(chosen).first, number, std::nullopt};
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

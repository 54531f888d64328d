//===- StageSearch.cpp ----------------------------------------------------===//

#include "StageSearch.h"

#include "Tolerance.h"
#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <tuple>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::search;

Relaxation search::relax(const Problem &problem, size_t stage, const Direction &direction) {
  Relaxation all;
  for (const Run &run : problem.stages[stage]) {
    std::vector<Point> points;
    for (const Choice &choice : problem.kinds[run.kind])
      points.push_back({choice.stages[stage].memory, direction.of(choice.stages[stage])});
    all = Relaxation(std::move(points)).with(all, static_cast<double>(run.count));
  }
  return all;
}

StageSearch::StageSearch(const Problem &problem, size_t stage, const Route &route, ArrayRef<Direction> directions)
    : numDirections(directions.size()) {
  for (auto [number, run] : enumerate(problem.stages[stage])) {
    std::vector<Item> all;
    for (auto [index, choice] : enumerate(problem.kinds[run.kind]))
      if (route.allows(number, choice.layout)) {
        Item item{index, choice.stages[stage], {}};
        for (const Direction &direction : directions)
          item.costs.push_back(direction.of(item.cost));
        all.push_back(std::move(item));
      }
    Blocks &blocks = runs.emplace_back();
    blocks.count = run.count;
    for (const Item &item : all) {
      bool isDominated = any_of(all, [&](const Item &other) {
        bool isAsGood = other.cost.memory <= item.cost.memory && all_of(zip_equal(other.costs, item.costs), [](auto pair) {
          return std::get<0>(pair) <= std::get<1>(pair);
        });
        bool isEqual = isAsGood && other.cost.memory == item.cost.memory && other.costs == item.costs;
        return isAsGood && (!isEqual || other.choice < item.choice);
      });
      if (!isDominated)
        blocks.items.push_back(item);
    }
    llvm::sort(blocks.items, [](const Item &a, const Item &b) { return std::tie(a.costs.front(), a.choice) < std::tie(b.costs.front(), b.choice); });
    for (size_t first = 0; first < blocks.items.size(); ++first) {
      std::vector<Relaxation> &relaxations = blocks.relaxation.emplace_back();
      for (size_t direction = 0; direction < numDirections; ++direction) {
        std::vector<Point> points;
        for (const Item &item : ArrayRef(blocks.items).drop_front(first))
          points.push_back({item.cost.memory, item.costs[direction]});
        relaxations.emplace_back(std::move(points));
      }
    }
  }
  tail.assign(runs.size() + 1, std::vector<Relaxation>(numDirections));
  for (size_t run = runs.size(); run-- > 0;)
    for (size_t direction = 0; direction < numDirections; ++direction)
      tail[run][direction] = runs[run].relaxation.front()[direction].with(tail[run + 1][direction], static_cast<double>(runs[run].count));
}

/// One walk: what has been chosen so far.
struct StageSearch::Walk {
  const StageSearch &search;
  double capacity;
  Visitor &visitor;
  function_ref<bool()> shouldStop;
  size_t &nodes;
  StageChoice chosen;
  SmallVector<double, 4> costs;
  double memory = 0;
  bool isStopped = false;
  Relaxation nothing = {};

  /// No more than what is chosen and `left` blocks of items of a run from one on, with all later runs, cost in a direction.
  double bound(size_t run, size_t item, int64_t left, size_t direction) const {
    const Relaxation *own = left ? &search.runs[run].relaxation[item][direction] : &nothing;
    return costs[direction] + own->evaluate(static_cast<double>(left), search.tail[run + 1][direction], capacity - memory);
  }

  /// Chooses for `left` blocks of a run among its items from one on, and for all later runs.
  void choose(size_t run, size_t item, int64_t left) {
    if (left == 0 && ++run == search.runs.size())
      return visitor.visit(chosen);
    if (left == 0)
      return choose(run, 0, search.runs[run].count);
    if ((++nodes & 1023) == 0 && shouldStop())
      isStopped = true;
    const Item &own = search.runs[run].items[item];
    bool isLast = item + 1 == search.runs[run].items.size();
    const double memoryBefore = memory, timeBefore = chosen.time, syncBefore = chosen.sync;
    const size_t numChosen = chosen.chosen.size();
    const SmallVector<double, 4> costsBefore = costs;
    SmallVector<double, 4> last(costs.size(), infinity), bounds(costs.size());
    for (int64_t count = left; count >= (isLast ? left : 0) && !isStopped; --count) {
      double blocks = static_cast<double>(count);
      memory = memoryBefore + blocks * own.cost.memory;
      chosen.time = timeBefore + blocks * own.cost.time;
      chosen.sync = syncBefore + blocks * own.cost.sync;
      bool isOut = false, isOver = false;
      for (size_t direction = 0; direction < costs.size(); ++direction) {
        costs[direction] = costsBefore[direction] + blocks * own.costs[direction];
        double least = bound(run, item + 1, left - count, direction);
        bool isOutHere = isRuledOut(least, visitor.thresholds[direction]);
        isOut |= isOutHere;
        // Bounds are convex in the number of blocks.
        isOver |= isOutHere && last[direction] != infinity && least >= last[direction];
        last[direction] = bounds[direction] = least;
      }
      if (isOver)
        break;
      if (isOut || visitor.isUseless(bounds))
        continue;
      if (count)
        chosen.chosen.push_back({run, own.choice, count});
      choose(run, item + 1, left - count);
      chosen.chosen.resize(numChosen);
    }
    memory = memoryBefore;
    chosen.time = timeBefore;
    chosen.sync = syncBefore;
    costs = costsBefore;
  }
};

bool StageSearch::visit(double capacity, Visitor &visitor, function_ref<bool()> shouldStop, size_t &nodes) const {
  Walk walk{*this, capacity, visitor, shouldStop, nodes, {}, SmallVector<double, 4>(numDirections, 0)};
  if (runs.empty())
    visitor.visit(walk.chosen);
  else
    walk.choose(0, 0, runs.front().count);
  return !walk.isStopped;
}

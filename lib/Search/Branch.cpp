//===- Branch.cpp - Several forms in balance: stage by stage --------------===//

#include "EndSearch.h"
#include "ParetoSet.h"
#include "Tolerance.h"
#include "llvm/ADT/STLExtras.h"

#include <algorithm>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::search;

namespace {

/// Hands on every choice, of one route after the other.
class Each : public StageSearch::Visitor {
public:
  explicit Each(function_ref<void(const StageChoice &)> take) : take(take) {}
  void start(size_t number, double moves) {
    route = number;
    moved = moves;
  }
  void setLimits(ArrayRef<Direction> directions, ArrayRef<double> limits) {
    thresholds.assign(limits.begin(), limits.end());
    for (auto [threshold, direction] : zip_equal(thresholds, directions))
      threshold -= direction.moves * moved;
  }
  void visit(const StageChoice &found) override {
    StageChoice choice = found;
    choice.route = route;
    choice.moves = moved;
    take(choice);
  }

private:
  function_ref<void(const StageChoice &)> take;
  size_t route = 0;
  double moved = 0;
};

/// Keeps the choices that no other one is as good as in some directions, each of which has a floor: what is below it is as good as it.
class Front : public StageSearch::Visitor {
public:
  using Compared = std::pair<size_t, double>; ///< the number of a direction, and its floor
  Front(ArrayRef<Direction> directions, ArrayRef<Compared> compared, size_t most)
      : directions(directions), compared(compared), known(compared.size()), most(most) {}
  /// From now on choices are of a route.
  void start(size_t number, double moves, ArrayRef<double> limits) {
    route = number;
    moved = moves;
    thresholds.assign(limits.begin(), limits.end());
    for (auto [threshold, direction] : zip_equal(thresholds, directions))
      threshold -= direction.moves * moves;
  }
  bool isUseless(ArrayRef<double> costs) const override {
    SmallVector<double, 4> whole;
    for (auto [number, floor] : compared)
      whole.push_back(std::max(costs[number] + directions[number].moves * moved, floor));
    return known.isBeaten(whole);
  }
  void visit(const StageChoice &found) override {
    StageChoice choice = found;
    choice.route = route;
    choice.moves = moved;
    SmallVector<double, 4> costs;
    for (auto [number, floor] : compared)
      costs.push_back(std::max(choice.of(directions[number]), floor));
    if (known.isBeaten(costs))
      return;
    size_t slot = known.add(costs);
    choices.resize(std::max(choices.size(), slot + 1));
    choices[slot] = std::move(choice);
    if (isFull())
      thresholds.assign(thresholds.size(), -infinity);
  }
  /// Whether there are more than `most`, so that some are missing.
  bool isFull() const { return known.size() > most; }
  std::vector<StageChoice> take() {
    std::vector<StageChoice> taken;
    for (size_t slot : known.getSlots())
      taken.push_back(std::move(choices[slot]));
    return taken;
  }

private:
  ArrayRef<Direction> directions;
  ArrayRef<Compared> compared;
  std::vector<StageChoice> choices; ///< by slot of `known`
  ParetoSet known;
  size_t most, route = 0;
  double moved = 0;
};

} // namespace

/// By stage and direction: what is not below this is part of nothing better. Of a stage that is fixed, what it costs.
EndSearch::Limits EndSearch::getLimits() const {
  Limits limits;
  for (const std::vector<double> &ofStage : least)
    limits.emplace_back(ofStage.size(), infinity);
  for (size_t form = 0; form < problem.forms.size(); ++form) {
    double slack = best.time - boundOf(form);
    for (size_t stage = 0; stage < least.size(); ++stage) {
      size_t direction = all.directionOf(form, stage);
      double &limit = limits[stage][direction];
      limit = std::min(limit, least[stage][direction] + (fixed[stage] ? 0 : slack));
    }
  }
  return limits;
}

/// All choices of a stage that may be part of something better, but for those that are worse in every form than others. Nothing if there are more
/// than `most`, or time is up. No assignment is below `bound`: how far below it a form is does not matter.
std::optional<std::vector<StageChoice>> EndSearch::listChoices(size_t stage, size_t most, double bound, const Limits &limits) {
  // Forms of the problem came first, and so did their directions.
  SmallVector<double, 4> floors;
  for (size_t form = 0; form < all.numGiven; ++form) {
    size_t direction = all.directionOf(form, stage);
    floors.resize(std::max(floors.size(), direction + 1), infinity);
    double others = all.evaluateEnds(problem.forms[form], problem.ends[end]); // at most, of what may be better
    for (size_t other = 0; other < limits.size(); ++other)
      if (other != stage)
        others += limits[other][all.directionOf(form, other)];
    floors[direction] = std::min(floors[direction], bound - others);
  }
  // What cannot be above its floor is the same for all. The other directions are means of those of the problem.
  SmallVector<Front::Compared> compared;
  for (auto [number, floor] : enumerate(floors))
    if (floor < limits[stage][number])
      compared.emplace_back(number, floor);
  const std::vector<Direction> &directions = all.stages[stage].directions;
  Front front(directions, compared, most);
  for (auto [index, route] : enumerate(all.stages[stage].routes)) {
    front.start(index, route.moves, limits[stage]);
    if (!all.getSearch(stage, index).visit(capacityOf(stage), front, shouldStop, nodes) || front.isFull())
      return std::nullopt;
  }
  return front.take();
}

/// The stage that has the fewest choices which may be part of something better. Nothing if time is up.
std::optional<size_t> EndSearch::listFewest(double bound, std::vector<StageChoice> &choices) {
  const Limits limits = getLimits();
  std::optional<size_t> fewest;
  for (size_t most = 8; !fewest && !shouldStop(); most *= 8)
    for (size_t stage = 0; stage < fixed.size(); ++stage) {
      if (fixed[stage])
        continue;
      std::optional<std::vector<StageChoice>> listed = listChoices(stage, fewest ? choices.size() - 1 : most, bound, limits);
      if (!listed)
        continue;
      choices = std::move(*listed);
      fewest = stage;
      if (choices.size() <= 1)
        return fewest;
    }
  return fewest;
}

/// Goes through all choices of the one stage that is not fixed; `bound` if time is up. `found` is the best one, if it is better than what was known.
double EndSearch::solveLast(size_t stage, double bound, std::optional<StageChoice> &found) {
  const std::vector<Direction> &directions = all.stages[stage].directions;
  std::vector<double> limits;
  auto update = [&] { limits = getLimits()[stage]; };
  std::vector<const StageChoice *> choices;
  for (const std::optional<StageChoice> &choice : fixed)
    choices.push_back(choice ? &*choice : nullptr);
  std::optional<Each> each;
  auto take = [&](const StageChoice &choice) {
    choices[stage] = &choice;
    double before = best.time;
    offer(choices);
    if (best.time == before)
      return;
    found = choice;
    update();
    each->setLimits(directions, limits);
  };
  each.emplace(take);
  update();
  for (auto [index, route] : enumerate(all.stages[stage].routes)) {
    each->start(index, route.moves);
    each->setLimits(directions, limits);
    if (!all.getSearch(stage, index).visit(capacityOf(stage), *each, shouldStop, nodes))
      return bound;
  }
  return best.time;
}

/// Tries all choices of one stage that may be part of something better, each as a search of its own: with a stage less to balance, bounds come
/// closer. Those with the least bound come first. What nothing is below; `bound` if time is up.
double EndSearch::branch(double bound) {
  std::optional<StageChoice> found;
  if (fixed.size() == 1)
    return solveLast(0, bound, found);
  std::vector<StageChoice> choices;
  std::optional<size_t> stage = listFewest(bound, choices);
  if (!stage)
    return bound;
  std::vector<double> others; // what forms say at least of the other stages
  for (size_t form = 0; form < problem.forms.size(); ++form)
    others.push_back(boundOf(form) - least[*stage][all.directionOf(form, *stage)]);
  std::vector<std::pair<double, size_t>> order;
  for (auto [index, choice] : enumerate(choices)) {
    double says = -infinity;
    for (size_t form = 0; form < problem.forms.size(); ++form)
      says = std::max(says, others[form] + choice.of(directionOf(form, *stage)));
    order.emplace_back(says, index);
  }
  llvm::sort(order);
  double lowest = infinity;
  for (auto [says, index] : order) {
    if (isRuledOut(says, best.time))
      break;
    size_t numForms = problem.forms.size();
    EndSearch part(all, end, number, best, shouldStop, nodes);
    part.fixed = fixed;
    part.fixed[*stage] = std::move(choices[index]);
    // What stages say alone does not depend on others.
    part.least = least;
    part.solved = solved;
    part.least[*stage].clear();
    part.solved[*stage].clear();
    lowest = std::min(lowest, part.run(ProblemSearch::Effort::Full));
    all.dropForms(numForms);
    if (shouldStop())
      return bound;
  }
  return std::min(lowest, best.time);
}

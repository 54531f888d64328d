//===- EndSearch.cpp - Forms and their means ------------------------------===//

#include "EndSearch.h"

#include "Tolerance.h"
#include "llvm/ADT/STLExtras.h"

#include <algorithm>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::search;

double EndSearch::boundOf(size_t form) const {
  double bound = all.evaluateEnds(problem.forms[form], problem.ends[end]);
  for (size_t stage = 0; stage < least.size(); ++stage)
    bound += least[stage][all.directionOf(form, stage)];
  return bound;
}

double EndSearch::getBound() const {
  double bound = -infinity;
  for (size_t form = 0; form < problem.forms.size(); ++form)
    bound = std::max(bound, boundOf(form));
  return bound;
}

namespace {

/// Keeps the choice that costs least in one direction.
class Cheapest : public StageSearch::Visitor {
public:
  explicit Cheapest(const Direction &direction) : direction(direction) {}
  void visit(const StageChoice &choice) override {
    best = choice;
    thresholds.front() = choice.of(direction);
  }
  std::optional<StageChoice> best;

private:
  Direction direction; // blocks alone have no moves
};

} // namespace

/// Finds the choice of whole blocks that costs least in a direction. False if none is below the threshold, or time is up.
bool EndSearch::solveStage(size_t stage, size_t number, double threshold) {
  std::optional<StageChoice> &choice = solved[stage][number];
  if (choice)
    return !isRuledOut(least[stage][number], threshold);
  const Direction &direction = all.stages[stage].directions[number];
  double lowest = threshold;
  for (auto [index, route] : enumerate(all.stages[stage].routes)) {
    double moved = direction.moves * route.moves;
    Cheapest cheapest(direction);
    cheapest.thresholds.push_back(lowest - moved);
    if (!all.getSearch(stage, index, number).visit(capacityOf(stage), cheapest, shouldStop, nodes))
      return false;
    if (!cheapest.best)
      continue;
    choice = std::move(cheapest.best);
    choice->route = index;
    choice->moves = route.moves;
    lowest = choice->of(direction);
  }
  if (choice)
    least[stage][number] = lowest;
  return choice.has_value();
}

/// Solves what a form says of each stage; what that gives is an assignment. The form that is largest there; nothing if none that is better than the
/// best is as good for the form, or time is up.
std::optional<size_t> EndSearch::solveForm(size_t form) {
  std::vector<const StageChoice *> choices;
  for (size_t stage = 0; stage < least.size(); ++stage) {
    size_t direction = all.directionOf(form, stage);
    if (!solveStage(stage, direction, best.time - boundOf(form) + least[stage][direction]))
      return std::nullopt;
    choices.push_back(&*solved[stage][direction]);
  }
  return offer(choices);
}

/// What each form of the problem says of a choice of each stage. The largest is what they take.
std::vector<double> EndSearch::getSays(ArrayRef<const StageChoice *> choices) const {
  std::vector<double> says;
  for (size_t form = 0; form < all.numGiven; ++form) {
    says.push_back(all.evaluateEnds(problem.forms[form], problem.ends[end]));
    for (auto [stage, choice] : enumerate(choices))
      says.back() += choice->of(directionOf(form, stage));
  }
  return says;
}

/// Takes a choice of each stage for the best if it is that. The form that says most of it.
size_t EndSearch::offer(ArrayRef<const StageChoice *> choices) {
  std::vector<double> says = getSays(choices);
  auto largest = std::max_element(says.begin(), says.end());
  size_t form = static_cast<size_t>(largest - says.begin());
  if (isRuledOut(*largest, best.time))
    return form;
  best.time = *largest;
  best.problem = number;
  best.best = Assignment{end, {}};
  for (auto [stage, choice] : enumerate(choices)) {
    std::vector<ChosenRun> chosen = choice->chosen;
    // As its route goes; where order is free, as choices are numbered.
    const Route &route = all.stages[stage].routes[choice->route];
    auto placeOf = [&, stage = stage](const ChosenRun &run) {
      size_t layout = problem.kinds[problem.stages[stage][run.run].kind][run.choice].layout;
      size_t place = route.layouts.empty() ? 0 : static_cast<size_t>(llvm::find(route.layouts[run.run], layout) - route.layouts[run.run].begin());
      return std::tuple(run.run, place, run.choice);
    };
    llvm::sort(chosen, [&](const ChosenRun &a, const ChosenRun &b) { return placeOf(a) < placeOf(b); });
    best.best->stages.push_back(std::move(chosen));
  }
  return form;
}

/// Bounds and places for directions that are new.
void EndSearch::addDirections() {
  least.resize(all.stages.size());
  solved.resize(all.stages.size());
  for (auto [stage, info] : enumerate(all.stages)) {
    for (size_t number = least[stage].size(); number < info.directions.size(); ++number) {
      least[stage].push_back(fixed[stage] ? fixed[stage]->of(info.directions[number]) : info.relaxations[number].evaluate(capacityOf(stage)));
      solved[stage].push_back(fixed[stage]);
    }
  }
}

/// What a form says at least, with fractions of blocks.
double EndSearch::relaxForm(const TimeForm &form) const {
  double bound = all.evaluateEnds(form, problem.ends[end]);
  for (size_t stage = 0; stage < problem.getNumStages(); ++stage) {
    Direction direction{form.blocks[stage], form.sync[stage], form.moves[stage]};
    bound += fixed[stage] ? fixed[stage]->of(direction) : relax(problem, stage, direction).evaluate(capacityOf(stage));
  }
  return bound;
}

/// `part` of one form and the rest of another.
static TimeForm mix(const TimeForm &one, const TimeForm &other, double part) {
  TimeForm mean = one;
  mean.constant = part * one.constant + (1 - part) * other.constant;
  for (auto list : {&TimeForm::blocks, &TimeForm::sync, &TimeForm::moves, &TimeForm::ends})
    for (size_t stage = 0; stage < one.blocks.size(); ++stage)
      (mean.*list)[stage] = part * (one.*list)[stage] + (1 - part) * (other.*list)[stage];
  return mean;
}

/// The largest of some forms is at least any mean of them. Where several are in balance, the mean that says most says much more than each of
/// them: it rules out what is good for one and bad for another. Begins with the mean `start`, and mixes one form after the other into it.
size_t EndSearch::addMixture(size_t start, ArrayRef<size_t> forms) {
  TimeForm mean = problem.forms[start];
  double most = relaxForm(mean);
  constexpr int rounds = 4, steps = 20;
  for (int round = 0; round < rounds; ++round) {
    double before = most;
    for (size_t form : forms) {
      // Bounds are concave in the part.
      double low = 0, high = 1;
      for (int step = 0; step < steps; ++step) {
        double left = low + (high - low) / 3, right = high - (high - low) / 3;
        bool isRising = relaxForm(mix(mean, problem.forms[form], left)) < relaxForm(mix(mean, problem.forms[form], right));
        (isRising ? low : high) = isRising ? left : right;
      }
      TimeForm next = mix(mean, problem.forms[form], (low + high) / 2);
      if (double says = relaxForm(next); says > most) {
        most = says;
        mean = std::move(next);
      }
    }
    if (most - before < 1e-6 * std::fabs(most))
      break;
  }
  size_t form = all.addForm(std::move(mean));
  addDirections();
  return form;
}

/// Only forms that turn out to be the largest are looked at, one more at a time, and means of them. What these do not settle takes longer.
double EndSearch::run(ProblemSearch::Effort effort) {
  addDirections();
  double bound = getBound();
  if (isRuledOut(bound, best.time))
    return best.time;
  // One stage alone is looked through sooner than means are found.
  std::optional<StageChoice> found;
  if (fixed.size() > 1 && llvm::count(fixed, std::nullopt) == 1)
    return solveLast(static_cast<size_t>(llvm::find(fixed, std::nullopt) - fixed.begin()), bound, found);
  std::optional<size_t> largest = 0; // of the forms, for what is found
  for (size_t form = 0; form < all.numGiven; ++form)
    if (boundOf(form) == bound)
      largest = form;
  SmallVector<size_t> forms, solvedForms;
  while (!isRuledOut(bound, best.time) && !is_contained(forms, *largest)) {
    forms.push_back(*largest);
    solvedForms.push_back(*largest);
    largest = solveForm(solvedForms.back());
    if (!largest)
      return shouldStop() ? bound : best.time;
    bound = std::max(bound, getBound());
    if (forms.size() == 1 || isRuledOut(bound, best.time))
      continue;
    // A mean of all that are looked at.
    solvedForms.push_back(addMixture(forms.size() == 2 ? forms.front() : solvedForms[solvedForms.size() - 2], forms));
    bound = std::max(bound, getBound());
    if (isRuledOut(bound, best.time))
      break;
    largest = solveForm(solvedForms.back());
    if (!largest)
      return shouldStop() ? bound : best.time;
    bound = std::max(bound, getBound());
  }
  if (!isRuledOut(bound, best.time))
    polish(solvedForms.back());
  if (isRuledOut(bound, best.time) || effort == ProblemSearch::Effort::Quick)
    return std::min(bound, best.time);
  return branch(bound);
}

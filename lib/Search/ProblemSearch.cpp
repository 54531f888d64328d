//===- ProblemSearch.cpp --------------------------------------------------===//

#include "ProblemSearch.h"

#include "Tolerance.h"
#include "llvm/ADT/STLExtras.h"

#include <algorithm>
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
  moves = getCheapestMoves(problem);
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
    stage.relaxations.push_back(relax(problem, number, direction));
    stage.searches.resize(stage.routes.size());
    for (auto &byDirection : stage.searches)
      byDirection.resize(stage.directions.size());
  }
  problem.forms.push_back(std::move(form));
  return problem.forms.size() - 1;
}

const StageSearch &ProblemSearch::getSearch(size_t stage, size_t route, size_t direction) {
  std::unique_ptr<StageSearch> &search = stages[stage].searches[route][direction];
  if (!search)
    search = std::make_unique<StageSearch>(problem, stage, stages[stage].routes[route], stages[stage].directions[direction]);
  return *search;
}

namespace galvatron::search {

/// One choice of the ends.
class EndSearch {
public:
  EndSearch(ProblemSearch &all, size_t end, size_t number, Incumbent &best, function_ref<bool()> shouldStop, size_t &nodes)
      : all(all), problem(all.problem), end(end), number(number), best(best), shouldStop(shouldStop), nodes(nodes) {}

  double run(ProblemSearch::Effort effort);

private:
  struct Combination {
    std::vector<double> forms;       ///< what each says of the stages so far
    std::vector<size_t> choices;     ///< of the stages so far
  };

  const Direction &directionOf(size_t form, size_t stage) const { return all.stages[stage].directions[all.directionOf(form, stage)]; }
  double capacityOf(size_t stage) const { return problem.capacity[stage] - problem.ends[end].memory[stage]; }
  double boundOf(size_t form) const;
  double getBound() const;
  bool solveForm(size_t form);
  bool solveStage(size_t stage, size_t direction, double threshold);
  void offer(const std::vector<const StageChoice *> &choices);
  std::optional<double> combine(ArrayRef<size_t> forms);
  void addDirections();
  void polish(std::vector<StageChoice> choices);
  bool improve(std::vector<StageChoice> &choices, std::vector<double> &says);
  double relaxForm(const TimeForm &form) const;
  size_t addMixture(size_t start, ArrayRef<size_t> forms);
  bool listChoices(size_t stage, ArrayRef<size_t> forms, std::vector<StageChoice> &choices);

  ProblemSearch &all;
  const Problem &problem;
  size_t end, number;
  Incumbent &best;
  function_ref<bool()> shouldStop;
  size_t &nodes;
  std::vector<std::vector<double>> least;                      ///< by stage and direction: no choice is below
  std::vector<std::vector<std::optional<StageChoice>>> solved; ///< by stage and direction: the choice that is at `least`
  size_t largestForm = 0;                                      ///< of what was offered last
  std::vector<StageChoice> lastOffered;
};

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

/// Keeps the choices that no other one is as good as in every direction.
class Front : public StageSearch::Visitor {
public:
  Front(ArrayRef<Direction> directions, std::vector<StageChoice> &choices) : directions(directions), choices(choices) {}
  /// From now on choices are of a route.
  void start(size_t number, double moves, ArrayRef<double> limits) {
    route = number;
    moved = moves;
    thresholds.assign(limits.begin(), limits.end());
    for (auto [threshold, direction] : zip_equal(thresholds, directions))
      threshold -= direction.moves * moves;
  }
  bool isUseless(ArrayRef<double> costs) const override {
    return any_of(known, [&](const SmallVector<double, 4> &other) {
      for (auto [own, cost, direction] : zip_equal(other, costs, directions))
        if (own > cost + direction.moves * moved)
          return false;
      return true;
    });
  }
  void visit(const StageChoice &found) override {
    StageChoice choice = found;
    choice.route = route;
    choice.moves = moved;
    SmallVector<double, 4> costs;
    for (const Direction &direction : directions)
      costs.push_back(choice.of(direction));
    auto isAsGood = [](const SmallVector<double, 4> &a, const SmallVector<double, 4> &b) {
      return all_of(zip_equal(a, b), [](auto pair) { return std::get<0>(pair) <= std::get<1>(pair); });
    };
    if (any_of(known, [&](const SmallVector<double, 4> &other) { return isAsGood(other, costs); }))
      return;
    size_t kept = 0;
    for (size_t i = 0; i < known.size(); ++i)
      if (!isAsGood(costs, known[i])) {
        std::swap(known[kept], known[i]);
        std::swap(choices[kept++], choices[i]);
      }
    known.resize(kept);
    choices.resize(kept);
    known.push_back(std::move(costs));
    choices.push_back(std::move(choice));
  }

private:
  ArrayRef<Direction> directions;
  std::vector<StageChoice> &choices;
  std::vector<SmallVector<double, 4>> known; ///< costs of `choices`
  size_t route = 0;
  double moved = 0;
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

/// Solves what a form says of each stage; what that gives is an assignment. False if it has none that is better than the best.
bool EndSearch::solveForm(size_t form) {
  std::vector<const StageChoice *> choices;
  for (size_t stage = 0; stage < least.size(); ++stage) {
    size_t direction = all.directionOf(form, stage);
    if (!solveStage(stage, direction, best.time - boundOf(form) + least[stage][direction]))
      return false;
    choices.push_back(&*solved[stage][direction]);
  }
  offer(choices);
  return true;
}

/// Takes a choice of each stage for the best if it is that.
void EndSearch::offer(const std::vector<const StageChoice *> &choices) {
  double time = -infinity;
  lastOffered.clear();
  for (const StageChoice *choice : choices)
    lastOffered.push_back(*choice);
  for (auto [index, form] : enumerate(ArrayRef(problem.forms).take_front(all.numGiven))) {
    double says = all.evaluateEnds(form, problem.ends[end]);
    for (auto [stage, choice] : enumerate(choices))
      says += choice->of(directionOf(index, stage));
    if (says > time)
      largestForm = index;
    time = std::max(time, says);
  }
  if (isRuledOut(time, best.time))
    return;
  best.time = time;
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
}

/// All choices of a stage that may be part of something better, but for those that are worse in every form of some than others.
bool EndSearch::listChoices(size_t stage, ArrayRef<size_t> forms, std::vector<StageChoice> &choices) {
  SmallVector<Direction, 4> directions;
  SmallVector<double, 4> limits;
  for (size_t form : forms) {
    const Direction &direction = directionOf(form, stage);
    auto found = llvm::find(directions, direction);
    size_t place = static_cast<size_t>(found - directions.begin());
    if (found == directions.end()) {
      directions.push_back(direction);
      limits.push_back(infinity);
    }
    limits[place] = std::min(limits[place], best.time - boundOf(form) + least[stage][all.directionOf(form, stage)]);
  }
  Front front(directions, choices);
  for (auto [index, route] : enumerate(all.stages[stage].routes)) {
    front.start(index, route.moves, limits);
    if (!StageSearch(problem, stage, route, directions).visit(capacityOf(stage), front, shouldStop, nodes))
      return false;
  }
  return true;
}

/// Goes through the combinations of what may be better on each stage, stage by stage, for the one in which the largest of some forms is least.
/// What nothing is below, in these forms; nothing if time is up.
std::optional<double> EndSearch::combine(ArrayRef<size_t> forms) {
  std::vector<std::vector<StageChoice>> choices(least.size());
  for (size_t stage = 0; stage < least.size(); ++stage)
    if (!listChoices(stage, forms, choices[stage]))
      return std::nullopt;
  Combination none;
  std::vector<double> rest; // at least, of later stages
  for (size_t form : forms) {
    none.forms.push_back(all.evaluateEnds(problem.forms[form], problem.ends[end]));
    rest.push_back(boundOf(form) - none.forms.back());
  }
  std::vector<Combination> combinations{none};
  auto isAsGood = [](const Combination &a, const Combination &b) {
    return all_of(zip_equal(a.forms, b.forms), [](auto pair) { return std::get<0>(pair) <= std::get<1>(pair); });
  };
  for (size_t stage = 0; stage < least.size(); ++stage) {
    std::vector<Combination> longer;
    for (auto [left, form] : zip_equal(rest, forms))
      left -= least[stage][all.directionOf(form, stage)];
    for (const Combination &combination : combinations)
      for (auto [index, choice] : enumerate(choices[stage])) {
        if ((++nodes & 1023) == 0 && shouldStop())
          return std::nullopt;
        Combination next = combination;
        next.choices.push_back(index);
        bool isOut = false;
        for (auto [says, left, form] : zip_equal(next.forms, rest, forms)) {
          says += choice.of(directionOf(form, stage));
          isOut |= isRuledOut(says + left, best.time);
        }
        if (isOut || any_of(longer, [&](const Combination &other) { return isAsGood(other, next); }))
          continue;
        llvm::erase_if(longer, [&](const Combination &other) { return isAsGood(next, other); });
        longer.push_back(std::move(next));
      }
    combinations = std::move(longer);
  }
  const Combination *smallest = nullptr;
  double lowest = best.time;
  for (const Combination &combination : combinations)
    if (double largest = *std::max_element(combination.forms.begin(), combination.forms.end()); largest < lowest) {
      lowest = largest;
      smallest = &combination;
    }
  if (!smallest)
    return best.time;
  std::vector<const StageChoice *> chosen;
  for (auto [stage, index] : enumerate(smallest->choices))
    chosen.push_back(&choices[stage][index]);
  offer(chosen);
  return lowest;
}

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
          auto same = llvm::find_if(changed.chosen, [&, run = from.run, index = index](const ChosenRun &run2) { return run2.run == run && run2.choice == index; });
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

/// Goes from an assignment to better ones that are near, as long as there are any: the better the best one, the less is left to go through.
void EndSearch::polish(std::vector<StageChoice> choices) {
  std::vector<double> says;
  for (size_t form = 0; form < all.numGiven; ++form) {
    says.push_back(all.evaluateEnds(problem.forms[form], problem.ends[end]));
    for (auto [stage, choice] : enumerate(choices))
      says.back() += choice.of(directionOf(form, stage));
  }
  while (!shouldStop() && improve(choices, says))
    ++nodes;
  std::vector<const StageChoice *> chosen;
  for (const StageChoice &choice : choices)
    chosen.push_back(&choice);
  offer(chosen);
}

/// Bounds and places for directions that are new.
void EndSearch::addDirections() {
  least.resize(all.stages.size());
  solved.resize(all.stages.size());
  for (auto [stage, info] : enumerate(all.stages)) {
    while (least[stage].size() < info.directions.size())
      least[stage].push_back(info.relaxations[least[stage].size()].evaluate(capacityOf(stage)));
    solved[stage].resize(info.directions.size());
  }
}

/// What a form says at least, with fractions of blocks.
double EndSearch::relaxForm(const TimeForm &form) const {
  double bound = all.evaluateEnds(form, problem.ends[end]);
  for (size_t stage = 0; stage < problem.getNumStages(); ++stage)
    bound += relax(problem, stage, {form.blocks[stage], form.sync[stage], form.moves[stage]}).evaluate(capacityOf(stage));
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

/// Only forms that turn out to be the largest are looked at, one more at a time: of those so far, what is found is the best, and a bound; if
/// none of the others is larger for it, it is the best of all.
double EndSearch::run(ProblemSearch::Effort effort) {
  addDirections();
  double bound = getBound();
  for (size_t form = 0; form < all.numGiven; ++form)
    if (boundOf(form) == bound)
      largestForm = form;
  SmallVector<size_t> forms, mixtures;
  while (!isRuledOut(bound, best.time)) {
    size_t form = largestForm;
    // What rounding makes of equal ones is no further form.
    if (is_contained(forms, form))
      break;
    forms.push_back(form);
    if (!solveForm(form))
      return shouldStop() ? bound : best.time;
    bound = std::max(bound, getBound());
    if (forms.size() == 1 || isRuledOut(bound, best.time))
      continue;
    // A mean of all that are looked at.
    mixtures.push_back(addMixture(mixtures.empty() ? forms.front() : mixtures.back(), forms));
    bound = std::max(bound, getBound());
    if (isRuledOut(bound, best.time))
      continue;
    if (!solveForm(mixtures.back()))
      return shouldStop() ? bound : best.time;
    bound = std::max(bound, getBound());
    size_t largest = largestForm;
    polish(lastOffered);
    if (isRuledOut(bound, best.time))
      continue;
    largestForm = largest;
    // Where another form is the largest one there, that comes first: going through combinations is what takes time.
    if (isRuledOut(bound, best.time) || !is_contained(forms, largestForm))
      continue;
    if (effort == ProblemSearch::Effort::Quick)
      return bound;
    SmallVector<size_t> both(forms);
    both.append(mixtures);
    std::optional<double> lowest = combine(both);
    if (!lowest)
      return bound;
    bound = std::max(bound, *lowest);
  }
  return std::min(bound, best.time);
}

} // namespace galvatron::search

double ProblemSearch::solve(size_t end, size_t number, Effort effort, Incumbent &best, function_ref<bool()> shouldStop, size_t &nodes) {
  prepare();
  return EndSearch(*this, end, number, best, shouldStop, nodes).run(effort);
}

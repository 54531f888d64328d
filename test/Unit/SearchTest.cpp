//===- SearchTest.cpp - The best of small problems, by trying all ---------===//

#include "galvatron/Search/Search.h"

#include "llvm/ADT/STLExtras.h"
#include "gtest/gtest.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <random>

using namespace galvatron::search;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// A random problem of up to 6 blocks of 8 choices on 3 stages. Every second one has small whole numbers, in which ties abound.
Problem makeProblem(uint64_t seed) {
  std::mt19937_64 random(seed);
  auto below = [&](uint64_t n) { return random() % n; };
  bool isCoarse = below(2);
  auto number = [&](double most) {
    return isCoarse ? static_cast<double>(below(static_cast<uint64_t>(most) + 1)) : most * static_cast<double>(random() >> 11) / 9007199254740992.0;
  };
  Problem problem;
  size_t numStages = 1 + below(3), numKinds = 1 + below(3), numBlocks = std::max<size_t>(numStages, 1 + below(6)), numLayouts = 1 + below(3);
  for (size_t kind = 0; kind < numKinds; ++kind) {
    std::vector<Choice> &choices = problem.kinds.emplace_back();
    for (size_t i = 0, count = 1 + below(8); i < count; ++i) {
      Choice &choice = choices.emplace_back();
      choice.layout = below(numLayouts);
      for (size_t stage = 0; stage < numStages; ++stage)
        choice.stages.push_back({number(9), below(3) ? number(5) : 0, number(9)});
    }
  }
  problem.stages.resize(numStages);
  for (size_t block = 0; block < numBlocks; ++block) {
    std::vector<Run> &runs = problem.stages[block < numStages ? block : below(numStages)];
    size_t kind = below(numKinds);
    if (!runs.empty() && runs.back().kind == kind)
      ++runs.back().count;
    else
      runs.push_back({kind, 1});
  }
  for (size_t i = 0, count = 1 + below(3); i < count; ++i) {
    End &end = problem.ends.emplace_back();
    for (size_t stage = 0; stage < numStages; ++stage) {
      end.time.push_back(number(4));
      end.memory.push_back(number(9));
    }
  }
  for (size_t stage = 0; stage < numStages; ++stage)
    problem.capacity.push_back(5 + number(40));
  for (size_t i = 0, count = 1 + below(5); i < count; ++i) {
    TimeForm &form = problem.forms.emplace_back();
    form.constant = number(3);
    for (size_t stage = 0; stage < numStages; ++stage) {
      // Some say that a stage's time makes a step shorter: what it hides.
      form.blocks.push_back(number(4) - (below(4) ? 0 : 2));
      form.sync.push_back(number(2));
      form.moves.push_back(number(3));
      form.ends.push_back(number(3) - 1);
    }
  }
  if (below(2)) {
    problem.moves.assign(numLayouts, std::vector<double>(numLayouts));
    for (auto &row : problem.moves)
      for (double &move : row)
        move = number(3);
  }
  return problem;
}

/// Tries every choice for every block, block by block, and adds up by itself.
class BruteForce {
public:
  explicit BruteForce(const Problem &problem) : problem(problem) {
    // The cheapest way from one layout to another goes by others at most as often as there are layouts.
    moves = problem.moves;
    for (size_t i = 0; i < moves.size(); ++i)
      moves[i][i] = 0;
    for (size_t round = 0; round < moves.size(); ++round)
      for (size_t from = 0; from < moves.size(); ++from)
        for (size_t to = 0; to < moves.size(); ++to)
          for (size_t by = 0; by < moves.size(); ++by)
            moves[from][to] = std::min(moves[from][to], moves[from][by] + moves[by][to]);
    for (auto [stage, runs] : llvm::enumerate(problem.stages))
      for (const Run &run : runs)
        for (int64_t i = 0; i < run.count; ++i)
          blocks.emplace_back(stage, run.kind);
    chosen.resize(blocks.size());
  }

  double getBest() {
    choose(0);
    return best;
  }

private:
  void choose(size_t block) {
    if (block == blocks.size()) {
      for (const End &end : problem.ends)
        best = std::min(best, getTime(end));
      return;
    }
    for (chosen[block] = 0; chosen[block] < problem.kinds[blocks[block].second].size(); ++chosen[block])
      choose(block + 1);
  }
  double getTime(const End &end) const {
    size_t count = problem.stages.size();
    std::vector<double> time(count), sync(count), moved(count), memory = end.memory;
    for (size_t i = 0; i < blocks.size(); ++i) {
      auto [stage, kind] = blocks[i];
      const Choice &choice = problem.kinds[kind][chosen[i]];
      time[stage] += choice.stages[stage].time;
      sync[stage] += choice.stages[stage].sync;
      memory[stage] += choice.stages[stage].memory;
      if (!moves.empty() && i && blocks[i - 1].first == stage)
        moved[stage] += moves[problem.kinds[blocks[i - 1].second][chosen[i - 1]].layout][choice.layout];
    }
    for (size_t stage = 0; stage < count; ++stage)
      if (memory[stage] > problem.capacity[stage] * (1 + 1e-12))
        return infinity;
    double largest = -infinity;
    for (const TimeForm &form : problem.forms) {
      double says = form.constant;
      for (size_t stage = 0; stage < count; ++stage)
        says += form.blocks[stage] * time[stage] + form.sync[stage] * sync[stage] + form.moves[stage] * moved[stage] + form.ends[stage] * end.time[stage];
      largest = std::max(largest, says);
    }
    return largest;
  }

  const Problem &problem;
  std::vector<std::vector<double>> moves;
  std::vector<std::pair<size_t, size_t>> blocks; ///< stage and kind
  std::vector<size_t> chosen;
  double best = infinity;
};

class OneProblem : public ProblemSet {
public:
  explicit OneProblem(Problem problem) : problem(std::move(problem)) {}
  size_t size() const override { return 1; }
  Problem make(size_t) const override { return problem; }

private:
  Problem problem;
};

/// A pipeline whose stages are in balance: what a form says less of one stage it says more of another, and memory is short everywhere. Its order
/// of blocks is free.
Problem makePipeline(uint64_t seed) {
  std::mt19937_64 random(seed);
  auto below = [&](uint64_t n) { return random() % n; };
  auto number = [&](double most) { return most * static_cast<double>(random() >> 11) / 9007199254740992.0; };
  Problem problem;
  constexpr size_t numStages = 3;
  std::vector<Choice> &choices = problem.kinds.emplace_back();
  for (size_t i = 0, count = 5 + below(3); i < count; ++i) {
    double time = 1 + number(9), sync = number(12);
    Choice &choice = choices.emplace_back();
    for (size_t stage = 0; stage < numStages; ++stage)
      choice.stages.push_back({time, sync, (16 - time - 0.5 * sync + number(2)) * static_cast<double>(numStages - stage)});
  }
  for (size_t stage = 0; stage < numStages; ++stage) {
    int64_t count = 4 + static_cast<int64_t>(below(4));
    problem.stages.push_back({{0, count}});
    problem.capacity.push_back(static_cast<double>(count) * (6 + number(6)) * static_cast<double>(numStages - stage));
  }
  problem.ends.push_back({std::vector<double>(numStages, 0), std::vector<double>(numStages, 0)});
  double microBatches = static_cast<double>(1 + below(8));
  for (size_t slowest = 0; slowest < numStages; ++slowest)
    for (size_t exposed = 0; exposed <= numStages; ++exposed) {
      TimeForm &form = problem.forms.emplace_back();
      form.blocks.assign(numStages, 1);
      form.blocks[slowest] = microBatches;
      form.moves = form.ends = form.blocks;
      form.sync.assign(numStages, 0);
      if (exposed == numStages)
        continue;
      form.sync[exposed] = 1;
      for (size_t before = 0; before < exposed; ++before)
        form.blocks[before] -= 1; // hides it
    }
  return problem;
}

/// The best time of such a pipeline: all numbers of blocks of each choice on each stage, of which what is worse in every form is left out.
class StageByStage {
public:
  using Says = std::vector<double>; // by form

  static double getBest(const Problem &problem) {
    std::vector<Says> all{Says()};
    for (const TimeForm &form : problem.forms)
      all.front().push_back(form.constant);
    for (size_t stage = 0; stage < problem.getNumStages(); ++stage) {
      std::vector<Says> own, next;
      choose(problem, stage, 0, problem.stages[stage].front().count, Cost(), own);
      keepBest(own);
      for (const Says &before : all)
        for (const Says &here : own) {
          next.push_back(before);
          for (size_t form = 0; form < here.size(); ++form)
            next.back()[form] += here[form];
        }
      keepBest(next);
      all = std::move(next);
    }
    double best = infinity;
    for (const Says &says : all)
      best = std::min(best, *std::max_element(says.begin(), says.end()));
    return best;
  }

private:
  static void choose(const Problem &problem, size_t stage, size_t choice, int64_t left, Cost sum, std::vector<Says> &found) {
    if (sum.memory > problem.capacity[stage])
      return;
    if (choice == problem.kinds.front().size()) {
      if (left)
        return;
      Says &says = found.emplace_back();
      for (const TimeForm &form : problem.forms)
        says.push_back(form.blocks[stage] * sum.time + form.sync[stage] * sum.sync);
      return;
    }
    const Cost &own = problem.kinds.front()[choice].stages[stage];
    for (int64_t count = 0; count <= left; ++count) {
      double blocks = static_cast<double>(count);
      choose(problem, stage, choice + 1, left - count, {sum.time + blocks * own.time, sum.sync + blocks * own.sync, sum.memory + blocks * own.memory}, found);
    }
  }
  static void keepBest(std::vector<Says> &all) {
    llvm::sort(all);
    std::vector<Says> kept;
    for (const Says &says : all)
      if (llvm::none_of(kept, [&](const Says &other) {
            for (size_t form = 0; form < says.size(); ++form)
              if (other[form] > says[form])
                return false;
            return true;
          }))
        kept.push_back(says);
    all = std::move(kept);
  }
};

/// GALVATRON_SEARCH_SEED and GALVATRON_SEARCH_COUNT choose others.
uint64_t getNumber(const char *name, uint64_t otherwise) {
  const char *text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

} // namespace

TEST(Search, FindsWhatTryingAllFinds) {
  uint64_t first = getNumber("GALVATRON_SEARCH_SEED", 1), count = getNumber("GALVATRON_SEARCH_COUNT", 1000);
  size_t fitting = 0, several = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    OneProblem problems(makeProblem(seed));
    Problem problem = problems.make(0);
    Result result = findBest(problems);
    double best = BruteForce(problem).getBest();
    ASSERT_EQ(result.best.has_value(), best != infinity);
    ClosestMiss miss = findClosestMiss(problems);
    EXPECT_EQ(miss.excess <= 1e-9, best != infinity);
    if (!result.best)
      continue;
    ++fitting;
    several += result.statistics.nodes > 1;
    double tolerance = 1e-10 * std::max(1.0, std::fabs(best));
    ASSERT_NEAR(result.time, best, tolerance);
    EXPECT_LE(result.bound, best + tolerance);
    EXPECT_EQ(result.getGap(), 0);
    Evaluation evaluation = evaluate(problem, *result.best);
    EXPECT_NEAR(evaluation.time, best, tolerance);
    EXPECT_TRUE(evaluation.fits(problem));
    // Every block has a choice.
    for (auto [runs, chosen] : llvm::zip_equal(problem.stages, result.best->stages)) {
      std::vector<int64_t> counts(runs.size());
      for (const ChosenRun &run : chosen)
        counts[run.run] += run.count;
      for (auto [run, number] : llvm::zip_equal(runs, counts))
        EXPECT_EQ(run.count, number);
    }
  }
  EXPECT_GT(fitting * 2, count);
  EXPECT_GT(several * 4, count);
}

/// Several stages in balance, so that what means of forms say does not settle it; and a search that is stopped somewhere says what is true.
TEST(Search, BalancesStagesAndStopsAnywhere) {
  uint64_t first = getNumber("GALVATRON_SEARCH_SEED", 1), count = getNumber("GALVATRON_SEARCH_COUNT", 500);
  size_t fitting = 0, stopped = 0, open = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    OneProblem problems(makePipeline(seed));
    Problem problem = problems.make(0);
    double best = StageByStage::getBest(problem), tolerance = 1e-10 * std::fabs(best);
    size_t asked = 0;
    Options options;
    auto ask = [&] {
      ++asked;
      return false;
    };
    options.shouldStop = ask;
    Result whole = findBest(problems, options);
    ASSERT_EQ(whole.best.has_value(), best != infinity);
    EXPECT_FALSE(whole.isStopped);
    if (!whole.best)
      continue;
    ++fitting;
    ASSERT_NEAR(whole.time, best, tolerance);
    EXPECT_EQ(whole.getGap(), 0);
    std::mt19937_64 random(seed);
    for (int i = 0; i < 4; ++i) {
      size_t left = random() % (asked + 1);
      auto stop = [&] { return left == 0 || --left == 0; };
      options.shouldStop = stop;
      Result part = findBest(problems, options);
      stopped += part.isStopped;
      open += part.getGap() > 0;
      ASSERT_TRUE(part.best.has_value());
      EXPECT_LE(part.bound, best + tolerance);
      EXPECT_GE(part.time, best - tolerance);
      EXPECT_TRUE(part.isStopped || part.getGap() == 0);
      Evaluation evaluation = evaluate(problem, *part.best);
      EXPECT_NEAR(evaluation.time, part.time, tolerance);
      EXPECT_TRUE(evaluation.fits(problem));
    }
  }
  EXPECT_GT(fitting * 2, count);
  EXPECT_GT(stopped, fitting / 4);
  EXPECT_GT(open, fitting / 4);
}

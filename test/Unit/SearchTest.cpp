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

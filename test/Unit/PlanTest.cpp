//===- PlanTest.cpp - Plans as values and as files ------------------------===//

#include "galvatron/Plan/PlanFile.h"

#include "gtest/gtest.h"

#include <random>

using namespace galvatron;

namespace {

std::string print(const Plan &plan) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  printPlan(plan, stream);
  return text;
}

/// What is wrong with a text, a line for each report.
std::string reportsOf(llvm::StringRef text) {
  std::string all;
  std::optional<Plan> plan = parsePlan(text, [&](const llvm::Twine &message) { all += message.str() + "\n"; });
  EXPECT_EQ(plan.has_value(), all.empty()) << text.str();
  return all;
}

/// A plan that makes sense for some model.
Plan makeRandom(std::mt19937 &random) {
  auto below = [&](int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(random); };
  Plan plan;
  for (int64_t i = below(5); i > 0; --i)
    plan.mesh.push_back(2 + below(3));
  unsigned stageAxes = below(plan.mesh.size() + 1);
  for (unsigned axis = 0; axis < stageAxes; ++axis)
    plan.stages.count *= plan.mesh[axis];
  if (below(2))
    for (int64_t stage = 0; stage < plan.stages.count; ++stage)
      plan.stages.firstBlocks.push_back(2 * stage);
  plan.schedule = below(2) ? PlanSchedule::GPipe : PlanSchedule::OneFOneB;
  if (below(2))
    plan.globalBatch = 1 + below(100);
  if (below(2))
    plan.microBatches = 1 + below(10);
  auto makeStrategy = [&] {
    Strategy strategy;
    for (unsigned axis = stageAxes; axis < plan.mesh.size(); ++axis) {
      PlanAxes *lists[] = {&strategy.data, &strategy.tensor, &strategy.context};
      lists[below(3)]->push_back(axis);
    }
    if (below(2))
      strategy.sequence = strategy.tensor;
    if (below(3) == 0) {
      strategy.expert = strategy.data;
      strategy.expertTensor = strategy.context;
    }
    strategy.zero = below(4);
    strategy.recompute = static_cast<Recompute>(below(3));
    if (below(2))
      strategy.ops.push_back({"a \"quoted\" name", {}});
    if (below(2))
      strategy.ops.push_back({"mlp.up", {{below(3), below(5), strategy.tensor}}});
    return strategy;
  };
  if (below(2))
    plan.embedding = makeStrategy();
  if (below(2))
    plan.head = makeStrategy();
  if (below(3) == 0)
    plan.blocks.push_back({0, makeStrategy()});
  else
    for (int64_t i = 1 + below(4); i > 0; --i)
      plan.blocks.push_back({1 + below(5), makeStrategy()});
  return plan;
}

TEST(Plan, whatIsWrittenIsReadBack) {
  std::mt19937 random(7);
  for (int i = 0; i < 300; ++i) {
    Plan plan = makeRandom(random);
    std::string text = print(plan);
    EXPECT_EQ(reportsOf(text), "") << text;
    std::optional<Plan> read = parsePlan(text, [](const llvm::Twine &) {});
    ASSERT_TRUE(read) << text;
    EXPECT_TRUE(*read == plan) << text << print(*read);
  }
}

TEST(Plan, brokenTextsAreRefused) {
  std::mt19937 random(11);
  for (int i = 0; i < 40; ++i) {
    std::string text = print(makeRandom(random));
    // The newline at the end may be missing.
    for (size_t size = 0; size + 1 < text.size(); ++size)
      EXPECT_NE(reportsOf(llvm::StringRef(text).take_front(size)), "");
    for (int change = 0; change < 200; ++change) {
      std::string changed = text;
      changed[random() % changed.size()] = static_cast<char>(random());
      reportsOf(changed);
    }
  }
}

TEST(Plan, bracketsAreCountedBeforeTheyAreParsed) {
  for (const char *bracket : {"[", "{\"a\":"}) {
    std::string text;
    for (int i = 0; i < 1'000'000; ++i)
      text += bracket;
    EXPECT_EQ(reportsOf(text), "brackets are more than 32 deep\n");
  }
  EXPECT_EQ(reportsOf(std::string(17 << 20, ' ')), "larger than 16 MiB, which no plan is\n");
}

TEST(Plan, allBlocksAreOneRun) {
  std::string all;
  Plan plan;
  plan.blocks = {{0, {}}, {2, {}}};
  EXPECT_FALSE(checkPlan(plan, [&](const llvm::Twine &message) { all += message.str() + "\n"; }));
  EXPECT_EQ(all, "\"blocks\" has a run without a number of blocks beside others\n");
}

TEST(Plan, microBatchesFillThePipeline) {
  EXPECT_EQ(getDefaultMicroBatches(8, 1), 1);
  EXPECT_EQ(getDefaultMicroBatches(8, 3), 4);
  EXPECT_EQ(getDefaultMicroBatches(8, 8), 8);
  EXPECT_EQ(getDefaultMicroBatches(8, 9), 8); // fewer than the stages: all there are
  EXPECT_EQ(getDefaultMicroBatches(7, 2), 7);
}

TEST(Plan, axesOfManyAreNamed) {
  EXPECT_EQ(getAxisName(0), "a");
  EXPECT_EQ(getAxisName(25), "z");
  EXPECT_EQ(getAxisName(26), "a1");
}

TEST(Plan, stagesTakeTheOutermostAxesAndTensorTheInnermost) {
  std::string all;
  auto report = [&](const llvm::Twine &message) { all += message.str() + "\n"; };
  PlanDegrees degrees;
  degrees.ranks = 24;
  degrees.pipeline = 2;
  degrees.tensor = 4;
  std::optional<Plan> plan = makePlan(degrees, report);
  ASSERT_TRUE(plan) << all;
  EXPECT_EQ(plan->mesh, (std::vector<int64_t>{2, 3, 2, 2}));
  EXPECT_EQ(plan->blocks.front().strategy.data, (PlanAxes{1}));
  EXPECT_EQ(plan->blocks.front().strategy.tensor, (PlanAxes{2, 3}));
  EXPECT_EQ(plan->countStageAxes(), 1u);
  degrees.mesh = {2, 3, 4};
  plan = makePlan(degrees, report);
  ASSERT_TRUE(plan) << all;
  EXPECT_EQ(plan->blocks.front().strategy.tensor, (PlanAxes{2}));
  EXPECT_EQ(all, "");
  degrees.mesh = {3, 2, 4};
  EXPECT_FALSE(makePlan(degrees, report));
  degrees.mesh = {2, 4, 3};
  EXPECT_FALSE(makePlan(degrees, report));
  EXPECT_EQ(all, "stages take the outermost axes of the mesh: of 3x2x4 these have 1, 3, 6 or 24 ranks, not 2\n"
                 "ranks that share each block take the innermost axes of the mesh: of 2x4x3 these have 1, 3 or 12 ranks, not 4\n");
}

} // namespace

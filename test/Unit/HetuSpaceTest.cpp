//===- HetuSpaceTest.cpp - The best of the predecessor's plans ------------===//

#include "HetuInputs.h"
#include "PlainHetuCosts.h"
#include "galvatron/Search/Hetu/Space.h"

#include <random>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

namespace {

struct Found {
  search::Result result;
  HetuPlan plan;
  double getThroughput() const { return 1 / result.time; }
};

Found find(const CostModel &model, std::vector<int64_t> batches, std::optional<int64_t> microBatches, double gigabytes = 36,
           SpaceKind kind = SpaceKind::Published) {
  Space space(model, kind, StrategyLimits(), MemoryBudget::ofGigabytes(gigabytes), batches, microBatches);
  Found found{search::findBest(space), {}};
  if (found.result.best)
    found.plan = space.getPlan(found.result.problem, *found.result.best);
  return found;
}

PlainLayer toPlain(const LayerStrategy &s) {
  return {s.pipeline, s.tensor, s.sequence, s.data, s.sharding == StateSharding::Zero3 ? 3 : s.sharding == StateSharding::Zero2 ? 2 : 0, s.checkpoint};
}

PlainPlan toPlain(const HetuPlan &plan) {
  PlainPlan plain;
  plain.batch = plan.globalBatch;
  plain.chunks = plan.microBatches;
  plain.bufferShare = plan.largestShare;
  plain.hasBuffer = plan.hasBuffer;
  plain.end = toPlain(plan.end);
  for (const std::vector<LayerRun> &runs : plan.stages) {
    std::vector<PlainLayer> &layers = plain.stages.emplace_back();
    for (const LayerRun &run : runs)
      layers.insert(layers.end(), static_cast<size_t>(run.count), toPlain(run.strategy));
  }
  return plain;
}

} // namespace

/// What the predecessor's own search finds for each number of micro-batches; it is not exact, so ours may be better.
TEST(HetuSpace, IsNeverBelowThePredecessor) {
  CostModel model = Inputs().make();
  const std::pair<int64_t, double> published[] = {{1, 15.27596}, {2, 14.32477}, {4, 13.96451}, {8, 14.04245}, {16, 14.89393}, {32, 14.87345}, {64, 13.59929}};
  for (auto [microBatches, throughput] : published) {
    Found found = find(model, {64}, microBatches);
    EXPECT_GE(found.getThroughput(), throughput - 5e-6) << microBatches;
    EXPECT_EQ(found.result.getGap(), 0);
  }
  EXPECT_NEAR(find(model, {64}, std::nullopt).getThroughput(), 15.2759597, 1e-7);
}

/// Its published plan has 20 layers that are computed again; embedding and head have a sequence split by two. Ours shares two layers
/// between two ranks each, which is faster by 0.02 %: its search takes moving between strategies for a hundred times as dear as it is.
TEST(HetuSpace, IsFasterThanThePublishedPlan) {
  CostModel model = Inputs().make();
  Found found = find(model, {16}, 1);
  LayerStrategy kept{1, 1, 1, 8, StateSharding::Zero3, false}, again = kept, end{1, 1, 2, 4, StateSharding::Zero3, false};
  again.checkpoint = true;
  HetuPlan published;
  published.globalBatch = 16;
  published.stages = {{{20, again}, {12, kept}}};
  published.end = end;
  PlanCost cost = evaluatePlan(model, published);
  EXPECT_NEAR(16 / cost.time, 14.7323393, 1e-7);
  EXPECT_LE(cost.getMemory(0), MemoryBudget::ofGigabytes(36).getUsable());
  EXPECT_GT(found.getThroughput(), 14.7348);
  std::string layers;
  for (const LayerRun &run : found.plan.stages.front())
    layers += std::to_string(run.count) + " x " + run.strategy.str() + ", ";
  EXPECT_EQ(layers, "20 x 1-1-8f-c, 10 x 1-1-8f, 2 x 1-2*-4f, ");
  // Its price of the one move: (K-1)/K * rows * S * H * bytes * ms/MB * 1e-7 s; more than what the two layers gain.
  double priced = model.getMoveTime(1, 1, 2, 16, 1) * 1e-7 * (1 << 20) * 1000;
  EXPECT_GT(priced, cost.time - found.result.time * 16);
}

/// What its tests expect of the profiles that they carry.
TEST(HetuSpace, ReachesItsOwnTests) {
  Inputs setup;
  std::string fixture = inputs + "/main/tests_fixture/";
  setup.computation = fixture + "computation_profiling_sequence.json";
  setup.memory = fixture + "memory_profiling_sequence_sp.json";
  setup.hardware = fixture + "hardware_configs";
  setup.timeMode = TimeMode::Sequence;
  setup.memoryMode = MemoryMode::Sequence;
  setup.settings.sequence = 8192;
  setup.settings.layers = 28;
  setup.settings.asyncReduction = false;
  CostModel model = setup.make();
  EXPECT_GE(find(model, {64}, 32).getThroughput(), 2.6485091404 - 1e-9);
  EXPECT_NEAR(find(model, {64}, 8, 36, SpaceKind::Uniform).getThroughput(), 2.5246283459, 1e-8);
}

/// The evaluator that was written apart agrees with every plan that is found, and none is above its limit. Points are those of a grid.
TEST(HetuSpace, PlansCostWhatThePlainFormulasSay) {
  CostModel model = Inputs().make();
  size_t plans = 0;
  for (double gigabytes : {16, 20, 21, 24, 28, 32, 36, 40, 48, 60})
    for (int64_t batch : {8, 9, 16, 24, 30, 32, 48, 64})
      for (SpaceKind kind : {SpaceKind::Published, SpaceKind::Uniform}) {
        Found found = find(model, {batch}, std::nullopt, gigabytes, kind);
        SCOPED_TRACE(std::to_string(gigabytes) + " GB, batch " + std::to_string(batch));
        EXPECT_EQ(found.result.getGap(), 0);
        if (!found.result.best)
          continue;
        ++plans;
        PlainCosts plain = computePlainCosts(inputs, toPlain(found.plan));
        double time = found.result.time * static_cast<double>(batch);
        EXPECT_NEAR(plain.time, time, 1e-9 * time);
        PlanCost cost = evaluatePlan(model, found.plan);
        EXPECT_NEAR(cost.time, time, 1e-9 * time);
        double usable = static_cast<double>(MemoryBudget::ofGigabytes(gigabytes).getUsable());
        for (size_t stage = 0; stage < plain.memory.size(); ++stage) {
          EXPECT_LE(plain.memory[stage], usable * (1 + 1e-9));
          EXPECT_NEAR(plain.memory[stage], cost.getMemory(stage), 1e-6);
        }
      }
  EXPECT_GT(plans, 140u);
}

/// Also where moving by way of a larger degree is cheaper, or no moves are counted.
TEST(HetuSpace, MovesCostWhatTheirEvaluationSays) {
  for (bool isMegatron : {false, true})
    for (double ofTwo : {2.335, 0.5, 100.}) {
      Inputs setup;
      setup.settings.isCorrected = true;
      setup.settings.sequenceParallel = isMegatron;
      setup.settings.layers = 11;
      if (!isMegatron) {
        setup.memory = inputs + "/main/tests_fixture/memory_profiling_static.json";
        setup.computation = inputs + "/main/tests_fixture/computation_profiling_static.json";
        setup.timeMode = TimeMode::Static;
        setup.settings.sequence = 4096;
      }
      setup.bandwidths = {{{2, true}, ofTwo}, {{4, true}, 646.3}, {{8, true}, 12.67}};
      CostModel model = setup.make();
      for (double gigabytes = 7; gigabytes < 14; gigabytes += 0.4) {
        SCOPED_TRACE(std::to_string(gigabytes) + " GB, " + std::to_string(ofTwo));
        Found found = find(model, {32}, std::nullopt, gigabytes, SpaceKind::Fixed);
        if (!found.result.best)
          continue;
        double time = evaluatePlan(model, found.plan).time;
        EXPECT_NEAR(found.result.time * 32, time, 1e-9 * time);
        Found uniform = find(model, {32}, std::nullopt, gigabytes, SpaceKind::Uniform);
        if (uniform.result.best && uniform.plan.globalBatch % (uniform.plan.microBatches * uniform.plan.end.data) == 0)
          EXPECT_LE(found.result.time, uniform.result.time * (1 + 1e-9));
      }
    }
}

/// Where moving between strategies costs, the search counts what the evaluation of its plan counts, and a smaller space has nothing better.
TEST(HetuSpace, FixedPlansCostWhatTheirEvaluationSays) {
  Inputs setup;
  setup.settings.isCorrected = true;
  CostModel model = setup.make();
  size_t moving = 0;
  for (double gigabytes : {16, 24, 36, 40, 60})
    for (int64_t batch : {8, 24, 64, 256, 512, 960}) {
      SCOPED_TRACE(std::to_string(gigabytes) + " GB, batch " + std::to_string(batch));
      Found found = find(model, {batch}, std::nullopt, gigabytes, SpaceKind::Fixed);
      if (!found.result.best)
        continue;
      PlanCost cost = evaluatePlan(model, found.plan);
      double time = found.result.time * static_cast<double>(batch);
      EXPECT_NEAR(cost.time, time, 1e-9 * time);
      for (double moves : cost.moves)
        moving += moves > 0;
      for (int64_t most : {1, 2, 4}) {
        StrategyLimits limits;
        limits.mostTensor = most;
        limits.endSequence = most > 1;
        Space part(model, SpaceKind::Fixed, limits, MemoryBudget::ofGigabytes(gigabytes), {batch}, std::nullopt);
        EXPECT_GE(search::findBest(part).time, found.result.time * (1 - 1e-9));
      }
    }
  EXPECT_GT(moving, 5u);
}

/// No plan that is drawn at random and fits is faster than the one that is proven best.
TEST(HetuSpace, NoRandomPlanIsFaster) {
  CostModel model = Inputs().make();
  std::mt19937_64 random(7);
  auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  double best = find(model, {32}, std::nullopt).result.time * 32;
  Space space(model, SpaceKind::Published, StrategyLimits(), MemoryBudget::ofGigabytes(36), {32}, std::nullopt);
  size_t fitting = 0;
  for (int draw = 0; draw < 20000; ++draw) {
    size_t index = below(space.size());
    search::Problem problem = space.make(index);
    search::Assignment assignment;
    assignment.end = below(problem.ends.size());
    for (const auto &runs : problem.stages) {
      // Two choices for the layers of a stage.
      auto &chosen = assignment.stages.emplace_back();
      int64_t first = static_cast<int64_t>(below(static_cast<size_t>(runs.front().count) + 1));
      for (int64_t count : {first, runs.front().count - first})
        if (count)
          chosen.push_back({0, below(problem.kinds.front().size()), count});
    }
    HetuPlan plan = space.getPlan(index, assignment);
    PlainCosts plain = computePlainCosts(inputs, toPlain(plan));
    search::Evaluation evaluation = search::evaluate(problem, assignment);
    ASSERT_NEAR(evaluation.time * 32, plain.time, 1e-9 * plain.time) << "draw " << draw;
    bool fits = true;
    for (double memory : plain.memory)
      fits &= memory <= MemoryBudget::ofGigabytes(36).getUsable();
    // A plan of a task with a larger buffer is one of a smaller task, too.
    EXPECT_TRUE(fits || !evaluation.fits(problem));
    if (!fits)
      continue;
    ++fitting;
    EXPECT_GE(plain.time, best * (1 - 1e-9)) << "draw " << draw;
  }
  EXPECT_GT(fitting, 1000u);
}

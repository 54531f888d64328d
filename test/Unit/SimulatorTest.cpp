//===- SimulatorTest.cpp - Steps whose time a textbook knows --------------===//

#include "galvatron/Search/Simulator.h"

#include "gtest/gtest.h"
#include <algorithm>
#include <map>
#include <random>

using namespace galvatron;
using namespace galvatron::search;

namespace {

/// Stages that all take the same.
std::vector<SimulatedStage> makeEven(size_t stages, double forward, double backward) {
  SimulatedStage stage;
  stage.forward = forward;
  stage.backward = backward;
  stage.states = 100;
  stage.activation = 7;
  return std::vector<SimulatedStage>(stages, stage);
}

/// What any simulation keeps to, whatever the costs.
void check(const std::vector<SimulatedStage> &stages, int64_t microBatches, const Simulation &simulation) {
  std::map<std::tuple<size_t, int, int64_t>, std::pair<double, double>> spans; // from the first begin to the last end
  for (const Simulation::Span &span : simulation.spans) {
    auto [found, isNew] = spans.try_emplace({span.stage, int(span.kind), span.microBatch}, std::pair(span.begin, span.end));
    found->second.first = std::min(found->second.first, span.begin);
    found->second.second = std::max(found->second.second, span.end);
    if (span.cause >= 0)
      EXPECT_LE(simulation.spans[static_cast<size_t>(span.cause)].end, span.begin + 1e-9);
  }
  double after = 1e-9;
  for (size_t stage = 0; stage < stages.size(); ++stage)
    for (int64_t m = 0; m < microBatches; ++m) {
      auto of = [&](size_t s, Simulation::Kind kind) { return spans.at({s, int(kind), m}); };
      auto forward = of(stage, Simulation::Kind::Forward), backward = of(stage, Simulation::Kind::Backward);
      EXPECT_GE(backward.first, forward.second - after);
      if (stage + 1 == stages.size())
        continue;
      auto there = of(stage, Simulation::Kind::SendForward), back = of(stage + 1, Simulation::Kind::SendBackward);
      EXPECT_GE(there.first, forward.second - after);
      EXPECT_GE(of(stage + 1, Simulation::Kind::Forward).first, there.second - after);
      EXPECT_GE(back.first, of(stage + 1, Simulation::Kind::Backward).second - after);
      EXPECT_GE(backward.first, back.second - after);
    }
  // The critical path goes from the begin of the step to its end without a gap.
  ASSERT_FALSE(simulation.criticalPath.empty());
  double at = 0;
  for (size_t span : simulation.criticalPath) {
    EXPECT_NEAR(simulation.spans[span].begin, at, 1e-9 * std::max(1.0, at));
    at = simulation.spans[span].end;
  }
  EXPECT_NEAR(at, simulation.time, 1e-9 * simulation.time);
}

} // namespace

/// Both schedules take (M + P - 1) (f + b), of which P - 1 turns are empty (Narayanan et al. 2021, section 2.2); a stage holds what
/// min(P - s, M) micro-batches keep under 1F1B, M under GPipe.
TEST(Simulator, EvenStagesTakeWhatTheTextbookSays) {
  for (size_t stages : {1, 2, 3, 4, 8})
    for (int64_t microBatches : {1, 2, 3, 4, 7, 8, 16})
      for (PlanSchedule schedule : {PlanSchedule::OneFOneB, PlanSchedule::GPipe}) {
        SCOPED_TRACE(std::to_string(stages) + " stages, " + std::to_string(microBatches) + " micro-batches");
        auto even = makeEven(stages, 1, 2);
        Simulation simulation = simulate(even, schedule, microBatches, 1.2);
        double turns = static_cast<double>(microBatches) + static_cast<double>(stages) - 1;
        EXPECT_NEAR(simulation.time, 3 * turns, 1e-9);
        EXPECT_NEAR(simulation.getBubble(), (static_cast<double>(stages) - 1) / turns, 1e-9);
        for (size_t stage = 0; stage < stages; ++stage) {
          int64_t held = schedule == PlanSchedule::GPipe ? microBatches : std::min<int64_t>(static_cast<int64_t>(stages - stage), microBatches);
          EXPECT_DOUBLE_EQ(simulation.peak[stage], 100 + 7 * static_cast<double>(held));
          EXPECT_DOUBLE_EQ(simulation.memory[stage].back().second, 100);
        }
        check(even, microBatches, simulation);
      }
}

/// A slow stage sets the pace: the first micro-batch comes to it; it runs all of its own, and waits once, from the end of the forwards that are
/// ahead to when the first micro-batch is back; the last one goes on back from it.
TEST(Simulator, TheSlowestStageSetsThePace) {
  for (size_t slow : {0, 1, 2, 3}) {
    auto stages = makeEven(4, 1, 2);
    stages[slow].forward = 2;
    stages[slow].backward = 4;
    Simulation simulation = simulate(stages, PlanSchedule::OneFOneB, 16, 1);
    double before = static_cast<double>(slow), behind = 3 - before, ahead = behind + 1;
    double wait = std::max(0.0, 2 + 3 * behind - 2 * ahead);
    EXPECT_NEAR(simulation.time, before * 1 + 16 * 6 + wait + before * 2, 1e-9) << slow;
    check(stages, 16, simulation);
  }
}

/// Sends that nothing else waits for are hidden; the first and last ones are not.
TEST(Simulator, SendsAreOnTheWay) {
  auto stages = makeEven(2, 1, 2);
  for (SimulatedStage &stage : stages)
    stage.send = 0.25;
  Simulation simulation = simulate(stages, PlanSchedule::GPipe, 8, 1);
  EXPECT_NEAR(simulation.time, 3 * 9 + 2 * 0.25, 1e-9);
  check(stages, 8, simulation);
}

/// Reduction beside the last backward: while both run, both take longer, as the predecessor's formula has it for many layers.
TEST(Simulator, ReductionsOverlapWithTheLastBackward) {
  for (double reduction : {0.5, 1.0, 2.0, 3.0, 10.0}) {
    auto stages = makeEven(1, 1, 2);
    stages[0].reduction = reduction;
    stages[0].pieces = 4000;
    constexpr double slow = 1.25;
    Simulation simulation = simulate(stages, PlanSchedule::OneFOneB, 3, slow);
    double a = reduction * slow, q = 2 * slow, overlapped = a > q ? q + (reduction - q / slow) : a + 2 - a / slow;
    EXPECT_NEAR(simulation.time, 3 * 3 - 2 + overlapped, 2e-3 * simulation.time) << reduction;
    check(stages, 3, simulation);
  }
  // In one piece nothing is hidden.
  auto stages = makeEven(1, 1, 2);
  stages[0].reduction = 5;
  EXPECT_NEAR(simulate(stages, PlanSchedule::OneFOneB, 1, 1.25).time, 8, 1e-9);
}

/// Whatever the costs: dependencies hold, no step is shorter than its longest stage or its first micro-batch, nothing is lost.
TEST(Simulator, RandomStagesKeepToTheRules) {
  std::mt19937_64 random(11);
  auto number = [&](double most) { return most * static_cast<double>(random() >> 11) / 9007199254740992.0; };
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(round);
    std::vector<SimulatedStage> stages(1 + random() % 6);
    int64_t microBatches = 1 + static_cast<int64_t>(random() % 12);
    double once = 0, longest = 0;
    for (SimulatedStage &stage : stages) {
      stage = {number(3), number(5), random() % 3 ? number(1) : 0, random() % 2 ? number(6) : 0, 1 + static_cast<int64_t>(random() % 5), number(50), number(9)};
      once += stage.forward + stage.backward;
      longest = std::max(longest, static_cast<double>(microBatches) * (stage.forward + stage.backward));
    }
    PlanSchedule schedule = random() % 2 ? PlanSchedule::GPipe : PlanSchedule::OneFOneB;
    Simulation simulation = simulate(stages, schedule, microBatches, 1 + number(1));
    check(stages, microBatches, simulation);
    EXPECT_GE(simulation.time, once - 1e-9);
    EXPECT_GE(simulation.time, longest - 1e-9);
  }
}

// ScheduleTest.cpp: learning rates, optimizer scalars, and how numbers are written.
#include "core/Schedule.h"
#include "core/Report.h"
#include "galvatron_rt.h"

#include <cmath>
#include <cstdlib>
#include <gtest/gtest.h>

using namespace galvatron_rt;

namespace {

// Values of transformers' get_constant/linear/cosine_schedule_with_warmup for lr 1, 2 warmup steps,
// 6 steps.
TEST(ScheduleTest, MatchesTheUsualDefinitions) {
  Hyper hyper;
  hyper.lr = 1;
  hyper.steps = 6;
  hyper.warmup = 2;
  const double constant[] = {0, 0.5, 1, 1, 1, 1};
  const double linear[] = {0, 0.5, 1, 0.75, 0.5, 0.25};
  const double cosine[] = {0, 0.5, 1, 0.85355339059327373, 0.5, 0.14644660940672627};
  for (int64_t i = 0; i < 6; ++i) {
    hyper.schedule = LrSchedule::Constant;
    EXPECT_DOUBLE_EQ(learningRate(hyper, i + 1), constant[i]);
    hyper.schedule = LrSchedule::Linear;
    EXPECT_DOUBLE_EQ(learningRate(hyper, i + 1), linear[i]);
    hyper.schedule = LrSchedule::Cosine;
    EXPECT_DOUBLE_EQ(learningRate(hyper, i + 1), cosine[i]);
  }
  hyper.warmup = 0;
  hyper.schedule = LrSchedule::Linear;
  EXPECT_EQ(learningRate(hyper, 1), 1) << "no warmup: the first step has the whole rate";
  hyper.warmup = 10; // longer than the run
  EXPECT_DOUBLE_EQ(learningRate(hyper, 6), 0.5);
}

TEST(ScheduleTest, WritesEveryOptimizerScalar) {
  Hyper hyper;
  hyper.lr = 3e-3;
  hyper.beta1 = 0.9;
  hyper.beta2 = 0.95;
  hyper.eps = 1e-8;
  hyper.weightDecay = 0.1;
  hyper.momentum = 0.8;
  float h[GALVATRON_RT_HYPER_COUNT];
  writeHyper(hyper, 1, h);
  EXPECT_EQ(h[GALVATRON_RT_HYPER_LR], 3e-3f);
  EXPECT_EQ(h[GALVATRON_RT_HYPER_BETA1], 0.9f);
  EXPECT_EQ(h[GALVATRON_RT_HYPER_BETA2], 0.95f);
  EXPECT_EQ(h[GALVATRON_RT_HYPER_EPS], 1e-8f);
  EXPECT_EQ(h[GALVATRON_RT_HYPER_WEIGHT_DECAY], 0.1f);
  EXPECT_EQ(h[GALVATRON_RT_HYPER_BIAS1], static_cast<float>(1 / (1 - 0.9)));
  EXPECT_EQ(h[GALVATRON_RT_HYPER_BIAS2], static_cast<float>(1 / std::sqrt(1 - 0.95)));
  EXPECT_EQ(h[GALVATRON_RT_HYPER_MOMENTUM], 0.8f);
  EXPECT_EQ(h[GALVATRON_RT_HYPER_MAX_NORM], INFINITY);
  EXPECT_EQ(h[GALVATRON_RT_HYPER_FIRST_STEP], 1);
  EXPECT_EQ(h[GALVATRON_RT_HYPER_ONE_MINUS_BETA1], static_cast<float>(1 - 0.9));
  EXPECT_EQ(h[GALVATRON_RT_HYPER_ONE_MINUS_BETA2], static_cast<float>(1 - 0.95));
  EXPECT_EQ(h[GALVATRON_RT_HYPER_STEP_SIZE], static_cast<float>(3e-3 / (1 - 0.9)));
  EXPECT_EQ(h[GALVATRON_RT_HYPER_DECAY_FACTOR], static_cast<float>(1 - 3e-3 * 0.1));
  EXPECT_EQ(h[GALVATRON_RT_HYPER_STEP], 1);
  hyper.clipNorm = 0.5;
  writeHyper(hyper, 7, h);
  EXPECT_EQ(h[GALVATRON_RT_HYPER_MAX_NORM], 0.5f);
  EXPECT_EQ(h[GALVATRON_RT_HYPER_FIRST_STEP], 0);
  EXPECT_EQ(h[GALVATRON_RT_HYPER_BIAS2], static_cast<float>(1 / std::sqrt(1 - std::pow(0.95, 7))));
}

TEST(ReportTest, NumbersReadBackAsTheyWere) {
  for (float value : {0.1f, 5.3518724f, 1e-30f, 3.4e38f, 16777217.0f})
    EXPECT_EQ(std::strtof(numberText(value).c_str(), nullptr), value);
  for (double value : {0.1, 3e-3, 1.0 / 3})
    EXPECT_EQ(std::strtod(numberText(value).c_str(), nullptr), value);
  EXPECT_EQ(numberText(NAN), "null") << "JSON has no NaN";
  StepReport report;
  report.step = 3;
  report.hasLoss = report.hasLr = true;
  report.loss = 1.5f;
  report.lr = 0.001;
  report.milliseconds = 2;
  report.tokensPerSecond = 100;
  EXPECT_EQ(logLine(report),
            "{\"step\": 3, \"loss\": 1.5, \"lr\": 0.001, \"step_ms\": 2, \"tokens_per_s\": 100}");
}

} // namespace

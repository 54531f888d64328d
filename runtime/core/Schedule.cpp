// Schedule.cpp: see Schedule.h. All in double, rounded once, as PyTorch does it in Python.
#include "core/Schedule.h"

#include "galvatron_rt.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace galvatron_rt {

double learningRate(const Hyper &hyper, int64_t step) {
  double done = static_cast<double>(step - 1), warmup = static_cast<double>(hyper.warmup);
  if (done < warmup)
    return hyper.lr * done / warmup;
  double length = std::max(1.0, static_cast<double>(hyper.steps) - warmup);
  double progress = std::min(1.0, (done - warmup) / length);
  switch (hyper.schedule) {
  case LrSchedule::Constant:
    return hyper.lr;
  case LrSchedule::Linear:
    return hyper.lr * (1 - progress);
  case LrSchedule::Cosine:
    return hyper.lr * 0.5 * (1 + std::cos(M_PI * progress));
  }
  __builtin_unreachable();
}

void writeHyper(const Hyper &hyper, int64_t step, float *out) {
  double t = static_cast<double>(step), lr = learningRate(hyper, step);
  double correction1 = 1 - std::pow(hyper.beta1, t), correction2 = 1 - std::pow(hyper.beta2, t);
  std::fill_n(out, GALVATRON_RT_HYPER_COUNT, 0.0f);
  auto set = [&](galvatron_rt_hyper index, double value) {
    out[index] = static_cast<float>(value);
  };
  set(GALVATRON_RT_HYPER_LR, lr);
  set(GALVATRON_RT_HYPER_BETA1, hyper.beta1);
  set(GALVATRON_RT_HYPER_BETA2, hyper.beta2);
  set(GALVATRON_RT_HYPER_EPS, hyper.eps);
  set(GALVATRON_RT_HYPER_WEIGHT_DECAY, hyper.weightDecay);
  set(GALVATRON_RT_HYPER_BIAS1, 1 / correction1);
  set(GALVATRON_RT_HYPER_BIAS2, 1 / std::sqrt(correction2));
  set(GALVATRON_RT_HYPER_MOMENTUM, hyper.momentum);
  set(GALVATRON_RT_HYPER_MAX_NORM,
      hyper.clipNorm > 0 ? hyper.clipNorm : std::numeric_limits<double>::infinity());
  set(GALVATRON_RT_HYPER_FIRST_STEP, step == 1);
  set(GALVATRON_RT_HYPER_ONE_MINUS_BETA1, 1 - hyper.beta1);
  set(GALVATRON_RT_HYPER_ONE_MINUS_BETA2, 1 - hyper.beta2);
  set(GALVATRON_RT_HYPER_STEP_SIZE, lr / correction1);
  set(GALVATRON_RT_HYPER_DECAY_FACTOR, 1 - lr * hyper.weightDecay);
  set(GALVATRON_RT_HYPER_STEP, t);
}

} // namespace galvatron_rt

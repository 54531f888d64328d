// Schedule.h: the learning rate of a step, and the values an optimizer's generated code reads.
#ifndef GALVATRON_RT_CORE_SCHEDULE_H
#define GALVATRON_RT_CORE_SCHEDULE_H

#include <cstdint>

namespace galvatron_rt {

enum class LrSchedule { Constant, Linear, Cosine };

struct Hyper {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weightDecay = 0;
  double momentum = 0;
  double clipNorm = 0; // 0 = no clipping
  LrSchedule schedule = LrSchedule::Constant;
  int64_t warmup = 0; // steps
  int64_t steps = 1;  // of the whole run
};

/// Learning rate of step `step` (the first is 1), as transformers' get_*_schedule_with_warmup
/// define it: with s = step - 1 steps done, lr * s / warmup during warmup; then lr, or lr * (steps
/// - s) / (steps - warmup), or lr * (1 + cos(pi * (s - warmup) / (steps - warmup))) / 2. So a
/// warmup starts at 0, and the decays would reach 0 at step steps + 1.
double learningRate(const Hyper &hyper, int64_t step);

/// Fills GALVATRON_RT_HYPER_COUNT floats for step `step`.
void writeHyper(const Hyper &hyper, int64_t step, float *out);

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_SCHEDULE_H

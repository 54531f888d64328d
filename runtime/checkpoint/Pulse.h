// Pulse.h: how ranks that read or write a file together tell each other that they are still at it.
#ifndef GALVATRON_RT_CHECKPOINT_PULSE_H
#define GALVATRON_RT_CHECKPOINT_PULSE_H

#include "core/Context.h"

namespace galvatron_rt {

/// All ranks go through the same bytes, some of them faster, and meet from time to time: no disk is then
/// slow enough for one rank to take another for dead.
class Pulse {
public:
  /// `what` is what they are at, for messages.
  Pulse(const galvatron_rt_context &context, const char *what) : context(context), what(what) {}

  /// Counts `bytes`; whether it is time to meet.
  bool isDue(int64_t bytes) {
    constexpr int64_t most = int64_t(64) << 20;
    passed += bytes;
    return context.everyone && passed >= most;
  }
  void meet() {
    passed = 0;
    context.agree(what, 0);
  }

private:
  const galvatron_rt_context &context;
  const char *what;
  int64_t passed = 0;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_CHECKPOINT_PULSE_H

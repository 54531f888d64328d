// Patience.h: how long a rank waits for others.
#ifndef GALVATRON_RT_COMM_PATIENCE_H
#define GALVATRON_RT_COMM_PATIENCE_H

#include "core/Clock.h"

#include <algorithm>

namespace galvatron_rt {

/// Counts the time in which this rank looked whether the others had come. What passes between two looks, which are milliseconds
/// apart, counts as a second at most: a job that was stopped and goes on has not waited meanwhile.
class Patience {
public:
  explicit Patience(double timeout) : remaining(timeout), last(secondsNow()) {}

  /// Seconds; 0 or less when they are over.
  double left() {
    double now = secondsNow();
    remaining -= std::min(now - last, 1.0);
    last = now;
    return remaining;
  }

private:
  double remaining, last;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_COMM_PATIENCE_H

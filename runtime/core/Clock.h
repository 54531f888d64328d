// Clock.h: time that only goes forward.
#ifndef GALVATRON_RT_CORE_CLOCK_H
#define GALVATRON_RT_CORE_CLOCK_H

#include <chrono>

namespace galvatron_rt {

inline double secondsNow() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_CLOCK_H

// ImageChecks.h: how the checks of an image complain.
#ifndef GALVATRON_RT_CORE_IMAGECHECKS_H
#define GALVATRON_RT_CORE_IMAGECHECKS_H

#include "core/Error.h"

#include <cstdint>

namespace galvatron_rt::image {

constexpr int64_t maxCount = int64_t(1) << 40;

template <typename... Parts> [[noreturn]] void bad(const Parts &...parts) {
  fail("program table: ", parts...);
}

inline bool inRange(int64_t index, int64_t count) { return index >= 0 && index < count; }

} // namespace galvatron_rt::image

#endif // GALVATRON_RT_CORE_IMAGECHECKS_H

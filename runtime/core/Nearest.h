// Nearest.h: what somebody who misspelt a name may have meant.
#ifndef GALVATRON_RT_CORE_NEAREST_H
#define GALVATRON_RT_CORE_NEAREST_H

#include <string>
#include <vector>

namespace galvatron_rt {

/// The candidate that is most like `name`, or "" if half of the letters differ in each.
std::string nearestName(const std::string &name, const std::vector<std::string> &candidates);

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_NEAREST_H

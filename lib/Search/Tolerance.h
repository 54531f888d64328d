//===- Tolerance.h - What rounding may do -----------------------*- C++ -*-===//

#ifndef GALVATRON_LIB_SEARCH_TOLERANCE_H
#define GALVATRON_LIB_SEARCH_TOLERANCE_H

#include <cmath>
#include <limits>

namespace galvatron::search {

inline constexpr double infinity = std::numeric_limits<double>::infinity();
/// Sums of as many terms as there are blocks differ by less with their order.
inline constexpr double rounding = 1e-12;

/// Whether a sum is at most a limit, but for rounding.
inline bool isWithin(double sum, double limit) { return sum <= limit + rounding * std::fabs(limit); }

/// Whether a bound leaves nothing that is better than what there is.
inline bool isRuledOut(double bound, double best) { return bound == infinity || (best != infinity && bound >= best - rounding * std::fabs(best)); }

} // namespace galvatron::search

#endif

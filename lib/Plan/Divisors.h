//===- Divisors.h - What divides a number, for messages and meshes --------===//

#ifndef GALVATRON_LIB_PLAN_DIVISORS_H
#define GALVATRON_LIB_PLAN_DIVISORS_H

#include "llvm/ADT/SmallVector.h"

#include <string>

namespace galvatron {

/// The divisors of `n` as text: "1, 2 or 4".
std::string listDivisors(int64_t n);

/// The prime factors of `n`, the largest first.
llvm::SmallVector<int64_t> factorize(int64_t n);

} // namespace galvatron

#endif

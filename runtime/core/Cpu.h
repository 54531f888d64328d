// Cpu.h: what this machine's processor can do, against what a program was compiled for.
#ifndef GALVATRON_RT_CORE_CPU_H
#define GALVATRON_RT_CORE_CPU_H

#include <cstdint>
#include <string>
#include <vector>

namespace galvatron_rt {

/// Splits "avx2,fma" at its commas; "" gives nothing.
std::vector<std::string> splitFeatures(const std::string &list);

/// Features that a GALVATRON_RT_CPU_ level consists of; empty if it is no level.
std::vector<std::string> levelFeatures(int64_t level);

/// Those of `wanted` that this machine lacks or that nobody knows.
std::vector<std::string> missingFeatures(const std::vector<std::string> &wanted);

/// Cores this process may run on.
int availableCores();

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_CPU_H

// Backends.cpp: see Backends.h and ImageBuilder.h.
#include "Backends.h"

#include "ImageBuilder.h"

#include <cstdlib>

std::vector<Backend> allBackends() { return {{"cpu", galvatron_rt_context_create}}; }

int64_t testLevel() {
  const char *wanted = std::getenv("GALVATRON_RT_TEST_LEVEL");
  if (wanted)
    return std::atoi(wanted);
  return galvatron_rt_cpu_level_present(GALVATRON_RT_CPU_X86_64_V4) ? GALVATRON_RT_CPU_X86_64_V4
                                                                    : GALVATRON_RT_CPU_X86_64_V3;
}

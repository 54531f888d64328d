// Random.h: initial values for models without a weights file.
//
// A value is a function of the seed, the saved tensor's name and the element's index in it, so that
// it does not depend on threads, views or plans.
#ifndef GALVATRON_RT_CHECKPOINT_RANDOM_H
#define GALVATRON_RT_CHECKPOINT_RANDOM_H

#include <cstdint>
#include <string>

namespace galvatron_rt {

struct RandomBlock {
  uint32_t word[4];
};

/// Philox4x32 with 10 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
RandomBlock philox(uint64_t key, uint64_t counterLow, uint64_t counterHigh);

/// The stream of a tensor: FNV-1a of its name.
uint64_t randomStream(const std::string &name);

/// Elements [begin, begin + count) of N(0, 1) * deviation, by Philox4x32-10 and Box and Muller's
/// transform. Block i / 4 (key = seed, counter = (block, stream)) makes four elements: the cosine
/// and the sine of its first two words, then of its last two.
void fillNormal(uint64_t seed, uint64_t stream, int64_t begin, int64_t count, float deviation,
                float *out);

} // namespace galvatron_rt

#endif // GALVATRON_RT_CHECKPOINT_RANDOM_H

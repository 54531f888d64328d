// Random.cpp: see Random.h.
#include "checkpoint/Random.h"

#include <algorithm>
#include <cmath>

namespace galvatron_rt {

RandomBlock philox(uint64_t key, uint64_t low, uint64_t high) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  RandomBlock x = {{static_cast<uint32_t>(low), static_cast<uint32_t>(low >> 32),
                    static_cast<uint32_t>(high), static_cast<uint32_t>(high >> 32)}};
  for (int round = 0; round < 10; ++round) {
    uint64_t a = uint64_t(0xD2511F53) * x.word[0], b = uint64_t(0xCD9E8D57) * x.word[2];
    x = {{static_cast<uint32_t>(b >> 32) ^ x.word[1] ^ k0, static_cast<uint32_t>(b),
          static_cast<uint32_t>(a >> 32) ^ x.word[3] ^ k1, static_cast<uint32_t>(a)}};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return x;
}

uint64_t randomStream(const std::string &name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char c : name)
    hash = (hash ^ c) * 0x100000001b3;
  return hash;
}

void fillNormal(uint64_t seed, uint64_t stream, int64_t begin, int64_t count, float deviation,
                float *out) {
  constexpr double unit = 1.0 / 4294967296.0;
  constexpr double twoPi = 6.283185307179586;
  for (int64_t i = begin; i < begin + count;) {
    RandomBlock block = philox(seed, static_cast<uint64_t>(i / 4), stream);
    float values[4];
    for (int pair = 0; pair < 2; ++pair) {
      double radius = deviation * std::sqrt(-2.0 * std::log((block.word[pair * 2] + 0.5) * unit));
      double angle = twoPi * (block.word[pair * 2 + 1] + 0.5) * unit;
      values[pair * 2] = static_cast<float>(radius * std::cos(angle));
      values[pair * 2 + 1] = static_cast<float>(radius * std::sin(angle));
    }
    int64_t end = std::min(begin + count, i / 4 * 4 + 4);
    for (; i < end; ++i)
      out[i - begin] = values[i % 4];
  }
}

} // namespace galvatron_rt

//===- KernelChecks.h - How the kernel tests make and compare numbers -----===//

#ifndef GALVATRON_TEST_UNIT_KERNELCHECKS_H
#define GALVATRON_TEST_UNIT_KERNELCHECKS_H

#include "KernelRunner.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <limits>
#include <random>

namespace galvatron::test {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

inline Floats randomFloats(size_t count, unsigned seed, double low = -2, double high = 2) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> distribution(low, high);
  Floats values(count);
  for (float &value : values)
    value = distribution(generator);
  return values;
}

/// `text` with each "$name" replaced by its value.
inline std::string fill(std::string text, const std::vector<std::pair<std::string, std::string>> &values) {
  for (auto &[name, value] : values)
    for (size_t at; (at = text.find(name)) != std::string::npos;)
      text.replace(at, name.size(), value);
  return text;
}

/// Runs with one and two threads, checks that both give the same bits, and returns the results.
inline std::vector<Buffer> runBoth(KernelRunner &runner, const std::vector<Buffer> &inputs) {
  std::vector<Buffer> one = runner.run(inputs, 1), two = runner.run(inputs, 2);
  EXPECT_EQ(one.size(), two.size());
  for (size_t i = 0; i < one.size(); ++i)
    EXPECT_EQ(one[i].bytes, two[i].bytes) << "result " << i << " depends on the number of threads";
  return one;
}

/// Every element within `relative` of the wanted one, or of the largest if that is more lenient.
inline void expectNear(Buffer &found, const Doubles &wanted, double relative = 1e-5, double absolute = 1e-6) {
  Floats values = found.values<float>();
  ASSERT_EQ(values.size(), wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (std::isnan(wanted[i])) {
      ASSERT_TRUE(std::isnan(values[i])) << "element " << i;
      continue;
    }
    if (std::isinf(wanted[i])) {
      ASSERT_EQ(values[i], float(wanted[i])) << "element " << i;
      continue;
    }
    ASSERT_NEAR(values[i], wanted[i], absolute + relative * std::fabs(wanted[i])) << "element " << i;
  }
}

/// What LLVM made of a kernel whose rows are long enough for vectors.
inline void expectGoodCode(const KernelRunner &runner, bool vectors = true) {
  if (!vectors)
    return;
  const std::string &ir = runner.optimizedIR();
  for (const char *bad : {"llvm.masked.gather", "llvm.masked.scatter", "memrefCopy", "malloc"})
    EXPECT_EQ(ir.find(bad), std::string::npos) << bad << " in\n" << ir;
  EXPECT_NE(ir.find(" x float>"), std::string::npos) << "no vectors in\n" << ir;
}

} // namespace galvatron::test

#endif

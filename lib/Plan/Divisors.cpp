//===- Divisors.cpp -------------------------------------------------------===//

#include "Divisors.h"

#include "llvm/ADT/STLExtras.h"

using namespace llvm;

std::string galvatron::listDivisors(int64_t n) {
  SmallVector<int64_t> divisors;
  for (int64_t i = 1; i <= n / i; ++i)
    if (n % i == 0) {
      divisors.push_back(i);
      if (i != n / i)
        divisors.push_back(n / i);
    }
  llvm::sort(divisors);
  std::string text;
  for (auto [i, divisor] : llvm::enumerate(divisors))
    text += (i == 0 ? "" : i + 1 == divisors.size() ? " or " : ", ") + std::to_string(divisor);
  return text;
}

SmallVector<int64_t> galvatron::factorize(int64_t n) {
  SmallVector<int64_t> factors;
  for (int64_t prime = 2; prime <= n / prime; ++prime)
    for (; n % prime == 0; n /= prime)
      factors.push_back(prime);
  if (n > 1)
    factors.push_back(n);
  std::reverse(factors.begin(), factors.end());
  return factors;
}

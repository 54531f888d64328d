// Error.cpp: see Error.h.
#include "core/Error.h"

#include <algorithm>
#include <cstring>

namespace galvatron_rt {

void copyMessage(const std::string &message, char *buffer, size_t size) {
  if (!buffer || size == 0)
    return;
  size_t length = std::min(message.size(), size - 1);
  std::memcpy(buffer, message.data(), length);
  buffer[length] = '\0';
}

int64_t checkedMultiply(int64_t a, int64_t b, const char *what) {
  int64_t product;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product))
    fail(what, " is too large or negative: ", a, " times ", b);
  return product;
}

} // namespace galvatron_rt

// Nearest.cpp: see Nearest.h.
#include "core/Nearest.h"

#include <algorithm>
#include <cstdint>

namespace galvatron_rt {
namespace {

/// Letters to change, add or leave out.
int64_t editDistance(const std::string &a, const std::string &b) {
  std::vector<int64_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = static_cast<int64_t>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    int64_t diagonal = row[0];
    row[0] = static_cast<int64_t>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      int64_t change = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

} // namespace

std::string nearestName(const std::string &name, const std::vector<std::string> &candidates) {
  std::string nearest;
  int64_t distance = static_cast<int64_t>(name.size()) / 2 + 1;
  for (const std::string &candidate : candidates) {
    int64_t d = editDistance(name, candidate);
    if (d < distance) {
      distance = d;
      nearest = candidate;
    }
  }
  return nearest;
}

} // namespace galvatron_rt

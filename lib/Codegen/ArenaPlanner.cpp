//===- ArenaPlanner.cpp - Offsets for buffers that live at different times ===//
//
// One buffer after another goes into the smallest gap that holds it, in a few orders of which the best is taken. What
// could be slow is to know which offsets are free during the whole life of a buffer: a program has as many buffers as
// layers times micro-batches, and those that live long meet them all. So a tree over time keeps ranges of offsets
// instead of buffers. Buffers that lie side by side are one range, and a good plan has few ranges: a placement costs
// about the logarithm of the number of times.
//
//===----------------------------------------------------------------------===//

#include "galvatron/Codegen/ArenaPlanner.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include <algorithm>
#include <limits>
#include <map>
#include <vector>

using namespace galvatron;

namespace {

struct Range {
  int64_t begin, end;
};

/// Offsets that are taken: ranges in order, with free offsets between any two.
class TakenOffsets {
public:
  void add(Range range);
  llvm::ArrayRef<Range> get() const { return ranges; }

private:
  llvm::SmallVector<Range, 2> ranges;
};

/// Which offsets are taken at which times.
class Occupancy {
public:
  explicit Occupancy(size_t times);
  void take(size_t first, size_t last, Range range);
  /// All ranges that are taken at some time of [first, last], in order; they may overlap.
  llvm::ArrayRef<Range> getTaken(size_t first, size_t last);

private:
  /// Calls `visit` with the fewest nodes that make up [first, last].
  template <typename Visit> void forEachPart(size_t first, size_t last, Visit visit) const;
  /// Calls `visit` with every node that holds `first` or `last`.
  template <typename Visit> void forEachAbove(size_t first, size_t last, Visit visit) const;

  /// A time, or the times of nodes 2 i and 2 i + 1; node 1 is all times.
  struct Node {
    TakenOffsets throughout, sometimes;
  };
  size_t leaves = 1;
  std::vector<Node> nodes;
  llvm::SmallVector<Range> found;
};

} // namespace

void TakenOffsets::add(Range range) {
  auto first = llvm::lower_bound(ranges, range.begin, [](const Range &known, int64_t begin) { return known.end < begin; });
  auto last = first;
  for (; last != ranges.end() && last->begin <= range.end; ++last)
    range = {std::min(range.begin, last->begin), std::max(range.end, last->end)};
  if (first == last) {
    ranges.insert(first, range);
    return;
  }
  *first = range;
  ranges.erase(first + 1, last);
}

Occupancy::Occupancy(size_t times) {
  while (leaves < times)
    leaves *= 2;
  nodes.resize(2 * leaves);
}

template <typename Visit> void Occupancy::forEachPart(size_t first, size_t last, Visit visit) const {
  for (size_t l = leaves + first, r = leaves + last + 1; l < r; l /= 2, r /= 2) {
    if (l % 2)
      visit(l++);
    if (r % 2)
      visit(--r);
  }
}

template <typename Visit> void Occupancy::forEachAbove(size_t first, size_t last, Visit visit) const {
  for (size_t l = leaves + first, r = leaves + last; l; l /= 2, r /= 2) {
    visit(l);
    if (l != r)
      visit(r);
  }
}

void Occupancy::take(size_t first, size_t last, Range range) {
  forEachPart(first, last, [&](size_t node) {
    nodes[node].throughout.add(range);
    nodes[node].sometimes.add(range);
  });
  forEachAbove(first, last, [&](size_t node) { nodes[node].sometimes.add(range); });
}

llvm::ArrayRef<Range> Occupancy::getTaken(size_t first, size_t last) {
  found.clear();
  forEachPart(first, last, [&](size_t node) { llvm::append_range(found, nodes[node].sometimes.get()); });
  forEachAbove(first, last, [&](size_t node) { llvm::append_range(found, nodes[node].throughout.get()); });
  llvm::sort(found, [](const Range &a, const Range &b) { return a.begin < b.begin; });
  return found;
}

/// Begins of the smallest free range that holds `wanted` bytes; behind everything if there is none.
static int64_t findPlace(llvm::ArrayRef<Range> taken, int64_t wanted) {
  int64_t best = -1, bestGap = std::numeric_limits<int64_t>::max(), free = 0;
  for (const Range &range : taken) {
    int64_t gap = range.begin - free;
    if (gap >= wanted && gap < bestGap) {
      best = free;
      bestGap = gap;
    }
    free = std::max(free, range.end);
  }
  return best < 0 ? free : best;
}

using OrderKey = llvm::function_ref<double(const ArenaBuffer &)>;

/// Places the buffers in descending order of their keys, and returns the bytes needed.
static int64_t placeInOrder(llvm::MutableArrayRef<ArenaBuffer> buffers, OrderKey key) {
  // Times count from 0, and only those at which something begins matter: what lives at an end lives at the last begin.
  std::vector<int64_t> times;
  std::vector<std::pair<double, size_t>> order;
  for (const auto &[index, buffer] : llvm::enumerate(buffers)) {
    times.push_back(buffer.begin);
    order.push_back({-key(buffer), index});
  }
  llvm::sort(times);
  times.erase(std::unique(times.begin(), times.end()), times.end());
  auto lastAt = [&](int64_t time) { return llvm::upper_bound(times, time) - times.begin() - 1; };
  llvm::sort(order);

  Occupancy occupancy(times.size());
  int64_t peak = 0;
  for (auto [_, index] : order) {
    ArenaBuffer &buffer = buffers[index];
    int64_t wanted = alignToArena(buffer.bytes);
    size_t first = lastAt(buffer.begin), last = lastAt(buffer.end);
    buffer.offset = findPlace(occupancy.getTaken(first, last), wanted);
    occupancy.take(first, last, {buffer.offset, buffer.offset + wanted});
    peak = std::max(peak, buffer.offset + wanted);
  }
  return peak;
}

int64_t galvatron::planArena(llvm::MutableArrayRef<ArenaBuffer> buffers) {
  // Largest first is good where buffers of many sizes follow each other, longest-lived first where they are stacked, as
  // in a step: what the forward keeps goes in the order in which the backward comes back.
  auto getBytes = [](const ArenaBuffer &buffer) -> double { return buffer.bytes; };
  auto getLife = [](const ArenaBuffer &buffer) -> double { return buffer.end - buffer.begin; };
  auto getArea = [](const ArenaBuffer &buffer) -> double { return (buffer.end - buffer.begin + 1.0) * buffer.bytes; };
  int64_t least = getArenaLowerBound(buffers), best = placeInOrder(buffers, getBytes);
  std::vector<ArenaBuffer> other(buffers.begin(), buffers.end());
  for (OrderKey key : {OrderKey(getLife), OrderKey(getArea)}) {
    if (best == least)
      break;
    int64_t peak = placeInOrder(other, key);
    if (peak >= best)
      continue;
    best = peak;
    llvm::copy(other, buffers.begin());
  }
  return best;
}

/// Bytes that become occupied, less those that become free, at each time.
static std::map<int64_t, int64_t> getChanges(llvm::ArrayRef<ArenaBuffer> buffers) {
  std::map<int64_t, int64_t> changes;
  for (const ArenaBuffer &buffer : buffers) {
    changes[buffer.begin] += alignToArena(buffer.bytes);
    changes[buffer.end + 1] -= alignToArena(buffer.bytes);
  }
  return changes;
}

int64_t galvatron::getArenaLowerBound(llvm::ArrayRef<ArenaBuffer> buffers) {
  int64_t now = 0, most = 0;
  for (auto [time, change] : getChanges(buffers))
    most = std::max(most, now += change);
  return most;
}

int64_t galvatron::getArenaPeakTime(llvm::ArrayRef<ArenaBuffer> buffers) {
  int64_t now = 0, most = -1, when = 0;
  for (auto [time, change] : getChanges(buffers)) {
    now += change;
    if (now > most) {
      most = now;
      when = time;
    }
  }
  return when;
}

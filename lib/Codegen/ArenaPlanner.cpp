//===- ArenaPlanner.cpp - Offsets for buffers that live at different times ===//

#include "galvatron/Codegen/ArenaPlanner.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include <limits>
#include <map>

using namespace galvatron;

int64_t galvatron::planArena(llvm::MutableArrayRef<ArenaBuffer> buffers) {
  llvm::SmallVector<ArenaBuffer *> order;
  for (ArenaBuffer &buffer : buffers)
    order.push_back(&buffer);
  llvm::stable_sort(order, [](const ArenaBuffer *a, const ArenaBuffer *b) { return a->bytes > b->bytes; });
  std::multimap<int64_t, ArenaBuffer *> placed; // by offset
  int64_t peak = 0;
  for (ArenaBuffer *buffer : order) {
    int64_t wanted = alignToArena(buffer->bytes), best = -1, bestGap = std::numeric_limits<int64_t>::max(), free = 0;
    for (auto &[offset, other] : placed) {
      if (other->end < buffer->begin || other->begin > buffer->end)
        continue;
      int64_t gap = offset - free;
      if (gap >= wanted && gap < bestGap) {
        best = free;
        bestGap = gap;
      }
      free = std::max(free, offset + alignToArena(other->bytes));
    }
    buffer->offset = best < 0 ? free : best;
    placed.insert({buffer->offset, buffer});
    peak = std::max(peak, buffer->offset + wanted);
  }
  return peak;
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

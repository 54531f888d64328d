//===- ArenaPlanner.h - Offsets for buffers that live at different times --===//

#ifndef GALVATRON_CODEGEN_ARENAPLANNER_H
#define GALVATRON_CODEGEN_ARENAPLANNER_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>

namespace galvatron {

/// Memory that is occupied from time `begin` to time `end`, both included.
struct ArenaBuffer {
  int64_t begin, end, bytes;
  int64_t offset = 0;
};

/// Offsets are multiples of this; the runtime asks for it.
inline constexpr int64_t arenaAlignment = 64;
inline int64_t alignToArena(int64_t bytes) { return (bytes + arenaAlignment - 1) / arenaAlignment * arenaAlignment; }

/// Gives every buffer an offset such that buffers that live at the same time do not overlap. Returns the bytes needed:
/// at least `getArenaLowerBound`, seldom much more. Deterministic, and fast for hundreds of thousands of buffers.
int64_t planArena(llvm::MutableArrayRef<ArenaBuffer> buffers);

/// The most bytes that are occupied at one time.
int64_t getArenaLowerBound(llvm::ArrayRef<ArenaBuffer> buffers);

/// The first time at which that many are.
int64_t getArenaPeakTime(llvm::ArrayRef<ArenaBuffer> buffers);

} // namespace galvatron

#endif

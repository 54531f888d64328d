//===- ArenaPlannerTest.cpp - Buffers do not overlap, and little is wasted ===//

#include "galvatron/Codegen/ArenaPlanner.h"

#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <gtest/gtest.h>
#include <numeric>
#include <random>
#include <vector>

using namespace galvatron;

namespace {

using Buffers = std::vector<ArenaBuffer>;

bool liveTogether(const ArenaBuffer &a, const ArenaBuffer &b) { return a.begin <= b.end && b.begin <= a.end; }

/// Plans `buffers`, checks the plan and returns the bytes it needs.
int64_t planAndCheck(Buffers &buffers) {
  int64_t peak = planArena(buffers), end = 0;
  for (size_t i = 0; i < buffers.size(); ++i) {
    const ArenaBuffer &a = buffers[i];
    EXPECT_GE(a.offset, 0);
    EXPECT_EQ(a.offset % arenaAlignment, 0);
    end = std::max(end, a.offset + alignToArena(a.bytes));
    for (size_t j = 0; j < i; ++j) {
      const ArenaBuffer &b = buffers[j];
      bool apart = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
      EXPECT_TRUE(apart || !liveTogether(a, b)) << "buffers " << i << " and " << j;
    }
  }
  EXPECT_EQ(peak, end);
  EXPECT_GE(peak, getArenaLowerBound(buffers));
  return peak;
}

/// The least bytes that any plan needs. An optimal plan can be pushed down until every buffer lies on another or on the
/// ground; placed from the ground up, each then goes to the lowest offset that is free: some order finds it.
int64_t getOptimum(const Buffers &given) {
  std::vector<size_t> order(given.size());
  std::iota(order.begin(), order.end(), size_t(0));
  int64_t best = INT64_MAX;
  do {
    Buffers placed;
    int64_t peak = 0;
    for (size_t index : order) {
      ArenaBuffer buffer = given[index];
      buffer.offset = 0;
      for (bool moved = true; moved;) {
        moved = false;
        for (const ArenaBuffer &other : placed) {
          int64_t end = other.offset + alignToArena(other.bytes);
          if (liveTogether(buffer, other) && buffer.offset < end && other.offset < buffer.offset + alignToArena(buffer.bytes)) {
            buffer.offset = end;
            moved = true;
          }
        }
      }
      peak = std::max(peak, buffer.offset + alignToArena(buffer.bytes));
      placed.push_back(buffer);
    }
    best = std::min(best, peak);
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

Buffers makeRandom(unsigned seed, size_t count, int64_t times, int64_t maxBytes) {
  std::mt19937 random(seed);
  auto draw = [&](int64_t bound) { return static_cast<int64_t>(random() % bound); };
  Buffers buffers;
  for (size_t i = 0; i < count; ++i) {
    int64_t begin = draw(times), length = draw(draw(4) ? 4 : times);
    buffers.push_back({begin, std::min(begin + length, times - 1), draw(maxBytes)});
  }
  return buffers;
}

/// What the memory of a step looks like: per micro-batch the forwards keep tensors for their backwards, which come in
/// reverse; gradients stay from the first backward to the end of the step; every row has a frame.
Buffers makeStep(unsigned seed, int64_t layers, int64_t microBatches) {
  std::mt19937 random(seed);
  int64_t rows = 2 * layers, end = rows * microBatches;
  std::vector<int64_t> kept(9);
  for (int64_t &bytes : kept)
    bytes = 4 * (1 + random() % 1000000);
  Buffers buffers;
  for (int64_t layer = 0; layer < layers; ++layer)
    for (int64_t i = 0; i < 12; ++i)
      buffers.push_back({rows - 1 - layer, end, 400000 * (1 + i)});
  for (int64_t m = 0; m < microBatches; ++m)
    for (int64_t layer = 0; layer < layers; ++layer) {
      int64_t forward = m * rows + layer, backward = m * rows + rows - 1 - layer;
      for (int64_t bytes : kept)
        buffers.push_back({forward, backward, bytes});
      buffers.push_back({forward, forward, kept[0] / 3});
      buffers.push_back({backward, backward, kept[1] / 2});
    }
  return buffers;
}

double ratio(int64_t bytes, int64_t least) { return double(bytes) / double(std::max<int64_t>(least, 1)); }

} // namespace

TEST(ArenaPlanner, NothingNeedsNothing) {
  Buffers none;
  EXPECT_EQ(planArena(none), 0);
  Buffers empty = {{3, 5, 0}};
  EXPECT_EQ(planAndCheck(empty), 0);
}

TEST(ArenaPlanner, OneAfterTheOtherSharesAPlace) {
  Buffers buffers = {{0, 1, 100}, {1, 2, 100}, {2, 3, 100}};
  EXPECT_EQ(planAndCheck(buffers), 256);
  EXPECT_EQ(buffers[0].offset, buffers[2].offset);
  EXPECT_NE(buffers[0].offset, buffers[1].offset);
}

TEST(ArenaPlanner, LifesMeetAtBothEnds) {
  // The last of the one is the first of the other, far from anything that begins then.
  Buffers buffers = {{0, 10, 64}, {10, 10, 64}, {4, 9, 64}, {-5, 0, 64}};
  EXPECT_EQ(planAndCheck(buffers), 128);
}

TEST(ArenaPlanner, RandomBuffersDoNotOverlap) {
  double worst = 1;
  for (unsigned seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Buffers buffers = makeRandom(seed, 1 + seed % 97, 1 + seed * 7 % 53, seed % 3 ? 5000 : 200);
    worst = std::max(worst, ratio(planAndCheck(buffers), getArenaLowerBound(buffers)));
    ASSERT_FALSE(HasFailure());
  }
  RecordProperty("worst", std::to_string(worst));
  std::printf("at most %.3f of the live bytes\n", worst);
}

TEST(ArenaPlanner, SmallPlansAreNearTheOptimum) {
  double sum = 0, worst = 1;
  constexpr unsigned cases = 300;
  for (unsigned seed = 0; seed < cases; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Buffers buffers = makeRandom(seed, 2 + seed % 5, 8, 1000);
    int64_t optimum = getOptimum(buffers), peak = planAndCheck(buffers);
    EXPECT_GE(optimum, getArenaLowerBound(buffers));
    EXPECT_GE(peak, optimum);
    sum += ratio(peak, optimum);
    worst = std::max(worst, ratio(peak, optimum));
    ASSERT_FALSE(HasFailure());
  }
  std::printf("on average %.4f of the optimum, at most %.3f\n", sum / cases, worst);
  EXPECT_LT(sum / cases, 1.01);
  EXPECT_LT(worst, 1.34);
}

TEST(ArenaPlanner, StepsWasteLittle) {
  for (unsigned seed = 0; seed < 8; ++seed)
    for (int64_t microBatches : {1, 3}) {
      Buffers buffers = makeStep(seed, 12, microBatches);
      double wasted = ratio(planAndCheck(buffers), getArenaLowerBound(buffers));
      std::printf("seed %u, %d micro-batches: %.4f of the live bytes\n", seed, static_cast<int>(microBatches), wasted);
      EXPECT_LT(wasted, 1.02) << "seed " << seed << ", " << microBatches << " micro-batches";
    }
}

// Placement that is quadratic in the number of buffers would take a hundred times as long here, and ctest would show it.
TEST(ArenaPlanner, ManyBuffersArePlacedQuickly) {
  Buffers buffers = makeStep(1, 96, 64);
  ASSERT_GT(buffers.size(), 60000u);
  EXPECT_LT(ratio(planArena(buffers), getArenaLowerBound(buffers)), 1.02);
}

// The same buffers in another order need not have the same plan, but the same list has.
TEST(ArenaPlanner, IsDeterministic) {
  Buffers once = makeRandom(7, 200, 50, 3000), twice = once;
  EXPECT_EQ(planArena(once), planArena(twice));
  for (auto [a, b] : llvm::zip_equal(once, twice))
    EXPECT_EQ(a.offset, b.offset);
}

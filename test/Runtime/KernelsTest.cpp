// KernelsTest.cpp: the entry points that are no matrix product.
#include "Backends.h"
#include "ImageBuilder.h"

#include <atomic>
#include <random>

namespace {

class KernelsTest : public ConformanceTest {
protected:
  ContextPtr withThreads(int64_t threads) {
    builder = ImageBuilder();
    builder.config.threads = threads;
    name = builder.string("token ids");
    return create(builder.build());
  }
  ImageBuilder builder;
  int64_t name = 0;
};

// args: counts (int64 per row), calls, grain
void countRows(void **args, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i)
    __atomic_add_fetch(static_cast<int64_t *>(args[0]) + i, 1, __ATOMIC_RELAXED);
  static_cast<std::atomic<int64_t> *>(args[1])->fetch_add(1);
  if (begin % *static_cast<int64_t *>(args[2]) || begin >= end)
    static_cast<std::atomic<int64_t> *>(args[1])->fetch_add(1000);
}

TEST_P(KernelsTest, ParallelForCoversEveryRowOnce) {
  for (int64_t threads : {1, 2, 3, 5}) {
    ContextPtr ctx = withThreads(threads);
    for (int64_t rows : {0, 1, 2, 7, 16, 100, 1001})
      for (int64_t grain : {1, 4, 16, 2000}) {
        std::vector<int64_t> counts(static_cast<size_t>(rows) + 1, 0);
        std::atomic<int64_t> calls{0};
        void *args[] = {counts.data(), &calls, &grain};
        galvatron_rt_parallel_for(ctx.get(), countRows, args, rows, grain);
        for (int64_t i = 0; i < rows; ++i)
          ASSERT_EQ(counts[static_cast<size_t>(i)], 1)
              << i << " of " << rows << ", grain " << grain;
        EXPECT_EQ(counts.back(), 0);
        EXPECT_LE(calls, std::min(threads, (rows + grain - 1) / grain))
            << "more calls than threads or grains, or a start that is no multiple of the grain";
        EXPECT_EQ(galvatron_rt_context_error(ctx.get()), nullptr);
      }
  }
}

TEST_P(KernelsTest, OneChunkPerThreadNumbersTheThreads) {
  ContextPtr ctx = withThreads(3);
  std::vector<int64_t> counts(4, 0);
  std::atomic<int64_t> calls{0};
  int64_t grain = 1;
  void *args[] = {counts.data(), &calls, &grain};
  galvatron_rt_parallel_for(ctx.get(), countRows, args, 3, 1);
  EXPECT_EQ(counts, (std::vector<int64_t>{1, 1, 1, 0}));
  EXPECT_EQ(calls, 3);
}

TEST_P(KernelsTest, ParallelForRefusesAGrainOfZero) {
  ContextPtr ctx = withThreads(2);
  galvatron_rt_parallel_for(ctx.get(), countRows, nullptr, 3, 0);
  EXPECT_STREQ(galvatron_rt_context_error(ctx.get()), "a parallel loop has grain 0");
}

TEST_P(KernelsTest, ScatterAddsInOrder) {
  const int64_t tableRows = 7, n = 500;
  for (int64_t width : {1, 5, 64, 1000}) {
    std::mt19937 random(3);
    std::vector<float> table(static_cast<size_t>(tableRows * width), 0.5f),
        src(static_cast<size_t>(n * width));
    std::vector<int64_t> ids(static_cast<size_t>(n));
    for (float &x : src)
      x = static_cast<float>(random() % 1000) / 7;
    for (int64_t &id : ids)
      id = random() % (tableRows + 1) - 1; // -1 is passed over
    std::vector<float> expected = table;
    for (size_t i = 0; i < ids.size(); ++i)
      for (int64_t c = 0; ids[i] >= 0 && c < width; ++c)
        expected[static_cast<size_t>(ids[i] * width + c)] +=
            src[i * static_cast<size_t>(width) + static_cast<size_t>(c)];
    for (int64_t threads : {1, 2, 3}) {
      ContextPtr ctx = withThreads(threads);
      std::vector<float> result = table;
      galvatron_rt_scatter_add_rows(ctx.get(), result.data(), tableRows, width, ids.data(), n,
                                    src.data());
      EXPECT_EQ(result, expected) << "bit for bit: width " << width << ", threads " << threads;
    }
  }
}

TEST_P(KernelsTest, ScatterRefusesIdsOutsideTheTable) {
  ContextPtr ctx = withThreads(2);
  float table[4] = {1, 2, 3, 4}, src[4] = {1, 1, 1, 1};
  int64_t ids[] = {0, 2};
  galvatron_rt_scatter_add_rows(ctx.get(), table, 2, 2, ids, 2, src);
  EXPECT_STREQ(galvatron_rt_context_error(ctx.get()), "row id 2 at position 1 is not in [0, 2)");
  EXPECT_EQ(table[0], 1) << "nothing is added";
}

TEST_P(KernelsTest, ZeroesAndCopiesAnySize) {
  ContextPtr ctx = withThreads(3);
  for (size_t bytes :
       {size_t(0), size_t(1), size_t(4097), size_t(1) << 20, (size_t(1) << 20) + 3}) {
    std::vector<char> from(bytes + 2, 'x'), to(bytes + 2, 'y');
    galvatron_rt_copy(ctx.get(), to.data() + 1, from.data() + 1, static_cast<int64_t>(bytes));
    EXPECT_EQ(std::string(to.begin(), to.end()), "y" + std::string(bytes, 'x') + "y");
    galvatron_rt_zero(ctx.get(), to.data() + 1, static_cast<int64_t>(bytes));
    EXPECT_EQ(std::string(to.begin(), to.end()), "y" + std::string(bytes, '\0') + "y");
  }
}

TEST_P(KernelsTest, CheckRangeNamesTheFirstBadValue) {
  ContextPtr ctx = withThreads(2);
  int64_t ids[] = {0, 5, 9, 10, -1};
  galvatron_rt_check_range(ctx.get(), ids, 3, 0, 10, 0, name);
  EXPECT_EQ(galvatron_rt_context_error(ctx.get()), nullptr);
  galvatron_rt_check_range(ctx.get(), ids, 5, 0, 10, 0, name);
  EXPECT_STREQ(galvatron_rt_context_error(ctx.get()),
               "token ids hold the value 10, wanted at least 0 and below 10");
  galvatron_rt_context_clear_error(ctx.get());
  galvatron_rt_check_range(ctx.get(), ids, 5, 0, 11, -1, name);
  EXPECT_EQ(galvatron_rt_context_error(ctx.get()), nullptr);
  galvatron_rt_check_range(ctx.get(), ids, 5, 0, 10, -1, name);
  EXPECT_STREQ(galvatron_rt_context_error(ctx.get()),
               "token ids hold the value 10, wanted at least 0 and below 10, or -1");
}

TEST_P(KernelsTest, KeepsTheFirstErrorAndThenDoesNothing) {
  ContextPtr ctx = withThreads(1);
  int64_t id = 3;
  galvatron_rt_check_range(ctx.get(), &id, 1, 0, 3, 0, name);
  galvatron_rt_check_range(ctx.get(), &id, 1, 7, 9, 7, name);
  char byte = 'x';
  galvatron_rt_zero(ctx.get(), &byte, 1);
  EXPECT_EQ(byte, 'x');
  EXPECT_STREQ(galvatron_rt_context_error(ctx.get()),
               "token ids hold the value 3, wanted at least 0 and below 3");
  galvatron_rt_context_clear_error(ctx.get());
  EXPECT_EQ(galvatron_rt_context_error(ctx.get()), nullptr);
  galvatron_rt_zero(ctx.get(), &byte, 1);
  EXPECT_EQ(byte, '\0');
}

TEST_P(KernelsTest, ArenaIsZeroedAndAligned) {
  builder = ImageBuilder();
  builder.config.arena_bytes = 100000;
  ContextPtr ctx = create(builder.build());
  const char *arena = static_cast<const char *>(galvatron_rt_context_arena(ctx.get()));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(arena) % GALVATRON_RT_ALIGNMENT, 0u);
  EXPECT_EQ(std::string(arena, 100000), std::string(100000, '\0'));
}

INSTANTIATE_TEST_SUITE_P(Backends, KernelsTest, testing::ValuesIn(allBackends()), backendName);

} // namespace

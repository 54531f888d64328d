// MatmulTest.cpp: every stride pattern of a matmul record against three loops in double.
#include "Backends.h"
#include "ImageBuilder.h"

#include <cmath>
#include <random>

namespace {

struct Operand {
  std::vector<int64_t> batchStrides;
  int64_t rows, columns;
};

struct Case {
  std::string name;
  std::vector<int64_t> batch;
  int64_t m, n, k;
  Operand lhs, rhs, out;
  int64_t flags = 0;
};

galvatron_rt_matmul_record recordOf(const Case &c) {
  galvatron_rt_matmul_record r = {};
  r.flags = c.flags;
  r.batch_rank = static_cast<int64_t>(c.batch.size());
  for (size_t i = 0; i < c.batch.size(); ++i) {
    r.batch[i] = c.batch[i];
    r.lhs_batch_strides[i] = c.lhs.batchStrides[i];
    r.rhs_batch_strides[i] = c.rhs.batchStrides[i];
    r.out_batch_strides[i] = c.out.batchStrides[i];
  }
  r.m = c.m;
  r.n = c.n;
  r.k = c.k;
  r.lhs_strides[0] = c.lhs.rows;
  r.lhs_strides[1] = c.lhs.columns;
  r.rhs_strides[0] = c.rhs.rows;
  r.rhs_strides[1] = c.rhs.columns;
  r.out_strides[0] = c.out.rows;
  r.out_strides[1] = c.out.columns;
  return r;
}

int64_t extent(const Case &c, const Operand &o, int64_t rows, int64_t columns) {
  int64_t last = (rows - 1) * o.rows + (columns - 1) * o.columns;
  for (size_t i = 0; i < c.batch.size(); ++i)
    last += (c.batch[i] - 1) * o.batchStrides[i];
  return last + 1;
}

template <typename Visit> void forEachBatch(const Case &c, Visit visit) {
  int64_t count = 1;
  for (int64_t size : c.batch)
    count *= size;
  for (int64_t b = 0; b < count; ++b) {
    int64_t rest = b, lhs = 0, rhs = 0, out = 0;
    for (size_t d = c.batch.size(); d-- > 0;) {
      int64_t index = rest % c.batch[d];
      rest /= c.batch[d];
      lhs += index * c.lhs.batchStrides[d];
      rhs += index * c.rhs.batchStrides[d];
      out += index * c.out.batchStrides[d];
    }
    visit(lhs, rhs, out);
  }
}

std::vector<Case> cases() {
  const int64_t bias = GALVATRON_RT_MATMUL_HAS_BIAS, sum = GALVATRON_RT_MATMUL_ACCUMULATE;
  std::vector<Case> all;
  auto plain = [&](const std::string &name, int64_t m, int64_t n, int64_t k, bool lhsT, bool rhsT,
                   bool outT, int64_t flags) {
    all.push_back({name,
                   {},
                   m,
                   n,
                   k,
                   {{}, lhsT ? 1 : k, lhsT ? m : 1},
                   {{}, rhsT ? 1 : n, rhsT ? k : 1},
                   {{}, outT ? 1 : n, outT ? m : 1},
                   flags});
  };
  for (int layouts = 0; layouts < 8; ++layouts)
    for (int64_t flags = 0; flags < 4; ++flags)
      plain("plain" + std::to_string(layouts) + "flags" + std::to_string(flags), 37, 83, 51,
            layouts & 1, layouts & 2, layouts & 4, flags);
  plain("tall", 300, 65, 400, false, false, false, bias);
  plain("wide", 3, 1030, 300, false, true, false, sum);
  plain("one_row", 1, 100, 64, false, false, false, bias);
  plain("one_column", 100, 1, 64, false, false, false, bias | sum);
  plain("one_k", 50, 60, 1, false, false, false, 0);
  plain("outer_transposed", 50, 60, 1, true, true, true, bias);
  plain("one_by_one", 1, 1, 777, false, false, false, sum);
  plain("one_by_one_by_one", 1, 1, 1, false, false, false, bias);

  // Attention with heads inside a fused projection [b, s, 3, h, d].
  const int64_t b = 2, s = 20, h = 3, d = 16, t = 3 * h * d;
  Operand query = {{s * t, d}, t, 1}, keyT = {{s * t, d}, 1, t}, value = {{s * t, d}, t, 1};
  Operand scores = {{h * s * s, s * s}, s, 1}, scoresT = {{h * s * s, s * s}, 1, s};
  Operand joined = {{s * h * d, d}, h * d, 1}, joinedT = {{s * h * d, d}, 1, h * d};
  all.push_back({"scores", {b, h}, s, s, d, query, keyT, scores, 0});
  all.push_back({"values", {b, h}, s, d, s, scores, value, joined, 0});
  all.push_back({"score_gradients", {b, h}, s, s, d, joined, keyT, scores, sum});
  all.push_back({"value_gradients", {b, h}, s, d, s, scoresT, joined, value, 0});
  all.push_back({"key_gradients", {b, h}, s, d, s, scoresT, query, {{s * t, d}, t, 1}, 0});
  all.push_back({"dense_heads",
                 {b, h},
                 s,
                 s,
                 d,
                 {{h * s * d, s * d}, d, 1},
                 {{h * s * d, s * d}, 1, d},
                 scores,
                 0});
  all.push_back({"heads_swapped", {b, h}, s, s, d, joined, joinedT, scores, 0});
  // Grouped heads: two query heads share one of the keys (stride 0).
  all.push_back({"grouped",
                 {b, h, 2},
                 s,
                 s,
                 d,
                 {{s * h * 2 * d, 2 * d, d}, h * 2 * d, 1},
                 {{s * h * d, d, 0}, 1, h * d},
                 {{h * 2 * s * s, 2 * s * s, s * s}, s, 1},
                 0});
  all.push_back(
      {"weights_shared", {5}, 7, 33, 12, {{84}, 12, 1}, {{0}, 33, 1}, {{231}, 33, 1}, bias});
  all.push_back(
      {"input_shared", {5}, 7, 33, 12, {{0}, 12, 1}, {{33 * 12}, 33, 1}, {{231}, 33, 1}, 0});
  all.push_back(
      {"input_shared_columns", {4}, 7, 8, 12, {{0}, 12, 1}, {{8}, 32, 1}, {{8}, 32, 1}, 0});
  all.push_back({"four_batch_dims",
                 {2, 1, 3, 2},
                 5,
                 6,
                 7,
                 {{300, 11, 100, 35}, 7, 1},
                 {{600, 5, 200, 42}, 6, 1},
                 {{900, 9, 300, 30}, 6, 1},
                 bias});
  // No unit stride anywhere.
  all.push_back(
      {"odd", {2}, 9, 11, 13, {{1000}, 40, 3}, {{2000}, 50, 4}, {{3000}, 60, 5}, bias | sum});
  all.push_back(
      {"odd_out_transposed", {2}, 9, 11, 13, {{1000}, 40, 3}, {{2000}, 50, 4}, {{3000}, 2, 60}, 0});
  all.push_back({"empty_batch", {0}, 9, 11, 13, {{117}, 13, 1}, {{143}, 11, 1}, {{99}, 11, 1}, 0});
  all.push_back({"padded_rows", {}, 40, 48, 32, {{}, 100, 1}, {{}, 70, 1}, {{}, 90, 1}, bias});
  return all;
}

class MatmulTest : public ConformanceTest {
protected:
  void check(const Case &c, int64_t threads) {
    SCOPED_TRACE(c.name + " with " + std::to_string(threads) + " threads");
    galvatron_rt_matmul_record record = recordOf(c);
    char error[256] = "";
    ASSERT_EQ(galvatron_rt_matmul_scratch_bytes(&record, threads, testLevel(),
                                                &record.scratch_bytes, error, sizeof(error)),
              0)
        << error;
    ImageBuilder builder;
    builder.config.threads = threads;
    record.name = builder.string(c.name);
    builder.matmuls.push_back(record);
    int64_t scratch = builder.allocate(record.scratch_bytes);
    ContextPtr ctx = create(builder.build());
    ASSERT_TRUE(ctx);

    std::mt19937 random(7);
    std::uniform_real_distribution<float> uniform(-1, 1);
    auto values = [&](int64_t count) {
      std::vector<float> v(static_cast<size_t>(count));
      for (float &x : v)
        x = uniform(random);
      return v;
    };
    std::vector<float> lhs = values(extent(c, c.lhs, c.m, c.k)),
                       rhs = values(extent(c, c.rhs, c.k, c.n)),
                       out = values(std::max<int64_t>(1, extent(c, c.out, c.m, c.n))),
                       bias = values(c.n);
    std::vector<float> before = out;
    std::vector<double> expected(out.begin(), out.end());
    forEachBatch(c, [&](int64_t l, int64_t r, int64_t o) {
      for (int64_t i = 0; i < c.m; ++i)
        for (int64_t j = 0; j < c.n; ++j) {
          double sum = 0;
          for (int64_t p = 0; p < c.k; ++p)
            sum += double(lhs[l + i * c.lhs.rows + p * c.lhs.columns]) *
                   double(rhs[r + p * c.rhs.rows + j * c.rhs.columns]);
          double &place = expected[o + i * c.out.rows + j * c.out.columns];
          place = sum + (c.flags & GALVATRON_RT_MATMUL_HAS_BIAS ? double(bias[j]) : 0) +
                  (c.flags & GALVATRON_RT_MATMUL_ACCUMULATE ? place : 0);
        }
    });
    auto compute = [&](std::vector<float> &result) {
      result = before;
      galvatron_rt_matmul(ctx.get(), 0, lhs.data(), rhs.data(),
                          c.flags & GALVATRON_RT_MATMUL_HAS_BIAS ? bias.data() : nullptr,
                          result.data(),
                          static_cast<char *>(galvatron_rt_context_arena(ctx.get())) + scratch);
    };
    std::vector<float> again;
    compute(out);
    compute(again);
    ASSERT_EQ(galvatron_rt_context_error(ctx.get()), nullptr)
        << galvatron_rt_context_error(ctx.get());
    const double bound = 1e-6 * (double(c.k) + 8);
    for (size_t i = 0; i < out.size(); ++i)
      ASSERT_NEAR(out[i], expected[i], bound)
          << "element " << i << ", " << galvatron_rt_matmul_implementation(ctx.get(), 0);
    EXPECT_EQ(std::memcmp(out.data(), again.data(), out.size() * 4), 0)
        << "other bits the second time";
  }
};

TEST_P(MatmulTest, EveryStridePattern) {
  for (const Case &c : cases())
    for (int64_t threads : {1, 2, 3})
      check(c, threads);
}

// Random strides: dimensions are laid out in a random order with random gaps.
TEST_P(MatmulTest, RandomStrides) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    auto pick = [&](int64_t low, int64_t high) {
      return std::uniform_int_distribution<int64_t>(low, high)(random);
    };
    Case c;
    c.name = "seed" + std::to_string(seed);
    for (int64_t d = pick(0, 4); d > 0; --d)
      c.batch.push_back(pick(1, 3));
    c.m = pick(1, 70);
    c.n = pick(1, 150);
    c.k = pick(1, 150);
    c.flags = pick(0, 3);
    auto layOut = [&](int64_t rows, int64_t columns, bool mayBroadcast) {
      std::vector<std::pair<int64_t, int64_t *>> sizes;
      Operand o;
      o.batchStrides.resize(c.batch.size());
      for (size_t i = 0; i < c.batch.size(); ++i)
        sizes.push_back({c.batch[i], &o.batchStrides[i]});
      sizes.push_back({rows, &o.rows});
      sizes.push_back({columns, &o.columns});
      if (pick(0, 1))
        std::shuffle(sizes.begin(), sizes.end(), random);
      int64_t stride = pick(0, 3) ? 1 : pick(1, 3);
      for (size_t i = sizes.size(); i-- > 0;) {
        *sizes[i].second = stride;
        stride *= sizes[i].first + (pick(0, 3) ? 0 : pick(0, 3));
      }
      for (int64_t &s : o.batchStrides)
        if (mayBroadcast && !pick(0, 4))
          s = 0;
      return o;
    };
    c.lhs = layOut(c.m, c.k, true);
    c.rhs = layOut(c.k, c.n, true);
    c.out = layOut(c.m, c.n, false);
    check(c, pick(1, 3));
    if (HasFatalFailure())
      return;
  }
}

TEST_P(MatmulTest, RefusesBadRecords) {
  galvatron_rt_matmul_record good = {};
  good.m = good.n = good.k = 2;
  good.lhs_strides[0] = good.rhs_strides[0] = good.out_strides[0] = 2;
  good.lhs_strides[1] = good.rhs_strides[1] = good.out_strides[1] = 1;
  auto complaint = [&](auto change) {
    galvatron_rt_matmul_record r = good;
    change(r);
    int64_t bytes;
    char error[256] = "";
    galvatron_rt_matmul_scratch_bytes(&r, 1, testLevel(), &bytes, error, sizeof(error));
    return std::string(error);
  };
  using R = galvatron_rt_matmul_record;
  EXPECT_EQ(complaint([](R &) {}), "");
  EXPECT_EQ(complaint([](R &r) { r.flags = 8; }), "the matmul has unknown flags 8");
  EXPECT_EQ(complaint([](R &r) { r.batch_rank = 5; }),
            "the matmul has 5 batch dimensions, at most 4 are possible");
  EXPECT_EQ(complaint([](R &r) { r.k = 0; }),
            "the matmul has sizes 2, 2, 0, wanted at least 1 each");
  EXPECT_EQ(complaint([](R &r) { r.lhs_strides[0] = -1; }), "the matmul has a negative stride");
  EXPECT_EQ(complaint([](R &r) { r.out_strides[0] = 0; }),
            "the matmul writes several elements to one place");
  EXPECT_EQ(complaint([](R &r) {
              r.batch_rank = 1;
              r.batch[0] = 3;
            }),
            "the matmul writes batch dimension 0 of size 3 to one place");
  EXPECT_EQ(complaint([](R &r) {
              r.batch_rank = 1;
              r.batch[0] = 1;
              r.rhs_batch_strides[0] = -4;
            }),
            "the matmul has a negative stride in batch dimension 0");
  EXPECT_EQ(complaint([](R &r) { r.m = r.n = r.k = int64_t(1) << 40; }),
            "the matmul is too large or negative: 1099511627776 times 1099511627776");
}

TEST_P(MatmulTest, RefusesAnotherScratchSize) {
  ImageBuilder builder;
  galvatron_rt_matmul_record r = {};
  r.name = builder.string("block0.qkv");
  r.m = r.n = r.k = 2;
  r.lhs_strides[0] = r.rhs_strides[0] = r.out_strides[0] = 2;
  r.lhs_strides[1] = r.rhs_strides[1] = r.out_strides[1] = 1;
  r.scratch_bytes = 12345;
  builder.matmuls.push_back(r);
  galvatron_rt_context *ctx = nullptr;
  char error[512] = "";
  EXPECT_EQ(GetParam().create(builder.build(), &ctx, error, sizeof(error)), 1);
  EXPECT_EQ(ctx, nullptr);
  std::string text = error;
  EXPECT_EQ(text.rfind("matmul 'block0.qkv' was compiled for 12345 bytes of scratch memory, but "
                       "here (",
                       0),
            0u)
      << text;
  EXPECT_NE(text.find("; compile the program again with this machine's oneDNN"), std::string::npos)
      << text;
}

TEST_P(MatmulTest, ReportsMissingOperands) {
  ImageBuilder builder;
  galvatron_rt_matmul_record r = {};
  r.name = builder.string("head");
  r.flags = GALVATRON_RT_MATMUL_HAS_BIAS;
  r.m = r.n = r.k = 2;
  // Without a unit stride it is no product for the library; ours always needs scratch memory.
  r.lhs_strides[0] = r.rhs_strides[0] = r.out_strides[0] = 7;
  r.lhs_strides[1] = r.rhs_strides[1] = r.out_strides[1] = 3;
  char error[512] = "";
  ASSERT_EQ(
      galvatron_rt_matmul_scratch_bytes(&r, 2, testLevel(), &r.scratch_bytes, error, sizeof(error)),
      0);
  ASSERT_GT(r.scratch_bytes, 0);
  builder.matmuls.push_back(r);
  ContextPtr ctx = create(builder.build());
  float x[4] = {};
  galvatron_rt_matmul(ctx.get(), 0, x, x, nullptr, x, x);
  EXPECT_STREQ(galvatron_rt_context_error(ctx.get()), "matmul 'head' needs a bias and got none");
  galvatron_rt_context_clear_error(ctx.get());
  galvatron_rt_matmul(ctx.get(), 0, x, x, x, x, nullptr);
  std::string wanted = "matmul 'head' needs " + std::to_string(r.scratch_bytes) +
                       " bytes of scratch memory and got none";
  EXPECT_EQ(galvatron_rt_context_error(ctx.get()), wanted);
  galvatron_rt_context_clear_error(ctx.get());
  galvatron_rt_matmul(ctx.get(), 1, x, x, x, x, x);
  EXPECT_STREQ(galvatron_rt_context_error(ctx.get()), "matmul descriptor 1 of 1");
}

INSTANTIATE_TEST_SUITE_P(Backends, MatmulTest, testing::ValuesIn(allBackends()), backendName);

} // namespace

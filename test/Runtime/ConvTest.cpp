// ConvTest.cpp: convolutions, forward and both gradients, against plain loops in double.
#include "Backends.h"
#include "ImageBuilder.h"

#include <random>

namespace {

galvatron_rt_conv_record conv(int64_t batch, int64_t inChannels, int64_t outChannels,
                              int64_t groups, const std::vector<int64_t> &src,
                              const std::vector<int64_t> &kernel,
                              const std::vector<int64_t> &strides,
                              const std::vector<int64_t> &dilations,
                              const std::vector<int64_t> &begin, const std::vector<int64_t> &end) {
  galvatron_rt_conv_record r = {};
  r.spatial_rank = static_cast<int64_t>(src.size());
  r.batch = batch;
  r.in_channels = inChannels;
  r.out_channels = outChannels;
  r.groups = groups;
  for (size_t d = 0; d < src.size(); ++d) {
    r.src[d] = src[d];
    r.kernel[d] = kernel[d];
    r.strides[d] = strides[d];
    r.dilations[d] = dilations[d];
    r.pads_begin[d] = begin[d];
    r.pads_end[d] = end[d];
    r.dst[d] = (src[d] + begin[d] + end[d] - ((kernel[d] - 1) * dilations[d] + 1)) / strides[d] + 1;
  }
  return r;
}

std::vector<galvatron_rt_conv_record> cases() {
  return {
      conv(2, 3, 16, 1, {32, 32}, {8, 8}, {8, 8}, {1, 1}, {0, 0}, {0, 0}), // patches of an image
      conv(2, 5, 7, 1, {9, 11}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}),
      conv(1, 5, 7, 1, {9, 12}, {3, 2}, {2, 3}, {1, 2}, {1, 0}, {0, 2}), // everything uneven
      conv(2, 16, 32, 1, {14, 14}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}),
      conv(2, 12, 12, 12, {10, 10}, {7, 7}, {1, 1}, {1, 1}, {3, 3},
           {3, 3}), // one channel per group
      conv(2, 6, 9, 3, {8, 8}, {3, 3}, {1, 1}, {1, 1}, {0, 0}, {0, 0}),
      conv(2, 4, 6, 1, {20}, {5}, {2}, {2}, {4}, {3}),
      conv(1, 8, 8, 8, {30}, {4}, {1}, {1}, {3}, {0}), // causal
      conv(1, 3, 4, 1, {6, 7, 8}, {2, 3, 2}, {1, 2, 1}, {1, 1, 2}, {1, 0, 1}, {0, 1, 1}),
      conv(1, 3, 4, 1, {5, 5}, {1, 1}, {2, 2}, {1, 1}, {0, 0}, {0, 0}), // a stride leaves some over
  };
}

struct Loops {
  const galvatron_rt_conv_record &r;

  int64_t volume(const int64_t *sizes) const {
    int64_t v = 1;
    for (int64_t d = 0; d < r.spatial_rank; ++d)
      v *= sizes[d];
    return v;
  }
  int64_t srcSize() const { return r.batch * r.in_channels * volume(r.src); }
  int64_t weightsSize() const {
    return r.out_channels * r.in_channels / r.groups * volume(r.kernel);
  }
  int64_t dstSize() const { return r.batch * r.out_channels * volume(r.dst); }

  /// Calls visit(src, weights, dst, outChannel) with the indices of each product.
  template <typename Visit> void forEach(Visit visit) const {
    int64_t inPer = r.in_channels / r.groups, outPer = r.out_channels / r.groups;
    for (int64_t b = 0; b < r.batch; ++b)
      for (int64_t o = 0; o < r.out_channels; ++o)
        for (int64_t at = 0; at < volume(r.dst); ++at)
          for (int64_t i = 0; i < inPer; ++i)
            for (int64_t w = 0; w < volume(r.kernel); ++w) {
              int64_t restAt = at, restW = w, position = 0, scale = 1;
              bool inside = true;
              for (int64_t d = r.spatial_rank - 1; d >= 0; --d) {
                int64_t x = restAt % r.dst[d] * r.strides[d] +
                            restW % r.kernel[d] * r.dilations[d] - r.pads_begin[d];
                restAt /= r.dst[d];
                restW /= r.kernel[d];
                inside = inside && x >= 0 && x < r.src[d];
                position += x * scale;
                scale *= r.src[d];
              }
              if (inside)
                visit((b * r.in_channels + o / outPer * inPer + i) * volume(r.src) + position,
                      (o * inPer + i) * volume(r.kernel) + w,
                      (b * r.out_channels + o) * volume(r.dst) + at, o);
            }
  }
};

class ConvTest : public ConformanceTest {};

TEST_P(ConvTest, MatchesPlainLoops) {
  for (galvatron_rt_conv_record record : cases())
    for (int64_t direction = 0; direction < 3; ++direction)
      for (int64_t hasBias = 0; hasBias < (direction == GALVATRON_RT_CONV_BACKWARD_DATA ? 1 : 2);
           ++hasBias)
        for (int64_t threads : {1, 2}) {
          record.direction = direction;
          record.flags = hasBias ? GALVATRON_RT_MATMUL_HAS_BIAS : 0;
          ImageBuilder builder;
          builder.config.threads = threads;
          char error[256] = "";
          ASSERT_EQ(galvatron_rt_conv_scratch_bytes(&record, threads, testLevel(),
                                                    &record.scratch_bytes, error, sizeof(error)),
                    0)
              << error;
          record.name = builder.string("conv");
          builder.convs.push_back(record);
          int64_t scratch = builder.allocate(record.scratch_bytes);
          ContextPtr ctx = create(builder.build());
          ASSERT_TRUE(ctx);

          Loops loops{record};
          std::mt19937 random(11);
          std::uniform_real_distribution<float> uniform(-1, 1);
          auto values = [&](int64_t count) {
            std::vector<float> v(static_cast<size_t>(count));
            for (float &x : v)
              x = uniform(random);
            return v;
          };
          std::vector<float> src = values(loops.srcSize()), weights = values(loops.weightsSize()),
                             bias = values(record.out_channels), dst = values(loops.dstSize());
          std::vector<double> expected, expectedBias(bias.size(), 0);
          std::vector<float> *result = nullptr;
          switch (direction) {
          case GALVATRON_RT_CONV_FORWARD:
            result = &dst;
            expected.assign(dst.size(), 0);
            if (hasBias)
              for (size_t i = 0; i < expected.size(); ++i)
                expected[i] =
                    double(bias[i / static_cast<size_t>(loops.volume(record.dst)) % bias.size()]);
            loops.forEach([&](int64_t s, int64_t w, int64_t d, int64_t) {
              expected[d] += double(src[s]) * double(weights[w]);
            });
            break;
          case GALVATRON_RT_CONV_BACKWARD_DATA:
            result = &src;
            expected.assign(src.size(), 0);
            loops.forEach([&](int64_t s, int64_t w, int64_t d, int64_t) {
              expected[s] += double(dst[d]) * double(weights[w]);
            });
            break;
          default:
            result = &weights;
            expected.assign(weights.size(), 0);
            loops.forEach([&](int64_t s, int64_t w, int64_t d, int64_t) {
              expected[w] += double(dst[d]) * double(src[s]);
            });
            for (size_t i = 0; i < dst.size(); ++i)
              expectedBias[i / static_cast<size_t>(loops.volume(record.dst)) % bias.size()] +=
                  double(dst[i]);
          }
          galvatron_rt_conv(ctx.get(), 0, src.data(), weights.data(),
                            hasBias ? bias.data() : nullptr, dst.data(),
                            static_cast<char *>(galvatron_rt_context_arena(ctx.get())) + scratch);
          ASSERT_EQ(galvatron_rt_context_error(ctx.get()), nullptr)
              << galvatron_rt_context_error(ctx.get());
          std::string what = std::string(galvatron_rt_conv_implementation(ctx.get(), 0)) +
                             ", direction " + std::to_string(direction) + ", first size " +
                             std::to_string(record.src[0]);
          for (size_t i = 0; i < expected.size(); ++i)
            ASSERT_NEAR((*result)[i], expected[i], 2e-4) << what << ", element " << i;
          if (hasBias && direction == GALVATRON_RT_CONV_BACKWARD_WEIGHTS) {
            for (size_t i = 0; i < bias.size(); ++i)
              ASSERT_NEAR(bias[i], expectedBias[i], 2e-4) << what << ", bias " << i;
          }
        }
}

TEST_P(ConvTest, RefusesBadRecords) {
  auto complaint = [&](auto change) {
    galvatron_rt_conv_record r = cases()[1];
    change(r);
    int64_t bytes;
    char error[256] = "";
    galvatron_rt_conv_scratch_bytes(&r, 1, testLevel(), &bytes, error, sizeof(error));
    return std::string(error);
  };
  using R = galvatron_rt_conv_record;
  EXPECT_EQ(complaint([](R &) {}), "");
  EXPECT_EQ(complaint([](R &r) { r.direction = 3; }), "the convolution has direction 3");
  EXPECT_EQ(complaint([](R &r) { r.flags = 2; }), "the convolution has unknown flags 2");
  EXPECT_EQ(complaint([](R &r) {
              r.flags = 1;
              r.direction = GALVATRON_RT_CONV_BACKWARD_DATA;
            }),
            "the convolution computes a gradient of its input, which has no bias");
  EXPECT_EQ(complaint([](R &r) { r.spatial_rank = 4; }),
            "the convolution has 4 spatial dimensions, wanted 1 to 3");
  EXPECT_EQ(complaint([](R &r) { r.groups = 2; }),
            "the convolution has batch 2, 5 to 7 channels in 2 groups");
  EXPECT_EQ(complaint([](R &r) { r.strides[1] = 0; }),
            "the convolution has size 11, kernel 3, stride 0, dilation 1, padding 1 and 1 in "
            "spatial dimension 1");
  EXPECT_EQ(complaint([](R &r) { r.dst[0] = 10; }),
            "the convolution has result size 10 in spatial dimension 0, wanted 9");
}

TEST_P(ConvTest, ReportsMissingOperands) {
  galvatron_rt_conv_record r = cases()[1];
  r.flags = GALVATRON_RT_MATMUL_HAS_BIAS;
  char error[256] = "";
  ASSERT_EQ(
      galvatron_rt_conv_scratch_bytes(&r, 2, testLevel(), &r.scratch_bytes, error, sizeof(error)),
      0)
      << error;
  ASSERT_GT(r.scratch_bytes, 0);
  ImageBuilder builder;
  r.name = builder.string("patches");
  builder.convs.push_back(r);
  ContextPtr ctx = create(builder.build());
  ASSERT_TRUE(ctx);
  float x[1] = {};
  auto complaint = [&](int64_t descriptor, float *bias, float *scratch) {
    galvatron_rt_conv(ctx.get(), descriptor, x, x, bias, x, scratch);
    std::string text = galvatron_rt_context_error(ctx.get());
    galvatron_rt_context_clear_error(ctx.get());
    return text;
  };
  EXPECT_EQ(complaint(0, nullptr, x), "convolution 'patches' needs a bias and got none");
  EXPECT_EQ(complaint(0, x, nullptr), "convolution 'patches' needs " +
                                          std::to_string(r.scratch_bytes) +
                                          " bytes of scratch memory and got none");
  EXPECT_EQ(complaint(1, x, x), "convolution descriptor 1 of 1");
  EXPECT_EQ(complaint(-1, x, x), "convolution descriptor -1 of 1");
}

INSTANTIATE_TEST_SUITE_P(Backends, ConvTest, testing::ValuesIn(allBackends()), backendName);

} // namespace

// ImageContextTest.h: for tests that build an image and look at the arena of a context of it.
#ifndef GALVATRON_TEST_RUNTIME_IMAGECONTEXTTEST_H
#define GALVATRON_TEST_RUNTIME_IMAGECONTEXTTEST_H

#include "Backends.h"
#include "ImageBuilder.h"
#include "core/Context.h"

class ImageContextTest : public testing::Test {
protected:
  /// Makes the context of what the builder holds by now.
  void start() {
    galvatron_rt_context *raw = nullptr;
    char error[512] = "";
    ASSERT_EQ(galvatron_rt_context_create(builder.build(), &raw, error, sizeof(error)), 0) << error;
    ctx.reset(raw);
  }
  float *data(int64_t tensor) { return static_cast<float *>(ctx->tensorData(tensor)); }

  ImageBuilder builder;
  ContextPtr ctx;
};

#endif // GALVATRON_TEST_RUNTIME_IMAGECONTEXTTEST_H

// Backends.h: the backends that the conformance suite runs over. A new one adds a row to
// allBackends().
#ifndef GALVATRON_TEST_RUNTIME_BACKENDS_H
#define GALVATRON_TEST_RUNTIME_BACKENDS_H

#include "galvatron_rt.h"

#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <vector>

struct Backend {
  const char *name;
  int (*create)(const galvatron_rt_image *image, galvatron_rt_context **ctx, char *error,
                size_t errorSize);
};

std::vector<Backend> allBackends();

struct ContextDeleter {
  void operator()(galvatron_rt_context *ctx) const { galvatron_rt_context_destroy(ctx); }
};
using ContextPtr = std::unique_ptr<galvatron_rt_context, ContextDeleter>;

/// A suite whose tests run once per backend.
class ConformanceTest : public testing::TestWithParam<Backend> {
protected:
  ContextPtr create(const galvatron_rt_image *image) {
    galvatron_rt_context *ctx = nullptr;
    char error[512] = "";
    EXPECT_EQ(GetParam().create(image, &ctx, error, sizeof(error)), 0) << error;
    return ContextPtr(ctx);
  }
};

inline std::string backendName(const testing::TestParamInfo<Backend> &info) {
  return info.param.name;
}

#endif // GALVATRON_TEST_RUNTIME_BACKENDS_H

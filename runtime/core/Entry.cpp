// Entry.cpp: the entry points that generated code calls, and contexts. Nothing is thrown across: an
// exception becomes the context's error.
#include "core/Context.h"

#include <new>

using namespace galvatron_rt;

namespace {

/// Runs `body` unless the context has failed, and keeps what it throws.
template <typename Body> void guarded(galvatron_rt_context *ctx, Body body) {
  if (ctx->failed)
    return;
  try {
    body();
  } catch (const std::exception &e) {
    ctx->record(e.what());
  }
}

/// Runs `body`; what it throws goes into `error`. Returns 0 or 1.
template <typename Body> int reported(char *error, size_t errorSize, Body body) {
  try {
    body();
    return 0;
  } catch (const std::bad_alloc &) {
    copyMessage("out of memory", error, errorSize);
  } catch (const std::exception &e) {
    copyMessage(e.what(), error, errorSize);
  }
  return 1;
}

} // namespace

extern "C" {

void galvatron_rt_parallel_for(galvatron_rt_context *ctx, galvatron_rt_kernel kernel, void **args,
                               int64_t rows, int64_t grain) {
  guarded(ctx, [&] { ctx->device->parallelFor(kernel, args, rows, grain); });
}

void galvatron_rt_matmul(galvatron_rt_context *ctx, int64_t descriptor, const void *lhs,
                         const void *rhs, const void *bias, void *out, void *scratch) {
  guarded(ctx, [&] {
    if (descriptor < 0 || descriptor >= ctx->image.matmuls.size())
      fail("matmul descriptor ", descriptor, " of ", ctx->image.matmuls.size());
    ctx->device->matmul(descriptor, lhs, rhs, bias, out, scratch);
  });
}

void galvatron_rt_conv(galvatron_rt_context *ctx, int64_t descriptor, void *src, void *weights,
                       void *bias, void *dst, void *scratch) {
  guarded(ctx, [&] {
    if (descriptor < 0 || descriptor >= ctx->image.convs.size())
      fail("convolution descriptor ", descriptor, " of ", ctx->image.convs.size());
    ctx->device->conv(descriptor, src, weights, bias, dst, scratch);
  });
}

void galvatron_rt_scatter_add_rows(galvatron_rt_context *ctx, float *table, int64_t table_rows,
                                   int64_t width, const int64_t *ids, int64_t n, const float *src) {
  guarded(ctx, [&] {
    for (int64_t i = 0; i < n; ++i)
      if (ids[i] < -1 || ids[i] >= table_rows)
        fail("row id ", ids[i], " at position ", i, " is not in [0, ", table_rows, ")");
    ctx->device->scatterAddRows(table, table_rows, width, ids, n, src);
  });
}

void galvatron_rt_zero(galvatron_rt_context *ctx, void *data, int64_t bytes) {
  guarded(ctx, [&] { ctx->device->zero(data, bytes); });
}

void galvatron_rt_copy(galvatron_rt_context *ctx, void *dst, const void *src, int64_t bytes) {
  guarded(ctx, [&] { ctx->device->copy(dst, src, bytes); });
}

void galvatron_rt_check_range(galvatron_rt_context *ctx, const int64_t *ids, int64_t n, int64_t low,
                              int64_t high, int64_t ignored, int64_t name) {
  guarded(ctx, [&] {
    for (int64_t i = 0; i < n; ++i) {
      if ((ids[i] >= low && ids[i] < high) || ids[i] == ignored)
        continue;
      if (!ctx->failed)
        ctx->stray = {ids[i], i};
      fail(ctx->image.validString(name) ? ctx->image.string(name) : "ids", " hold the value ",
           ids[i], ", wanted at least ", low, " and below ", high,
           ignored >= low && ignored < high ? "" : concat(", or ", ignored));
    }
  });
}

int galvatron_rt_check_image(const galvatron_rt_image *image, char *error, size_t error_size) {
  return reported(error, error_size, [&] { Image checked(image); });
}

int galvatron_rt_context_create(const galvatron_rt_image *image, galvatron_rt_context **ctx,
                                char *error, size_t error_size) {
  *ctx = nullptr;
  return reported(error, error_size, [&] { *ctx = new galvatron_rt_context(image); });
}

void galvatron_rt_context_destroy(galvatron_rt_context *ctx) { delete ctx; }

const char *galvatron_rt_context_error(const galvatron_rt_context *ctx) {
  return ctx->failed ? ctx->error.c_str() : nullptr;
}

void galvatron_rt_context_clear_error(galvatron_rt_context *ctx) {
  ctx->failed = false;
  ctx->error.clear();
  ctx->stray.reset();
}

void *galvatron_rt_context_arena(galvatron_rt_context *ctx) { return ctx->arena.data(); }

const char *galvatron_rt_matmul_implementation(const galvatron_rt_context *ctx,
                                               int64_t descriptor) {
  bool known = descriptor >= 0 && descriptor < ctx->image.matmuls.size();
  return known ? ctx->device->matmulImplementation(descriptor) : "";
}

const char *galvatron_rt_conv_implementation(const galvatron_rt_context *ctx, int64_t descriptor) {
  bool known = descriptor >= 0 && descriptor < ctx->image.convs.size();
  return known ? ctx->device->convImplementation(descriptor) : "";
}

} // extern "C"

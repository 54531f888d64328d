// Context.h: what a running program consists of: its table, its memory, its device and its first
// error.
#ifndef GALVATRON_RT_CORE_CONTEXT_H
#define GALVATRON_RT_CORE_CONTEXT_H

#include "core/Arena.h"
#include "core/Device.h"
#include "core/Image.h"

struct galvatron_rt_context {
  explicit galvatron_rt_context(const galvatron_rt_image *raw)
      : image(raw), arena(image.config().arena_bytes), device(galvatron_rt::makeCpuDevice(image)) {}

  void *tensorData(int64_t tensor) const { return arena.data() + image.tensors[tensor].offset; }
  float scalar(int64_t tensor) const { return *static_cast<const float *>(tensorData(tensor)); }

  /// Keeps the first error.
  void record(const char *message) {
    if (!failed)
      error = message;
    failed = true;
  }

  galvatron_rt::Image image;
  galvatron_rt::Arena arena;
  std::unique_ptr<galvatron_rt::Device> device;
  int64_t step = 0; // for messages; 0 outside a step
  bool failed = false;
  std::string error;
};

#endif // GALVATRON_RT_CORE_CONTEXT_H

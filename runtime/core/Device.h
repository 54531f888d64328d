// Device.h: what a backend implements. The entry points of the C border forward to the device of
// their context.
//
// Implementations throw an Error for what a user or a machine can cause; arguments are as
// galvatron_rt.h says.
#ifndef GALVATRON_RT_CORE_DEVICE_H
#define GALVATRON_RT_CORE_DEVICE_H

#include "core/Image.h"

#include <memory>

namespace galvatron_rt {

class Device {
public:
  virtual ~Device() = default;

  virtual void parallelFor(galvatron_rt_kernel kernel, void **args, int64_t rows,
                           int64_t grain) = 0;
  virtual void matmul(int64_t descriptor, const void *lhs, const void *rhs, const void *bias,
                      void *out, void *scratch) = 0;
  virtual void conv(int64_t descriptor, void *src, void *weights, void *bias, void *dst,
                    void *scratch) = 0;
  virtual void scatterAddRows(float *table, int64_t tableRows, int64_t width, const int64_t *ids,
                              int64_t n, const float *src) = 0;
  virtual void zero(void *data, int64_t bytes) = 0;
  virtual void copy(void *dst, const void *src, int64_t bytes) = 0;

  virtual const char *matmulImplementation(int64_t descriptor) const = 0;
  virtual const char *convImplementation(int64_t descriptor) const = 0;
};

/// The CPU backend. Makes every library primitive of the image; an Error names the first record
/// that fails.
std::unique_ptr<Device> makeCpuDevice(const Image &image);

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_DEVICE_H

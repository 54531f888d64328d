// Matmul.h: one matmul record, ready to run.
#ifndef GALVATRON_RT_DEVICE_CPU_MATMUL_H
#define GALVATRON_RT_DEVICE_CPU_MATMUL_H

#include "device/cpu/Gemm.h"
#include "device/cpu/Library.h"
#include "galvatron_rt.h"

#include <optional>

namespace galvatron_rt {

class Matmul {
public:
  /// Checks the record and chooses who computes it: oneDNN where it has a kernel that works in our
  /// scratch memory, otherwise our own strided kernel. The calling thread's team must have
  /// `threads` threads already.
  Matmul(const galvatron_rt_matmul_record &record, int64_t threads, int64_t cpuLevel,
         const std::string &what);

  int64_t scratchBytes() const { return scratch; }
  const char *implementation() const { return name.c_str(); }
  /// Makes what run() needs beyond the choice: compiles oneDNN's kernel.
  void prepare();
  void run(const void *lhs, const void *rhs, const void *bias, void *out, void *scratch);

private:
  void tryLibrary();

  GemmProblem problem;
  bool swapped = false; // lhs and rhs changed places, to make out row-major
  int64_t threads, cpuLevel;
  std::string what, name;
  int64_t scratch = 0;
  std::optional<dnnl::matmul::primitive_desc> library;
  BoundPrimitive primitive;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_DEVICE_CPU_MATMUL_H

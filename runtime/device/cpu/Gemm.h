// Gemm.h: matrix products of any strides, without allocating.
//
// oneDNN 2.6 has fast kernels for dense operands only. For others (attention heads inside a fused
// projection, a transposed result) it falls back to one that allocates its packing buffers at every
// call, or to a reference loop a thousand times slower. This kernel packs from any strides into the
// caller's scratch memory.
#ifndef GALVATRON_RT_DEVICE_CPU_GEMM_H
#define GALVATRON_RT_DEVICE_CPU_GEMM_H

#include "galvatron_rt.h"

#include <cstdint>

namespace galvatron_rt {

/// out[b.., i, j] = sum over p of lhs[b.., i, p] * rhs[b.., p, j] (+ bias[j]) (+ out); strides in
/// elements.
struct GemmProblem {
  struct Batch {
    int64_t size, lhs, rhs, out;
  };
  int64_t batchRank = 0;
  Batch batch[GALVATRON_RT_MAX_BATCH_DIMS];
  int64_t m, n, k;
  int64_t lhsM, lhsK, rhsK, rhsN, outM, outN;
  bool hasBias = false;
  bool biasAlongM = false; // the bias has length m and is added to every column (a swapped problem)
  bool accumulate = false;

  int64_t batchCount() const {
    int64_t count = 1;
    for (int64_t i = 0; i < batchRank; ++i)
      count *= batch[i].size;
    return count;
  }
};

/// Scratch bytes for `threads` threads.
int64_t gemmScratchBytes(const GemmProblem &problem, int64_t threads, int64_t cpuLevel);

/// "packed:avx512", "packed:avx2".
const char *gemmName(int64_t cpuLevel);

/// Computes the problem. The same threads give the same bits.
void gemm(const GemmProblem &problem, int64_t threads, int64_t cpuLevel, const float *lhs,
          const float *rhs, const float *bias, float *out, void *scratch);

} // namespace galvatron_rt

#endif // GALVATRON_RT_DEVICE_CPU_GEMM_H

// Gemm.cpp: cuts a product into blocks and gives each thread a run of them. An element of the
// result is summed by one thread in the order of k, so that the bits do not even depend on the
// number of threads.
#include "device/cpu/Gemm.h"

#include "core/Threads.h"
#include "device/cpu/GemmKernel.h"

namespace galvatron_rt {
namespace {

const GemmKernel &kernelFor(int64_t cpuLevel) {
  return cpuLevel == GALVATRON_RT_CPU_X86_64_V4 ? gemmKernelAvx512 : gemmKernelAvx2;
}

int64_t pieces(int64_t size, int64_t each) { return (size + each - 1) / each; }

struct Blocking {
  int64_t rows, columns, count;

  Blocking(const GemmProblem &p, int64_t threads, const GemmKernel &kernel) {
    rows = kernel.tileRows * 40;
    columns = kernel.panelColumns * 4;
    // Enough blocks that no thread waits long for another; narrow blocks first, as each packs its
    // own columns.
    auto enough = [&] {
      return p.batchCount() * pieces(p.m, rows) * pieces(p.n, columns) >= 4 * threads;
    };
    while (threads > 1 && !enough() && columns > kernel.panelColumns)
      columns /= 2;
    while (threads > 1 && !enough() && rows > kernel.tileRows * 5)
      rows /= 2;
    count = p.batchCount() * pieces(p.m, rows) * pieces(p.n, columns);
  }
};

/// Floats of one thread's scratch: a packed panel and a tile.
int64_t threadFloats(const GemmKernel &kernel) {
  return kernel.panelColumns * (kernel.chunk + kernel.tileRows);
}

} // namespace

int64_t gemmScratchBytes(const GemmProblem &, int64_t threads, int64_t cpuLevel) {
  return threads * threadFloats(kernelFor(cpuLevel)) * int64_t(sizeof(float));
}

const char *gemmName(int64_t cpuLevel) {
  return cpuLevel == GALVATRON_RT_CPU_X86_64_V4 ? "packed:avx512" : "packed:avx2";
}

void gemm(const GemmProblem &p, int64_t threads, int64_t cpuLevel, const float *lhs,
          const float *rhs, const float *bias, float *out, void *scratch) {
  const GemmKernel &kernel = kernelFor(cpuLevel);
  Blocking blocking(p, threads, kernel);
  int64_t rowBlocks = pieces(p.m, blocking.rows), columnBlocks = pieces(p.n, blocking.columns);
  // A fork and join takes as long as some 200000 products: less work stays on this thread.
  bool isSmall = p.batchCount() * p.m * p.n * p.k < 100000;
  int64_t used = isSmall ? 1 : threads;
  auto work = [&](int64_t thread) {
    Range mine = splitRange(blocking.count, 1, thread, used);
    GemmBlock block;
    block.packed = static_cast<float *>(scratch) + thread * threadFloats(kernel);
    block.tile = block.packed + kernel.panelColumns * kernel.chunk;
    block.k = p.k;
    block.lhsM = p.lhsM;
    block.lhsK = p.lhsK;
    block.rhsK = p.rhsK;
    block.rhsN = p.rhsN;
    block.outM = p.outM;
    block.outN = p.outN;
    block.biasAlongM = p.biasAlongM;
    block.accumulate = p.accumulate;
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      int64_t row = i % rowBlocks * blocking.rows, rest = i / rowBlocks;
      int64_t column = rest % columnBlocks * blocking.columns;
      rest /= columnBlocks;
      const float *l = lhs, *r = rhs;
      float *o = out;
      for (int64_t d = p.batchRank - 1; d >= 0; --d) {
        int64_t index = rest % p.batch[d].size;
        rest /= p.batch[d].size;
        l += index * p.batch[d].lhs;
        r += index * p.batch[d].rhs;
        o += index * p.batch[d].out;
      }
      block.m = p.m - row < blocking.rows ? p.m - row : blocking.rows;
      block.n = p.n - column < blocking.columns ? p.n - column : blocking.columns;
      block.lhs = l + row * p.lhsM;
      block.rhs = r + column * p.rhsN;
      block.out = o + row * p.outM + column * p.outN;
      block.bias = !p.hasBias ? nullptr : bias + (p.biasAlongM ? row : column);
      kernel.run(block);
    }
  };
  onEachThread(used, work);
}

} // namespace galvatron_rt

// CpuDevice.cpp: the CPU backend: oneDNN and our strided products, on one libgomp team.
#include "core/Device.h"
#include "core/Threads.h"
#include "device/cpu/Conv.h"
#include "device/cpu/Matmul.h"

#include <cstring>

namespace galvatron_rt {
namespace {

// Below this many bytes a second thread costs more than it saves (a fork and join is a few
// microseconds).
constexpr int64_t smallBytes = 256 << 10;

class CpuDevice : public Device {
public:
  explicit CpuDevice(const Image &image) : threads(image.config().threads) {
    int64_t level = image.config().cpu_level;
    useCpuLevel(level);
    useThreads(threads);
    // The library cuts its work into as many parts as there should be threads.
    if (int64_t size = threads > 1 ? teamSize(threads) : 1; size < threads)
      fail("OpenMP gives this program ", size, " of the ", threads,
           " threads that it was compiled for; unset OMP_THREAD_LIMIT and OMP_MAX_ACTIVE_LEVELS, or "
           "compile it with --threads=", size);
    auto checkScratch = [](const std::string &what, int64_t planned, int64_t wanted,
                           const char *implementation) {
      if (planned != wanted)
        fail(what, " was compiled for ", planned, " bytes of scratch memory, but here (",
             implementation, ") needs ", wanted,
             "; compile the program again with this machine's oneDNN");
    };
    for (const galvatron_rt_matmul_record &record : image.matmuls) {
      std::string what = concat("matmul '", image.string(record.name), "'");
      Matmul &made = matmuls.emplace_back(record, threads, level, what);
      checkScratch(what, record.scratch_bytes, made.scratchBytes(), made.implementation());
      made.prepare();
    }
    for (const galvatron_rt_conv_record &record : image.convs) {
      std::string what = concat("convolution '", image.string(record.name), "'");
      Conv &made = convs.emplace_back(record, what);
      checkScratch(what, record.scratch_bytes, made.scratchBytes(), made.implementation());
      made.prepare();
    }
  }

  void parallelFor(galvatron_rt_kernel kernel, void **args, int64_t rows, int64_t grain) override {
    if (grain < 1)
      fail("a parallel loop has grain ", grain);
    if (rows <= 0)
      return;
    if (threads == 1 || rows <= grain)
      return kernel(args, 0, rows);
    onEachThread(threads, [&](int64_t thread) {
      Range range = splitRange(rows, grain, thread, threads);
      if (range.begin < range.end)
        kernel(args, range.begin, range.end);
    });
  }

  void matmul(int64_t descriptor, const void *lhs, const void *rhs, const void *bias, void *out,
              void *scratch) override {
    useThreads(threads);
    matmuls[descriptor].run(lhs, rhs, bias, out, scratch);
  }

  void conv(int64_t descriptor, void *src, void *weights, void *bias, void *dst,
            void *scratch) override {
    useThreads(threads);
    convs[descriptor].run(src, weights, bias, dst, scratch);
  }

  void scatterAddRows(float *table, int64_t, int64_t width, const int64_t *ids, int64_t n,
                      const float *src) override {
    // Rows may repeat, columns do not: each thread adds all rows of its own columns, in order.
    int64_t parts = n * width * int64_t(sizeof(float)) < smallBytes ? 1 : threads;
    onEachThread(parts, [&](int64_t thread) {
      Range range = splitRange(width, 16, thread, parts);
      for (int64_t i = 0; i < n; ++i) {
        if (ids[i] < 0)
          continue;
        float *to = table + ids[i] * width;
        const float *from = src + i * width;
        for (int64_t c = range.begin; c < range.end; ++c)
          to[c] += from[c];
      }
    });
  }

  void zero(void *data, int64_t bytes) override {
    onParts(bytes, [&](Range range) {
      std::memset(static_cast<char *>(data) + range.begin, 0, range.end - range.begin);
    });
  }

  void copy(void *dst, const void *src, int64_t bytes) override {
    onParts(bytes, [&](Range range) {
      std::memcpy(static_cast<char *>(dst) + range.begin,
                  static_cast<const char *>(src) + range.begin, range.end - range.begin);
    });
  }

  const char *matmulImplementation(int64_t descriptor) const override {
    return matmuls[descriptor].implementation();
  }
  const char *convImplementation(int64_t descriptor) const override {
    return convs[descriptor].implementation();
  }

private:
  template <typename Body> void onParts(int64_t bytes, const Body &body) {
    if (bytes <= 0)
      return;
    int64_t parts = bytes < smallBytes ? 1 : threads;
    onEachThread(parts, [&](int64_t thread) {
      Range range = splitRange(bytes, 4096, thread, parts);
      if (range.begin < range.end)
        body(range);
    });
  }

  int64_t threads;
  std::vector<Matmul> matmuls;
  std::vector<Conv> convs;
};

/// Asks `make(what)` for scratch bytes, as a program with that many threads would.
template <typename Make>
int askScratch(int64_t threads, int64_t level, int64_t *bytes, char *error, size_t errorSize,
               Make make) {
  int before = omp_get_max_threads();
  int code = 0;
  try {
    if (threads < 1 || threads > 4096)
      fail("threads is ", threads);
    useCpuLevel(level);
    useThreads(threads);
    *bytes = make();
  } catch (const std::exception &e) {
    copyMessage(e.what(), error, errorSize);
    code = 1;
  }
  useThreads(before);
  return code;
}

} // namespace

std::unique_ptr<Device> makeCpuDevice(const Image &image) {
  return std::make_unique<CpuDevice>(image);
}

} // namespace galvatron_rt

using namespace galvatron_rt;

extern "C" int galvatron_rt_matmul_scratch_bytes(const galvatron_rt_matmul_record *record,
                                                 int64_t threads, int64_t cpu_level, int64_t *bytes,
                                                 char *error, size_t error_size) {
  return askScratch(threads, cpu_level, bytes, error, error_size, [&] {
    return Matmul(*record, threads, cpu_level, "the matmul").scratchBytes();
  });
}

extern "C" int galvatron_rt_conv_scratch_bytes(const galvatron_rt_conv_record *record,
                                               int64_t threads, int64_t cpu_level, int64_t *bytes,
                                               char *error, size_t error_size) {
  return askScratch(threads, cpu_level, bytes, error, error_size,
                    [&] { return Conv(*record, "the convolution").scratchBytes(); });
}

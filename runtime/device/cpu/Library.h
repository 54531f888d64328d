// Library.h: oneDNN, set up once per process.
#ifndef GALVATRON_RT_DEVICE_CPU_LIBRARY_H
#define GALVATRON_RT_DEVICE_CPU_LIBRARY_H

#include "core/Error.h"

#include <oneapi/dnnl/dnnl.hpp>

#include <utility>
#include <vector>

namespace galvatron_rt {

/// Bounds what oneDNN may use to the CPU level, for the whole process. Throws an Error if this
/// machine lacks the level or if another level was chosen before.
void useCpuLevel(int64_t level);

const dnnl::engine &cpuEngine();
dnnl_stream_t cpuStream();

/// Runs `body` and turns what oneDNN throws into an Error that starts with `what`.
template <typename Body> auto withLibrary(const std::string &what, Body body) -> decltype(body()) {
  try {
    return body();
  } catch (const dnnl::error &e) {
    fail(what, ": oneDNN: ", e.what(), " (status ", static_cast<int>(e.status), ")");
  }
}

/// A primitive with one memory object per argument, made at start, so that running it allocates
/// nothing of note.
class BoundPrimitive {
public:
  BoundPrimitive() = default;
  BoundPrimitive(dnnl::primitive primitive,
                 const std::vector<std::pair<int, dnnl::memory::desc>> &arguments);

  /// `pointers` in the order of the arguments. Throws an Error that starts with `what`.
  void run(const char *what, void *const *pointers);

private:
  dnnl::primitive primitive;
  std::vector<dnnl::memory> memories;
  std::vector<dnnl_exec_arg_t> arguments;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_DEVICE_CPU_LIBRARY_H

// Library.cpp: see Library.h.
#include "device/cpu/Library.h"

#include "core/Cpu.h"
#include "galvatron_rt.h"

#include <mutex>

namespace galvatron_rt {

void useCpuLevel(int64_t level) {
  static std::mutex mutex;
  static int64_t chosen = 0;
  std::lock_guard<std::mutex> lock(mutex);
  if (chosen == level)
    return;
  std::vector<std::string> wanted = levelFeatures(level);
  if (wanted.empty())
    fail("there is no cpu level ", level);
  if (chosen)
    fail("this process already uses oneDNN at cpu level x86-64-v", chosen,
         " and cannot change to x86-64-v", level);
  std::vector<std::string> missing = missingFeatures(wanted);
  if (!missing.empty())
    fail("this processor lacks ", missing[0], ", which cpu level x86-64-v", level, " needs");
  dnnl::cpu_isa isa =
      level == GALVATRON_RT_CPU_X86_64_V4 ? dnnl::cpu_isa::avx512_core : dnnl::cpu_isa::avx2;
  // A build of oneDNN without this control says "unimplemented": then it uses what the machine has.
  dnnl_status_t status = dnnl_set_max_cpu_isa(static_cast<dnnl_cpu_isa_t>(isa));
  if (status != dnnl_success && status != dnnl_unimplemented)
    fail("oneDNN was used before its cpu level could be set to x86-64-v", level);
  chosen = level;
}

const dnnl::engine &cpuEngine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl_stream_t cpuStream() {
  // Ranks may be threads.
  thread_local const dnnl::stream stream(cpuEngine());
  return stream.get();
}

BoundPrimitive::BoundPrimitive(dnnl::primitive primitive,
                               const std::vector<std::pair<int, dnnl::memory::desc>> &described)
    : primitive(std::move(primitive)) {
  for (const auto &[index, desc] : described) {
    memories.emplace_back(desc, cpuEngine(), static_cast<void *>(nullptr));
    arguments.push_back({index, memories.back().get()});
  }
}

void BoundPrimitive::run(const char *what, void *const *pointers) {
  for (size_t i = 0; i < memories.size(); ++i)
    if (dnnl_memory_set_data_handle(arguments[i].memory, pointers[i]) != dnnl_success)
      // untested: it takes any pointer to ordinary memory
      fail(what, ": oneDNN refuses argument ", i);
  dnnl_status_t status = dnnl_primitive_execute(
      primitive.get(), cpuStream(), static_cast<int>(arguments.size()), arguments.data());
  if (status != dnnl_success)
    fail(what, ": oneDNN failed with status ", static_cast<int>(status));
}

} // namespace galvatron_rt

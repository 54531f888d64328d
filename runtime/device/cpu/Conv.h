// Conv.h: one convolution record, ready to run.
#ifndef GALVATRON_RT_DEVICE_CPU_CONV_H
#define GALVATRON_RT_DEVICE_CPU_CONV_H

#include "device/cpu/Library.h"
#include "galvatron_rt.h"

#include <functional>
#include <optional>

namespace galvatron_rt {

class Conv {
public:
  /// Checks the record and asks oneDNN for a kernel. The calling thread's team must be set already.
  Conv(const galvatron_rt_conv_record &record, const std::string &what);

  int64_t scratchBytes() const { return total; }
  const char *implementation() const { return name.c_str(); }
  /// Makes what run() needs beyond the choice: compiles oneDNN's kernels.
  void prepare();
  void run(void *src, void *weights, void *bias, void *dst, void *scratch);

private:
  struct Operand {
    dnnl::memory::desc plain, used; // as the caller has it, as the kernel wants it
    int index;                      // DNNL_ARG_...
    bool isResult = false;
    int64_t copyOffset =
        -1; // of a copy in the kernel's layout in the scratch memory; -1 = used in place
    int64_t reorderScratch = 0;
    std::optional<dnnl::reorder::primitive_desc> reorderDesc;
    BoundPrimitive reorder;
  };

  template <typename PrimitiveDesc> void take(PrimitiveDesc desc);
  void addOperand(int index, const dnnl::memory::desc &plain, const dnnl::memory::desc &used,
                  bool isResult);
  int64_t reserve(int64_t bytes);

  std::string what, name;
  bool hasBias;
  std::vector<Operand> operands; // src, weights, dst, then bias if any
  dnnl::memory::desc scratchDesc;
  BoundPrimitive primitive;
  int64_t total = 0, kernelScratch = 0;
  std::function<dnnl::primitive()> build;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_DEVICE_CPU_CONV_H

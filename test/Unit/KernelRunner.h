//===- KernelRunner.h - Compiles a function of nn ops and runs it ---------===//
//
// The function goes through the kernel passes; its kernels are compiled to
// object code and loaded into this process. What stays between them (products,
// views) is done here by plain loops, so that whole ops such as attention can be
// compared with a definition written down in double.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_TEST_UNIT_KERNELRUNNER_H
#define GALVATRON_TEST_UNIT_KERNELRUNNER_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace galvatron::test {

/// The elements of a tensor, as bytes.
struct Buffer {
  std::vector<char> bytes;

  template <typename T> static Buffer of(const std::vector<T> &values) {
    Buffer buffer;
    buffer.bytes.assign(reinterpret_cast<const char *>(values.data()),
                        reinterpret_cast<const char *>(values.data() + values.size()));
    return buffer;
  }
  template <typename T> T *as() { return reinterpret_cast<T *>(bytes.data()); }
  template <typename T> std::vector<T> values() {
    return std::vector<T>(as<T>(), as<T>() + bytes.size() / sizeof(T));
  }
};

class KernelRunner {
public:
  /// Compiles `function`, the text of a func.func called @f. Throws what went wrong.
  explicit KernelRunner(const std::string &function);
  ~KernelRunner();

  /// Runs @f. With several threads, each kernel's rows are split between so many calls.
  std::vector<Buffer> run(std::vector<Buffer> inputs, int threads = 1);

  int64_t kernelCount() const { return int64_t(kernels.size()); }
  /// LLVM's IR of all kernels, optimised.
  const std::string &optimizedIR() const { return ir; }
  /// Seconds of the fastest of `times` runs of the only kernel, on buffers of its argument sizes.
  double time(const std::string &kernel, std::vector<Buffer> &arguments, int times);
  std::string onlyKernel() const { return kernels.begin()->first; }

private:
  using Function = void (*)(void **, int64_t, int64_t);
  struct Kernel {
    Function function;
    int64_t rows, grain;
  };
  void call(const Kernel &kernel, std::vector<void *> &arguments, int threads);

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> plan;
  std::unique_ptr<llvm::orc::LLJIT> jit;
  std::map<std::string, Kernel> kernels;
  std::string ir;
};

} // namespace galvatron::test

#endif

//===- KernelRunner.cpp - Compiles a function of nn ops and runs it -------===//

#include "KernelRunner.h"

#include "dialects/NN/NN.h"
#include "dialects/RT/RT.h"
#include "galvatron/Codegen/Passes.h"
#include "galvatron/Target/ObjectCode.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/TargetSelect.h"

#include <chrono>
#include <thread>

using namespace galvatron;
using namespace galvatron::test;

static void runPasses(mlir::ModuleOp module, llvm::StringRef pipeline, std::string &error) {
  mlir::PassManager manager(module.getContext());
  static bool registered = (registerCodegenPasses(), true);
  (void)registered;
  if (failed(mlir::parsePassPipeline(pipeline, manager)) || failed(manager.run(module)))
    llvm::report_fatal_error(llvm::Twine("passes failed: ") + error);
}

KernelRunner::KernelRunner(const std::string &function) {
  context.loadDialect<nn::NNDialect, rt::RTDialect, mlir::func::FuncDialect>();
  std::string error;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
    error += diagnostic.str() + "\n";
    return mlir::success();
  });
  plan = mlir::parseSourceString<mlir::ModuleOp>(function, &context);
  if (!plan)
    llvm::report_fatal_error(llvm::Twine("does not parse: ") + error);
  runPasses(*plan, "nn-decompose,rt-form-kernels", error);
  mlir::OwningOpRef<mlir::ModuleOp> code(plan->clone());
  for (auto func : llvm::make_early_inc_range(code->getOps<mlir::func::FuncOp>()))
    if (!func->hasAttr(rt::kernelAttr))
      func.erase();
  runPasses(*code, "rt-lower-kernels", error);
  for (auto func : code->getOps<mlir::func::FuncOp>())
    kernels[func.getSymName().str()] = {nullptr, func->getAttrOfType<mlir::IntegerAttr>(rt::rowsAttr).getInt(),
                                        func->getAttrOfType<mlir::IntegerAttr>(rt::grainAttr).getInt()};
  runPasses(*code, "rt-convert-kernels", error);
  llvm::SmallString<0> object;
  llvm::raw_svector_ostream os(object);
  llvm::raw_string_ostream irStream(ir);
  ObjectOptions options;
  options.optimizedIR = &irStream;
  if (failed(emitObject(*code, options, os)))
    llvm::report_fatal_error(llvm::Twine("no object code: ") + error);
  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  jit = llvm::cantFail(llvm::orc::LLJITBuilder().create());
  llvm::cantFail(jit->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(object.str())));
  for (auto &[name, kernel] : kernels)
    kernel.function = llvm::cantFail(jit->lookup(name)).toPtr<Function>();
}

KernelRunner::~KernelRunner() = default;

void KernelRunner::call(const Kernel &kernel, std::vector<void *> &arguments, int threads) {
  if (threads == 1)
    return kernel.function(arguments.data(), 0, kernel.rows);
  std::vector<std::thread> team;
  for (int t = 0; t < threads; ++t)
    team.emplace_back(kernel.function, arguments.data(), kernel.rows * t / threads, kernel.rows * (t + 1) / threads);
  for (std::thread &thread : team)
    thread.join();
}

static size_t byteSize(mlir::Type type) {
  auto tensor = mlir::cast<mlir::RankedTensorType>(type);
  return tensor.getNumElements() * std::max<size_t>(1, tensor.getElementTypeBitWidth() / 8);
}

/// result = sum of products, by subscripts.
static void contract(nn::ContractOp op, const float *lhs, const float *rhs, float *result) {
  std::map<char, int64_t> sizes;
  nn::ContractOp::Subscripts letters = op.getParsedSubscripts();
  auto note = [&](llvm::StringRef text, mlir::Value value) {
    for (auto [letter, size] : llvm::zip(text, nn::tensorType(value).getShape()))
      sizes[letter] = size;
  };
  note(letters.lhs, op.getLhs());
  note(letters.rhs, op.getRhs());
  std::string order;
  int64_t total = 1;
  for (auto &[letter, size] : sizes) {
    order.push_back(letter);
    total *= size;
  }
  std::vector<double> sums(nn::tensorType(op.getResult()).getNumElements());
  for (int64_t i = 0; i < total; ++i) {
    std::map<char, int64_t> at;
    int64_t rest = i;
    for (char letter : order) {
      at[letter] = rest % sizes[letter];
      rest /= sizes[letter];
    }
    auto index = [&](llvm::StringRef text) {
      int64_t linear = 0;
      for (char letter : text)
        linear = linear * sizes[letter] + at[letter];
      return linear;
    };
    sums[index(letters.result)] += double(lhs[index(letters.lhs)]) * rhs[index(letters.rhs)];
  }
  for (size_t i = 0; i < sums.size(); ++i)
    result[i] = float(sums[i]);
}

std::vector<Buffer> KernelRunner::run(std::vector<Buffer> inputs, int threads) {
  auto function = plan->lookupSymbol<mlir::func::FuncOp>("f");
  std::vector<std::unique_ptr<Buffer>> storage;
  llvm::DenseMap<mlir::Value, Buffer *> values;
  auto make = [&](mlir::Value value) {
    storage.push_back(std::make_unique<Buffer>());
    // Whatever is not written shows.
    storage.back()->bytes.assign(byteSize(value.getType()), char(0x7f));
    return values[value] = storage.back().get();
  };
  for (auto [argument, input] : llvm::zip(function.getArguments(), inputs)) {
    if (input.bytes.size() != byteSize(argument.getType()))
      llvm::report_fatal_error("an input has another size");
    values[argument] = &input;
  }
  std::vector<Buffer> results;
  for (mlir::Operation &op : function.getBody().front()) {
    if (auto launch = mlir::dyn_cast<rt::LaunchOp>(op)) {
      std::vector<void *> arguments;
      for (mlir::Value input : launch.getInputs())
        arguments.push_back(values.lookup(input)->bytes.data());
      for (mlir::Value output : launch.getOutputs())
        arguments.push_back(make(output)->bytes.data());
      auto callee = plan->lookupSymbol(launch.getKernel());
      for (auto [output, input] : rt::getIndexPairs(callee, rt::inplaceAttr)) {
        Buffer *from = values.lookup(launch.getInputs()[input]), *to = values.lookup(launch.getOutputs()[output]);
        to->bytes = from->bytes;
        arguments[launch.getInputs().size() + output] = arguments[input] = to->bytes.data();
      }
      call(kernels.at(launch.getKernel().str()), arguments, threads);
    } else if (auto product = mlir::dyn_cast<nn::ContractOp>(op)) {
      contract(product, values.lookup(product.getLhs())->as<float>(), values.lookup(product.getRhs())->as<float>(),
               make(product.getResult())->as<float>());
    } else if (auto view = mlir::dyn_cast<nn::ReshapeOp>(op)) {
      values[view.getResult()] = values.lookup(view.getOperand());
    } else if (mlir::isa<mlir::func::ReturnOp>(op)) {
      for (mlir::Value value : op.getOperands())
        results.push_back(*values.lookup(value));
    } else {
      llvm::report_fatal_error(llvm::Twine("the runner does not know ") + op.getName().getStringRef());
    }
  }
  return results;
}

double KernelRunner::time(const std::string &name, std::vector<Buffer> &arguments, int times) {
  const Kernel &kernel = kernels.at(name);
  std::vector<void *> pointers;
  for (Buffer &argument : arguments)
    pointers.push_back(argument.bytes.data());
  double best = 1e30;
  for (int i = 0; i < times; ++i) {
    auto start = std::chrono::steady_clock::now();
    kernel.function(pointers.data(), 0, kernel.rows);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

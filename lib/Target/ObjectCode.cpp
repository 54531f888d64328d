//===- ObjectCode.cpp - From the LLVM dialect to an object file -----------===//
//
// LLVM runs in this process: translation, O2 with the loop and SLP vectorisers
// for the processor in question, code generation.
//
//===----------------------------------------------------------------------===//

#include "galvatron/Target/ObjectCode.h"

#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/ModuleTranslation.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"

using namespace galvatron;

std::optional<CpuLevel> galvatron::parseCpuLevel(llvm::StringRef name) {
  return llvm::StringSwitch<std::optional<CpuLevel>>(name)
      .Case("native", CpuLevel::Native)
      .Case("x86-64-v3", CpuLevel::V3)
      .Case("x86-64-v4", CpuLevel::V4)
      .Default(std::nullopt);
}

static const llvm::StringRef v3Features[] = {"avx",  "avx2", "bmi",   "bmi2",   "f16c",
                                             "fma",  "lzcnt", "movbe", "popcnt", "sse4.2"};
static const llvm::StringRef v4Features[] = {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"};

CpuLevel galvatron::resolveCpuLevel(CpuLevel cpu) {
  if (cpu != CpuLevel::Native)
    return cpu;
  llvm::StringMap<bool> host = llvm::sys::getHostCPUFeatures();
  bool hasV4 = llvm::all_of(v4Features, [&](llvm::StringRef name) { return host.lookup(name); });
  return hasV4 ? CpuLevel::V4 : CpuLevel::V3;
}

static const char *processorName(CpuLevel cpu) {
  return resolveCpuLevel(cpu) == CpuLevel::V4 ? "x86-64-v4" : "x86-64-v3";
}

std::string galvatron::cpuFeatures(CpuLevel cpu) {
  llvm::SmallVector<llvm::StringRef> names(std::begin(v3Features), std::end(v3Features));
  if (resolveCpuLevel(cpu) == CpuLevel::V4)
    llvm::append_range(names, v4Features);
  llvm::sort(names);
  return llvm::join(names, ",");
}

static std::unique_ptr<llvm::TargetMachine> createTargetMachine(CpuLevel cpu, std::string &error) {
  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  std::string triple = llvm::sys::getDefaultTargetTriple();
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return nullptr;
  llvm::TargetOptions options;
  // With the flag `contract` on the operations, this is what makes fused multiply-adds of them.
  options.AllowFPOpFusion = llvm::FPOpFusion::Fast;
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      triple, processorName(cpu), "", options, llvm::Reloc::PIC_, std::nullopt, llvm::CodeGenOptLevel::Default));
}

static void optimize(llvm::Module &module, llvm::TargetMachine &machine) {
  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = tuning.LoopInterleaving = tuning.SLPVectorization = true;
  llvm::PassBuilder builder(&machine, tuning);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager sccs;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(sccs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, sccs, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2).run(module, modules);
}

mlir::LogicalResult galvatron::emitObject(mlir::ModuleOp module, const ObjectOptions &options,
                                          llvm::raw_pwrite_stream &os) {
  mlir::DialectRegistry registry;
  mlir::registerBuiltinDialectTranslation(registry);
  mlir::registerLLVMDialectTranslation(registry);
  module.getContext()->appendDialectRegistry(registry);
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> code = mlir::translateModuleToLLVMIR(module, context);
  if (!code)
    return module.emitError("translation to LLVM IR failed");
  std::string error;
  std::unique_ptr<llvm::TargetMachine> machine = createTargetMachine(options.cpu, error);
  if (!machine)
    return module.emitError("no code generator for this machine: ") << error; // untested: LLVM knows the machine it runs on
  code->setDataLayout(machine->createDataLayout());
  code->setTargetTriple(machine->getTargetTriple().str());
  // Code uses what its level has and nothing else, but is scheduled for the machine at hand. The level's own default is
  // not to use 512-bit vectors where it has them.
  llvm::AttrBuilder attributes(context);
  attributes.addAttribute("target-cpu", processorName(options.cpu));
  if (options.cpu == CpuLevel::Native)
    attributes.addAttribute("tune-cpu", llvm::sys::getHostCPUName());
  if (resolveCpuLevel(options.cpu) == CpuLevel::V4)
    attributes.addAttribute("prefer-vector-width", "512");
  for (llvm::Function &function : *code)
    if (!function.isDeclaration())
      function.addFnAttrs(attributes);
  optimize(*code, *machine);
  if (options.optimizedIR)
    code->print(*options.optimizedIR, nullptr);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, os, nullptr, llvm::CodeGenFileType::ObjectFile))
    // untested: LLVM's for the machine it runs on does
    return module.emitError("the code generator for this machine writes no object files");
  passes.run(*code);
  os.flush();
  return mlir::success();
}

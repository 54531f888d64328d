//===- ObjectCode.h - From the LLVM dialect to an object file -------------===//

#ifndef GALVATRON_TARGET_OBJECTCODE_H
#define GALVATRON_TARGET_OBJECTCODE_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LogicalResult.h"
#include "llvm/Support/raw_ostream.h"

#include <optional>
#include <string>

namespace galvatron {

/// The processors that object code may be made for.
enum class CpuLevel {
  Native, ///< the level of the machine that compiles, scheduled for it
  V3,     ///< x86-64-v3: AVX2, FMA
  V4,     ///< x86-64-v4: AVX-512 F, BW, CD, DQ, VL
};

/// `native`, `x86-64-v3` or `x86-64-v4`.
std::optional<CpuLevel> parseCpuLevel(llvm::StringRef name);

struct ObjectOptions {
  CpuLevel cpu = CpuLevel::Native;
  /// If not null, the optimised LLVM IR is printed here.
  llvm::raw_ostream *optimizedIR = nullptr;
};

/// V3 or V4; for `Native`, the higher one of them that this machine has.
CpuLevel resolveCpuLevel(CpuLevel cpu);

/// The features (LLVM's names, sorted, comma separated) that code for `cpu` may use.
std::string cpuFeatures(CpuLevel cpu);

/// Translates a module of the LLVM dialect, optimises it and writes an object file. Errors are emitted at the module.
mlir::LogicalResult emitObject(mlir::ModuleOp module, const ObjectOptions &options, llvm::raw_pwrite_stream &os);

} // namespace galvatron

#endif

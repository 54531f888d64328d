//===- Program.h - The last step: an executable and its weights -----------===//

#ifndef GALVATRON_TOOLS_PROGRAM_H
#define GALVATRON_TOOLS_PROGRAM_H

#include "galvatron/Target/ObjectCode.h"

#include "mlir/IR/BuiltinOps.h"

#include <functional>
#include <optional>
#include <string>

namespace galvatron {

struct ProgramOptions {
  std::string path;  ///< of the executable; its weights are path.safetensors
  std::string input; ///< what was compiled
  CpuLevel cpu = CpuLevel::Native;
  std::optional<int64_t> randomSeed; ///< no weights are written
};

/// Remembers in the module which model it comes from, so that a later compilation finds the weights.
void setModelPath(mlir::ModuleOp module, llvm::StringRef path);

/// Makes object code of a lowered module, links it, and writes the weights. `done` is told what took time.
mlir::LogicalResult writeProgram(mlir::ModuleOp module, const ProgramOptions &options,
                                 const std::function<void(llvm::StringRef)> &done);

/// Prints the optimised LLVM IR of what writeProgram would link. Changes the module as that does.
mlir::LogicalResult printCode(mlir::ModuleOp module, const ProgramOptions &options, llvm::raw_ostream &os);

} // namespace galvatron

#endif

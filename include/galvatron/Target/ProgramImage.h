//===- ProgramImage.h - The program table as the words of galvatron_rt.h --===//

#ifndef GALVATRON_TARGET_PROGRAMIMAGE_H
#define GALVATRON_TARGET_PROGRAMIMAGE_H

#include "dialects/RT/RT.h"
#include "mlir/IR/BuiltinOps.h"

#include <optional>
#include <string>
#include <vector>

namespace galvatron {

/// What the table does not say about a program.
struct ProgramInfo {
  std::string modelName;
  std::optional<int64_t> randomSeed; // the program makes its own weights
  std::string cpuFeatures;           // comma separated; empty = those of the level
};

struct ProgramImage {
  std::vector<int64_t> words;
  std::string strings; // with the NULs
  std::vector<std::string> functions;
};

/// Serialises the programs of all stages, whose memory is planned, in their order, and checks the images as the runtime will.
mlir::FailureOr<std::vector<ProgramImage>> buildProgramImages(mlir::ModuleOp module, const ProgramInfo &info);

/// Puts the images and `main` into the module as LLVM globals and removes what is not LLVM: what is left can be made an
/// object file.
void addProgramImages(mlir::ModuleOp module, llvm::ArrayRef<ProgramImage> images);

} // namespace galvatron

#endif

//===- Weights.h - The first values of a program's parameters -------------===//

#ifndef GALVATRON_TARGET_WEIGHTS_H
#define GALVATRON_TARGET_WEIGHTS_H

#include "dialects/RT/RT.h"
#include "mlir/IR/BuiltinOps.h"

#include <functional>
#include <optional>
#include <string>

namespace galvatron {

/// Where initial values are read.
struct WeightSources {
  /// Folder of the model: data files are relative to it.
  std::string directory;
  /// The row-major bytes of an initializer inside the model; nothing after an error that was reported.
  std::function<std::optional<std::string>(mlir::Location, llvm::StringRef)> readInitializer;
};

/// Writes the saved tensors of the program's parameters and constants to a safetensors file, in the shapes of the PyTorch
/// model. At most one tensor is in memory at a time. A failure leaves no file. Errors call the file `name`.
mlir::LogicalResult writeWeights(mlir::ModuleOp module, const WeightSources &sources, llvm::StringRef path,
                                 llvm::StringRef name);

} // namespace galvatron

#endif

//===- Import.h - ONNX in, nn out -----------------------------------------===//
//
// The first arrow of the flow: a model file becomes a module of nn ops with the
// shapes of the global batch, and its initializers become nn.parameter symbols
// under the names of the PyTorch model. The way back (a trained ONNX file) is
// here too, because both need to know which initializer is which parameter.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_IMPORT_IMPORT_H
#define GALVATRON_IMPORT_IMPORT_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/StringMap.h"
#include <optional>
#include <string>
#include <vector>

namespace galvatron {

struct ImportOptions {
  /// Input name -> all of its dimensions, for the global batch.
  llvm::StringMap<std::vector<int64_t>> shapes;
  /// Further names of parameters: (the name to add, a name that the file knows), in either order.
  std::vector<std::pair<std::string, std::string>> aliases;
  /// Parameters that match one of these globs are not trained.
  std::vector<std::string> freeze;
  /// An output that must be there, or empty: --loss names it.
  std::string lossOutput;
  /// Weights are made up by the program: nothing opens a weights file, parameters have no source.
  bool randomWeights = false;
  /// A missing weights file is an error, not a note.
  bool requireWeights = false;
  /// Prints the list of parameters as a note.
  bool listParameters = true;
};

/// Parses `name:8x32,other:8x32` into `shapes`. On failure returns what is wrong.
std::optional<std::string> parseShapes(llvm::StringRef text, llvm::StringMap<std::vector<int64_t>> &shapes);

/// Parses `NAME=NAME`. On failure returns what is wrong.
std::optional<std::string> parseAlias(llvm::StringRef text,
                                      std::vector<std::pair<std::string, std::string>> &aliases);

/// Reads a model. Every problem is a diagnostic; null when there was an error.
mlir::OwningOpRef<mlir::ModuleOp> importOnnx(llvm::StringRef path, const ImportOptions &options,
                                             mlir::MLIRContext *context);

/// The same from bytes in memory; external data files are looked for beside `path`.
mlir::OwningOpRef<mlir::ModuleOp> importOnnxBuffer(llvm::StringRef bytes, llvm::StringRef path,
                                                   const ImportOptions &options,
                                                   mlir::MLIRContext *context);

/// Writes the model at `path` with the parameters in `weights` (safetensors) to `output`.
mlir::LogicalResult exportOnnx(llvm::StringRef path, llvm::StringRef weights, llvm::StringRef output,
                               const ImportOptions &options, mlir::MLIRContext *context);

/// The table of docs/SupportedOps.md, in Markdown.
void printSupportedOps(llvm::raw_ostream &os);

} // namespace galvatron

#endif

//===- InitializerReader.h - Values of initializers inside a model --------===//

#ifndef GALVATRON_IMPORT_INITIALIZERREADER_H
#define GALVATRON_IMPORT_INITIALIZERREADER_H

#include "mlir/IR/Location.h"

#include <memory>
#include <optional>
#include <string>

namespace galvatron {

class OnnxModel;

/// Reads initializers that a model holds itself. The file is opened at the first of them.
class InitializerReader {
public:
  InitializerReader(llvm::StringRef path, mlir::MLIRContext *context);
  ~InitializerReader();

  /// The row-major bytes of an initializer; nothing after an error, which is reported at `loc`.
  std::optional<std::string> read(mlir::Location loc, llvm::StringRef name);

private:
  std::string path;
  mlir::MLIRContext *context;
  std::unique_ptr<OnnxModel> model;
};

} // namespace galvatron

#endif

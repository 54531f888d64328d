//===- NodeDiagnostics.h - Prints diagnostics at ONNX nodes ---------------===//
//
// Imported ops carry a NameLoc of their ONNX node. MLIR's own handler prints
// that badly, so the tools that start from a model install this one, which says
//
//     model.onnx: node 'Conv_17': error: ...
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_IMPORT_NODEDIAGNOSTICS_H
#define GALVATRON_IMPORT_NODEDIAGNOSTICS_H

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Location.h"

namespace galvatron {

class NodeDiagnosticHandler : public mlir::ScopedDiagnosticHandler {
public:
  NodeDiagnosticHandler(mlir::MLIRContext *context, llvm::StringRef file, llvm::raw_ostream &os);

private:
  void print(mlir::Diagnostic &diagnostic);

  std::string file;
  llvm::raw_ostream &os;
};

/// What a name of an ONNX file names, where it is not a node.
enum class OnnxName { Node, Initializer, Input, Output };

/// The location of a thing of an ONNX file.
mlir::Location onnxLocation(mlir::MLIRContext *context, OnnxName kind, llvm::StringRef name);

} // namespace galvatron

#endif

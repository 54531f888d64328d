//===- StageLowering.h - Stage functions and tables, from tensors to buffers ===//
//
// The two halves of --rt-lower: a stage function on tensors becomes one on buffers, and the rows of a pipe.table become
// rows of the rt.program that name the buffers they work on.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_LIB_CODEGEN_STAGELOWERING_H
#define GALVATRON_LIB_CODEGEN_STAGELOWERING_H

#include "dialects/NN/NN.h"
#include "dialects/Pipe/Pipe.h"
#include "dialects/RT/RT.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace galvatron {

/// Makes the descriptors of library calls, each distinct one once.
class Descriptors {
public:
  explicit Descriptors(mlir::ModuleOp module) : module(module), symbols(module) {}

  /// The descriptor with these attributes (all but its name).
  template <typename DescOp>
  mlir::FlatSymbolRefAttr get(mlir::Location loc, llvm::StringRef prefix, mlir::ArrayRef<mlir::NamedAttribute> attributes);

private:
  mlir::FlatSymbolRefAttr getOrCreate(mlir::Location loc, llvm::StringRef opName, llvm::StringRef prefix,
                                      mlir::ArrayRef<mlir::NamedAttribute> attributes);
  mlir::ModuleOp module;
  mlir::SymbolTable symbols;
  llvm::DenseMap<mlir::Attribute, mlir::FlatSymbolRefAttr> made;
};

template <typename DescOp>
mlir::FlatSymbolRefAttr Descriptors::get(mlir::Location loc, llvm::StringRef prefix,
                                         mlir::ArrayRef<mlir::NamedAttribute> attributes) {
  return getOrCreate(loc, DescOp::getOperationName(), prefix, attributes);
}

/// Replaces `function` by one of the same name whose arguments are its inputs and then its results, as buffers.
mlir::LogicalResult lowerStageFunction(mlir::func::FuncOp function, Descriptors &descriptors);

/// Replaces the tables by one program. The functions that they run are on buffers by now; `optimizer` and the like are
/// written into the program.
mlir::LogicalResult lowerTables(llvm::ArrayRef<pipe::TableOp> tables, int64_t threads, llvm::StringRef cpu,
                                llvm::StringRef optimizer);

} // namespace galvatron

#endif

//===- KernelEmitter.h - Emits the loops of a kernel ----------------------===//

#ifndef GALVATRON_LIB_CODEGEN_KERNELEMITTER_H
#define GALVATRON_LIB_CODEGEN_KERNELEMITTER_H

#include "ElementPuller.h"
#include "KernelShape.h"

namespace galvatron {

/// A kernel as loops over flat memrefs: inputs, outputs, then the rows [begin, end) to compute. Its attributes
/// `rt.rows` and `rt.grain` say how many rows there are and how many make a thread's while.
struct LoweredKernel {
  mlir::OwningOpRef<mlir::func::FuncOp> function;
  /// Constant tables that it reads.
  llvm::SmallVector<std::pair<std::string, mlir::DenseElementsAttr>> tables;
};

/// Emits loops for `kernel`, a function of nn ops. Fails with an error at its location if its ops do not fit into
/// one nest of rows.
mlir::FailureOr<LoweredKernel> emitKernel(mlir::func::FuncOp kernel);

} // namespace galvatron

#endif

//===- KernelShape.h - What a kernel iterates over ------------------------===//
//
// A kernel is a function of nn ops between two library calls. Its shape says
// which loop runs over what the threads split (the rows), which loops run inside
// a row (the columns), and in which phase of a row each reduction and each
// result is computed.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_LIB_CODEGEN_KERNELSHAPE_H
#define GALVATRON_LIB_CODEGEN_KERNELSHAPE_H

#include "dialects/NN/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace galvatron {

enum class KernelKind {
  Rows,    ///< reductions over the columns of a row, or none at all
  Columns, ///< reductions over everything but the last kept dimension, kept dimension innermost
  Scan,    ///< one running sum
};

/// The results and reductions of a kernel that run over the same columns.
struct ColumnSpace {
  int64_t columns;
  llvm::SmallVector<int64_t> sizes; ///< of the loops, outermost first; their product is `columns`
};

/// One thing that a kernel computes for its own sake.
struct KernelRoot {
  mlir::Value value;  ///< a result, or the operand of a reduction
  nn::ReduceOp reduce; ///< null for a result
  unsigned output;     ///< number of the result
  unsigned phase;
  unsigned space; ///< index into KernelShape::spaces
};

struct KernelShape {
  KernelKind kind = KernelKind::Rows;
  int64_t rows = 1;
  unsigned phases = 1;
  bool flexible = false; ///< no reduction fixes the rows: any leading part of the elements may be rows
  /// Reductions whose reduced dimensions are not the trailing ones: shape and kept dimensions of their operands.
  llvm::SmallVector<int64_t> scatteredShape;
  llvm::SmallVector<bool> scatteredKept;
  llvm::SmallVector<ColumnSpace> spaces;
  llvm::SmallVector<KernelRoot> roots;

  bool isScattered() const { return !scatteredShape.empty(); }
};

/// The shape of a kernel, or an error at its location if it has none.
mlir::FailureOr<KernelShape> analyzeKernel(mlir::func::FuncOp kernel);

/// Whether an element costs a polynomial or a division, so that it should not be computed twice.
bool isExpensiveElement(mlir::Operation *op);

/// Whether the reduced dimensions are the trailing ones (dimensions of size one aside).
bool reducesTrailing(nn::ReduceOp op);

/// Whether the innermost dimension (of size other than one) is among the reduced ones.
bool reducesInnermost(nn::ReduceOp op);

} // namespace galvatron

#endif

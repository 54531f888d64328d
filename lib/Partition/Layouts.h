//===- Layouts.h - The layout attributes on functions and ops -------------===//

#ifndef GALVATRON_LIB_PARTITION_LAYOUTS_H
#define GALVATRON_LIB_PARTITION_LAYOUTS_H

#include "dialects/Dist/Dist.h"
#include "dialects/NN/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace galvatron {

/// The layout that --dist-propagate-layouts left for a value; null if there is none.
dist::LayoutAttr getLayout(mlir::Value value);

/// The layout of a value of this rank that is whole everywhere.
dist::LayoutAttr getWholeLayout(dist::MeshOp mesh, int64_t rank);

/// The only mesh of a module; an error if there is none or more than one.
mlir::FailureOr<dist::MeshOp> getMesh(mlir::ModuleOp module);

/// The functions that run a step: the public ones with a body.
llvm::SmallVector<mlir::func::FuncOp> getSteps(mlir::ModuleOp module);

/// Whether a call of a step runs for each micro-batch.
inline bool hasStrategy(mlir::Operation *call) { return call->hasAttr(dist::strategyAttrName); }

/// The factor that a split of dimension `dim` splits: the outermost of those the dimension runs over, as a piece
/// must be contiguous inside the dimension. -1 if the dimension runs over none.
inline int64_t getSplitFactor(const nn::DimFactors &dims, int64_t dim) {
  return dims[dim].empty() ? -1 : dims[dim].front();
}

} // namespace galvatron

#endif

//===- Rows.h - Where the rows of the batch are ---------------------------===//
//
// Inputs of a model have the batch in dimension 0; sharding rules say where it
// goes from there.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_DIALECTS_NN_ROWS_H
#define GALVATRON_DIALECTS_NN_ROWS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"

namespace galvatron::nn {

/// Of values that have rows: in which dimension.
using Rows = llvm::DenseMap<mlir::Value, int64_t>;

/// Whether an argument is one of the model: all are but "hyper", the scalars of a step.
bool isModelInput(mlir::func::FuncOp function, unsigned argument);

/// The number of rows of the batch: those of the first input of the model that has more than one, or 1.
int64_t getBatch(mlir::func::FuncOp function);

/// The rows of inputs of the model. Inputs with another first dimension have none: positions, say, or a table.
Rows getInputRows(mlir::func::FuncOp function);

/// Adds the results of an op that have the rows of its operands. Returns whether the op combines rows, so that a result
/// cannot be computed for a few of them.
bool followRows(mlir::Operation *op, Rows &rows);

} // namespace galvatron::nn

#endif

//===- Rows.h - Where the rows of the batch are ---------------------------===//
//
// Inputs of a model have the batch in dimension 0; sharding rules say where it
// goes from there.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_DIALECTS_NN_ROWS_H
#define GALVATRON_DIALECTS_NN_ROWS_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"

namespace galvatron::nn {

/// Of values that have rows: in which dimension.
using Rows = llvm::DenseMap<mlir::Value, int64_t>;

/// Adds the results of an op that have the rows of its operands. Returns whether the op combines rows, so that a result
/// cannot be computed for a few of them.
bool followRows(mlir::Operation *op, Rows &rows);

} // namespace galvatron::nn

#endif

//===- UnusedResults.h - What functions make for nobody -------------------===//

#ifndef GALVATRON_LIB_PARTITION_UNUSEDRESULTS_H
#define GALVATRON_LIB_PARTITION_UNUSEDRESULTS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace galvatron {

/// Erases ops of a body that make nothing that is used.
void eraseUnused(mlir::Block &body);

/// Removes the results of a private function that none of its calls use, and what only they need; the function too if it has no call.
/// Returns whether there were any.
bool dropUnusedResults(mlir::func::FuncOp function);

} // namespace galvatron

#endif

//===- CutFunctions.h - Functions are cut where ranks talk ----------------===//
//
// A row of a table runs a function or a move between ranks, never both. A
// function with moves inside becomes several, and the moves stand between their
// calls; what lives across a cut is a value of the step.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_LIB_SCHEDULE_CUTFUNCTIONS_H
#define GALVATRON_LIB_SCHEDULE_CUTFUNCTIONS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace galvatron {

/// Cuts every private function that holds ops of `dist`, and its calls in the steps.
void cutFunctionsAtMoves(mlir::ModuleOp module);

} // namespace galvatron

#endif

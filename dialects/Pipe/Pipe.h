//===- Pipe.h - The pipe dialect ------------------------------------------===//

#ifndef GALVATRON_DIALECTS_PIPE_PIPE_H
#define GALVATRON_DIALECTS_PIPE_PIPE_H

#include "dialects/Dist/Dist.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/Pipe/PipeDialect.h.inc"
#include "dialects/Pipe/PipeEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Pipe/PipeAttrs.h.inc"
#define GET_OP_CLASSES
#include "dialects/Pipe/PipeOps.h.inc"

namespace galvatron::pipe {

/// Reads the `nn.accumulates` attribute of a function: pairs of a result and the argument that it is added to.
/// Pairs that are malformed are left out; `verifyAccumulates` reports them.
llvm::SmallVector<std::pair<int64_t, int64_t>> getAccumulates(mlir::Operation *function);

/// Checks that `nn.accumulates`, if there, is an array of [result, argument] pairs of equal types.
mlir::LogicalResult verifyAccumulates(mlir::Operation *function);

/// The micro-batch that a row belongs to, if it has one.
std::optional<int64_t> getMicroBatch(mlir::Operation *row);

/// Whether a row begins a collective that a pipe.complete waits for.
inline bool isAsync(mlir::Operation *row) { return row->getAttrOfType<mlir::UnitAttr>("async") != nullptr; }

/// Whether an output is a number of the whole step, which every rank has, and no output of the model.
inline bool isStepScalar(llvm::StringRef output) { return output == "loss" || output == "grad_norm"; }

/// What the table of a stage is called: `train`, or, of several stages, `train.stage1`.
std::string getTableName(llvm::StringRef step, int64_t stage, int64_t stages);
/// The step that a table is of: `train` for both.
llvm::StringRef getStepName(TableOp table);

} // namespace galvatron::pipe

#endif

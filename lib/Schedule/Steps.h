//===- Steps.h - What the passes of the schedule read off a step ----------===//

#ifndef GALVATRON_LIB_SCHEDULE_STEPS_H
#define GALVATRON_LIB_SCHEDULE_STEPS_H

#include "dialects/Dist/Dist.h"
#include "dialects/NN/NN.h"
#include "dialects/Pipe/Pipe.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace galvatron {

// Attributes that --pipe-split leaves on the calls of a step.
inline constexpr llvm::StringLiteral callAttrName = "pipe.call";
inline constexpr llvm::StringLiteral phaseAttrName = "pipe.phase";
// On a function that adds to running results: the name of the one that it was made from.
inline constexpr llvm::StringLiteral variantOfAttrName = "pipe.variant_of";

/// The functions that run a step: the public ones with a body.
inline llvm::SmallVector<mlir::func::FuncOp> getSteps(mlir::ModuleOp module) {
  llvm::SmallVector<mlir::func::FuncOp> steps;
  for (auto function : module.getOps<mlir::func::FuncOp>())
    if (!function.isPrivate() && !function.isDeclaration())
      steps.push_back(function);
  return steps;
}

/// Whether a move is over the micro-batches.
template <typename Move> bool isOverTime(Move move) {
  return llvm::is_contained(move.getAxes().template getAsValueRange<mlir::StringAttr>(), dist::timeAxis);
}

/// Whether an op's result exists only after the last micro-batch, out of something of each.
inline bool isCompletedOverTime(mlir::Operation *op) {
  if (auto reduce = mlir::dyn_cast<dist::AllReduceOp>(op))
    return isOverTime(reduce);
  auto gather = mlir::dyn_cast<dist::AllGatherOp>(op);
  return gather && isOverTime(gather);
}

/// Whether an op adds up partial results that an all-reduce over time completes: accumulation, no arithmetic.
bool isAccumulation(mlir::Operation *op);

/// Whether an op moves a value between ranks or over time.
inline bool isMove(mlir::Operation *op) { return mlir::isa<dist::DistDialect>(op->getDialect()); }

inline int64_t bytesOf(mlir::ValueRange values) {
  int64_t bytes = 0;
  for (mlir::Value value : values)
    bytes += nn::tensorType(value).getNumElements() * std::max<int64_t>(nn::tensorType(value).getElementTypeBitWidth() / 8, 1);
  return bytes;
}

/// The stage that an op of a step is on.
inline int64_t getStage(mlir::Operation *op) {
  auto stage = op->getAttrOfType<mlir::IntegerAttr>(dist::stageAttrName);
  return stage ? stage.getInt() : 0;
}

} // namespace galvatron

#endif

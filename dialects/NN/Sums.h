//===- Sums.h - Trees of additions ----------------------------------------===//

#ifndef GALVATRON_DIALECTS_NN_SUMS_H
#define GALVATRON_DIALECTS_NN_SUMS_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/Operation.h"

namespace galvatron::nn {

/// Whether an op adds up its operands, which have the type of its result (IsSum). Null is no op.
bool isSum(mlir::Operation *op);

/// What a value adds up, from the left: the leaves of the additions that make it, of which nothing else reads those inside. The
/// value itself where none makes it.
llvm::SmallVector<mlir::Value> getAddends(mlir::Value sum);

/// The sum of at least one value, from the left.
mlir::Value addUp(mlir::OpBuilder &builder, mlir::Location loc, llvm::ArrayRef<mlir::Value> values);

/// Makes every sum of a block one of sums of addends with equal keys, in the order in which the keys come first; but for those whose last
/// op `isKept`. Returns whether there was anything to do: never twice with the same keys.
bool groupSums(mlir::Block &block, llvm::function_ref<mlir::Attribute(mlir::Value)> keyOf,
               llvm::function_ref<bool(mlir::Operation *)> isKept = [](mlir::Operation *) { return false; });

/// Erases the sums that nothing reads any more.
void eraseUnusedSums(mlir::Block &block);

} // namespace galvatron::nn

#endif

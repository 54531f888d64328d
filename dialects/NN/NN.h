//===- NN.h - The nn dialect ----------------------------------------------===//

#ifndef GALVATRON_DIALECTS_NN_NN_H
#define GALVATRON_DIALECTS_NN_NN_H

#include "dialects/NN/ShardingRule.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace galvatron::nn {
/// The op adds up its operands, all of the type of its result.
template <typename Op> class IsSum : public mlir::OpTrait::TraitBase<Op, IsSum> {};

/// The op's result has the elements of its only operand, in their order: other dimensions of the same bytes.
template <typename Op> class IsView : public mlir::OpTrait::TraitBase<Op, IsView> {};

/// Gives the scalar of operand number `operand` at `indices` (see ElementOpInterface).
using ElementFn = llvm::function_ref<mlir::Value(unsigned operand, mlir::ValueRange indices)>;
} // namespace galvatron::nn

#include "dialects/NN/NNDialect.h.inc"
#include "dialects/NN/NNEnums.h.inc"
#include "dialects/NN/NNInterfaces.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/NN/NNAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/NN/NNTypes.h.inc"
#define GET_OP_CLASSES
#include "dialects/NN/NNOps.h.inc"

namespace galvatron::nn {

/// Constants that are not splats may not be larger than this (bytes); tables of the file are parameters.
inline constexpr int64_t maxConstantBytes = int64_t(1) << 20;

/// What errors call ids that are out of range.
inline constexpr llvm::StringLiteral embeddingIdsName = "the ids of an embedding", labelsName = "labels";

/// The static tensor type of a value.
inline mlir::RankedTensorType tensorType(mlir::Value value) {
  return mlir::cast<mlir::RankedTensorType>(value.getType());
}

/// `value` as a splat of f32, i64 or i1.
mlir::Value createSplat(mlir::OpBuilder &builder, mlir::Location loc, mlir::RankedTensorType type, double value);

/// The scalar that `value` repeats, if it is a constant splat.
std::optional<double> getSplat(mlir::Value value);
std::optional<double> getSplat(mlir::Attribute value);

/// `reduced`, which lost the dimensions `dims` of `shape`, repeated along them again.
mlir::Value broadcastBack(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value reduced,
                          mlir::RankedTensorType type, llvm::ArrayRef<int64_t> dims);

} // namespace galvatron::nn

#endif

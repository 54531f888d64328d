//===- Dist.h - The dist dialect ------------------------------------------===//

#ifndef GALVATRON_DIALECTS_DIST_DIST_H
#define GALVATRON_DIALECTS_DIST_DIST_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/Dist/DistDialect.h.inc"
#include "dialects/Dist/DistEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Dist/DistAttrs.h.inc"
#define GET_OP_CLASSES
#include "dialects/Dist/DistOps.h.inc"

namespace galvatron::dist {

/// The axis of the micro-batches.
inline constexpr llvm::StringLiteral timeAxis = "time";
/// The role that splits dimension 0 of the model's inputs.
inline constexpr llvm::StringLiteral batchRole = "batch";
/// The role that splits what is inside a block.
inline constexpr llvm::StringLiteral tensorRole = "tensor";

// Attributes on ops of other dialects.
inline constexpr llvm::StringLiteral strategyAttrName = "dist.strategy";
inline constexpr llvm::StringLiteral opAttrName = "dist.op"; ///< what a strategy calls an op of a block
inline constexpr llvm::StringLiteral stageAttrName = "dist.stage";
/// On the mesh: the order in which pipeline stages run their micro-batches, if the plan says another one than 1f1b.
inline constexpr llvm::StringLiteral scheduleAttrName = "dist.schedule";
inline constexpr llvm::StringLiteral callAttrName = "dist.call";              ///< number of a forward call
inline constexpr llvm::StringLiteral backwardOfAttrName = "dist.backward_of"; ///< number of its forward
inline constexpr llvm::StringLiteral layoutAttrName = "dist.layout";
inline constexpr llvm::StringLiteral wholeShapeAttrName = "dist.whole_shape"; ///< of a parameter that is stored in pieces
inline constexpr llvm::StringLiteral layoutsAttrName = "dist.layouts";

/// `sum`, `max` or `min`, for the assembly of ops of other dialects.
mlir::ParseResult parseMonoid(mlir::OpAsmParser &parser, MonoidAttr &monoid);
void printMonoid(mlir::OpAsmPrinter &printer, mlir::Operation *op, MonoidAttr monoid);

/// Finds the mesh that an op names and checks that it has the axes; reports at the op.
mlir::FailureOr<MeshOp> lookupMesh(mlir::Operation *op, mlir::SymbolTableCollection &symbols, mlir::FlatSymbolRefAttr name,
                                   mlir::ArrayAttr axes);

/// Whether a list of axes names the one of the micro-batches.
inline bool hasTime(mlir::ArrayAttr axes) {
  return llvm::is_contained(axes.getAsValueRange<mlir::StringAttr>(), timeAxis);
}

} // namespace galvatron::dist

#endif

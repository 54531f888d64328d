//===- RT.h - The rt dialect ----------------------------------------------===//

#ifndef GALVATRON_DIALECTS_RT_RT_H
#define GALVATRON_DIALECTS_RT_RT_H

#include "dialects/Dist/Dist.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/RegionKindInterface.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/RT/RTDialect.h.inc"
#include "dialects/RT/RTEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/RT/RTAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/RT/RTTypes.h.inc"
#define GET_OP_CLASSES
#include "dialects/RT/RTOps.h.inc"

namespace galvatron::rt {

// Attributes of functions. On a kernel: `kernelAttr` (unit) marks it, `inplaceAttr` lists pairs [output, input] that
// must be one buffer, `mayInplaceAttr` pairs that may be, `rowsAttr` and `grainAttr` say how it is split over threads.
// On a stage function: `outsAttr` is the number of trailing arguments that are written, `aliasesAttr` lists pairs
// [output, input] that are one buffer, `frameBytesAttr` its working memory,
// `scratchBytesAttr` how much of that is the library's. On a result of such a function, later on the argument that it
// becomes: `nameAttr` is the op of the model that makes it.
// On the module: `stringsAttr` is what the image's strings begin with, as code refers to them by offset.
inline constexpr llvm::StringLiteral kernelAttr = "rt.kernel";
inline constexpr llvm::StringLiteral inplaceAttr = "rt.inplace";
inline constexpr llvm::StringLiteral mayInplaceAttr = "rt.may_inplace";
inline constexpr llvm::StringLiteral rowsAttr = "rt.rows";
inline constexpr llvm::StringLiteral grainAttr = "rt.grain";
inline constexpr llvm::StringLiteral outsAttr = "rt.outs";
inline constexpr llvm::StringLiteral nameAttr = "rt.name";
inline constexpr llvm::StringLiteral aliasesAttr = "rt.aliases";
inline constexpr llvm::StringLiteral frameBytesAttr = "rt.frame_bytes";
inline constexpr llvm::StringLiteral scratchBytesAttr = "rt.scratch_bytes";
inline constexpr llvm::StringLiteral stringsAttr = "rt.strings";

/// The pairs of an attribute like `rt.inplace = [[0, 1], [2, 0]]`; empty if there is none.
llvm::SmallVector<std::pair<int64_t, int64_t>> getIndexPairs(mlir::Operation *op, llvm::StringRef name);

/// Sets such an attribute, or removes it if there are no pairs.
void setIndexPairs(mlir::Operation *op, llvm::StringRef name, llvm::ArrayRef<std::pair<int64_t, int64_t>> pairs);

/// Bytes of a tensor in the arena: an i1 element takes one byte.
int64_t getTensorBytes(mlir::RankedTensorType type);

} // namespace galvatron::rt

#endif

//===- Passes.h - From scheduled functions to LLVM ------------------------===//

#ifndef GALVATRON_CODEGEN_PASSES_H
#define GALVATRON_CODEGEN_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace galvatron {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "galvatron/Codegen/Passes.h.inc"

} // namespace galvatron

#endif

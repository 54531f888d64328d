//===- Passes.h - Passes of the import stage ------------------------------===//

#ifndef GALVATRON_IMPORT_PASSES_H
#define GALVATRON_IMPORT_PASSES_H

#include "dialects/NN/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

namespace galvatron {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION // registerImportPasses()
#include "galvatron/Import/Passes.h.inc"

/// From the small ops that an ONNX file has to the ops that they mean (RaisePipeline.cpp).
void buildRaisePipeline(mlir::OpPassManager &pm);

/// Registers it as `nn-raise`.
void registerRaisePipeline();

} // namespace galvatron

#endif

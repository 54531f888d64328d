//===- DecomposePatterns.h - Patterns of --nn-decompose -------------------===//

#ifndef GALVATRON_LIB_CODEGEN_DECOMPOSEPATTERNS_H
#define GALVATRON_LIB_CODEGEN_DECOMPOSEPATTERNS_H

#include "mlir/IR/PatternMatch.h"

namespace galvatron {

/// Attention, its gradient, rotary embedding.
void populateDecomposeAttentionPatterns(mlir::RewritePatternSet &patterns);
/// Cross entropy, lookups in pieces of tables, their gradients, AdamW, SGD.
void populateDecomposeTrainingPatterns(mlir::RewritePatternSet &patterns);

} // namespace galvatron

#endif

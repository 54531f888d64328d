//===- MathExpansion.h - Transcendental functions as arithmetic -----------===//

#ifndef GALVATRON_LIB_CODEGEN_MATHEXPANSION_H
#define GALVATRON_LIB_CODEGEN_MATHEXPANSION_H

#include "mlir/IR/PatternMatch.h"

namespace galvatron {

/// Patterns that replace exp, log, tanh, erf, sin, cos and pow of f32 by arithmetic that a loop vectoriser
/// understands. Upstream's polynomials where they are accurate, own ones for sin, cos (whose upstream form loses
/// all digits for large arguments) and pow.
void populateMathExpansionPatterns(mlir::RewritePatternSet &patterns);

} // namespace galvatron

#endif

//===- Passes.h - The passes of lib/Plan ----------------------------------===//

#ifndef GALVATRON_PLAN_PASSES_H
#define GALVATRON_PLAN_PASSES_H

#include "mlir/Pass/Pass.h"

namespace galvatron {

#define GEN_PASS_DECL
#include "galvatron/Plan/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "galvatron/Plan/Passes.h.inc"

} // namespace galvatron

#endif

//===- Passes.h - The passes of lib/Schedule ------------------------------===//

#ifndef GALVATRON_SCHEDULE_PASSES_H
#define GALVATRON_SCHEDULE_PASSES_H

#include "mlir/Pass/Pass.h"

namespace galvatron {

#define GEN_PASS_DECL
#include "galvatron/Schedule/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "galvatron/Schedule/Passes.h.inc"

} // namespace galvatron

#endif

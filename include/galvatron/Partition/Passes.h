//===- Passes.h - The passes of lib/Partition -----------------------------===//

#ifndef GALVATRON_PARTITION_PASSES_H
#define GALVATRON_PARTITION_PASSES_H

#include "mlir/Pass/Pass.h"

namespace galvatron {

#define GEN_PASS_DECL
#include "galvatron/Partition/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "galvatron/Partition/Passes.h.inc"

} // namespace galvatron

#endif

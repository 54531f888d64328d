//===- Link.h - From an object file to an executable ----------------------===//

#ifndef GALVATRON_TARGET_LINK_H
#define GALVATRON_TARGET_LINK_H

#include "mlir/IR/Location.h"
#include "mlir/Support/LogicalResult.h"

namespace galvatron {

/// Links `object` with the runtime. The linker and its flags are those that the compiler was configured with.
mlir::LogicalResult linkProgram(llvm::StringRef object, llvm::StringRef program, mlir::Location loc);

} // namespace galvatron

#endif

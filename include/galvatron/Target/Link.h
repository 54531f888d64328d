//===- Link.h - From an object file to an executable ----------------------===//

#ifndef GALVATRON_TARGET_LINK_H
#define GALVATRON_TARGET_LINK_H

#include "mlir/IR/Location.h"
#include "mlir/Support/LogicalResult.h"

namespace galvatron {

/// Links `object` with the runtime, which lies in lib/galvatron beside the folder of this executable, with the flags that
/// lie there too. The linker is the one that the compiler was configured with. Errors call the program `name`.
mlir::LogicalResult linkProgram(llvm::StringRef object, llvm::StringRef program, llvm::StringRef name, mlir::Location loc);

} // namespace galvatron

#endif

//===- Nearest.h - What somebody may have meant ---------------------------===//

#ifndef GALVATRON_PLAN_NEAREST_H
#define GALVATRON_PLAN_NEAREST_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <string>

namespace galvatron {

/// `; did you mean "tp"?` with that of `known` which is most like `name`, or nothing where none is alike.
std::string suggestNearest(llvm::StringRef name, llvm::ArrayRef<llvm::StringRef> known);

/// `"a", "b" and "c"`.
std::string listQuoted(llvm::ArrayRef<llvm::StringRef> names, llvm::StringRef last = " and ");

} // namespace galvatron

#endif

//===- Report.h - How libraries without IR say what is wrong ----*- C++ -*-===//

#ifndef GALVATRON_SUPPORT_REPORT_H
#define GALVATRON_SUPPORT_REPORT_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/Twine.h"

namespace galvatron {

/// Takes what is wrong: one sentence without a full stop, with what would be right.
using Report = llvm::function_ref<void(const llvm::Twine &)>;

} // namespace galvatron

#endif

//===- PlanFile.h - Plans as JSON -----------------------------------------===//
//
// docs/PlanFormat.md says what the keys mean.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_PLAN_PLANFILE_H
#define GALVATRON_PLAN_PLANFILE_H

#include "galvatron/Plan/Plan.h"
#include "llvm/Support/raw_ostream.h"

namespace galvatron {

/// The version of the format that is written, and the only one that is read.
inline constexpr int64_t planVersion = 1;

/// The plan that `text` says, checked (checkPlan); nothing, after reports, if it says none. Any bytes may be given.
std::optional<Plan> parsePlan(llvm::StringRef text, Report report);

/// The plan in the file at `path`. What is reported begins with the path.
std::optional<Plan> readPlanFile(llvm::StringRef path, Report report);

/// Writes what parsePlan reads as the same plan.
void printPlan(const Plan &plan, llvm::raw_ostream &os);

} // namespace galvatron

#endif

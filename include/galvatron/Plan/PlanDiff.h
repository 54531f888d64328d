//===- PlanDiff.h - What two plans differ in --------------------*- C++ -*-===//

#ifndef GALVATRON_PLAN_PLANDIFF_H
#define GALVATRON_PLAN_PLANDIFF_H

#include "galvatron/Plan/Plan.h"
#include "llvm/Support/raw_ostream.h"

namespace galvatron {

/// "data parallel over 4 (ZeRO-2), tensor parallel over 2, recomputed".
std::string describeStrategy(const Plan &plan, const Strategy &strategy);

/// Says in words what is different in the second plan, a line each; whether there is anything. Both are checked.
bool printPlanDiff(const Plan &first, const Plan &second, llvm::raw_ostream &os);

} // namespace galvatron

#endif

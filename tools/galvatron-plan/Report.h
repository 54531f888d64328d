//===- Report.h - A page about a plan ---------------------------*- C++ -*-===//

#ifndef GALVATRON_TOOLS_PLAN_REPORT_H
#define GALVATRON_TOOLS_PLAN_REPORT_H

#include "Print.h"

namespace galvatron {

/// What a page says beside its plan.
struct Beside {
  std::vector<Alternative> memory;  ///< the best plans with other memory, and with that which there is, as far as they fit
  std::vector<Alternative> batches; ///< the best of each batch of a range
  std::optional<Plan> other;        ///< a plan to compare
  std::optional<Outcome> otherCost; ///< what that costs, if the model has formulas for it
};

/// One page of HTML that needs nothing else.
void printReport(const Request &request, const Outcome &outcome, const Beside &beside, const Explanation *explanation, llvm::raw_ostream &os);

} // namespace galvatron

#endif
